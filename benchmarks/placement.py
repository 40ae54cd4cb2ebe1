"""Placement by measurement: `--backend auto` against each backend alone on every model of the zoo, and compiling cold and warm."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from statistics import geometric_mean
from typing import Any

from benchmarks.options import Options
from benchmarks.peers import reason
from benchmarks.result import Result, cell
from benchmarks.rows import Row, chosen, taken
from benchmarks.subject import same
from benchmarks.timing import interleave

LEFT_OUT = ("inductor",)
"""Alone it compiles for minutes a model; auto asks it where nothing else but eager takes a block."""


@contextmanager
def empty_cache() -> Iterator[None]:
    """A folder of its own for compiled code."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory(prefix="dync-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if before is not None:
                os.environ["XDG_CACHE_HOME"] = before


def backends() -> tuple[str, ...]:
    """Those that are here and compile in reasonable time."""
    import dync

    return tuple(b.name for b in dync.targets().backends if b.available and b.name not in LEFT_OUT)


def run(options: Options) -> Result:
    names = backends()
    rows, notes, ok = [], [], True
    for name, where in chosen(options.models).items():
        try:
            compiled, cold, warm, right, times = one(where, names, options)
        except Exception as error:  # shown, and the other models still run
            notes.append(f"{name}: did not run: {reason(error)}")
            continue
        ratios = [times[n] / times["auto"] for n in names]
        verdict = "equal" if right else "WRONG"
        rows.append((name, compiled.report.host, cold, warm, cold / warm, times["auto"], *ratios, verdict, taken()))
        ok &= right
    columns = ("model", "host", "cold s", "warm s", "cold / warm", "auto ms", *(f"{n} / auto" for n in names), "against eager", "taken at")
    return Result("placement", "Placement: auto against each backend alone", columns, tuple(rows), tuple(notes), ok)


def summary(rows: Sequence[Row]) -> str:
    names = backends()
    ratios = {str(row[0]): [float(cell(c)) for c in row[6 : 6 + len(names)]] for row in rows}
    means = ", ".join(f"{n} {geometric_mean(column):.3g}" for n, column in zip(names, zip(*ratios.values()), strict=True))
    worst = min(ratios, key=lambda n: min(ratios[n]))
    warmth = [float(cell(row[4])) for row in rows]
    return (
        f"geometric mean of each backend's time over auto's: {means}; auto against the best single backend, worst model: "
        f"{1 / min(ratios[worst]):.3g} ({worst}); 1 where auto's program is that backend's, byte for byte, which is not timed twice; a "
        f"second compilation, capture not counted, is {geometric_mean(warmth):.3g} times as fast, least {min(warmth):.3g}"
    )


def twins(a: Any, b: Any) -> bool:
    """Whether two compilations made the same program: host, and code and settings of every block."""
    mine, other = a.package, b.package
    same_code = dict(mine.members) == dict(other.members) and mine.kernels == other.kernels
    return same_code and a.report.host == b.report.host and mine.engine == other.engine and mine.regions == other.regions


def one(where: str, names: tuple[str, ...], options: Options) -> tuple[Any, float, float, bool, Mapping[str, float]]:
    """auto's program, seconds to compile it cold and warm, whether all are right, and milliseconds of a call by backend."""
    import dync
    from dync.api import compile_with
    from dync.options import CompileOptions

    module, _, function = where.partition(":")
    home = import_module(module)
    model, inputs = getattr(home, function)().eval(), home.varied_inputs()
    program = dync.capture(model, inputs[0])
    with empty_cache():
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            runs = {"auto": compile_with(CompileOptions.parse(threads=options.threads), program, inputs[0])}
            seconds.append(time.perf_counter() - start)
        for name in names:
            runs[name] = compile_with(CompileOptions.parse(backend=name, threads=options.threads), program, inputs[0])
    right = True
    for args in inputs:  # results of a model with state depend on its earlier calls: all go through the same ones
        wanted = model(*args)
        right &= all([same(one(*args), wanted) for one in runs.values()])
    same_as_auto = [n for n in names if twins(runs["auto"], runs[n])]
    times = {n: t.median for n, t in interleave({n: r for n, r in runs.items() if n not in same_as_auto}, inputs, options.seconds).items()}
    return runs["auto"], *seconds, right, times | {n: times["auto"] for n in same_as_auto}
