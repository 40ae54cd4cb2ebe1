"""`dync bench ART [--vs eager,inductor]`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dync.bench import bench as run
from dync.cli.console import constant, emit, pairs, steps
from dync.cli.words import Init, Json, Seed, Weights
from dync.errors import UsageError
from dync.origin import origin_of
from dync.progress import stage
from dync.runtime.artifact import read
from dync.runtime.program import Runtime


def bench(
    artifact: Path, *, vs: Annotated[str, Parameter(help="Peers, separated by commas: eager, inductor.")] = "eager",
    against: Annotated[str | None, Parameter(help="MODEL for the peers; the one that the artifact came from if left out.")] = None,
    init: Init = [], weights: Weights = None,  # noqa: B006
    threads: Annotated[int, Parameter(help="Threads of the peers and the artifact.")] = 1,
    seconds: Annotated[float, Parameter(help="Time for each path.")] = 1.0,
    seed: Seed = 0, json: Json = False,
) -> int:  # fmt: skip
    """Measure latency per path, against eager: median, 90th and 99th percentile, throughput, and how often each path is taken."""
    import torch

    torch.set_num_threads(threads)
    with steps(3):
        with stage("load", str(artifact)) as loading:
            package = read(artifact)
            compiled = Runtime(replace(package, meta={**package.meta, "threads": threads}))
            model, inputs, reason = None, None, ""
            try:
                source, found = origin_of(
                    compiled.package.meta, against, {n: constant(v) for n, v in pairs(init, "--init").items()}, weights, seed
                ).open()
                model, inputs = source.model, [(found.args, found.kwargs)]
            except UsageError as error:
                if against is not None:
                    raise
                reason = loading.note = str(error)
        report = run(compiled, model, inputs, tuple(v for v in vs.split(",") if v), seconds, seed, reason)
    emit(report, json)
    return 0
