"""Why two runs differ: a decision within numeric error (a flip), or a fault, with the first thing that is wrong.

Eager's own decisions are those of `interpret` on the same Program, after it was seen to give eager's effects. A decision that
differs is a flip when the distance between both sides' predicates, margin plus margin, is within what their operands may
differ by; or, where no margin can be told (counts, indices), when noise flips eager's own decision: a few ULP on the inputs and
weights, or operations that round otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from dync.ir.program import Program
from dync.ir.trace import DecisionRecord, Trace
from dync.ir.types import Span
from dync.verify.calls import Call, Effect, ProgramSide, differences
from dync.verify.compare import EPS, Tolerances
from dync.verify.inputs import call_of, leaf_values
from dync.verify.paths import steps
from dync.verify.relax import force
from dync.verify.rounding import RoundedOtherwise

NUDGES = 12
NUDGE_ULP = 8
NOISE = 2.0
"""How far beyond eager's own movement, sampled NUDGES times, a predicate or a result may be off."""
FIRST, HOPELESS = 3, 10.0
"""After so many samples, no more are taken of a count that they do not move, or where the error is so many times what NOISE allows."""
AMPLIFIED = 20.0
"""How far beyond the tolerance a predicate may be off where eager itself is unstable: deep networks amplify rounding."""


@dataclass(frozen=True)
class Parting:
    """The first decision that two runs took differently. error: distance between the predicates, None when unknown."""

    block: str
    text: str
    span: Span
    eager: str
    here: str
    error: float | None
    allowed: float
    unstable: bool = False
    noise: float = 0.0
    """By how much eager's own predicate moves under noise of a few ULP."""

    @property
    def is_flip(self) -> bool:
        return (
            self.error is not None
            and self.error <= max(self.allowed * (AMPLIFIED if self.unstable else 1.0), NOISE * self.noise)
            or self.error is None
            and self.unstable
        )


def parting(program: Program, oracle: ProgramSide, call: Call, eager: Trace, here: Trace, tolerances: Tolerances) -> Parting | None:
    """Where `here` leaves `eager`'s way, None when both decide alike."""
    pairs = list(zip(eager.decisions, here.decisions))
    at = next((i for i, (a, b) in enumerate(pairs) if (a.block, a.value) != (b.block, b.value)), None)
    if at is None:
        return None
    ours, theirs = pairs[at]
    if ours.block != theirs.block:
        return Parting(theirs.block, theirs.text, theirs.span, ours.block, theirs.block, None, 0.0)
    error, allowed = _error(program, oracle, call, eager, at, theirs, tolerances)
    if ours.margin == theirs.margin == 0:  # both sides compared two equal numbers, and must agree
        return Parting(ours.block, ours.text, ours.span, str(ours.value), str(theirs.value), None, allowed)
    found = Parting(ours.block, ours.text, ours.span, str(ours.value), str(theirs.value), error, allowed)
    for traces in (_nudged_traces, _rounded_traces):
        if not found.is_flip:
            noise = _noise(eager, at, traces(oracle, program, call), error)
            found = replace(found, unstable=found.unstable or noise.flips, noise=max(found.noise, noise.spread))
    return found


def _error(
    program: Program, oracle: ProgramSide, call: Call, eager: Trace, at: int, theirs: DecisionRecord, tolerances: Tolerances
) -> tuple[float | None, float]:
    """Distance between the predicates (None where only eager's own is known, and is not small), and the tolerance at their size."""
    values = leaf_values(program.signature, call)
    entry = {i.value.name: _probe(values[i.path]) for i in program.signature.inputs} | {
        p.value.name: values[p.name] for p in program.signature.params
    }
    path, ours = steps(program.flow, eager), eager.decisions[at]
    until = [i for i, (_, said) in enumerate(path) if said][at]
    try:
        with torch.enable_grad():
            done = force(program, path[: until + 1], entry, {}, began=oracle.began)[-1]
    except (RuntimeError, IndexError, ValueError, ArithmeticError, TypeError):  # the block cannot run with gradients
        return _sum(ours.margin, theirs.margin), _allowed(1.0, tolerances)
    size = max((abs(float(v)) for v in (done.left, done.right) if isinstance(v, (int, float)) and math.isfinite(v)), default=1.0)
    distance = None if done.distance is None else abs(float(done.distance.detach()))
    counts = isinstance(done.left, int) and not isinstance(done.left, bool)
    if counts or ours.margin is None or theirs.margin is None:
        close = distance is not None and 2 * distance <= _allowed(size, tolerances)
        return 2 * distance if close and distance is not None else None, _allowed(size, tolerances)
    return _sum(ours.margin, theirs.margin), _allowed(size, tolerances)


