"""What dicts and lists that are rows of a pool have in common. Their classes say what they stand for; see dict_rows.py, list_rows.py."""

from __future__ import annotations

from typing import Any

from dync.capture.places import as_seen


class ContainerRow:
    """A dict or list that is a row; its class, which `container_row_class` makes for each pool, says which places it has."""

    __slots__ = ()
    __class__ = as_seen(lambda self: self.dync_kind)  # type: ignore[assignment]
    dync_kind: type
    """Python's class that it stands for."""
    dync_engine: Any
    dync_pool: str
    dync_names: tuple[str, ...]

    def dync_at(self, row: Any) -> Any:
        """The one in another row of its pool."""
        return self.dync_engine.row_at(self.dync_pool, row)

    def dync_give_up(self, reason: str) -> None:
        self.dync_engine.give_up(self.dync_pool, reason)

    def _refuse(self, *_: Any) -> Any:
        self.dync_give_up(f"the text of a {self.dync_kind.__name__}")

    __reduce_ex__ = __repr__ = __str__ = __format__ = _refuse  # type: ignore[assignment]


def container_row_class(base: type[ContainerRow], engine: Any, pool: str, names: tuple[str, ...]) -> type:
    """The class of the dicts, or lists, that are rows of a pool."""
    body = {"__module__": base.__module__, "__slots__": (), "dync_engine": engine, "dync_pool": pool, "dync_names": names}
    return type(base.dync_kind.__name__, (base,), body)
