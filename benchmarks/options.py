"""What a run of the benchmarks is asked to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """threads: of every runner. seconds: about how long each group of runners is timed. models: of the zoo, all if empty."""

    threads: int = 1
    seconds: float = 2.0
    models: tuple[str, ...] = ()
