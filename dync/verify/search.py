"""Finds a call that takes a given path: first by gradient on the decisions' distances, then by mutation and selection."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dync.ir.flow import Flow
from dync.ir.program import Program
from dync.ir.trace import Trace
from dync.verify.calls import Call
from dync.verify.inputs import Sampler, call_of, leaf_values
from dync.verify.paths import Path, steps
from dync.verify.relax import Step, force

AIM = 0.05
"""How far past the threshold to aim, in units of the first distance."""
STUCK = 25
"""Steps without progress after which a descent is given up."""


@dataclass(frozen=True)
class Found:
    """The outcome of a search. closest: smallest distance of the decision that would not go the wanted way.

    impossible: why no call whatever takes the path; empty when that was not shown. runs: forced runs spent.
    """

    call: Call | None = None
    closest: float | None = None
    impossible: str = ""
    runs: int = 0


def descend(program: Program, path: Path, start: Call, limit: int, rate: float = 0.1) -> Found:
    """Gradient descent from `start`, on float inputs and run-time parameters, until all decisions on `path` are met."""
    point = _Point(program, start)
    if not point.variables:
        return Found()
    optimiser = torch.optim.Adam([{"params": [v], "lr": rate * s} for v, s in point.variables])
    first: dict[int, float] = {}
    closest: float | None = None
    best, stuck = math.inf, 0
    for run in range(1, limit + 1):
        try:
            with torch.enable_grad():
                done = force(program, path, *point.entry())
                missing = [(i, s) for i, s in enumerate(done) if not s.met]
                if not missing:
                    return Found(point.call("gradient search"), runs=run)
                if reason := _contradiction(program, done):
                    return Found(impossible=reason, runs=run)
                closest = _nearer(closest, missing[0][1].distance) if len(missing) == 1 else closest
                loss = _loss(done, first)
            if loss is None:
                return Found(closest=closest, runs=run)
            best, stuck = (float(loss.detach()), 0) if float(loss.detach()) < best * 0.998 else (best, stuck + 1)
            if stuck > STUCK:
                return Found(closest=closest, runs=run)
            if stuck and stuck % 8 == 0:
                _slower(optimiser)
            optimiser.zero_grad()
            loss.backward()
        except (RuntimeError, IndexError, ValueError, ArithmeticError, TypeError):  # a block cannot run, or not backwards, on this way
            return Found(closest=closest, runs=run)
        if not point.moves():
            return Found(closest=closest, runs=run)
        optimiser.step()
        point.clamp()
    return Found(closest=closest, runs=limit)


def _loss(done: Sequence[Step], first: dict[int, float]) -> torch.Tensor | None:
    """Sum of what is missing at each decision, each in units of its first distance; None where nothing can be followed."""
    terms = []
    for i, step in enumerate(done):
        if step.distance is None or not step.distance.requires_grad or not math.isfinite(float(step.distance.detach())):
            if not step.met and not terms:
                return None
            continue
        size = first.setdefault(i, abs(float(step.distance.detach())) + 1e-9)
        gap = AIM - step.distance / size
        terms.append(torch.relu(gap) if step.met or float(step.distance.detach()) <= 0 else gap + 1)
    return torch.stack([t.double() for t in terms]).sum() if terms else None


def _slower(optimiser: torch.optim.Optimizer) -> None:
    for group in optimiser.param_groups:
        group["lr"] *= 0.3


def _nearer(closest: float | None, distance: torch.Tensor | None) -> float | None:
    if distance is None:
        return closest
    found = abs(float(distance.detach()))
    return found if closest is None else min(closest, found)


def _contradiction(program: Program, done: Sequence[Step]) -> str:
    """Why the path is impossible: a decision that does not depend on the call, or one value asked for twice with two answers."""
    for i, step in enumerate(done):
        said = program.block(step.block).flow.exit.decision  # type: ignore[union-attr]
        if not step.met and not step.asked.varies:
            return f"{said.span}: `{said.text}` is always {step.asked.value} on this path, whatever the inputs"
        if any(other.asked is step.asked and other.wanted != step.wanted for other in done[:i]):
            return f"{said.span}: `{said.text}` was already decided on this path, the other way"
    return ""


class _Point:
    """Where a descent stands: inputs, and run-time parameters as 0-d tensors, those that can move as leaves of autograd."""

    def __init__(self, program: Program, start: Call) -> None:
        self.signature = program.signature
        self.values = leaf_values(self.signature, start)
        self.leaves: dict[str, torch.Tensor] = {}
        self.handles: dict[str, torch.Tensor] = {}
        self.variables: list[tuple[torch.Tensor, float]] = []
        for one in self.signature.inputs:
            value = self.values[one.path]
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
                self.leaves[one.path] = value.detach().clone().requires_grad_()
                self.variables.append((self.leaves[one.path], _spread(value)))
        for p in self.signature.params:
            if isinstance(p.default, float):
                self.handles[p.name] = torch.tensor(float(self.values[p.name]), dtype=torch.float64, requires_grad=True)
                self.variables.append((self.handles[p.name], (p.high - p.low) / 4 if math.isfinite(p.high - p.low) else 1.0))

    def entry(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Entry values by value name, and handles; inputs are copies, so that blocks may write them."""
        inputs = {
            i.value.name: self.leaves[i.path].clone() if i.path in self.leaves else _copy(self.values[i.path])
            for i in self.signature.inputs
        }
        params = {
            p.value.name: float(self.handles[p.name].detach()) if p.name in self.handles else self.values[p.name]
            for p in self.signature.params
        }
        return inputs | params, {p.value.name: self.handles[p.name] for p in self.signature.params if p.name in self.handles}

    def moves(self) -> bool:
        """Whether some variable has a usable gradient; unusable ones are dropped for this step."""
        for v, _ in self.variables:
            if v.grad is not None and not bool(v.grad.isfinite().all()):
                v.grad = torch.nan_to_num(v.grad, 0.0, 0.0, 0.0)
        return any(v.grad is not None and bool((v.grad != 0).any()) for v, _ in self.variables)

    def clamp(self) -> None:
        """Keeps run-time parameters in their ranges."""
        with torch.no_grad():
            for p in self.signature.params:
                if p.name in self.handles:
                    self.handles[p.name].clamp_(p.low, p.high)

    def call(self, origin: str) -> Call:
        """The call at this point."""
        moved = {n: v.detach().clone() for n, v in self.leaves.items()} | {n: float(v.detach()) for n, v in self.handles.items()}
        return call_of(self.signature, self.values | moved, origin)


