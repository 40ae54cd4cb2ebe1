"""Interleaved timing: all runners in turn in one process, so that a slow moment of the machine hits them alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call, over `calls` measured calls."""

    median: float
    p90: float
    calls: int


def interleave(
    runners: Mapping[str, Callable[..., Any]], inputs: list[tuple], seconds: float = 1.0, warm_up: int = 3, most: int = 2000
) -> dict[str, Latency]:
    """Call every runner on every input in turn, round after round, for about `seconds`.

    The order is drawn anew each round, and each timed call comes after one of the same runner on the same input: what another left in
    the caches would else be counted, for or against whoever comes next.
    """
    names, order = list(runners), random.Random(0)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        for n in range(max(warm_up, len(inputs))):
            runners[name](*inputs[n % len(inputs)])
    end = time.perf_counter() + seconds
    turn = 0
    while turn < most and (turn < 2 * len(names) or time.perf_counter() < end):
        args = inputs[turn % len(inputs)]
        for name in order.sample(names, len(names)):
            run = runners[name]
            run(*args)
            start = time.perf_counter_ns()
            run(*args)
            taken[name].append((time.perf_counter_ns() - start) / 1e6)
        turn += 1
    return {name: Latency(median(t), quantiles(t, n=10)[-1], len(t)) for name, t in taken.items()}
