"""`verify`: what `dync.verify` and `dync verify` call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from dync.errors import UsageError
from dync.ir.flow import Flow
from dync.ir.interpret import initial_state
from dync.ir.opaque import ABSENT
from dync.ir.program import Program
from dync.verify.calls import Call, CompiledSide, EagerSide, ProgramSide, Side, attributes, first_state
from dync.verify.clock import steady
from dync.verify.compare import Difference, Tolerances, compare
from dync.verify.drive import Driver
from dync.verify.harness import Harness
from dync.verify.inputs import Sampler, as_calls, fits
from dync.verify.report import Mismatch, Report

COVERS = ("paths", "decisions")
NO_PROGRAM = "no Program of the compiled control flow at hand: decisions were searched by mutation only, flips are not told from faults"


def verify(
    model: nn.Module, compiled: Any, inputs: Sequence[Any] | None = None, cover: str = "paths", budget: int = 200, seed: int = 0, *,
    atol: float | None = None, rtol: float | None = None, program: Program | None = None, against: Sequence[Side] = (), command: str = "",
    patience: int = 20, seconds: float | None = None, notes: Sequence[str] = (),
) -> Report:  # fmt: skip
    """Compares `compiled` (a Runtime) with eager `model`, on copies of both states, on calls that drive every decision both ways.

    inputs: calls to begin with, each a tuple of arguments, (args, kwargs) or a dict of kwargs. cover: "paths" or "decisions".
    budget: most calls beside the given ones. atol, rtol: replace the tolerance per dtype. program: the Program that `compiled`
    was made from, where `compiled` does not know it; it makes the search stronger and tells flips from faults. against: more
    sides to compare on the same calls. patience: mismatches after which to stop. seconds: time after which
    nothing new is begun. command: what the report shows for replaying it. notes: lines for it.
    Raises UsageError for inputs that do not fit the signature.
    """
    if cover not in COVERS:
        raise UsageError(f"unknown cover {cover!r}; known: {', '.join(COVERS)}")
    if budget < 1:
        raise UsageError(f"budget is {budget}; at least one call must be allowed")
    program = program or getattr(compiled, "program", None)
    flow: Flow = compiled.flow
    given = as_calls(inputs, flow.signature)
    for n, call in enumerate(given):
        if reason := fits(flow.signature, call):
            raise UsageError(f"inputs[{n}]: {reason}")
    with steady(flow, model):
        eager = EagerSide(model, seed, (s.name for s in flow.slots))
        initial = {**dict(attributes(model)), **first_state(eager.outside)}
        side = CompiledSide(compiled, seed, initial)
        oracle = ProgramSide(program, seed, initial) if program is not None else None
        others = [s for s in against if oracle is None or type(s) is not ProgramSide or s.program is not program]  # it is compared as it is
        try:
            harness = Harness(flow, eager, (side, *others), program, oracle, Tolerances(atol, rtol))
            driver = Driver(harness, Sampler(flow.signature, seed, given), side, budget, cover, patience, seconds)
            harness.books.mismatches += _stale(side, oracle)
            driver.run(given)
            return driver.report(flow.name, seed, (*notes, *_notes(side, oracle, initial)), command)
        finally:
            side.close()
            eager.outside.restore()


def cover(
    model: nn.Module, program: Program, inputs: Sequence[Any] | None = None, budget: int = 200, seed: int = 0, seconds: float | None = None
) -> tuple[Report, list[Call]]:  # fmt: skip
    """The report of `program` against eager `model`, and the calls that its search found: up to three for each path taken."""
    from dync.verify.walked import Walked

    with steady(program.flow, model):
        eager = EagerSide(model, seed, (s.name for s in program.slots))
        initial = {**dict(attributes(model)), **first_state(eager.outside)}
        given, side = as_calls(inputs, program.signature), CompiledSide(Walked(program), seed, initial)
        harness = Harness(program.flow, eager, (side,), program, ProgramSide(program, seed, initial), Tolerances())
        driver = Driver(harness, Sampler(program.signature, seed, given), side, budget, "decisions", seconds=seconds)
        driver.run(given)
        return driver.report(program.flow.name, seed, (), ""), [c for taken in harness.books.takers.values() for c in taken]


def _stale(side: CompiledSide, oracle: ProgramSide | None) -> list[Mismatch]:
    """The compiled program's first state against the one that its Program was captured with."""
    if oracle is None:
        return []
    own: dict[str, Any] = {}
    initial_state(oracle.program, own)
    found = [d for n, v in side.first.items() if n in own for d in compare(own[n], v, where=f"first state {n}").differences]
    held = [n for n, v in own.items() if v is not ABSENT]
    lost = [Difference(f"first state {n}", "kept by the Program, not here") for n in held if n not in side.first]
    said = tuple(map(str, (*found, *lost)))
    return [Mismatch(-1, "before any call", side.name, said, said[0])] if said else []


def _notes(side: CompiledSide, oracle: ProgramSide | None, initial: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader must know: state that differs at the start, or that the search had no Program."""
    moved = [n for n, v in side.first.items() if n in initial and not compare(initial[n], v).same]
    notes = (
        [f"the model's {', '.join(moved)} differs from the compiled program's first value; both began from the model's"] if moved else []
    )
    return (
        *notes,
        *([NO_PROGRAM] if oracle is None else []),
    )
