"""Finds a call by mutation and selection: where no gradient leads, or no Program is at hand."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable

import torch

from dync.ir.flow import Flow
from dync.ir.program import Program
from dync.ir.trace import Trace
from dync.verify.calls import Call
from dync.verify.inputs import Sampler, call_of, leaf_values
from dync.verify.paths import Path, steps
from dync.verify.point import BROKEN, Point, spread
from dync.verify.relax import force
from dync.verify.search import Found

Pool = list[tuple[tuple[float, float], Call]]


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
    """Mutation and selection on how far along `path` a call goes, then on the distance to going on where it leaves it.

    anyhow: only the last step of the path matters, whatever way leads there. until: a time on the clock after which
    no further call is run. The distance is the decision's robustness where a
    Program is at hand, else the margin that the trace tells.
    """
    rng = random.Random(f"dync-evolve-{sampler.seed}-{len(path)}")
    pool: Pool = []
    waiting, spent = list(starts), 0
    while spent < limit and time.monotonic() < until:
        call = waiting.pop(0) if waiting else _mutated(sampler, rng, pool) if pool else sampler.random(spent)
        trace = run(call)
        spent += 1
        if trace is None:
            continue
        gone = steps(flow, trace)
        if anyhow and path[-1] in gone:
            return Found(_found(call), runs=spent)
        depth, margin = _fitness(gone, trace, path)
        if depth == len(path):
            return Found(_found(call), runs=spent)
        if anyhow and any(name == path[-1][0] for name, _ in gone):
            near = [d.margin for d in trace.decisions if d.block == path[-1][0] and d.margin is not None and math.isfinite(d.margin)]
            depth, margin = len(path) - 1, min(near, default=math.inf)
        elif program is not None:
            margin = min(margin, distance(program, path[: depth + 1], call))
        pool = sorted([*pool, ((-depth, margin), call)], key=lambda e: e[0])[:6]
    best = [m for (d, m), _ in pool if math.isfinite(m) and -d >= len(path) - 2]
    return Found(closest=best[0] if best else None, runs=spent)


def _found(call: Call) -> Call:
    return Call(call.args, call.kwargs, call.params, "mutation search")


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


def _fitness(gone: Path, trace: Trace, path: Path) -> tuple[int, float]:
    """How many steps of `path` the run took, and the margin of the decision where it left it."""
    depth = next((i for i, (a, b) in enumerate(zip(gone, path)) if a != b), min(len(gone), len(path)))
    left = sum(bool(label) for _, label in gone[:depth])
    margin = trace.decisions[left].margin if depth < len(path) and left < len(trace.decisions) else None
    return depth, margin if margin is not None and math.isfinite(margin) else math.inf


def _mutated(sampler: Sampler, rng: random.Random, pool: Pool) -> Call:
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
    size = spread(value) * rng.choice([0.03, 0.3, 1.0])
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
