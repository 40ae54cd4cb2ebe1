"""Runs one call on eager and on every other side, compares the effects, and keeps the books of what was covered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from dync.ir.flow import Branch, Flow, Raise, Switch
from dync.ir.program import Program
from dync.ir.trace import Trace
from dync.verify.blame import first_wrong_block
from dync.verify.calls import Call, CompiledSide, EagerSide, Effect, ProgramSide, Side, differences
from dync.verify.compare import NO_ERROR, Comparison, Error, Tolerances, worse
from dync.verify.flips import NOISE, Parting, own_noise, parting
from dync.verify.limit import TimeLimit, TookTooLong
from dync.verify.paths import Path, back_edges, label, loop_counts, shorten, steps, ways
from dync.verify.report import Flip, Mismatch

OTHER_PROGRAM = "the Program itself differs from the model: another model, or a fault of capture or a pass"
Judged = Literal["same", "noise", "flip", "differs"]
"""What a side does, held against eager. noise: beyond the tolerance, and no further off than eager is under noise of its own."""
KEPT = 50
"""How many mismatches and flips are kept with all their details."""


@dataclass
class Books:
    """What happened so far. outcomes, paths, loops: compared calls that took them. margins: nearest approach to an outcome not taken."""

    runs: int = 0
    rejected: int = 0
    given: int = 0
    worst: Error = NO_ERROR
    noisy: float = 0.0
    """ULP by which eager itself moves under noise, the largest that an error beyond tolerance was excused with."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    paths: Counter[Path] = field(default_factory=Counter)
    loops: Counter[tuple[str, str]] = field(default_factory=Counter)
    margins: dict[tuple[str, str], float] = field(default_factory=dict)
    takers: dict[Path, list[Call]] = field(default_factory=dict)
    mismatches: list[Mismatch] = field(default_factory=list)
    flips: list[Flip] = field(default_factory=list)
    rejections: Counter[str] = field(default_factory=Counter)


