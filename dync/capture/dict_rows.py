"""Dicts whose keys are names that the code spells out, where they are rows of a pool: a column for each key, as of objects.

`results.append({"box": box, "score": score})` in a loop of unknown length makes such ones. See pools.py.
"""

from __future__ import annotations

import collections.abc
import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

from dync.capture.container_rows import ContainerRow
from dync.capture.image import pool_of, row_of
from dync.capture.tape import of_model


def dict_pool(names: tuple[str, ...]) -> str:
    """The pool of all dicts with these keys, in this order."""
    return f"dicts of {', '.join(names)}"


def has_names(x: Any) -> TypeGuard[dict[str, Any]]:
    """Whether something is a plain dict all of whose keys are texts, and has any."""
    return type(x) is dict and len(x) > 0 and all(type(k) is str for k in x)


class DictRow(ContainerRow, collections.abc.MutableMapping[str, Any]):
    """A dict that is a row: its keys are the names of its pool."""

    __slots__ = ("dync_row",)
    dync_kind = dict

    def dync_held(self) -> dict[str, Any]:
        """What it holds now."""
        return {name: self[name] for name in self.dync_names}

    def __getitem__(self, key: Any) -> Any:
        if key not in self.dync_names:
            raise of_model(KeyError(key))
        return self.dync_engine.read_field(self.dync_pool, row_of(self), self.dync_names.index(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        if key not in self.dync_names:
            self.dync_give_up(f"a dict gets the key {key!r} after it is made")
        self.dync_engine.write_field(self.dync_pool, row_of(self), self.dync_names.index(key), value)

    def __delitem__(self, key: Any) -> None:
        if key not in self.dync_names:
            raise of_model(KeyError(key))
        self.dync_give_up(f"the key {key!r} is taken out of a dict")

    def __contains__(self, key: object) -> bool:
        return key in self.dync_names

    def __iter__(self) -> Iterator[str]:
        return iter(self.dync_names)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.dync_names)

    def __len__(self) -> int:
        return len(self.dync_names)

    def popitem(self) -> Any:
        self.dync_give_up("a key is taken out of a dict")

    def clear(self) -> None:
        self.dync_give_up("the keys are taken out of a dict")

    def copy(self) -> Any:
        return self.dync_engine.dict_row(self.dync_held())

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Any:
        return self.dync_engine.dict_row(self.dync_engine.deep_copied(self, memo))

    def __or__(self, other: Any) -> Any:
        return self.dync_held() | dict(other) if isinstance(other, (dict, DictRow)) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return other | self.dync_held() if isinstance(other, dict) else NotImplemented

    def __ior__(self, other: Any) -> Any:
        self.update(other)
        return self

    def __eq__(self, other: object) -> Any:
        """By items, of which Python takes those for equal that are one object: on columns that shows of numbers and texts alone."""
        if not isinstance(other, (dict, DictRow)):
            return False
        if pool_of(other) == self.dync_pool and self.dync_engine.is_row(self, other):
            return True
        if self.keys() != other.keys():
            return False
        if any(c.kind == "tensor" or c.pool for c in self.dync_engine.pools[self.dync_pool].form.columns):
            self.dync_give_up("a comparison of dicts that hold more than numbers and texts")
        return all(self[name] == other[name] for name in self.dync_names)

    __hash__ = None  # type: ignore[assignment]


class Young(DictRow):
    """A dict that gets keys after it is made, and before a list of unknown length takes it: until then `dync_row` is a dict of Python's."""

    __slots__ = ()
    dync_pool = ""
    dync_names = property(lambda self: tuple(self.dync_row))  # type: ignore[assignment]

    def __init__(self, held: dict[Any, Any]) -> None:
        self.dync_row = held

    def grow_up(self, cls: type, row: Any) -> None:
        """It is a row from now on."""
        self.dync_row = row
        vars(object)["__class__"].__set__(self, cls)

    def __getitem__(self, key: Any) -> Any:
        return self._asked(self.dync_row.__getitem__, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.dync_row[key] = value

    def __delitem__(self, key: Any) -> None:
        self._asked(self.dync_row.__delitem__, key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.dync_row)

    def popitem(self) -> Any:
        return self._asked(self.dync_row.popitem)

    def clear(self) -> None:
        self.dync_row.clear()

    def copy(self) -> Any:
        return dict(self.dync_row)

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Any:
        return copy.deepcopy(self.dync_row, memo)

    def __eq__(self, other: object) -> Any:
        return other == self.dync_row

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.dync_row)

    __str__ = __repr__

    @staticmethod
    def _asked(function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except KeyError as error:
            raise of_model(error) from None
