"""Does verification find faults? Programs of the zoo, each wrong in one place, held against their own model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import import_module

from benchmarks.options import Options
from benchmarks.peers import Refused, reason
from benchmarks.result import Result
from benchmarks.rows import Row, chosen, taken, total
from benchmarks.zoo import OutOfTime, limited
from dync.verify.mutate import mutants

CAPTURE_LIMIT = 90
"""Seconds that the capture of a model may take."""
PER_MODEL = 15
"""Most faults a model."""
SECONDS = 90.0
"""After this no further fault is planted in a model."""
BUDGET = 60
"""Calls a mutant. The search is told nothing of where the fault is."""

DEAD = "equivalent: the last layer's rows of other tokens than the last are not read, only its routes are"
EXPLAINED = {
    "duo-llm: dropped block at b49.add_345": DEAD,
    "duo-llm: wrong weight at layers.2.small.w3.weight.t1 and layers.2.small.w1.weight.t2 swapped": DEAD,
    "kangaroo: constant predicate at b16 False": "shown only where draft and model both choose the end token and the draft is sure of it; "
    "no prompt that does is known: 60 ascents over every exchange of a token end 1.1 short in log-odds",
    "rbqe: dropped block at b69.mean_483": "shown only by an image that leaves by the third exit, which 60 calls do not find",
}
"""Survivors that were looked at by hand: "equivalent" where no call shows them in what it returns, raises or writes, else why none was
found."""


def run(options: Options) -> Result:
    rows, notes = [], []
    for name, where in chosen(options.models).items():
        try:
            tried, survivors, seconds = one(where)
        except (Refused, OutOfTime) as error:
            notes.append(f"{name}: not in it: {error or f'its capture took more than {CAPTURE_LIMIT} s'}")
            continue
        why = {s: EXPLAINED.get(f"{name}: {s}", "") for s in survivors}
        rows.append((name, tried, tried - len(survivors), sum(r.startswith("equivalent") for r in why.values()), seconds, taken()))
        notes += [f"{name}: survived: {s}; {reason or 'NOT EXPLAINED'}" for s, reason in why.items()]
    columns = ("model", "planted", "found", "equivalent", "s", "taken at")
    return Result("planted-faults", "Planted faults, found by verification", columns, tuple(rows), tuple(notes))


def summary(rows: Sequence[Row]) -> str:
    planted, found, equivalent = (total(rows, column) for column in (1, 2, 3))
    shown = planted - equivalent
    return (
        f"{found} of {planted} planted faults found ({100 * found / max(1, planted):.1f} %); of the {shown} that some call may show "
        f"{100 * found / max(1, shown):.1f} %; {BUDGET} calls a fault, seed 0; none planted where a proof says that no call shows it"
    )


def one(where: str) -> tuple[int, list[str], float]:
    """Faults tried on a model, those that no call showed, and the seconds it took."""
    import dync
    from dync.build import rewrite
    from dync.options import CompileOptions
    from dync.verify.run import verify
    from dync.verify.walked import Walked

    module, _, function = where.partition(":")
    namespace = import_module(module)
    model, inputs = getattr(namespace, function)(), namespace.varied_inputs()
    start = time.perf_counter()
    try:
        with limited(CAPTURE_LIMIT):
            program = rewrite(dync.capture(model, inputs[0]), CompileOptions.parse())
    except dync.DyncError as error:
        raise Refused(reason(error)) from error
    chosen, tried, survivors = mutants(program, seed=0, limit=PER_MODEL), 0, []
    planting = time.perf_counter()
    for mutant in chosen:
        if time.perf_counter() - planting > SECONDS:
            break
        tried += 1
        report = verify(model, Walked(mutant.program, shown=program), inputs, budget=BUDGET, patience=1)
        if report.ok:
            survivors.append(str(mutant))
    return tried, survivors, time.perf_counter() - start
