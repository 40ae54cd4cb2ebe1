"""`dync verify ART [--against MODEL]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dync.cli.console import constant, emit, pairs, steps
from dync.cli.words import Init, Json, Seed, Weights
from dync.origin import origin_of
from dync.progress import stage
from dync.runtime.program import load

UNCOVERED = 3


def verify(
    artifact: Path, *,
    against: Annotated[str | None, Parameter(help="MODEL to compare with; the one that the artifact came from if left out.")] = None,
    init: Init = [], weights: Weights = None,  # noqa: B006
    cover: Annotated[Literal["paths", "decisions"], Parameter(help="What to reach.")] = "paths",
    budget: Annotated[int, Parameter(help="Most calls to make.")] = 200,
    require_coverage: Annotated[bool, Parameter(help="Exit 3 when a path is left uncovered.")] = False,
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
        with stage("verify", f"{budget} calls at most") as verifying:
            report = run(source.model, compiled, [(found.args, found.kwargs)], cover, budget, seed)
            verifying.note = f"{len(report.paths)} paths"
    emit(report, json)
    if not report.ok:
        return 1
    return UNCOVERED if require_coverage and report.uncovered else 0
