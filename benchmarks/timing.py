"""Interleaved timing: all runners in turn in one process, so that a slow moment of the machine hits them alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, median, quantiles
from typing import Any


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call, over `calls` measured calls: the median of each input's calls, averaged over the inputs.

    The median of all calls would hang on which inputs' paths lie in the middle, where one path takes ten times as long as another.
    """

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
    taken: dict[str, list[list[float]]] = {name: [[] for _ in inputs] for name in names}
    for name in names:
        for n in range(max(warm_up, len(inputs))):
            runners[name](*inputs[n % len(inputs)])
    end = time.perf_counter() + seconds
    turn = 0
    while turn < most and (turn < max(2 * len(names), 3 * len(inputs)) or time.perf_counter() < end):
        n = turn % len(inputs)
        for name in order.sample(names, len(names)):
            run = runners[name]
            run(*inputs[n])
            start = time.perf_counter_ns()
            run(*inputs[n])
            taken[name][n].append((time.perf_counter_ns() - start) / 1e6)
        turn += 1
    return {name: latency(times) for name, times in taken.items()}


def latency(times: list[list[float]]) -> Latency:
    """Of the calls on each input."""
    return Latency(fmean(map(median, times)), fmean(quantiles(t, n=10)[-1] for t in times), sum(map(len, times)))
