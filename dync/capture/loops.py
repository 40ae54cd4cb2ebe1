"""Rolled loops: what is known about a loop, the header record it turns on, and iterators over symbolic ranges.

A loop is first unrolled. One that goes on too long is *rolled*: at its head a header record takes the state that changes
from turn to turn as parameters, and the body ends in a jump back. Which state changes is found by trying: a leaf that
comes back different is widened and the capture starts over, until nothing new is found. Where Python structure differs
between the first turns (`prev = None`), those are peeled off. Where data decides when it changes (`best = None`), the loop
is *split*: each structure has a header of its own, and a turn ends at the one that fits. Where new ones go on coming
up, the loop stays unrolled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sympy
import torch

from dync.capture.heap import MISSING
from dync.capture.image import Image, Leaf, layout
from dync.capture.tape import JumpExit, Rec, To
from dync.capture.walks import is_grown, item_at

WHILE_TURNS = 8
FOR_TURNS = 48
MANY_CALLS = 600
HEAVY, HEAVIER = 60, 4
"""Parts that the expression of a size may be written with in a loop that is unrolled, and how many times as many as before it: sizes
that each turn makes of the last turn's grow until no question about them is answered in reasonable time."""
MAX_TURNS = 600
MAX_YIELDS = 48
"""Turns of a `while` that yields: they are written out one by one."""
MAX_PEEL = 3
MAX_HEADERS = 6
"""Structures that the state of a loop may take one after another."""


@dataclass
class Plan:
    """How one loop of the source is captured."""

    rolled: bool = True
    peel: int = 0
    split: bool = False
    """Whether each structure that the state takes has a header of its own."""
    was_split: bool = False
    closes: bool = False
    """Whether some turn has led back to a header: then what peels differently on another path is decided by data."""
    widened: dict[str, set[int]] = field(default_factory=dict)
    """Leaf → the dimensions that change, for each leaf that is a parameter of the header."""
    dense: set[str] = field(default_factory=set)
    """Parameters that are copied to a contiguous layout where they come in another."""
    falling: set[Any] = field(default_factory=set)
    """Places of `for` loops, and (leaf, dimension), that come back smaller than at first; the others are held to be no less."""
    untied: set[tuple[str, int]] = field(default_factory=set)
    """Dimensions that do not go with the others that are equal when the loop begins: all others that are equal then stay so."""
    tuples: dict[str, str] = field(default_factory=dict)
    """Local tuples that the loop makes longer → their places among the lists of unknown length."""
    reason: str = ""


@dataclass
class Header:
    """The state at the head of a rolled loop, its parameters in place."""

    rec: Rec
    image: Image
    positions: list[int]
    """Leaf numbers of the parameters, in order."""
    tuples: dict[str, tuple[Any, ...]]
    """Local tuples of Python's own, by name."""


class LoopIter:
    """Walks a range, or the rows of a tensor, turn by turn; its position is part of the program's state."""

    __slots__ = ("i", "stop", "step", "turn", "rows")

    def __init__(self, turn: Any, bounds: Any, rows: Any = None) -> None:
        self.i, self.stop, self.step, self.turn, self.rows = bounds.start, bounds.stop, bounds.step, turn, rows

    def __iter__(self) -> LoopIter:
        return self

    def __next__(self) -> Any:
        self.turn(self)
        if is_grown(self.rows):
            self.stop = self.rows.length  # the body may make the list longer
        more = self.i < self.stop if self.step > 0 else self.i > self.stop
        if not more:
            raise StopIteration
        value = self.i
        self.i = self.i + self.step
        return value if self.rows is None else item_at(self.rows, value)


class OnceIter(LoopIter):
    """Walks an iterator, whose position is the iterator's own: the body, or an inner loop, may take items too."""

    __slots__ = ()

    def __next__(self) -> Any:
        self.turn(self)
        return next(self.rows)


class Turn:
    """What a LoopIter calls at each head; all are equal, so that pictures of different runs agree."""

    def __init__(self, call: Any) -> None:
        self.call = call

    def __call__(self, it: LoopIter) -> None:
        self.call(it)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Turn)

    def __hash__(self) -> int:
        return 0


def form(leaf: Leaf) -> tuple[Any, ...]:
    """What may not change about a leaf from turn to turn."""
    if leaf.kind != "tensor":
        return (leaf.kind,)
    return (leaf.raw.dtype, str(leaf.raw.device), leaf.raw.dim())


def skeleton(signature: tuple[Any, ...]) -> tuple[Any, ...]:
    """A signature without the sizes of tensors."""
    return tuple((*s[:4], len(s[4]), *s[5:]) if isinstance(s, tuple) and s and s[0] == "T" else s for s in signature)


def size_of(t: torch.Tensor, d: int) -> Any:
    s = t.shape[d]
    return s if isinstance(s, int) else s.node.expr


