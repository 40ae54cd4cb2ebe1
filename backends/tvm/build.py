"""A Relax module as the bytes of a shared library."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dync.backends.base import Target
from dync.errors import BackendError

if TYPE_CHECKING:
    from dync.backends.tvm.chains import Lowered

LEVELS = {"x86-64-v2": "x86-64-v2", "x86-64-v3": "x86-64-v3", "x86-64-v4": "x86-64-v4"}


@cache
def linker() -> str | None:
    """The C compiler that links objects to a library, if there is one."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def tvm_target(target: Target) -> Any:
    """dync's target as TVM's."""
    import tvm

    return tvm.target.Target({"kind": "llvm", "mcpu": target.arch or host_cpu()})


@cache
def host_cpu() -> str:
    """LLVM's name for this machine's CPU."""
    import tvm

    return str(tvm.get_global_func("target.llvm_get_system_cpu")())


PACKER = "main_transform_params"
"""The function by which parameters become what "main" takes in their place, if there is one; see dync.backends.tvm.schedule."""


@dataclass(frozen=True)
class Library:
    """The bytes of a shared library, what its loader must know of it, and members beside it."""

    code: bytes
    settings: Mapping[str, object]
    more: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


def library(module: Any, target: Target, threads: int) -> Library:
    """The library of a module: the same module gives the same bytes. Raises BackendError when linking fails."""
    from dync.backends.tvm.memory import borrowed

    aim = tvm_target(target)
    made = lowered(module, aim, threads)
    module = made.module
    built = executable(module.functions, made.glue, aim)
    settings: dict[str, object] = {"packs": True} if PACKER in {v.name_hint for v in module.get_global_vars()} else {}
    if shared := borrowed(module["main"]):
        settings["shared"] = shared
    return Library(exported(built), settings)


def lowered(module: Any, aim: Any, threads: int, name: str = "main") -> Lowered:
    """The module with scheduled kernels, its functions as the virtual machine runs them; name: what names of new functions begin with."""
    import tvm

    from dync.backends.tvm.chains import chained
    from dync.backends.tvm.legalize import install
    from dync.backends.tvm.ordering import ordered, steady
    from dync.backends.tvm.schedule import CONFIG, optimise

    install()
    with aim, tvm.transform.PassContext(opt_level=3, config=CONFIG):
        module = optimise(module, aim, threads)
        return chained(steady(tvm.transform.Sequential(lowering())(ordered(module))), name)


def executable(
    functions: Mapping[Any, Any], glue: Mapping[str, Any], aim: Any, strict: bool = False, write: Callable[[Any], None] | None = None
) -> Any:
    """The lowered functions with what stands between their kernels as TVM's executable.

    strict: its functions check what they are called with. write: adds functions to TVM's builder of code for its machine.
    """
    import tvm
    from tvm import relax
    from tvm.relax import vm_build

    from dync.backends.tvm.pipeline import glue_pipeline, pipeline
    from dync.backends.tvm.schedule import CONFIG

    builder = relax.ExecBuilder()
    with aim, tvm.transform.PassContext(opt_level=3, config=CONFIG):
        rest = vm_build._vmcodegen(builder, tvm.IRModule(dict(functions)))
        if write is not None:
            write(builder)
        beside = []
        if glue:
            names = {n: tvm.ir.GlobalVar(n) for n in glue}
            module = tvm.IRModule({names[n]: joined(f, names).with_attr("global_symbol", n) for n, f in glue.items()})
            beside = [tvm.tirx.build(module, aim, glue_pipeline(strict))]
        return vm_build._vmlink(builder, aim, vm_build._filter_tir(rest), pipeline(strict), beside)


def joined(function: Any, names: Mapping[str, Any]) -> Any:
    """The function with each global variable replaced by the one of its name."""
    import tvm
    import tvm_ffi

    return tvm_ffi.structural_map(function, (tvm.ir.GlobalVar, lambda v: names[v.name_hint]))


def exported(built: Any) -> bytes:
    """An executable as the bytes of a shared library. Raises BackendError when linking fails."""
    with tempfile.TemporaryDirectory(prefix="dync-tvm-") as folder:
        path = Path(folder) / "kernel.so"
        built.export_library(str(path), fcompile=link, workspace_dir=folder)
        return path.read_bytes()


def lowering() -> list[Any]:
    """From call_tir to what the virtual machine runs, as TVM's CPU pipeline does it."""
    from tvm.relax import transform as t

    return [
        t.LegalizeOps(), t.RewriteDataflowReshape(), t.ToNonDataflow(), t.RemovePurityChecking(), t.CallTIRRewrite(),
        t.StaticPlanBlockMemory(), t.LowerAllocTensor(), t.KillAfterLastUse(), t.LowerRuntimeBuiltin(), t.ComputePrimValue(),
        t.VMShapeLower(), t.AttachGlobalSymbol(),
    ]  # fmt: skip


LOCAL = ("-Wl,-Bsymbolic",) if sys.platform == "linux" else ()
"""Functions of the library call one another, whatever else the process has by their names."""


def link(output: str, objects: Sequence[str], options: Sequence[str] | None = None, **_: Any) -> None:
    tool = linker()
    if tool is None:
        raise BackendError("no C compiler to link with: install gcc or clang")
    given = [options] if isinstance(options, str) else list(options or ())
    files = [objects] if isinstance(objects, str) else list(objects)
    done = subprocess.run([tool, "-shared", "-fPIC", "-s", *LOCAL, "-o", output, *files, *given, "-lm"], capture_output=True, text=True)
    if done.returncode:
        raise BackendError(f"{tool} cannot link the block: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")


link.output_format = "so"  # type: ignore[attr-defined]
