"""What is walked as a list of unknown length is, and is none: ranges, parts of tensors, pairs of lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import torch

from dync.capture.arrays import array_of, is_array
from dync.capture.lists import Grown, Walked
from dync.capture.places import as_seen
from dync.capture.tape import of_model
from dync.capture.text import formatted, join


class SymRange:
    """`range` with a bound known only at run time."""

    __slots__ = ("start", "stop", "step")
    __class__ = as_seen(lambda self: range)  # type: ignore[assignment]

    def __init__(self, start: Any, stop: Any, step: Any) -> None:
        self.start, self.stop, self.step = start, stop, step

    @property
    def length(self) -> Any:
        way, step = (self.stop - self.start, self.step) if self.step > 0 else (self.start - self.stop, -self.step)
        return torch.sym_max((way + step - 1) // step, 0)

    def at(self, index: Any) -> Any:
        """Number `index`, which is within bounds."""
        return self.start + index * self.step

    def __getitem__(self, index: Any) -> Any:
        n = self.length
        if isinstance(index, slice) and index.step in (None, 1):
            ends = (index.start or 0, n if index.stop is None else index.stop)
            first, last = (torch.sym_max(e + n, 0) if e < 0 else torch.sym_min(e, n) for e in ends)
            return SymRange(self.at(first), self.at(torch.sym_max(first, last)), self.step)
        place: Any = index
        if -n <= place < n:
            return self.at(place if place >= 0 else place + n)
        raise of_model(IndexError("range object index out of range"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (range, SymRange)):
            return False
        n, m = self.length, other.length if isinstance(other, SymRange) else len(other)
        return bool(n == m) and (bool(n == 0) or bool(self.start == other.start) and (bool(n == 1) or self.step == other.step))

    def dync_text(self, engine: Any) -> Any:
        ends = [p for e in (self.start, self.stop) for p in (formatted(engine, e, ord("r"), ""), ", ")]
        return join(engine, ["range(", *ends[:-1], f", {self.step})" if self.step != 1 else ")"])

    def __bool__(self) -> bool:
        return bool(self.length != 0)

    def __iter__(self) -> Any:
        """For C code that walks it, as `set` does: its numbers must be known, so paths that differ in them are kept apart."""
        return iter(range(int(self.start), int(self.stop), int(self.step)))


class Parts:
    """What `split`, `chunk` or `unbind` gives where the number of parts is known only at run time: views, made when they are asked for."""

    __slots__ = ("engine", "tensor", "dim", "size", "most")
    __class__ = as_seen(lambda self: tuple)  # type: ignore[assignment]

    def __init__(self, engine: Any, tensor: Any, dim: int, size: Any, most: int | None = None) -> None:
        self.engine, self.tensor, self.dim, self.size, self.most = engine, tensor, dim, size, most
        """size: of a part; None where the dimension goes. most: so many parts may there be, and one at least; None for any number."""

    @property
    def length(self) -> Any:
        n = self.tensor.shape[self.dim]
        return n if self.size is None else torch.sym_max((n + self.size - 1) // self.size, 1)

    def at(self, index: Any) -> Any:
        if self.size is None:
            return self.engine.do(torch.select, self.tensor, self.dim, index)
        start = index * self.size
        length = torch.sym_min(self.size, self.tensor.shape[self.dim] - start)
        return self.engine.do(torch.narrow, self.tensor, self.dim, start, length)

    def __getitem__(self, index: Any) -> Any:
        n = self.length
        index = index.item() if isinstance(index, torch.Tensor) else index
        if isinstance(index, slice):
            return tuple(self)[index]
        if -n <= index < n:
            return self.at(index if index >= 0 else index + n)
        raise of_model(IndexError("tuple index out of range"))

    def __bool__(self) -> bool:
        return bool(self.length != 0)

    def __iter__(self) -> Iterator[Any]:
        """For C code that walks it, as `a, b = x.chunk(2)` does: paths that differ in the number are kept apart."""
        return iter([self.at(i) for i in range(self.engine.counted(self.length, self.most))])

    def __len__(self) -> int:
        return self.engine.counted(self.length, self.most)

    def dync_text(self, engine: Any) -> NoReturn:
        self.refuse("the text")

    def refuse(self, what: str) -> NoReturn:
        self.engine.refuse("DY206", f"{what} of the parts of a tensor whose number depends on data", "they are views, made when asked for",
                           "make a list of them, or loop over them with for")
        raise AssertionError("a refusal raises")

    __torch_function__ = Grown.__torch_function__


class Sections(Parts):
    """What `split` gives for a list of sizes of unknown length; `size` is a tensor of them."""

    __slots__ = ()

    @property
    def length(self) -> Any:
        return self.size.shape[0]

    def at(self, index: Any) -> Any:
        start, size = (self.engine.at_least(self.engine.do(torch.Tensor.item, t), 0) for t in (
            self.engine.do(torch.sum, self.engine.do(torch.narrow, self.size, 0, 0, index)),
            self.engine.do(torch.select, self.size, 0, index)))
        return self.tensor.narrow(self.dim, start, size)


class ArrayRows:
    """What walking an array over a tensor of unknown length gives."""

    __slots__ = ("engine", "array")

    def __init__(self, engine: Any, array: Any) -> None:
        self.engine, self.array = engine, array

    @property
    def length(self) -> Any:
        return self.array.tensor.shape[0]

    def at(self, index: Any) -> Any:
        return array_of(self.engine, self.array.tensor.select(0, index))

    def __iter__(self) -> Iterator[Any]:
        """For C code that walks it."""
        return iter([self.at(i) for i in range(self.engine.counted(self.length, None))])


def walked_array(x: Any) -> Any:
    """The rows of an array whose length is known only at run time; anything else as it is."""
    n = x.tensor.shape[0] if is_array(x) and x.tensor.dim() else None
    return ArrayRows(engine_of(n), x) if isinstance(n, torch.SymInt) and engine_of(n).known_int(n) is None else x


class Paired:
    """`enumerate` or `zip` over lists of which some have a length known only at run time."""

    __slots__ = ("parts", "start")

    def __init__(self, parts: tuple[Any, ...], start: Any = None) -> None:
        self.parts, self.start = parts, start

    @property
    def length(self) -> Any:
        n: Any = length_of(self.parts[0])
        for part in self.parts[1:]:
            n = torch.sym_min(n, length_of(part))
        return n

    def at(self, index: Any) -> Any:
        items = tuple(item_at(p, index) for p in self.parts)
        return items if self.start is None else (index + self.start, *items)

    def __iter__(self) -> Iterator[Any]:
        """For C code that walks it, as `f(*zip(a, b))` does: its length must be known."""
        n = self.length
        known = n if isinstance(n, int) else engine_of(n).known_int(n)
        if known is None:
            grown = next((p for p in self.parts if isinstance(p, Grown)), None)
            known = grown.refuse("walking it here") if grown else int(n)
        return iter([self.at(i) for i in range(known)])


def length_of(x: Any) -> Any:
    return x.length if is_grown(x) else x.shape[0] if isinstance(x, torch.Tensor) else len(x)


def item_at(x: Any, index: Any) -> Any:
    """Item `index` of anything that has items, within bounds."""
    if is_grown(x):
        return x.at(index)
    if isinstance(x, torch.Tensor):
        return x.select(0, index)
    return engine_of(index).getitem(x, index) if isinstance(index, torch.SymInt) else x[index]


def engine_of(number: Any) -> Any:
    """The engine that a number known only at run time is of."""
    return number.node.shape_env.engine


def is_grown(x: Any) -> bool:
    return isinstance(x, (Grown, Paired, SymRange, Parts, Walked, ArrayRows))