def _probe(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    copied = value.detach().clone()
    return copied.requires_grad_().clone() if copied.is_floating_point() else copied


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None or math.isnan(a + b) else a + b


def _allowed(size: float, tolerances: Tolerances) -> float:
    absolute, relative = tolerances.of("float32")
    return absolute * max(1.0, size) + relative * size


@dataclass(frozen=True)
class Noise:
    """What noise does to a decision of eager. flips: whether it goes the other way; spread: by how much its predicate moves."""

    flips: bool
    spread: float


def _noise(eager: Trace, at: int, traces: Iterator[Trace | None], error: float | None) -> Noise:
    """What `traces` show of eager's decision `at`. Where most of them leave eager's way before it, its predicate may be anything.

    error: how far off the predicate is that may be excused.
    """
    ours, spread, flips, left = eager.decisions[at], 0.0, False, 0
    for n, trace in enumerate(traces, 1):
        if trace is None:
            continue
        alike = all((a.block, a.value) == (b.block, b.value) for a, b in zip(trace.decisions[:at], eager.decisions))
        left += not alike
        if len(trace.decisions) <= at:
            continue
        other = trace.decisions[at]
        flips |= other.block == ours.block and other.value != ours.value
        if alike and ours.margin is not None and other.margin is not None and math.isfinite(ours.margin - other.margin):
            spread = max(spread, abs(ours.margin - other.margin) if other.value == ours.value else ours.margin + other.margin)
        if n >= FIRST and not flips and not left and (spread == 0 if error is None else error > HOPELESS * NOISE * spread):
            break
    lost = 2 * left > NUDGES
    return Noise(flips or lost, math.inf if lost else spread)


def _nudged_traces(oracle: ProgramSide, program: Program, call: Call) -> Iterator[Trace | None]:
    """Eager with inputs that are off by a few ULP, every other time weights as well."""
    generator = torch.Generator().manual_seed(0)
    for n in range(NUDGES):
        yield _shaken(oracle, program, n, generator).run(nudged(program, call, generator)).trace


def _rounded_traces(oracle: ProgramSide, program: Program, call: Call) -> Iterator[Trace | None]:
    """Eager with operations that round otherwise."""
    return (effect.trace for effect in _rounded(oracle, call))


def _rounded(oracle: ProgramSide, call: Call) -> Iterator[Effect]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(NUDGES):
        with RoundedOtherwise(generator):
            effect = oracle.again().run(call)
        yield effect


def _shaken(oracle: ProgramSide, program: Program, n: int, generator: torch.Generator) -> ProgramSide:
    """Every other time the Program with noise on its weights as well: where inputs saturate, they say nothing."""
    if n % 2 == 0:
        return oracle.again()
    weights = {k: w if _is_exact(w) else _shake(w, generator) for k, w in program.weights.items()}
    return oracle.again(replace(program, weights=weights))


def _is_exact(weight: torch.Tensor) -> bool:
    """Whether it holds a number of the source text, or flags, counts or indices: nothing rounds those."""
    return weight.dim() == 0 or not weight.is_floating_point() or bool((weight == weight.round()).all())


def own_noise(oracle: ProgramSide, program: Program, call: Call, meaning: Effect, tolerances: Tolerances, worst: float) -> float:
    """By how many ULP the Program's own effects move under noise, from the same state and on the same way through it.

    Inputs move by a few ULP; where that does not excuse an error of `worst` ULP, operations round otherwise.
    """
    generator = torch.Generator().manual_seed(0)
    found = 0.0
    for effects in ((oracle.again().run(nudged(program, call, generator)) for _ in range(NUDGES)), _rounded(oracle, call)):
        for n, moved in enumerate(effects if worst > NOISE * found else (), 1):
            if moved.trace is not None and meaning.trace is not None and moved.trace.path == meaning.trace.path:
                found = max(found, differences(meaning, moved, tolerances, inputs=False).worst.ulp)
            if n >= FIRST and worst > HOPELESS * NOISE * found:
                break
    return found


def nudged(program: Program, call: Call, generator: torch.Generator) -> Call:
    """The call with its float inputs off by a few units in the last place."""
    values = leaf_values(program.signature, call)
    for path, value in values.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            scale = float(value.detach().abs().nan_to_num(0.0, 0.0, 0.0).max()) if value.numel() else 0.0
            values[path] = _shake(value, generator, max(scale, 1.0))
    return call_of(program.signature, values, call.origin, call.seed)


def _shake(value: torch.Tensor, generator: torch.Generator, scale: float = 0.0) -> torch.Tensor:
    """Float numbers off by a few units in the last place, of their own size and of `scale`."""
    if not value.is_floating_point():
        return value
    step = EPS[str(value.dtype).removeprefix("torch.")] * NUDGE_ULP
    relative, absolute = (torch.randn(value.shape, generator=generator).to(value) for _ in range(2))
    return value.detach() * (1 + step * relative) + step * scale * absolute
