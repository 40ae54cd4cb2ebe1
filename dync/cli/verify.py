"""`dync verify ART [--against MODEL]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dync.cli.console import constant, emit, pairs, steps
from dync.cli.words import Init, Json, Seed, Weights
from dync.origin import origin_of, program_of
from dync.progress import stage
from dync.runtime.program import load


def verify(
    artifact: Path, *,
    against: Annotated[str | None, Parameter(help="MODEL to compare with; the one that the artifact came from if left out.")] = None,
    init: Init = [], weights: Weights = None,  # noqa: B006
    cover: Annotated[Literal["paths", "decisions"], Parameter(help="What to reach.")] = "paths",
    budget: Annotated[int, Parameter(help="Most calls to make.")] = 200,
    require_coverage: Annotated[bool, Parameter(help="Exit 3 when a path is left uncovered.")] = False,
    atol: Annotated[float | None, Parameter(help="Absolute tolerance, of a leaf's scale.")] = None,
    rtol: Annotated[float | None, Parameter(help="Relative tolerance.")] = None,
    seed: Seed = 0, json: Json = False,
) -> int:  # fmt: skip
    """Compare an artifact with the eager model on every path."""
    from dync.verify import verify as run

    with steps(3):
        with stage("load", str(artifact)):
            compiled = load(artifact)
        origin = origin_of(compiled.package.meta, against, {n: constant(v) for n, v in pairs(init, "--init").items()}, weights, seed)
        with stage("load", origin.model):
            source, found = origin.open()
            program = program_of(compiled.package, source, found)
        with stage("verify", f"{budget} calls at most") as verifying:
            replay = f"dync verify {artifact} --against {origin.model} --budget {budget} --seed {seed}"
            report = run(
                source.model,
                compiled,
                [(found.args, found.kwargs)],
                cover,
                budget,
                seed,
                atol=atol,
                rtol=rtol,
                program=program,
                command=replay,
            )
            verifying.note = f"{report.runs} calls"
    emit(report.to_dict() if json else report, json)
    return report.exit_code(require_coverage)
