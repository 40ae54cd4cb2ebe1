"""Python's iterators over what has a length known only at run time: they are walked once."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any

import torch

from dync.capture.lists import Grown
from dync.capture.places import is_user
from dync.capture.walks import Paired, is_grown, item_at, length_of, walked_array


class Rest(Paired):
    """What is left of a walk from a place on."""

    __slots__ = ()

    @property
    def length(self) -> Any:
        return torch.sym_max(length_of(self.parts[0]) - self.start, 0)

    def at(self, index: Any) -> Any:
        return item_at(self.parts[0], index + self.start)


class Once:
    """What `iter`, `zip`, `enumerate`, `reversed`, `filter` or a generator expression gives.

    i: how many items were taken; None where that is not known. pending: of `filter`, a generator expression and the like, the function that
    makes its items and what it is given after the engine; all are made when the first is asked for.
    """

    __slots__ = ("engine", "walk", "i", "pending")

    def __init__(self, engine: Any, walk: Any, pending: tuple[Any, ...] = ()) -> None:
        self.engine, self.walk, self.i, self.pending = engine, walk, 0, pending

    def begin(self) -> None:
        """Before anything is asked of it."""
        if self.pending:
            make, *given = self.pending
            self.pending = ()
            made = make(self.engine, *given)
            self.walk = made if is_grown(made) or isinstance(made, list) else list(made)
        if self.i is None:
            self.engine.mark_stack()
            self.engine.refuse("DY313", "an iterator over items whose number is known only at run time is walked a second time",
                               "how far the first walk came is not known", "make a list of it first, and walk that")

    @property
    def length(self) -> Any:
        return length_of(self.walk)

    def taken(self, drained: bool) -> Any:
        """All that is left of it, for who walks that to its end (`drained`), or perhaps not so far."""
        self.begin()
        begun, self.i = self.i, self.length if drained else None
        if isinstance(begun, int) and begun == 0:
            return self.walk
        return self.walk[begun:] if isinstance(self.walk, (Grown, list)) else Rest((self.walk,), begun)

    def __iter__(self) -> Iterator[Any]:
        """For C code that walks it."""
        return iter(self.taken(True))

    def __next__(self) -> Any:
        self.begin()
        if not self.length > self.i:
            self.i = self.length + 1  # beyond the end: what the last item is an iterator of knows that it was left
            raise StopIteration
        place = self.engine.at_least(self.i, 0)
        self.i = place + 1
        return item_at(self.walk, place)


class Steps:
    """A loop over an iterator of a number of items that is known at capture."""

    __slots__ = ("once",)

    def __init__(self, once: Once) -> None:
        self.once = once

    def __iter__(self) -> Steps:
        return self

    def __next__(self) -> Any:
        return next(self.once)


def iterated(items: Any) -> Any:
    """What an object's own `__iter__` gives, where that is no generator function, as Python asks for it; anything else as it is."""
    method = getattr(type(items), "__iter__", None)
    if not isinstance(method, types.FunctionType) or method.__code__.co_flags & inspect.CO_GENERATOR or not is_user(method.__code__):
        return items
    return method(items)


def taken(items: Any, drained: bool = True) -> Any:
    """What an iterator over a run-time number of items is a walk of; anything else as it is."""
    items = iterated(items)
    return items.taken(drained) if isinstance(items, Once) else walked_array(items)


def is_walk(engine: Any, x: Any) -> bool:
    """Whether it gives a number of items known only at run time."""
    if isinstance(x, torch.Tensor):
        return x.dim() > 0 and isinstance(x.shape[0], torch.SymInt) and engine.known_int(x.shape[0]) is None
    return is_grown(walked_array(x)) or isinstance(x, Once)
