"""The arrows, one line each: read this first.

nn.Module ─ capture → Program ─ passes → Program ─ place → choices ─ compile → Package ─► Compiled, model.dync
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dync.errors import UsageError
from dync.ir.program import Program
from dync.options import CompileOptions
from dync.progress import stage

if TYPE_CHECKING:
    from os import PathLike

    from torch import nn

    from dync.bench import BenchReport
    from dync.compiled import Compiled
    from dync.explain import Explanation
    from dync.runtime.program import Runtime
    from dync.targets import Targets
    from dync.verify.report import Report

Params = Mapping[str, tuple[float, float, float]]


def capture(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None, dynamic_shapes: Any = None, params: Params | None = None
) -> Program:
    """The Program of `model` called as `model(*args, **kwargs)`: every path that data can take, without running on data.

    dynamic_shapes: torch.export's own form. params: run-time parameters, name → (default, low, high); a name is an argument
    of forward or an attribute (dotted path) that holds a number. Raises CaptureError with all problems of the model.
    """
    from dync.capture import capture as run
    from dync.ir.verify import verify as check

    program = run(model, tuple(args), dict(kwargs or {}), dynamic_shapes=dynamic_shapes, params=params)
    check(program)
    return program


def compile(
    model_or_program: nn.Module | Program, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, target: str = "cpu",
    backend: str = "auto", host: str = "auto", passes: str = "default", dynamic_shapes: Any = None, params: Params | None = None,
    batching: str = "none", strict: bool = False, budget: float | None = None, cache: bool = True,
) -> Compiled:  # fmt: skip
    """A runnable equivalent of a model, or of a captured Program, for `target`.

    Raises UsageError for unknown names, CaptureError for constructs that cannot be captured, and, under `strict`, BackendError
    for a block that the chosen backend does not take. Otherwise such a block goes to the next backend, with the reason in `.report`.
    backend: a name, several ("tvm,onnxruntime"), or "auto": a block that several take is timed on each, and the fastest has it, as far
    as `budget` seconds of compiling go (None: a minute; 0: the first that takes it has it). "b3=tvm" among them gives one block to one
    backend. cache: reuse compiled code on disk.
    host: "python", "onnx" (HostError where it cannot carry the program), "mixed" (parts in the engine, the rest in Python), or "auto",
    which measures on the example.
    """
    options = CompileOptions.parse(target, backend, host, passes, batching, strict, budget=budget, cache=cache)
    return compile_with(options, model_or_program, args, kwargs, dynamic_shapes, params)


def compile_with(
    options: CompileOptions, model_or_program: nn.Module | Program, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None, params: Params | None = None,
) -> Compiled:  # fmt: skip
    """`compile` with its options in one object."""
    from dync.build import compile_blocks, kernels_of, rewrite
    from dync.compiled import Compiled
    from dync.hosts import choose
    from dync.place import place
    from dync.workshop import Workshop

    with stage("capture", getattr(model_or_program, "name", type(model_or_program).__name__)) as captured:
        program = _program(model_or_program, args, kwargs, dynamic_shapes, params)
        captured.note = f"{len(program.blocks)} blocks"
    with stage("passes", options.passes) as rewritten:
        program = rewrite(program, options)
        rewritten.note = f"{len(program.blocks)} blocks"
    with stage("place", options.backend) as placed:
        kernels = kernels_of(program)
        shop = Workshop(options, tuple(kernels.values()))
        placements = place(kernels, shop)
        placed.note = f"{len(kernels)} blocks with code"
    with stage("compile", f"for {options.target}") as compiled:
        built = compile_blocks(program, placements, shop, args, kwargs, compiled.tick)
        compiled.note = built.summary
    with stage("host", options.host) as hosted:
        package = choose(built, {s.name: s.seconds for s in (captured, rewritten, placed, compiled)}, args, kwargs)
        hosted.note = str(package.meta["host"])
    return Compiled(package, program)


def _program(
    model: nn.Module | Program, args: Sequence[Any], kwargs: Mapping[str, Any] | None, shapes: Any, params: Params | None
) -> Program:
    if not isinstance(model, Program):
        return capture(model, args, kwargs, shapes, params)
    if shapes is not None or params is not None:
        raise UsageError("dynamic_shapes and params belong to dync.capture: this Program was captured already")
    return model


def load(path: str | PathLike[str], device: str | None = None) -> Runtime:
    """The artifact at `path`, ready to run: numpy in, numpy out, torch in, torch out. Raises ArtifactError for a file that is none."""
    from dync.runtime.program import load as run

    return run(path, device)


def verify(
    model: nn.Module, compiled: Runtime, inputs: Sequence[Any] | None = None, cover: str = "paths", budget: int = 200, seed: int = 0
) -> Report:
    """Compare `compiled` with the eager model, driving every decision both ways; at most `budget` calls."""
    from dync.verify import verify as run

    return run(model, compiled, inputs, cover, budget, seed)


def explain(
    model_or_program: nn.Module | Program, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, backend: str = "auto",
    target: str = "cpu", dynamic_shapes: Any = None, params: Params | None = None,
) -> Explanation:  # fmt: skip
    """Every data-dependent decision with its place and what it became, and which backend claims each block. No code generation."""
    from dync.build import kernels_of
    from dync.explain import explain as run
    from dync.place import place
    from dync.workshop import Workshop

    options = CompileOptions.parse(target, backend)
    program = _program(model_or_program, args, kwargs, dynamic_shapes, params)
    placements = place(kernels_of(program), Workshop(options), ask=True)
    return run(program, {name: (p.choices[0].backend, p.refused) for name, p in placements.items()})


def bench(
    compiled: Runtime,
    model: nn.Module | None = None,
    inputs: Sequence[Any] | None = None,
    vs: Sequence[str] = ("eager",),
    seconds: float = 1.0,
    seed: int = 0,
) -> BenchReport:
    """Latency of each path, interleaved with `vs` in one process; about `seconds` a path."""
    from dync.bench import bench as run

    return run(compiled, model, inputs, vs, seconds, seed)


def targets() -> Targets:
    """The backends: versions, what each can compile and run on this machine, and why not."""
    from dync.targets import targets as run

    return run()
