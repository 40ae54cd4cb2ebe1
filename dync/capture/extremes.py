"""What the numbers in an integer tensor cannot exceed, read from how it was made: an index of `argmax` lies within its dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from dync.capture.tape import Op, Val

aten = torch.ops.aten
DEEP = 32
"""Operations that are looked through at most."""


class Extremes(NamedTuple):
    """Bounds of all elements; None where there is none. low, high: inclusive. below: a size known only at run time, exclusive."""

    low: int | None = None
    high: int | None = None
    below: Any = None

    def hull(self, other: Extremes) -> Extremes:
        low = None if self.low is None or other.low is None else min(self.low, other.low)
        high = None if self.high is None or other.high is None else max(self.high, other.high)
        return Extremes(low, high, self.below if self.below == other.below else None)


ANY = Extremes()
NARROW = {torch.bool: Extremes(0, 1), torch.uint8: Extremes(0, 255), torch.int8: Extremes(-(2**7), 2**7 - 1),
          torch.int16: Extremes(-(2**15), 2**15 - 1)}  # fmt: skip
WIDE = (torch.int32, torch.int64)


class Call(NamedTuple):
    """An operation by its arguments' names, which of its results is asked about, and what answers for its arguments."""

    op: Op
    given: dict[str, Any]
    out: int
    of: Callable[[Any], Extremes]

    def size(self, name: str, dim: Any = None) -> Any:
        """The length of a tensor's dimension, or how many elements it has, as a number or a symbolic one; None for what is no tensor."""
        fake = getattr(self.given[name], "fake", None)
        if fake is None:
            return None
        return fake.numel() if dim is None or not fake.dim() else fake.shape[dim]


