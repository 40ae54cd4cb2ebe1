"""Finds a call that takes a given path by exchanging whole numbers that pick rows of a table, such as token ids.

The gradient at the picked rows tells, to first order, what every other row in their place would do; the best are tried.

    J. Ebrahimi, A. Rao, D. Lowd, D. Dou: HotFlip: White-Box Adversarial Examples for Text Classification, ACL 2018.
"""

from __future__ import annotations

import math
import random
from contextlib import suppress

import torch

from dync.ir.program import Program
from dync.verify.calls import Call
from dync.verify.paths import Path
from dync.verify.point import BROKEN, Point
from dync.verify.relax import Lookup, Step, force
from dync.verify.search import Found, contradiction, total

TRIED = 6
"""Exchanges tried in each round, the best by the gradient."""
KICK = 3
"""Numbers that are drawn anew where no exchange helps."""
Exchange = tuple[str, int, int]
"""Input, place in it, the new number."""


def exchange(program: Program, path: Path, start: Call, limit: int) -> Found:
    """Exchanges numbers, greedily, from `start` until all decisions on `path` are met; random ones where it is stuck."""
    point, rng = Point(program, start), random.Random(f"dync-exchange-{len(path)}")
    if not point.whole:
        return Found()
    first: dict[int, float] = {}
    seen: set[tuple[Exchange, ...]] = set()
    closest: float | None = None
    run = 0
    while run < limit:
        run += 1
        lookups: list[Lookup] = []
        try:
            with torch.enable_grad():
                done = force(program, path, *point.entry(), lookups)
                if all(s.met for s in done):
                    return Found(point.call("exchange search"), runs=run)
                if reason := contradiction(program, done):
                    return Found(impossible=reason, runs=run)
                closest = _nearer(closest, done)
                loss = total(done, first)
            if loss is None or not lookups:
                return Found(closest=closest, runs=run)
            loss.backward()
        except BROKEN:
            return Found(closest=closest, runs=run)
        best, chosen = float(loss.detach()), ()
        for trial in _trials(lookups, point):
            if trial in seen or run >= limit:
                continue
            run += 1
            found = _value(program, path, point.with_numbers(trial), first)
            if found < best:
                best, chosen = found, trial
        seen.add(chosen)
        point.set_numbers(chosen or _kick(lookups, point, rng))
    return Found(closest=closest, runs=run)


def table_rows(program: Program, path: Path, call: Call) -> dict[str, int]:
    """By path of an input of whole numbers: how many rows the shortest table has that `call` picks from with it along `path`."""
    point, lookups = Point(program, call), list[Lookup]()
    if not point.whole:
        return {}
    with torch.no_grad(), suppress(*BROKEN):
        force(program, path, *point.entry(), lookups)
    found: dict[str, int] = {}
    for one in lookups:
        name = point.whole[one.input]
        found[name] = min(found.get(name, len(one.table)), len(one.table))
    return found


def _value(program: Program, path: Path, point: Point, first: dict[int, float]) -> float:
    try:
        with torch.no_grad():
            loss = total(force(program, path, *point.entry()), first)
    except BROKEN:
        return math.inf
    return math.inf if loss is None else float(loss)


def _trials(lookups: list[Lookup], point: Point) -> list[tuple[Exchange, ...]]:
    """Exchanges at one place and at several places at once, the most promising first."""
    gains: list[tuple[float, Exchange]] = []
    for (name, table), (gradient, places) in _gradients(lookups).items():
        rows = table.flatten(1).to(gradient.dtype)
        now = point.values[point.whole[name]].reshape(-1)[places].long()
        gain = (gradient * rows[now]).sum(1, keepdim=True) - gradient @ rows.T
        value, number = gain.max(dim=1)
        gains += [(float(v), (name, int(p), int(k))) for v, p, k in zip(value, places, number) if float(v) > 0]
    ranked = [e for _, e in sorted(gains, key=lambda g: (-g[0], g[1]))]
    several = [tuple(ranked[:n]) for n in (len(ranked), len(ranked) // 2, len(ranked) // 4, 2) if n > 1]
    return list(dict.fromkeys([*((e,) for e in ranked[: TRIED - 3]), *several[-3:]]))


def _gradients(lookups: list[Lookup]) -> dict[tuple[str, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """By input and table: the gradient at each place, [n, d], and the places."""
    found = {}
    for one in lookups:
        if one.rows.grad is None or not one.rows.grad.isfinite().all():
            continue
        places, at = one.places.reshape(-1).unique(return_inverse=True)
        gradient = one.rows.grad.reshape(len(at), -1)
        found[one.input, one.table] = torch.zeros(len(places), gradient.shape[1]).to(gradient).index_add_(0, at, gradient), places
    return found


def _kick(lookups: list[Lookup], point: Point, rng: random.Random) -> tuple[Exchange, ...]:
    one = rng.choice(lookups)
    places = one.places.reshape(-1).tolist()
    return tuple((one.input, rng.choice(places), rng.randrange(len(one.table))) for _ in range(KICK))


def _nearer(closest: float | None, done: tuple[Step, ...]) -> float | None:
    missing = [s for s in done if not s.met]
    if len(missing) != 1 or missing[0].distance is None:
        return closest
    found = abs(float(missing[0].distance.detach()))
    return found if closest is None else min(closest, found)
