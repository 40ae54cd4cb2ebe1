"""Finds a call that takes a given path by exchanging whole numbers that pick rows of a table, such as token ids.

The gradient at the picked rows tells, to first order, what every other row in their place would do; the best are tried.

    J. Ebrahimi, A. Rao, D. Lowd, D. Dou: HotFlip: White-Box Adversarial Examples for Text Classification, ACL 2018.
"""

from __future__ import annotations

import random
from contextlib import suppress

import torch

from dync.ir.program import Program
from dync.verify.calls import Call
from dync.verify.paths import Path
from dync.verify.picks import Agreements
from dync.verify.point import BROKEN, Point
from dync.verify.relax import Lookup, Step, Watch, force
from dync.verify.search import Found, Measure, contradiction, missed_by, worst

A_PLACE = 3
"""Numbers tried at each place, the best by the gradient; as many are drawn."""
TRIED = 60
"""Most of them that are tried before the next kick."""
DRAWN = 0.3
"""Share of drawn ones among them."""
KICK = 4
"""Numbers that are drawn anew where no exchange helps."""
Exchange = tuple[str, int, int]
"""Input, place in it, the new number."""


def exchange(program: Program, path: Path, start: Call, limit: int, measure: Measure = worst, rank: int | None = None) -> Found:
    """Exchanges numbers from `start`, each time for less of `measure`, until all decisions on `path` are met; kicks where stuck.

    rank: numbers that argmax picks are to agree on one class, the nearest for 0, then the next: what is nearest for each pair
    of them may be no way for all. None leaves it to each pair.
    """
    point, rng = Point(program, start), random.Random(f"dync-exchange-{len(path)}")
    if not point.whole:
        return Found()
    closest: float | None = None
    common: int | None = None
    run = 0
    while run < limit:
        run += 1 if common is None else 2
        watch = Watch(agreements=Agreements(common))
        try:
            with torch.enable_grad():
                done = force(program, path, *point.entry(), watch)
                if all(s.met for s in done):
                    return Found(point.call("exchange search"), runs=run)
                if reason := contradiction(program, done):
                    return Found(impossible=reason, runs=run)
                closest = _nearer(closest, done)
                missed = measure(done)
            if rank is not None:
                common, rank = watch.agreements.nearest(rank), None
                if common is not None:
                    continue
            if missed is None or not watch.lookups:
                return Found(closest=closest, runs=run)
            missed.backward()
        except BROKEN:
            return Found(closest=closest, runs=run)
        now, better = float(missed.detach()), ()
        for trial in _trials(watch.lookups, point, rng)[: limit - run]:
            run += 1 if common is None else 2
            if missed_by(program, path, point.with_numbers(trial), measure, common) < now:
                better = trial
                break
        point = point.with_numbers(better or _kick(watch.lookups, rng))
    return Found(closest=closest, runs=run)


def table_rows(program: Program, path: Path, call: Call) -> dict[str, int]:
    """By path of an input of whole numbers: how many rows the shortest table has that `call` picks from with it along `path`."""
    point, watch = Point(program, call), Watch()
    if not point.whole:
        return {}
    with torch.no_grad(), suppress(*BROKEN):
        force(program, path, *point.entry(), watch)
    found: dict[str, int] = {}
    for one in watch.lookups:
        name = point.whole[one.input]
        found[name] = min(found.get(name, len(one.table)), len(one.table))
    return found


def _trials(lookups: list[Lookup], point: Point, rng: random.Random) -> list[tuple[Exchange, ...]]:
    """Exchanges at one place, the most promising by the gradient first and drawn ones between them, at several places, then drawn ones."""
    gains: list[tuple[float, Exchange]] = []
    for (name, table), (gradient, places) in _gradients(lookups).items():
        rows = table.flatten(1).to(gradient.dtype)
        now = point.values[point.whole[name]].reshape(-1)[places].long()
        gain = (gradient * rows[now]).sum(1, keepdim=True) - gradient @ rows.T
        values, numbers = gain.topk(min(A_PLACE, len(rows)), dim=1)
        gains += [(float(v), (name, int(p), int(k))) for vs, p, ks in zip(values, places, numbers) for v, k in zip(vs, ks) if float(v) > 0]
    ranked = [e for _, e in sorted(gains, key=lambda g: (-g[0], g[1]))]
    best = list({(name, place): (name, place, number) for name, place, number in reversed(ranked)}.values())[::-1]
    several = [tuple(best[:n]) for n in (len(best), len(best) // 2, len(best) // 4, 2) if n > 1]
    single = [(one if rng.random() > DRAWN else _drawn(lookups, rng),) for one in ranked[:TRIED]]
    drawn = [(_drawn(lookups, rng),) for _ in range(TRIED // 3)]
    return list(dict.fromkeys([*single, *several, *drawn]))


def _gradients(lookups: list[Lookup]) -> dict[tuple[str, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """By input and table: the gradient at each place, [n, d], and the places; of all lookups together."""
    groups: dict[tuple[str, int], list[Lookup]] = {}
    for one in lookups:
        if one.rows.grad is not None and one.rows.grad.isfinite().all():
            groups.setdefault((one.input, one.table.data_ptr()), []).append(one)
    found = {}
    for (name, _), group in groups.items():
        places, at = torch.cat([one.places.reshape(-1) for one in group]).unique(return_inverse=True)
        gradient = torch.cat([one.rows.grad.reshape(one.places.numel(), -1) for one in group])  # type: ignore[union-attr]
        found[name, group[0].table] = torch.zeros(len(places), gradient.shape[1]).to(gradient).index_add_(0, at, gradient), places
    return found


def _drawn(lookups: list[Lookup], rng: random.Random) -> Exchange:
    one = rng.choice(lookups)
    return one.input, int(rng.choice(one.places.reshape(-1))), rng.randrange(len(one.table))


def _kick(lookups: list[Lookup], rng: random.Random) -> tuple[Exchange, ...]:
    return tuple(_drawn(lookups, rng) for _ in range(KICK))


def _nearer(closest: float | None, done: tuple[Step, ...]) -> float | None:
    missing = [s for s in done if not s.met]
    if len(missing) != 1 or missing[0].distance is None:
        return closest
    found = abs(float(missing[0].distance.detach()))
    return found if closest is None else min(closest, found)