class Harness:
    """sides: everything to compare with eager, the compiled runtime first. oracle: the Program's own meaning, where there is one."""

    def __init__(
        self,
        flow: Flow,
        eager: EagerSide,
        sides: Sequence[Side],
        program: Program | None,
        oracle: ProgramSide | None,
        tolerances: Tolerances,
    ) -> None:
        self.flow, self.eager, self.sides, self.program, self.oracle, self.tolerances = (
            flow,
            eager,
            tuple(sides),
            program,
            oracle,
            tolerances,
        )
        self.books, self.limit = Books(), TimeLimit()
        self.backs = back_edges(flow)
        self.exits = {b.name: b.exit for b in flow.blocks}
        self.own_errors = frozenset(b.exit.cls.rpartition(":")[2].rpartition(".")[2] for b in flow.blocks if isinstance(b.exit, Raise))

    def check(self, call: Call, fresh: bool = True) -> bool:
        """Runs and compares one call; whether all sides may go on from the states that this left: nothing differed or was refused."""
        books, number = self.books, self.books.runs
        given = call.origin.startswith("given")
        try:
            expected = self.eager.run(call, fresh) if given else self.limit.within(partial(self.eager.run, call, fresh))
        except TookTooLong:
            books.rejected += 1
            books.rejections["it does not end"] += 1
            return False
        foreign = expected.error is not None and type(expected.error).__name__ not in self.own_errors
        if foreign and not given:
            books.rejected += 1
            books.rejections[
                f"{type(expected.error).__name__}: {str(expected.error).splitlines()[0] if str(expected.error) else ''}"[:120]
            ] += 1
            return False
        books.runs += 1
        books.given += call.origin == "given"
        meaning = self.oracle.run(call, fresh) if self.oracle else None
        wrong = self._apart(expected, meaning, foreign) if meaning is not None else ()
        trusted = None if wrong else meaning
        judged = [self._side(number, call, side, expected, side.run(call, fresh), trusted, meaning, foreign) for side in self.sides]
        if wrong and all(j in ("same", "noise") for j in judged):
            self._mismatch(Mismatch(number, call.origin, "interpret", wrong, OTHER_PROGRAM, call))
        return not wrong and all(j == "same" for j in judged) and not foreign

    def _apart(self, expected: Effect, meaning: Effect, foreign: bool) -> tuple[str, ...]:
        """How the Program's own meaning differs from eager."""
        return () if foreign and meaning.error is not None else tuple(map(str, differences(expected, meaning, self.tolerances).differences))

    def _side(
        self,
        number: int,
        call: Call,
        side: Side,
        expected: Effect,
        got: Effect,
        trusted: Effect | None,
        meaning: Effect | None,
        foreign: bool,
    ) -> Judged:
        """Compares one side; `trusted` is the Program's meaning where it is the same as eager."""
        trace = got.trace or (meaning.trace if meaning else None)
        if trace is not None and side is self.sides[0]:
            self._cover(call, trace)
        if foreign and got.error is not None:
            return "same"
        found = differences(expected, got, self.tolerances)
        apart = self._parting(call, trusted, got.trace)
        if apart is not None and apart.is_flip:
            self._flip(number, call, apart)
            return "flip"
        self.books.worst = worse(self.books.worst, found.worst)
        if found.same and apart is None:
            return "same"
        if apart is None and self._is_noise(call, found, trusted):
            return "noise"
        said = [f"decision {apart.span}: `{apart.text}` is {apart.eager} in eager, {apart.here} here"] if apart is not None else []
        first = said[0] if said else OTHER_PROGRAM if meaning is not None and trusted is None else self._blame(call, side, trusted)
        self._mismatch(Mismatch(number, call.origin, side.name, tuple(map(str, found.differences)) or tuple(said), first, call))
        return "differs"

    def _is_noise(self, call: Call, found: Comparison, meaning: Effect | None) -> bool:
        """Whether eager itself moves about as far under noise of a few ULP: deep networks amplify rounding."""
        if self.program is None or self.oracle is None or meaning is None or any(d.ulp is None for d in found.differences):
            return False
        noise = own_noise(self.oracle, self.program, call, meaning, self.tolerances, found.worst.ulp)
        if found.worst.ulp > NOISE * noise:
            return False
        self.books.noisy = max(self.books.noisy, noise)
        return True

    def _blame(self, call: Call, side: Side, meaning: Effect | None) -> str:
        """The first wrong block, for the first few mismatches."""
        if (
            self.program is None
            or meaning is None
            or meaning.trace is None
            or not isinstance(side, CompiledSide)
            or len(self.books.mismatches) >= 3
        ):
            return ""
        return first_wrong_block(
            self.program, side.kernels(), call, steps(self.flow, meaning.trace), self.tolerances, self.oracle.began if self.oracle else {}
        )

    def _parting(self, call: Call, meaning: Effect | None, here: Trace | None) -> Parting | None:
        if self.program is None or self.oracle is None or meaning is None or meaning.trace is None or here is None:
            return None
        return parting(self.program, self.oracle, call, meaning.trace, here, self.tolerances)

    def _flip(self, number: int, call: Call, apart: Parting) -> None:
        if len(self.books.flips) < KEPT:
            self.books.flips.append(
                Flip(number, apart.block, apart.text, apart.span, apart.eager, apart.here, apart.error or 0.0, apart.allowed, call.origin)
            )

    def _mismatch(self, found: Mismatch) -> None:
        if len(self.books.mismatches) < KEPT:
            self.books.mismatches.append(found)

    def _cover(self, call: Call, trace: Trace) -> None:
        path = steps(self.flow, trace)
        short = shorten(self.backs, path)
        self.books.paths[short] += 1
        self.books.takers.setdefault(short, [])
        if len(self.books.takers[short]) < 3:
            self.books.takers[short].append(call)
        self.books.outcomes.update({step for step in path if step[1]})
        self.books.loops.update(set(loop_counts(self.backs, path)))
        for record in trace.decisions:
            exit = self.exits[record.block]
            if record.margin is None or not isinstance(exit, (Branch, Switch)):
                continue
            for other, _ in ways(exit):
                if other != label(exit, record.value):
                    self.books.margins[record.block, other] = min(
                        record.margin, self.books.margins.get((record.block, other), record.margin)
                    )