def _spread(value: torch.Tensor) -> float:
    found = float(value.detach().double().std()) if value.numel() > 1 else abs(float(value.detach()))
    return found if math.isfinite(found) and found > 1e-3 else 0.3


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def evolve(
    flow: Flow,
    run: Callable[[Call], Trace | None],
    path: Path,
    starts: Iterable[Call],
    sampler: Sampler,
    limit: int,
    program: Program | None = None,
) -> Found:
    """Mutation and selection on how far along `path` a call goes, then on the distance to going on where it leaves it.

    The distance is the decision's robustness where a Program is at hand, else the margin that the trace tells.
    """
    rng = random.Random(f"dync-evolve-{sampler.seed}-{len(path)}")
    pool: list[tuple[tuple[float, float], Call]] = []
    waiting, spent = list(starts), 0
    while spent < limit:
        call = waiting.pop(0) if waiting else _mutated(sampler, rng, pool) if pool else sampler.random(spent)
        trace = run(call)
        spent += 1
        if trace is None:
            continue
        depth, margin = _fitness(flow, trace, path)
        if depth == len(path):
            return Found(Call(call.args, call.kwargs, call.params, "mutation search"), runs=spent)
        margin = margin if program is None else min(margin, distance(program, path[: depth + 1], call))
        pool = sorted([*pool, ((-depth, margin), call)], key=lambda e: e[0])[:6]
    best = [m for (d, m), _ in pool if math.isfinite(m) and -d >= len(path) - 2]
    return Found(closest=best[0] if best else None, runs=spent)


def distance(program: Program, path: Path, call: Call) -> float:
    """How far the last decision of `path` is from going the wanted way; infinite where that cannot be told."""
    point = _Point(program, call)
    try:
        with torch.no_grad():
            done = force(program, path, *point.entry())
    except (RuntimeError, IndexError, ValueError, ArithmeticError, TypeError):  # a block cannot run on this way
        return math.inf
    last = done[-1].distance if done else None
    found = math.inf if last is None else abs(float(last.detach()))
    return found if math.isfinite(found) else math.inf


def _fitness(flow: Flow, trace: Trace, path: Path) -> tuple[int, float]:
    """How many steps of `path` the run took, and the margin of the decision where it left it."""
    gone = steps(flow, trace)
    depth = next((i for i, (a, b) in enumerate(zip(gone, path)) if a != b), min(len(gone), len(path)))
    left = sum(bool(label) for _, label in gone[:depth])
    margin = trace.decisions[left].margin if depth < len(path) and left < len(trace.decisions) else None
    return depth, margin if margin is not None and math.isfinite(margin) else math.inf


def _mutated(sampler: Sampler, rng: random.Random, pool: list[tuple[tuple[float, float], Call]]) -> Call:
    parent = rng.choice(pool)[1]
    values = leaf_values(sampler.signature, parent)
    way = rng.choice(["noise", "scale", "shift", "element", "fresh", "param"])
    if way == "fresh":
        return sampler.random(rng.randrange(1000))
    for one in sampler.signature.inputs:
        value = values[one.path]
        if isinstance(value, torch.Tensor) and value.numel() and way != "param":
            values[one.path] = _nudged(value.detach(), way, rng, sampler, sampler.ranges.get(one.path, (0, 9)))
    params = sampler.params(plain=False) if way == "param" or rng.random() < 0.2 else {}
    return call_of(sampler.signature, values | params, "mutation search")


def _nudged(value: torch.Tensor, way: str, rng: random.Random, sampler: Sampler, bounds: tuple[float, float]) -> torch.Tensor:
    new = value.clone()
    if not value.is_floating_point():
        at = rng.randrange(value.numel())
        new.view(-1)[at] = bool(rng.getrandbits(1)) if value.dtype == torch.bool else rng.randint(int(bounds[0]), int(bounds[1]))
        return new
    size = _spread(value) * rng.choice([0.03, 0.3, 1.0])
    match way:
        case "noise":
            return new + size * torch.randn(value.shape, generator=sampler.generator).to(value)
        case "scale":
            return new * math.exp(rng.gauss(0, 0.7))
        case "shift":
            return new + rng.gauss(0, 1) * size
        case _:
            new.view(-1)[rng.randrange(value.numel())] += rng.gauss(0, 3) * size
            return new


def prefix(path: Path, block: str) -> Path:
    """The part of a path up to the first time that it leaves `block`."""
    at = next((i for i, (name, _) in enumerate(path) if name == block), len(path) - 1)
    return path[: at + 1]
