"""Can verification reach everything? Every decision of every model of the zoo, from random weights and one example call."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module

from benchmarks.options import Options
from benchmarks.peers import Refused
from benchmarks.result import Cell, Result
from benchmarks.rows import Row, chosen, taken, total
from benchmarks.zoo import COMPILE_LIMIT, OutOfTime, limited
from dync.verify.report import Uncovered

COLUMNS = (
    "model",
    "calls",
    "outcomes reached",
    "of",
    "paths taken",
    "flips",
    "worst ULP",
    "compile s",
    "verify s",
    "against eager",
    "taken at",
)
SECONDS = 240.0
"""After this the search for a model begins nothing new."""


def run(options: Options) -> Result:
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    for name, where in chosen(options.models).items():
        try:
            row, more = one(name, where, options)
        except (Refused, OutOfTime) as error:
            row = (name, *[None] * (len(COLUMNS) - 3), "not taken", taken())
            more = [f"not taken: {error or f'its capture took more than {COMPILE_LIMIT} s'}"]
        rows.append(row)
        notes += [f"{name}: {said}" for said in more]
    return Result("coverage", "Decisions that verification reaches", COLUMNS, tuple(rows), tuple(notes), all(r[-2] == "same" for r in rows))


def one(name: str, where: str, options: Options) -> tuple[tuple[Cell, ...], list[str]]:
    """The row of a model, and what was not reached. Raises Refused where dync does not take it."""
    from benchmarks.subject import compile_dync
    from dync.verify.run import verify

    module, _, function = where.partition(":")
    namespace = import_module(module)
    model, example = getattr(namespace, function)(), namespace.example_inputs()
    start = time.perf_counter()
    with limited(COMPILE_LIMIT):
        compiled = compile_dync(model, example, threads=options.threads)
    middle = time.perf_counter()
    report = verify(model, compiled, [example], cover="decisions", seconds=SECONDS)
    end = time.perf_counter()
    reached = sum(d.calls > 0 for d in report.decisions)
    missing = [*(_said(u.name, u) for u in report.uncovered), *_together(report.unreachable)]
    verdict = "same" if report.ok else f"MISMATCH {report.mismatches[0] if report.mismatches else 'nothing compared'}"
    ways = sum(p.calls > 0 for p in report.paths)
    figures = (report.runs, reached, len(report.decisions), ways, len(report.flips), report.worst.ulp, middle - start, end - middle)
    return (name, *figures, verdict, taken()), missing


def _said(name: str, one: Uncovered) -> str:
    """The line of a report, with the file's name for its path."""
    return re.sub(r"\(\S*/", "(", str(replace(one, name=name)))


def _together(impossible: Sequence[Uncovered]) -> Iterator[str]:
    """Outcomes that one line of the model has, and one reason rules out, in one note."""
    groups: dict[tuple[object, str], list[Uncovered]] = {}
    for one in impossible:
        groups.setdefault((one.span, one.reason), []).append(one)
    for same in groups.values():
        yield _said(", ".join(one.name for one in same), same[0])


def summary(rows: Sequence[Row]) -> str:
    return f"{total(rows, 2)} of {total(rows, 3)} outcomes of {len(rows)} models reached; a search ends after {SECONDS:.0f} s"
