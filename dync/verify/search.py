"""Finds a call that takes a given path by gradient on the decisions' distances, then between two calls that miss it on either side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from dync.ir.program import Program
from dync.verify.boundary import between
from dync.verify.calls import Call
from dync.verify.paths import Path
from dync.verify.picks import Agreements
from dync.verify.point import BROKEN, Point
from dync.verify.relax import Step, Watch, force

AIM = 0.05
"""How far past the threshold to aim, in units of the first distance."""
STUCK = 25
"""Steps without progress after which a descent is given up."""
HALVINGS = 24
Measure = Callable[[Sequence[Step]], torch.Tensor | None]
"""How much is missing on a forced run; None where nothing can be followed."""


@dataclass(frozen=True)
class Found:
    """The outcome of a search. closest: smallest distance of the decision that would not go the wanted way.

    impossible: why no call whatever takes the path; empty when that was not shown. runs: forced runs spent.
    near: the call at which least was missing, with how much that was, to go on from.
    """

    call: Call | None = None
    closest: float | None = None
    impossible: str = ""
    runs: int = 0
    near: tuple[float, Call] | None = None


def descend(program: Program, path: Path, start: Call, limit: int, rate: float = 0.1) -> Found:
    """Gradient descent from `start`, on float inputs and run-time parameters, until all decisions on `path` are met."""
    point = Point(program, start)
    if not point.variables:
        return Found()
    optimiser = torch.optim.Adam([{"params": [v], "lr": rate * s} for v, s in point.variables])
    first: dict[int, float] = {}
    sides: dict[bool, Call] = {}
    closest: float | None = None
    best, stuck, aim, run = math.inf, 0, AIM, 0
    near: tuple[float, Call] | None = None
    while run < limit:
        run += 1
        try:
            with torch.enable_grad():
                done = force(program, path, *point.entry())
                missing = [(i, s) for i, s in enumerate(done) if not s.met]
                if not missing:
                    return Found(point.call("gradient search"), runs=run)
                if reason := contradiction(program, done):
                    return Found(impossible=reason, runs=run)
                closest = _nearer(closest, missing[0][1].distance) if len(missing) == 1 else closest
                loss = total(done, first, aim)
            if done[-1].met or len(missing) == 1:
                sides[done[-1].met] = point.call("gradient search")
            if loss is None:
                return Found(closest=closest, runs=run, near=near)
            lack = sum(max(0.0, -float(s.distance.detach())) for _, s in missing if s.distance is not None)
            near = (lack, point.call("near a path")) if near is None or lack < near[0] else near
            best, stuck = (float(loss.detach()), 0) if float(loss.detach()) < best * 0.998 else (best, stuck + 1)
            if stuck > STUCK:
                return Found(closest=closest, runs=run, near=near)
            if stuck and stuck % 8 == 0:
                between_both = _between(program, path, sides) if len(sides) == 2 else Found()
                run += between_both.runs
                if between_both.call is not None:
                    return Found(between_both.call, runs=run)
                aim *= 0.3
                _slower(optimiser)
            optimiser.zero_grad()
            loss.backward()
        except BROKEN:
            return Found(closest=closest, runs=run, near=near)
        if not point.moves():
            return Found(closest=closest, runs=run, near=near)
        optimiser.step()
        point.clamp()
    return Found(closest=closest, runs=run, near=near)


def _between(program: Program, path: Path, sides: dict[bool, Call]) -> Found:
    """Halves the way from a call that misses the last decision alone to one that meets it and misses another, in `sides`."""
    for run in range(1, HALVINGS + 1):
        middle = between(program.signature, sides[False], sides[True], 0.5)
        if middle is None:
            return Found(runs=run - 1)
        with torch.no_grad():
            done = force(program, path, *Point(program, middle).entry())
        if all(s.met for s in done):
            return Found(replace(middle, origin="gradient search"), runs=run)
        sides[done[-1].met] = middle
    return Found(runs=HALVINGS)


def total(done: Sequence[Step], first: dict[int, float], aim: float = AIM) -> torch.Tensor | None:
    """Sum of what is missing at each decision, each in units of its first distance; None where nothing can be followed.

    aim: how far past its threshold a decision that is met may not come nearer without cost.
    """
    terms, follows = [], torch.is_grad_enabled()
    for i, step in enumerate(done):
        if step.distance is None or follows and not step.distance.requires_grad or not math.isfinite(float(step.distance.detach())):
            if not step.met and not terms:
                return None
            continue
        size = first.setdefault(i, abs(float(step.distance.detach())) + 1e-9)
        gap = aim - step.distance / size
        terms.append(torch.relu(gap) if step.met or float(step.distance.detach()) <= 0 else gap + 1)
    return torch.stack([t.double() for t in terms]).sum() if terms else None


def worst(done: Sequence[Step]) -> torch.Tensor | None:
    """By how much the decision that misses most misses, negative where all are met; None where nothing can be followed.

    Less of it is nearer for the path as a whole: what one decision gains another cannot pay for, as it can in a sum.
    """
    distances, follows = [], torch.is_grad_enabled()
    for step in done:
        if step.distance is None or follows and not step.distance.requires_grad or not math.isfinite(float(step.distance.detach())):
            if not step.met and not distances:
                return None
            continue
        distances.append(step.distance.double())
    return -torch.stack(distances).min() if distances else None


def summed() -> Measure:
    """`total`, each decision in units of its distance at the first point that is measured."""
    first: dict[int, float] = {}
    return lambda done: total(done, first)


def missed_by(program: Program, path: Path, point: Point, measure: Measure = worst, common: int | None = None) -> float:
    """The measure at a point; infinite where it cannot be told."""
    try:
        with torch.no_grad():
            found = measure(force(program, path, *point.entry(), Watch(agreements=Agreements(common))))
    except BROKEN:
        return math.inf
    return math.inf if found is None else float(found)


def _slower(optimiser: torch.optim.Optimizer) -> None:
    for group in optimiser.param_groups:
        group["lr"] *= 0.3


def _nearer(closest: float | None, distance: torch.Tensor | None) -> float | None:
    if distance is None:
        return closest
    found = abs(float(distance.detach()))
    return found if closest is None else min(closest, found)


def contradiction(program: Program, done: Sequence[Step]) -> str:
    """Why the path is impossible: a decision that does not depend on the call, or one value asked for twice with two answers."""
    for i, step in enumerate(done):
        said = program.block(step.block).flow.exit.decision  # type: ignore[union-attr]
        if not step.met and not step.asked.varies:
            return f"{said.span}: `{said.text}` is always {step.asked.value} on this path, whatever the inputs"
        if any(other.asked is step.asked and other.wanted != step.wanted for other in done[:i]):
            return f"{said.span}: `{said.text}` was already decided on this path, the other way"
    return ""
