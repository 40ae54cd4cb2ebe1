"""What a program asks of the world outside of it, and says there: random numbers outside torch, the time, log messages, warnings."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any

DRAWS: dict[str, int] = {
    "random.random": 0, "random.uniform": 2, "random.gauss": 2, "random.normalvariate": 2, "random.expovariate": 1, "random.betavariate": 2,
    "random.randrange": 2, "numpy.random.random": 0, "numpy.random.uniform": 2, "numpy.random.standard_normal": 0, "numpy.random.normal": 2,
    "numpy.random.randint": 2,
    **{f"numpy.random.{n}": 2 for n in ("laplace", "logistic", "gumbel", "lognormal", "beta", "gamma", "binomial")},
    **{f"numpy.random.{n}": 1 for n in ("exponential", "poisson", "geometric")}}
"""Draws from the generators of Python and NumPy, one number each, and how many operands they take."""
SEEDS: dict[str, int] = {"random.seed": 1, "numpy.random.seed": 1, "torch.manual_seed": 1}
CLOCKS: dict[str, int] = {
    **{f"time.{n}": 0 for n in ("time", "perf_counter", "monotonic", "process_time", "time_ns", "perf_counter_ns", "monotonic_ns",
                                "process_time_ns")},
    "time.sleep": 1}
"""What asks for the time, or lets it pass: what stands before it in the source is computed before."""

_SHOWN: dict[Any, Any] = {}
"""Warnings that were shown, as `warnings` keeps them for the module that warns."""


def outside(name: str) -> Callable[..., Any]:
    """The function of a module at a dotted path. It is looked up when it is called: the module is imported then."""
    module, *path = name.split(".")

    def call(*args: Any) -> Any:
        function: Any = reduce(getattr, path, import_module(module))
        return function(*args)

    return call


def log(logger: str, level: int, text: str, file: str, line: int) -> None:
    """A message of the logger of a name ("root" for the one above all), from a line of the model."""
    import logging

    to = logging.getLogger(None if logger == "root" else logger)
    if to.isEnabledFor(level):
        to.handle(to.makeRecord(to.name, level, file, line, text, (), None))


def warn(category: str, text: str, file: str, line: int) -> None:
    """A warning of a class of Python's own, from a line of the model. Raises it where the filters of `warnings` say so."""
    import warnings

    warnings.warn_explicit(text, getattr(builtins, category), file, line, registry=_SHOWN)
