"""`dync verify ART [--against MODEL]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dync.cli.console import constant, emit, pairs, steps
from dync.cli.run import call
from dync.cli.words import Init, Json, Seed, Weights
from dync.compiled import write_file
from dync.errors import UsageError
from dync.examples import read_arrays
from dync.ir.types import ScalarType
from dync.origin import origin_of, program_of
from dync.progress import stage
from dync.runtime.program import load

if TYPE_CHECKING:
    from dync.ir.flow import Signature


def verify(
    artifact: Path, *,
    against: Annotated[str | None, Parameter(help="MODEL to compare with; the one that the artifact came from if left out.")] = None,
    init: Init = [], weights: Weights = None,  # noqa: B006
    cover: Annotated[Literal["paths", "decisions"], Parameter(help="What to reach.")] = "paths",
    budget: Annotated[int, Parameter(help="Most calls to make.")] = 200,
    data: Annotated[Path | None, Parameter(help="Calls to begin with: file.npz of arrays by input, one call, or N calls stacked.")] = None,
    also: Annotated[str, Parameter(help="More to compare: oracle, interpret, a backend, backend/host; separated by commas.")] = "",
    junit: Annotated[Path | None, Parameter(help="Where a JUnit XML report goes.")] = None,
    require_coverage: Annotated[bool, Parameter(help="Exit 3 when a path is left uncovered.")] = False,
    atol: Annotated[float | None, Parameter(help="Absolute tolerance, of a leaf's scale.")] = None,
    rtol: Annotated[float | None, Parameter(help="Relative tolerance.")] = None,
    seed: Seed = 0, json: Json = False,
) -> int:  # fmt: skip
    """Compare an artifact with the eager model on every path."""
    from dync.sides import check_names, sides
    from dync.verify import verify as run

    names = tuple(n.strip() for n in also.split(",") if n.strip())
    check_names(names)
    with steps(3):
        with stage("load", str(artifact)):
            compiled = load(artifact)
        recorded = calls(compiled.flow.signature, data) if data else []
        origin = origin_of(compiled.package.meta, against, {n: constant(v) for n, v in pairs(init, "--init").items()}, weights, seed)
        with stage("load", origin.model):
            source, found = origin.open()
            program, other = program_of(compiled.package, source, found)
        with stage("verify", f"{budget} calls at most") as verifying:
            replay = f"dync verify {artifact} --against {origin.model} --budget {budget} --seed {seed}"
            replay += (f" --data {data}" if data else "") + (f" --also {also}" if names else "")
            others, notes = sides(names, source.model, program, found, seed)
            report = run(
                source.model,
                compiled,
                [(found.args, found.kwargs), *recorded],
                cover,
                budget,
                seed,
                atol=atol,
                rtol=rtol,
                program=program,
                against=others,
                command=replay,
                notes=(*notes, *([other] if other else ())),
            )
            verifying.note = f"{report.runs} calls"
    if junit is not None:
        write_file(junit, report.to_junit().encode())
    emit(report.to_dict() if json else report, json)
    return report.exit_code(require_coverage)


def calls(signature: Signature, path: Path) -> list[Any]:
    """The calls that a file holds: arrays by input, as `dync run` takes them, or each with one more dimension in front, a call a row.

    Raises UsageError for arrays that fit neither, or whose numbers of rows differ.
    """
    import torch

    arrays = read_arrays(path)
    ranks = {i.path: 0 if isinstance(i.value.type, ScalarType) else len(i.value.type.shape) for i in signature.inputs}  # type: ignore[union-attr]
    odd = [n for n, a in arrays.items() if n in ranks and a.ndim not in (ranks[n], ranks[n] + 1)]
    if odd:
        raise UsageError(f"{path}: {odd[0]} has {arrays[odd[0]].ndim} dimensions; a call's has {ranks[odd[0]]}, stacked calls one more")
    stacked = {n for n, a in arrays.items() if n in ranks and a.ndim > ranks[n]}
    counts = {len(arrays[n]) for n in stacked}
    if len(counts) > 1:
        raise UsageError(f"{path}: {' and '.join(sorted(stacked))} hold different numbers of calls: {', '.join(map(str, sorted(counts)))}")
    try:
        tensors = {n: torch.from_numpy(a) for n, a in arrays.items()}
    except TypeError as error:
        raise UsageError(f"{path}: {error}") from None
    rows = range(counts.pop()) if stacked else range(1)
    if not rows:
        raise UsageError(f"{path} holds no call")
    return [call(signature, {n: t[row] if n in stacked else t for n, t in tensors.items()}) for row in rows]
