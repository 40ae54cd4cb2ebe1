"""Lists of a few things of several kinds, where they are rows of a pool: a column for each place, as of objects.

`beams.append([tokens, score])` makes such ones. Their length is what the code spells out: one that changes stays a list of Python's.
"""

from __future__ import annotations

import collections.abc
import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from dync.capture.container_rows import ContainerRow
from dync.capture.image import pool_of, row_of
from dync.capture.lists import KINDS, Grown
from dync.capture.tape import of_model
from dync.capture.values import SYMBOLIC

MOST = 8
"""Places of a list that may be a row."""
ANY = "?"


def kinds_in(items: Any) -> tuple[str, ...]:
    """What stands in each place, in words: lists whose words agree are rows of one pool. "?" agrees with all."""
    return tuple(map(_kind, items))


def _kind(x: Any) -> str:
    if x is None:
        return ANY
    if isinstance(x, torch.Tensor) and not isinstance(x, nn.Parameter):
        return "tensor"
    if isinstance(x, (bool, int, float, *SYMBOLIC)):
        return "number"
    return x.kind if isinstance(x, Grown) else KINDS.get(type(x), "") or type(x).__name__


def can_be_row(kinds: tuple[str, ...], several: bool) -> bool:
    """Whether a list with these things in its places may be a row. several: whether they must be of several kinds."""
    return 1 < len(kinds) <= MOST and not (several and len({*kinds}) == 1)


def agree(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    return len(a) == len(b) and all(x == y or ANY in (x, y) for x, y in zip(a, b))


def list_pool(kinds: tuple[str, ...]) -> str:
    return f"lists of {', '.join(kinds)}"


class ListRow(ContainerRow, collections.abc.MutableSequence[Any]):
    """A list that is a row: the names of its pool count its places."""

    __slots__ = ("dync_row",)
    dync_kind = list

    def dync_held(self) -> dict[str, Any]:
        """What it holds now."""
        return dict(zip(self.dync_names, self, strict=True))

    def dync_place(self, index: Any, message: str) -> int:
        n = len(self)
        place = self.dync_engine.choose(self.dync_engine.place_of(index), n)
        if place == n:
            raise of_model(IndexError(message))
        return place

    def __len__(self) -> int:
        return len(self.dync_names)

    def __iter__(self) -> Iterator[Any]:
        return (self[n] for n in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            places = range(len(self))[index]
            return self.copy() if len(places) == len(self) and places.step == 1 else [self[n] for n in places]
        return self.dync_engine.read_field(self.dync_pool, row_of(self), self.dync_place(index, "list index out of range"))

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            self.dync_give_up("a slice of a list of several kinds of things is written")
        self.dync_engine.write_field(self.dync_pool, row_of(self), self.dync_place(index, "list assignment index out of range"), value)

    def _resized(self, *_: Any, **named: Any) -> Any:
        self.dync_give_up("a list of several kinds of things becomes longer or shorter, or gets another order")

    __delitem__ = insert = append = extend = pop = remove = clear = reverse = sort = __iadd__ = __imul__ = _resized  # type: ignore[assignment]

    def copy(self) -> Any:
        return self.dync_engine.list_row(list(self))

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Any:
        return self.dync_engine.list_row(list(self.dync_engine.deep_copied(self, memo).values()))

    def __add__(self, other: Any) -> Any:
        return operator.add(list(self), list(other) if isinstance(other, ListRow) else other)

    def __radd__(self, other: Any) -> Any:
        return operator.add(other, list(self))

    def __mul__(self, times: Any) -> Any:
        return operator.mul(list(self), times)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> Any:
        """By items, of which Python takes those for equal that are one object: on columns that shows of numbers and texts alone."""
        if not isinstance(other, (list, ListRow)):
            return False
        if pool_of(other) == self.dync_pool and self.dync_engine.is_row(self, other):
            return True
        if len(self) != len(other):
            return False
        if any(c.kind == "tensor" or c.pool for c in self.dync_engine.pools[self.dync_pool].form.columns):
            self.dync_give_up("a comparison of lists that hold more than numbers and texts")
        return all(a == b for a, b in zip(self, other))

    def _compared(self, other: Any, order: Callable[[Any, Any], Any]) -> Any:
        """As tuples, of whose items Python asks first whether they are one object, and then whether they are equal."""
        return order(tuple(self), tuple(other)) if isinstance(other, (list, ListRow)) else NotImplemented

    def __lt__(self, other: Any) -> Any:
        return self._compared(other, operator.lt)

    def __le__(self, other: Any) -> Any:
        return self._compared(other, operator.le)

    def __gt__(self, other: Any) -> Any:
        return self._compared(other, operator.gt)

    def __ge__(self, other: Any) -> Any:
        return self._compared(other, operator.ge)

    __hash__ = None  # type: ignore[assignment]
