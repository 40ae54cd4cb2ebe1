"""Kernels without the checks that TVM puts before each: most of a small block's code, and up to a tenth of its time.

Only where all sizes are known: then a virtual machine whose inputs were looked at gives each kernel what it was compiled for, in memory
that it planned itself. A kernel with run-time sizes keeps its checks, and so do libraries that are called without dync's loader: theirs are
the only ones there. (None of them looks at alignment: memory must begin at a multiple of 64 bytes, which the loader alone sees to.)
"""

from __future__ import annotations

from typing import Any, cast

PIPELINE = "dync"
_FIXED = "dync_fixed"


def pipeline() -> str:
    """The name by which TVM's builders know its own lowering of kernels with this one's end."""
    from tvm.tirx.compilation_pipeline import register_tir_pipeline

    register_tir_pipeline(PIPELINE, _passes)
    return PIPELINE


def _passes() -> tuple[Any, Any, Any]:
    import tvm
    from tvm.tirx.compilation_pipeline import get_tir_pipeline

    lower, host, device = cast(tuple[Any, Any, Any], get_tir_pipeline("default"))

    @tvm.transform.module_pass(opt_level=0)
    def run(mod: Any, _: Any) -> Any:
        from tvm.tirx import PrimFunc
        from tvm.tirx.transform import SkipAssert

        for var, code in mod.functions.items():
            if isinstance(code, PrimFunc) and _fixed(code):
                mod[var] = code.with_attr(_FIXED, True)
        mod = lower(mod)
        fixed = {v: f for v, f in mod.functions.items() if f.attrs is not None and _FIXED in f.attrs}
        mod.update(SkipAssert()(tvm.IRModule(fixed)))
        return mod

    return run, host, device


def _fixed(code: Any) -> bool:
    """Whether a kernel takes nothing but tensors of known sizes."""
    from tvm.tirx import IntImm

    shapes = [getattr(p.ty, "shape", None) for p in code.params]
    return all(shape is not None and all(isinstance(d, IntImm) for d in shape) for shape in shapes)