def open_header(engine: Any, plan: Plan, image: Image, key: Any) -> tuple[Rec, list[Any], list[int]]:
    """A header record after the current one; its parameters are the widened leaves."""
    header = engine.new_rec(engine.rec)
    header.pending = key
    header.header = True
    new: list[Any] = [MISSING] * len(image.leaves)
    positions, args = [], []
    by_value: dict[Any, Any] = {}
    sizes: dict[Any, Any] = {}
    before, engine.rec = engine.rec, header
    for n, leaf in enumerate(image.leaves):
        dims = plan.widened.get(leaf.where)
        if dims is None or leaf.fixed:
            continue
        group = (leaf.where,)
        if group not in by_value:
            made = {d: header_size(engine, plan, leaf, d, sizes) for d in dims}
            by_value[group] = engine.loop_param(leaf, made, leaf.where in plan.dense, leaf.where not in plan.falling)
            positions.append(n)
            args.append(engine.in_layout(before, leaf, by_value[group], image))
        new[n] = by_value[group]
    for val in list(header.params):
        if val.kind == "tensor":
            engine.bind_sizes(val)
    engine.rec = before
    before.exit = JumpExit(To(header, args))
    header.state = (image.signature, new)
    return header, new, positions


def misfit(header: Image, image: Image) -> str | None:
    """Why a turn cannot lead back to a header with this picture; None where it can."""
    if skeleton(image.signature) != skeleton(header.signature):
        return "its structure changes from turn to turn: " + difference(header, image)
    changed = (new.where for old, new in zip(header.leaves, image.leaves) if form(old) != form(new))
    return next((f"{where!r} changes its type from turn to turn" for where in changed), None)


def close(engine: Any, plan: Plan, header: Header, image: Image) -> str | None:
    """Ends a turn: jumps back to the header. Otherwise widens `plan` and returns None, or says why the loop cannot be rolled."""
    engine.check_changed(header.rec, engine.changed_in(image))
    reason = misfit(header.image, image)
    if reason is not None:
        return reason
    grown = False
    parameters = set(header.positions)
    same_places = {header.image.leaves[n].where for n in parameters}
    for old, new in zip(header.image.leaves, image.leaves):
        widened = old.where in same_places
        if not widened and engine.same_at(header.rec, old, new):
            continue
        if new.fixed:
            return f"{new.where!r} changes where it cannot be written back"
        if widened and engine.falls(old, new):
            plan.falling.add(old.where)
            grown = True
        dims = plan.widened.setdefault(new.where, set()) if not widened else plan.widened[new.where]
        if not widened:
            grown = True
        if old.kind == "tensor":
            changed = {d for d in range(old.raw.dim()) if d not in dims and size_of(old.raw, d) != size_of(new.raw, d)}
            if changed:
                dims |= changed
                grown = True
            elif widened and layout(old.raw) != layout(new.raw):
                if not engine.may_copy(new, image):
                    return f"{new.where!r} changes its memory layout from turn to turn and is written in place"
                if layout(old.raw) != "dense":
                    plan.dense.add(old.where)
                    grown = True
    if grown or not hold(engine, plan, header, image):
        return None
    values = [engine.in_layout(engine.rec, image.leaves[n], header.image.leaves[n].raw, image, header.rec) for n in header.positions]
    engine.rec.exit = JumpExit(To(header.rec, values))
    return ""


def header_size(engine: Any, plan: Plan, leaf: Leaf, d: int, sizes: dict[Any, Any]) -> Any:
    """The symbol of a size that changes from turn to turn; sizes: the symbols made before, by what goes together."""
    first, falls = size_of(leaf.raw, d), (leaf.where, d) in plan.falling
    key = (first, falls, (leaf.where, d) if (leaf.where, d) in plan.untied else None)
    if key not in sizes:
        low = 0 if falls else first if isinstance(first, int) else engine.shape_env.least(first)
        sizes[key] = engine.shape_env.new_symbol(low)
        engine.floors[sizes[key].node.expr] = low
    return sizes[key]


def hold(engine: Any, plan: Plan, header: Header, image: Image) -> bool:
    """Whether sizes come back as the header takes them: equal where they were, and no less than at first. What does not is noted."""
    met: dict[Any, Any] = {}
    untied, falling = set(), set()
    for n in header.positions:
        old, new = header.image.leaves[n], image.leaves[n]
        for d in plan.widened.get(old.where, ()) if old.kind == "tensor" else ():
            symbol, size = size_of(old.raw, d), size_of(new.raw, d)
            first, floor = met.setdefault(symbol, size), engine.floors.get(symbol, 0)
            if size != first and engine.shape_env.known(sympy.Eq(size, first)) is not True:
                untied.add((old.where, d))
            if floor and engine.shape_env.known(sympy.Ge(size, floor)) is not True:
                falling.add((old.where, d))
    plan.untied |= untied
    plan.falling |= falling
    return not untied and not falling


def difference(a: Image, b: Image) -> str:
    """The first place where two pictures differ in structure, by the variable it is in."""
    name = ""
    for x, y in zip(skeleton(a.signature), skeleton(b.signature)):
        if isinstance(x, str):
            name = x
        if x != y:
            break
    return f"{name or 'a value'!r}"