class Extremer:
    """Asks for one number that is read at `span`."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.seen: list[Any] = []
        """The tensors whose numbers were taken to be what their operations gave."""
        self.found: dict[Val, Extremes] = {}

    def of(self, x: Any, deep: int = DEEP) -> Extremes:
        """Bounds of the elements of an operand of an operation, as far as what made it tells; none for what is written in place."""
        if isinstance(x, (bool, int)):
            return Extremes(int(x), int(x))
        if not isinstance(x, Val) or x.kind != "tensor":
            return ANY
        if x.fake.dtype in NARROW:
            return NARROW[x.fake.dtype]
        if x in self.found:
            return self.found[x]
        found = self.found[x] = self.made(x, deep)
        return found

    def made(self, x: Val, deep: int) -> Extremes:
        """What the operation that made a tensor of integers tells."""
        op = self.engine.made_by.get(x)
        if op is None or not deep or x.fake.dtype not in WIDE or self.engine.memory.of(x.fake).written:
            return ANY
        rule = RULES.get(getattr(op.target, "overloadpacket", None))
        if rule is None or op.target._overloadname in ("dtype", "Tensor_hacked_twin"):
            return ANY
        self.seen.append(x.fake)
        arguments = op.target._schema.arguments
        given = {a.name: a.default_value if a.has_default_value() else None for a in arguments}
        given |= {a.name: value for a, value in zip(arguments, op.args)} | op.kwargs
        found = rule(Call(op, given, op.outs.index(x), lambda value: self.of(value, deep - 1)))
        return found if all(n is None or abs(n) < 2**31 for n in found[:2]) else ANY


def extremes_of(engine: Any, source: Any) -> Extremes:
    """Bounds of a number that is read from a tensor here. A write into what they are read from, found later, starts the capture again."""
    span, asked = engine.span(), Extremer(engine)
    found = asked.of(source) if span not in engine.unfoldable else ANY
    if found != ANY:
        for fake in asked.seen:
            engine.memory.fold(fake, span)
    return found


# ---- rules ------------------------------------------------------------------------------------------------------------------------------


def _below(n: Any) -> Extremes:
    if isinstance(n, torch.SymInt):
        return Extremes(0, None, n.node.expr)
    return Extremes(0, None if n is None else max(n - 1, 0))


def _place(result: int) -> Callable[[Call], Extremes]:
    """An operation whose result of this number holds places along its `dim`, the other one elements of its first argument."""
    def rule(call: Call) -> Extremes:
        first = next(iter(call.given))
        if "other" in call.given:
            return _either(call)
        return _below(call.size(first, call.given.get("dim"))) if call.out == result else call.of(call.given[first])

    return rule


def _nonzero(call: Call) -> Extremes:
    fake = getattr(call.given["self"], "fake", None)
    sizes = () if fake is None else fake.shape
    known = bool(sizes) and all(isinstance(n, int) for n in sizes)
    return _below(sizes[0] if len(sizes) == 1 else max(sizes) if known else None)


def _moved(call: Call) -> Extremes:
    return call.of(next(iter(call.given.values())))


def _repeated(call: Call) -> Extremes:
    return _moved(call) if "self" in call.given else ANY


def _joined(call: Call) -> Extremes:
    return _hull(call.of(t) for t in call.given["tensors"])


def _hull(found: Iterator[Extremes]) -> Extremes:
    whole = next(found, ANY)
    for one in found:
        whole = whole.hull(one)
    return whole


def _either(call: Call) -> Extremes:
    return call.of(call.given["self"]).hull(call.of(call.given["other"]))


def _clamped(call: Call) -> Extremes:
    low, high, _ = call.of(call.given["self"])
    if any(v is not None and type(v) is not int for v in (call.given["min"], call.given["max"])):
        return ANY
    least, most = call.given["min"], call.given["max"]
    if least is not None:
        low, high = least if low is None else max(low, least), None if high is None else max(high, least)
    if most is not None:
        low, high = None if low is None else min(low, most), most if high is None else min(high, most)
    return Extremes(low, high)


def _sum(sign: int) -> Callable[[Call], Extremes]:
    def rule(call: Call) -> Extremes:
        a, b = call.of(call.given["self"]), call.of(call.given["other"])
        if call.given.get("alpha", 1) != 1:
            return ANY
        b = b if sign > 0 else Extremes(None if b.high is None else -b.high, None if b.low is None else -b.low)
        return Extremes(*(None if m is None or n is None else m + n for m, n in zip(a[:2], b[:2])))

    return rule


def _remainder(call: Call) -> Extremes:
    by = call.given["other"]
    return _below(by) if type(by) is int and by > 0 else ANY


def _divided(call: Call) -> Extremes:
    (low, high, _), by = call.of(call.given["self"]), call.given["other"]
    floors = call.given.get("rounding_mode", "floor") is not None
    if not floors or type(by) is not int or by <= 0 or low is None or low < 0:
        return ANY
    return Extremes(low // by, None if high is None else high // by)


def _range(call: Call) -> Extremes:
    start, end, step = call.given.get("start") or 0, call.given["end"], call.given.get("step", 1)
    if not all(type(v) is int for v in (start, end, step)) or step == 0 or not (made := range(start, end, step)):
        return ANY
    return Extremes(min(made), max(made))


def _drawn(call: Call) -> Extremes:
    low, high = call.given.get("low") or 0, call.given["high"]
    return Extremes(low, high - 1) if type(low) is int and type(high) is int else ANY


def _permuted(call: Call) -> Extremes:
    return _below(call.given["n"]) if type(call.given["n"]) is int else ANY


def _counted(call: Call) -> Extremes:
    n = call.size("self")
    low, high, _ = call.of(call.given["self"])
    if not isinstance(n, int):
        return Extremes(0 if low is not None and low >= 0 else None)
    return Extremes(None if low is None else min(low * n, 0), None if high is None else max(high * n, 0))


def _nonzeros(call: Call) -> Extremes:
    n = call.size("self")
    return Extremes(0, n if isinstance(n, int) else None)


def _drawn_places(call: Call) -> Extremes:
    return _below(call.size("self", -1))


def _slots(call: Call) -> Extremes:
    n = call.size("sorted_sequence" if "sorted_sequence" in call.given else "boundaries", -1)
    return Extremes(0, n if isinstance(n, int) else None)


RULES: dict[Any, Callable[[Call], Extremes]] = {
    **dict.fromkeys((aten.argmax, aten.argmin, aten.argsort), _place(0)),
    **dict.fromkeys((aten.max, aten.min, aten.topk, aten.sort, aten.kthvalue, aten.median, aten.nanmedian, aten.mode, aten.cummax,
                     aten.cummin), _place(1)),
    **dict.fromkeys((aten.select, aten.slice, aten.view, aten._unsafe_view, aten.reshape, aten.squeeze, aten.unsqueeze, aten.expand,
                     aten.permute, aten.t, aten.transpose, aten.alias, aten.detach, aten.clone, aten.unbind, aten.split,
                     aten.split_with_sizes, aten.diagonal, aten.unfold, aten.flip, aten.roll, aten.repeat,
                     aten.index, aten.index_select, aten.gather, aten.take, aten.masked_select, aten.amax,
                     aten.amin, aten._to_copy), _moved),
    aten.repeat_interleave: _repeated,
    aten.cat: _joined, aten.stack: _joined, aten.where: _either, aten.maximum: _either, aten.minimum: _either,
    aten.clamp: _clamped, aten.add: _sum(1), aten.sub: _sum(-1), aten.remainder: _remainder, aten.floor_divide: _divided,
    aten.div: _divided, aten.arange: _range, aten.randint: _drawn, aten.randperm: _permuted, aten.sum: _counted,
    aten.count_nonzero: _nonzeros, aten.nonzero: _nonzero, aten.multinomial: _drawn_places, aten.searchsorted: _slots,
    aten.bucketize: _slots,
}  # fmt: skip
