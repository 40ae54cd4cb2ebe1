"""`dync compile MODEL -o out.dync`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from dync.api import compile_with
from dync.cli.console import constant, emit, pairs, run_params, steps
from dync.cli.words import Archive, Backend, Init, Inputs, Json, Level, Params, Seed, Target, Weights
from dync.compiled import BARE, Compiled
from dync.errors import UsageError, VerifyError
from dync.examples import examples
from dync.options import AUTO, BUDGET, TIMEOUT, CompileOptions
from dync.origin import Origin
from dync.progress import stage
from dync.registry import backend_names
from dync.report import size
from dync.source import open_model

QUICK = 40
"""Calls that `--verify quick` makes; `paths` makes as many as dync.verify's own default."""
QUICK_SECONDS = 8.0
"""Time after which `--verify quick` begins nothing new."""
THOROUGH = 200


def compile(
    model: str, *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The artifact to write.")],
    target: Target = "cpu", backend: Backend = "auto",
    host: Annotated[str, Parameter(help="What carries the control flow: python, onnx, tvm, torch-mlir, mixed, or auto: measured.")] = "",
    passes: Annotated[str, Parameter(help="default, none, or a pipeline a,b{opt=1},c.")] = "default",
    input: Inputs = [], inputs: Archive = None, param: Params = [], init: Init = [], weights: Weights = None,  # noqa: B006
    batching: Annotated[str, Parameter(help="none (per-sample is not available yet).")] = "none",
    strict: Annotated[bool, Parameter(help="Fail where the backend does not take a block.")] = False,
    budget: Annotated[
        float | None, Parameter(help=f"Seconds for trying blocks on further backends, {BUDGET:.0f} if not given; 0: none is tried.")
    ] = None,
    timeout: Annotated[float, Parameter(help="Seconds that a compiler may take for one block.")] = TIMEOUT,
    cache: Annotated[bool, Parameter(negative="--no-cache", help="Use and keep compiled code in ~/.cache/dync.")] = True,
    verify: Annotated[Level, Parameter(help="Compare with eager before writing: every path, a quick look, or not at all.")] = "quick",
    atol: Annotated[float | None, Parameter(help="Absolute tolerance, of a leaf's scale.")] = None,
    rtol: Annotated[float | None, Parameter(help="Relative tolerance.")] = None,
    seed: Seed = 0, threads: Annotated[int, Parameter(help="Threads of the compiled code; 0: as many as cores.")] = 0,
    json: Json = False,
) -> int:  # fmt: skip
    """Compile a model into an artifact.

    Writes the file only when everything before succeeded.
    """
    engine = BARE.get(output.suffix)
    if backend == AUTO and engine in backend_names():
        backend = engine
    options = CompileOptions.parse(
        target, backend, _host(host, output), passes, batching, strict, atol, rtol, seed, threads, budget, timeout, cache
    )
    params, built_with = run_params(param), {n: constant(v) for n, v in pairs(init, "--init").items()}
    if not output.parent.is_dir():
        raise UsageError(f"no such folder: {output.parent}")
    with steps(8 if verify != "off" else 7):
        with stage("load", model):
            source = open_model(model, built_with, weights, seed)
            found = examples(source, input, inputs, seed)
        compiled = compile_with(options, source.model, found.args, found.kwargs, found.dynamic_shapes, params)
        origin = Origin.of(source, built_with, weights, seed, input, inputs)
        compiled = compiled.with_facts(meta={**compiled.package.meta, "origin": msgspec.to_builtins(origin)})
        if verify != "off" and compiled.absent is not None:
            with stage("verify", "left out") as verifying:
                verifying.note = f"not verified: {compiled.absent}"
        elif verify != "off":
            compiled = _verified(compiled, source.model, (found.args, found.kwargs), verify, options)
        with stage("write", str(output)) as written:
            compiled.save(output)
            written.note = size(output.stat().st_size)
    emit(compiled.report, json)
    return 0


def _host(host: str, output: Path) -> str:
    """The host for this kind of file; measured where nothing says another."""
    engine = BARE.get(output.suffix)
    if engine is None:
        return host or "auto"
    if host not in ("", "auto", engine):
        raise UsageError(f"{output.name} holds the control flow for {engine}: leave out --host {host}, or write a .dync file")
    return engine


INSTEAD = (
    "  instead: allow larger differences (--atol, --rtol) where rounding explains it, or write it as it is (--verify off) and compare on "
    "inputs of your own (dync verify --data)"
)


def _verified(compiled: Compiled, model: Any, example: Any, level: str, options: CompileOptions) -> Compiled:
    """`compiled` with its coverage. Raises VerifyError, and so nothing is written, when it differs from the model."""
    from dync.verify import verify

    with stage("verify", f"against eager ({level})") as verifying:
        budget = QUICK if level == "quick" else THOROUGH
        seconds = QUICK_SECONDS if level == "quick" else None
        report = verify(model, compiled, [example], budget=budget, seed=options.seed, atol=options.atol, rtol=options.rtol, seconds=seconds)
        verifying.note = f"{report.runs} calls, {len(report.paths)} paths, {len(report.uncovered)} uncovered, {len(report.flips)} flips"
        try:
            report.raise_for_status()
        except VerifyError as error:
            raise VerifyError(f"{error}\n{INSTEAD}") from None
    return compiled.with_facts(coverage=msgspec.json.decode(report.to_json()))
