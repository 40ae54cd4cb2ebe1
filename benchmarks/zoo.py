"""Every model of the zoo: does dync take it, are its results eager's, how fast is it over inputs that take different paths."""

from __future__ import annotations

import time
from importlib import import_module
from math import exp, log

from benchmarks.options import Options
from benchmarks.peers import Refused
from benchmarks.result import Result
from benchmarks.subject import compile_dync, same
from benchmarks.timing import interleave


def run(options: Options) -> Result:
    from dync.models import ZOO

    rows, ok, ratios, refused = [], True, [], []
    for name, where in ZOO.items():
        module, _, function = where.partition(":")
        build, namespace = getattr(import_module(module), function), import_module(module)
        inputs = namespace.varied_inputs()
        model = build()
        start = time.perf_counter()
        try:
            compiled = compile_dync(model, inputs[0], threads=options.threads)
        except Refused as error:
            refused.append(f"{name}: {error}")
            rows.append((name, None, None, None, None, "not taken"))
            continue
        seconds = time.perf_counter() - start
        # results of a model with state depend on its earlier calls: both go through the same ones
        right = sum(same(compiled(*args), model(*args)) for args in inputs)
        ok &= right == len(inputs)
        times = interleave({"eager": model, "dync": compiled}, inputs, options.seconds)
        ratio = times["eager"].median / times["dync"].median
        ratios.append(ratio)
        rows.append((name, seconds, times["eager"].median, times["dync"].median, ratio, f"{right}/{len(inputs)} equal"))
    notes = [*refused]
    if ratios:
        mean = exp(sum(map(log, ratios)) / len(ratios))
        notes.append(f"{len(ratios)} of {len(rows)} models; geometric mean {mean:.2f} times as fast as eager, least {min(ratios):.2f}")
    columns = ("model", "compile s", "eager ms", "dync ms", "times as fast as eager", "against eager")
    return Result("zoo", "The zoo against eager PyTorch, batch 1", columns, tuple(rows), tuple(notes), ok)
