"""Interleaved timing: all runners in turn in one process, so that a slow moment of the machine hits them alike."""

from __future__ import annotations

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
    """Call every runner on every input in turn, round after round, for about `seconds`; the order rotates each round."""
    names = list(runners)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        for n in range(max(warm_up, len(inputs))):
            runners[name](*inputs[n % len(inputs)])
    end = time.perf_counter() + seconds
    turn = 0
    while turn < most and (turn < 2 * len(names) or time.perf_counter() < end):
        args = inputs[turn % len(inputs)]
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            run = runners[name]
            start = time.perf_counter_ns()
            run(*args)
            taken[name].append((time.perf_counter_ns() - start) / 1e6)
        turn += 1
    return {name: Latency(median(t), quantiles(t, n=10)[-1], len(t)) for name, t in taken.items()}
