"""Finds a call by mutation and selection: where no gradient leads, or no Program is at hand."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch

from dync.ir.flow import Flow
from dync.ir.program import Program
from dync.ir.trace import Trace
from dync.verify.calls import Call
from dync.verify.inputs import Sampler, call_of, leaf_values
from dync.verify.paths import Path, steps
from dync.verify.point import BROKEN, Point, spread
from dync.verify.relax import force
from dync.verify.search import Found, missed_by

POOL = 16
AFRESH = 0.1
"""Share of new random calls among the mutated ones."""
Fitness = tuple[float, float]
"""Smaller is better: steps of the path that were not gone (negative), then the distance; what a forced run's worst decision misses."""


def evolve(
    flow: Flow,
    run: Callable[[Call], Trace | None],
    path: Path,
    starts: Iterable[Call],
    sampler: Sampler,
    limit: int,
    program: Program | None = None,
    anyhow: bool = False,
    until: float = math.inf,
) -> Found:
    """Mutation and selection on what is missing along `path` as a whole; without a Program, or where a forced run tells
    nothing, on how far along it a call goes, then on the margin of going on where it leaves it.

    anyhow: only the last step of the path matters, whatever way leads there. until: a time on the clock after which
    no further call is run.
    """
    rng = random.Random(f"dync-evolve-{sampler.seed}-{len(path)}")
    pool: list[tuple[Fitness, Call]] = []
    waiting, spent = list(starts), 0
    while spent < limit and time.monotonic() < until:
        parent = None
        if waiting or len(pool) < POOL:
            call = waiting.pop(0) if waiting else sampler.random(spent)
        elif rng.random() < AFRESH:
            call = sampler.random(rng.randrange(1000))
        else:
            parent = min(rng.sample(range(len(pool)), 2), key=lambda i: pool[i][0])
            call = _mutated(sampler, rng, pool[parent][1])
        trace = run(call)
        spent += 1
        if trace is None:
            continue
        gone = steps(flow, trace)
        if anyhow and path[-1] in gone or gone[: len(path)] == path:
            return Found(_found(call), runs=spent)
        entry = (_fitness(program, gone, trace, path, call, anyhow), call)
        if len(pool) < POOL:
            pool.append(entry)
            continue
        place = max(range(POOL), key=lambda i: pool[i][0]) if parent is None else parent
        if entry[0] <= pool[place][0]:
            pool[place] = entry
    best = min((f for f, _ in pool), default=(0.0, math.inf))
    near = distance(program, path, min(pool, key=lambda e: e[0])[1]) if pool and program is not None else best[1]
    return Found(closest=near if math.isfinite(near) and -best[0] >= len(path) - 2 else None, runs=spent)


def _fitness(
    program: Program | None, gone: Path, trace: Trace, path: Path, call: Call, anyhow: bool
) -> Fitness:  # fmt: skip
    if program is not None:
        missed = missed_by(program, path, Point(program, call))
        if math.isfinite(missed):
            return -len(path), missed
    if anyhow and any(name == path[-1][0] for name, _ in gone):
        near = [d.margin for d in trace.decisions if d.block == path[-1][0] and d.margin is not None and math.isfinite(d.margin)]
        return 1 - len(path), min(near, default=math.inf)
    depth, margin = _progress(gone, trace, path)
    return -depth, margin


def _found(call: Call) -> Call:
    return replace(call, origin="mutation search")


def distance(program: Program, path: Path, call: Call) -> float:
    """How far the last decision of `path` is from going the wanted way; infinite where that cannot be told."""
    point = Point(program, call)
    try:
        with torch.no_grad():
            done = force(program, path, *point.entry())
    except BROKEN:
        return math.inf
    last = done[-1].distance if done else None
    found = math.inf if last is None else abs(float(last.detach()))
    return found if math.isfinite(found) else math.inf


def _progress(gone: Path, trace: Trace, path: Path) -> tuple[int, float]:
    """How many steps of `path` the run took, and the margin of the decision where it left it."""
    depth = next((i for i, (a, b) in enumerate(zip(gone, path)) if a != b), min(len(gone), len(path)))
    left = sum(bool(label) for _, label in gone[:depth])
    margin = trace.decisions[left].margin if depth < len(path) and left < len(trace.decisions) else None
    return depth, margin if margin is not None and math.isfinite(margin) else math.inf


def _mutated(sampler: Sampler, rng: random.Random, parent: Call) -> Call:
    values = leaf_values(sampler.signature, parent)
    way = rng.choice(
        ["noise", "scale", "shift", "element", "swap", "param"]
        if sampler.signature.params
        else ["noise", "scale", "shift", "element", "swap"]
    )
    for one in sampler.signature.inputs:
        value = values[one.path]
        if isinstance(value, torch.Tensor) and value.numel() and way != "param":
            values[one.path] = _nudged(value.detach(), way, rng, sampler, sampler.ranges.get(one.path, (0, 9)))
    params = sampler.params(plain=False) if way == "param" or rng.random() < 0.2 else {}
    return call_of(sampler.signature, values | params, "mutation search", parent.seed)


def _nudged(value: torch.Tensor, way: str, rng: random.Random, sampler: Sampler, bounds: tuple[float, float]) -> torch.Tensor:
    new = value.clone()
    if not value.is_floating_point():
        return _exchanged(new.contiguous(), way, rng, (0, 1) if value.dtype == torch.bool else bounds)
    size = spread(value) * rng.choice([0.03, 0.3, 1.0])
    match way:
        case "noise":
            return new + size * torch.randn(value.shape, generator=sampler.generator).to(value)
        case "scale":
            return new * math.exp(rng.gauss(0, 0.7))
        case "shift":
            return new + rng.gauss(0, 1) * size
        case "swap":
            return _exchanged(new.contiguous(), way, rng, (0, 0))
        case _:
            new = new.contiguous()
            new.view(-1)[rng.randrange(value.numel())] += rng.gauss(0, 3) * size
            return new


def _exchanged(new: torch.Tensor, way: str, rng: random.Random, bounds: tuple[float, float]) -> torch.Tensor:
    """Whole numbers: one or several drawn anew, one exchanged everywhere, a run of one and the same, two swapped."""
    flat, number = new.view(-1), rng.randint(int(bounds[0]), int(bounds[1]))
    low, high = sorted(rng.choices(range(len(flat)), k=2))
    match way:
        case "noise":
            for _ in range(rng.randint(2, 4)):
                flat[rng.randrange(len(flat))] = rng.randint(int(bounds[0]), int(bounds[1]))
        case "scale":
            flat[flat == flat[low].clone()] = number
        case "shift":
            flat[low : high + 1] = flat[low].clone()
        case "swap":
            flat[low], flat[high] = flat[high].clone(), flat[low].clone()
        case _:
            flat[low] = number
    return new
