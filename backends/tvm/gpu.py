"""Relax modules for NVIDIA's GPUs: kernels scheduled by TVM's own rules (dlight), machine code made here by nvcc, no GPU needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dync.backends.base import Target
from dync.errors import BackendError

if TYPE_CHECKING:
    from dync.backends.tvm.build import Library

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90")
NEWEST = "sm_80"
"""What "cuda" alone means: its PTX runs on all of the above."""
KERNELS = "kernels.fatbin"
"""The member that holds the machine code: TVM's own library keeps CUDA source, which it would have compiled when it is loaded."""


@cache
def assembler() -> str | None:
    """CUDA's compiler, if there is one."""
    found = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    return found if Path(found).is_file() else None


def tvm_target(target: Target) -> Any:
    """dync's CUDA target as TVM's, with code for this kind of CPU around it."""
    import tvm

    sizes = {"max_threads_per_block": 1024, "max_num_threads": 1024, "thread_warp_size": 32, "max_shared_memory_per_block": 49152}
    return tvm.target.Target({"kind": "cuda", "arch": target.arch or NEWEST, **sizes, "host": {"kind": "llvm", "mcpu": "x86-64-v2"}})


def lowered(module: Any, aim: Any, empty: bool = True) -> Any:
    """The module with scheduled kernels, its functions as the virtual machine runs them."""
    import tvm
    from tvm.relax import backend
    from tvm.relax import transform as t

    from dync.backends.tvm.build import lowering
    from dync.backends.tvm.legalize import install
    from dync.backends.tvm.ordering import ordered, steady
    from dync.backends.tvm.schedule.normalisation import FORMS
    from dync.backends.tvm.schedule.threads import on_threads

    install()
    steps = [
        t.CanonicalizeBindings(), t.DeadCodeElimination(), t.DecomposeOpsForInference(), t.CanonicalizeBindings(), t.DeadCodeElimination(),
        backend.DispatchSortScan(), t.LegalizeOps(FORMS), t.AnnotateTIROpPattern(), t.FoldConstant(), t.FuseOps(), t.FuseTIR(),
        t.DeadCodeElimination(),
    ]  # fmt: skip
    with aim, tvm.transform.PassContext(opt_level=3):
        module = on_threads(tvm.transform.Sequential(steps)(module), aim, empty)
        return steady(tvm.transform.Sequential(lowering())(ordered(module)))


def library_for_cuda(module: Any, target: Target, empty: bool = True) -> Library:
    """The library of a module, and its kernels as machine code. empty: whether a size of a call may be 0.

    Raises BackendError when CUDA's compiler refuses a kernel.
    """
    import tvm
    from tvm import relax

    from dync.backends.tvm.build import Library, exported

    aim = tvm_target(target)
    module = lowered(module, aim, empty)
    with aim, tvm.transform.PassContext(opt_level=3):
        built = relax.build(module, aim, relax_pipeline=None)
    sources = [m.inspect_source() for m in _imported(built.mod) if m.kind == "cuda"]
    if len(sources) > 1:
        raise BackendError("TVM made two modules for the device")
    more = {KERNELS: machine_code(sources[0], target.arch or NEWEST)} if sources else {}
    return Library(exported(built), {"device": "cuda"}, more)


def _imported(module: Any) -> Iterator[Any]:
    for one in module.imports:
        yield one
        yield from _imported(one)


def machine_code(source: str, arch: str) -> bytes:
    """CUDA source as a fat binary: machine code for the architecture, and PTX for later ones."""
    tool = assembler()
    if tool is None:
        raise BackendError("no CUDA compiler: install nvcc")
    number = re.sub(r"\D", "", arch)
    with tempfile.TemporaryDirectory(prefix="dync-cuda-") as folder:
        code, made = Path(folder) / "kernels.cu", Path(folder) / "kernels.fatbin"
        code.write_text(source)
        options = [f"-gencode=arch=compute_{number},code=[sm_{number},compute_{number}]", "-fatbin", "-O3", "-std=c++17"]
        done = subprocess.run([tool, *options, "-o", str(made), str(code)], capture_output=True, text=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["no message"]
            raise BackendError(f"nvcc refuses a kernel: {said[0].strip()}")
        return made.read_bytes()
