"""The run-time parameters of a loaded program: a mapping that checks ranges."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from dync.errors import GuardError
from dync.ir.flow import RunParam
from dync.runtime.guards import checked


class UnknownParamError(GuardError, KeyError):
    """No run-time parameter has this name."""

    __str__ = Exception.__str__


class Params(MutableMapping[str, Any]):
    """Name → value. A value must be of the parameter's kind and range (GuardError); names cannot be added or removed.

    Setting replaces the values as a whole: a call in another thread sees all old or all new values.
    """

    def __init__(self, params: tuple[RunParam, ...]) -> None:
        self._known = {p.name: p for p in params}
        self.values_in_order: tuple[Any, ...] = tuple(p.default for p in params)
        self._position = {p.name: i for i, p in enumerate(params)}

    def __getitem__(self, name: str) -> Any:
        return self.values_in_order[self._at(name)]

    def __setitem__(self, name: str, value: Any) -> None:
        position = self._at(name)
        found = checked(self._known[name], value)
        self.values_in_order = (*self.values_in_order[:position], found, *self.values_in_order[position + 1:])

    def __delitem__(self, name: str) -> None:
        raise GuardError(f"parameter {name!r} cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return f"Params({dict(self)})"

    def reset(self) -> None:
        """All defaults again."""
        self.values_in_order = tuple(p.default for p in self._known.values())

    def _at(self, name: str) -> int:
        if name not in self._position:
            raise UnknownParamError(f"no run-time parameter {name!r}; there are: {', '.join(self._known) or 'none'}")
        return self._position[name]
