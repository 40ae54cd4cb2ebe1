"""Every model of the zoo: does dync take it, are its results eager's, how fast is it over inputs that take different paths."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from math import exp, log

from benchmarks.options import Options
from benchmarks.peers import Refused, reason
from benchmarks.result import Result
from benchmarks.subject import compile_dync, same
from benchmarks.timing import interleave

COMPILE_LIMIT = 90
"""Seconds that a model may take to compile."""


class OutOfTime(BaseException):
    """Not an Exception: capture turns those of a model's code into its own."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises OutOfTime inside when the seconds are over."""

    def stop(number: int, frame: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(options: Options) -> Result:
    from dync.models import ZOO

    rows, notes, ratios, ok = [], [], [], True
    for name, where in ZOO.items():
        try:
            row = one(name, where, options)
        except Refused as error:
            notes.append(f"{name} is not taken: {error}")
            rows.append((name, None, None, None, None, "not taken"))
            continue
        except OutOfTime:
            ok = False
            notes.append(f"{name} did not compile within {COMPILE_LIMIT} s")
            rows.append((name, None, None, None, None, "OUT OF TIME"))
            continue
        except Exception as error:  # a bug of dync: shown, and the other models still run
            ok = False
            notes.append(f"{name} broke: {reason(error)}")
            rows.append((name, None, None, None, None, "BROKE"))
            continue
        ok &= row[-1] == "equal"
        ratios.append(row[4])
        rows.append(row)
    if ratios:
        mean = exp(sum(map(log, ratios)) / len(ratios))
        notes.append(f"{len(ratios)} of {len(rows)} models; geometric mean {mean:.2f} times as fast as eager, least {min(ratios):.2f}")
    columns = ("model", "compile s", "eager ms", "dync ms", "times as fast as eager", "against eager")
    return Result("zoo", "The zoo against eager PyTorch, batch 1", columns, tuple(rows), tuple(notes), ok)


def one(name: str, where: str, options: Options) -> tuple:
    """The row of a model. Raises Refused where dync does not take it."""
    module, _, function = where.partition(":")
    namespace = import_module(module)
    model, inputs = getattr(namespace, function)(), namespace.varied_inputs()
    start = time.perf_counter()
    with limited(COMPILE_LIMIT):
        compiled = compile_dync(model, inputs[0], threads=options.threads)
    seconds = time.perf_counter() - start
    # results of a model with state depend on its earlier calls: both go through the same ones
    right = sum(same(compiled(*args), model(*args)) for args in inputs)
    times = interleave({"eager": model, "dync": compiled}, inputs, options.seconds)
    eager, ours = times["eager"].median, times["dync"].median
    return name, seconds, eager, ours, eager / ours, "equal" if right == len(inputs) else f"WRONG on {len(inputs) - right} of {len(inputs)}"
