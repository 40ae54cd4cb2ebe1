"""From scheduled kernels to LLVM's functions: TVM's passes for the CPU, and functions that call each other by plain pointers.

A function marked RAW takes pointers where it took tensors, and is called by others of its module alone: nothing is looked up, checked
or put into structures for it. (In TVM's own list of passes, every tensor that a function takes comes out of a structure, and some
hundred instructions hold it against its declaration first.) The functions around them, which a virtual machine calls, keep these checks
only where `strict`, or where a size is known at run time: a virtual machine whose inputs were looked at, as dync's loader does, gives
each function what it was compiled for, in memory that it planned itself. (No check looks at alignment: memory must begin at a multiple
of 64 bytes, which the loader alone sees to.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dync.backends.tvm.door import tirx, tvm

RAW = "dync_raw"
"""The attribute of a function that takes pointers, with its name: it takes tensors until the pipeline has run, or was written with them."""
_FIXED = "dync_fixed"
ALIGNMENT = 64
"""Bytes that code takes the memory of tensors to be aligned to."""


def pipeline(strict: bool = False) -> str:
    """The name by which TVM's builders know the passes for kernels."""
    return _registered("dync_strict" if strict else "dync", _kernels(strict))


def glue_pipeline(strict: bool = False) -> str:
    """The name of those for functions written with pointers, and for what calls them. They are no part of the kernels' module: LLVM would
    put kernels in line there, and take two names of one piece of memory for two pieces."""
    return _registered("dync_glue_strict" if strict else "dync_glue", _glue(strict))


def _registered(name: str, lowering: Any) -> str:
    from tvm.tirx.compilation_pipeline import finalize_device_passes, finalize_host_passes, register_tir_pipeline

    register_tir_pipeline(name, lambda: (lowering, finalize_host_passes, finalize_device_passes))
    return name


def _kernels(strict: bool) -> Any:
    @tvm.transform.module_pass(opt_level=0)
    def run(mod: Any, _: Any) -> Any:
        mod = tvm.transform.Sequential(_kernel_passes())(tvm.IRModule({v: _noted(f) for v, f in mod.functions.items()}))
        raws = {v: raw(f) for v, f in mod.functions.items() if RAW in f.attrs}
        storage = tvm.transform.Sequential([tirx.transform.FP8StorageLegalize(), tirx.transform.BF16StorageLegalize()])
        rest = storage(_packed({v: f for v, f in mod.functions.items() if v not in raws}, strict))
        made = storage(tvm.IRModule(raws))
        rest.update({v: f.with_attr("global_symbol", f.attrs[RAW]) for v, f in made.functions.items()})
        return rest

    return run


def _glue(strict: bool) -> Any:
    @tvm.transform.module_pass(opt_level=0)
    def run(mod: Any, _: Any) -> Any:
        host = next(iter(mod.functions.values())).attrs["target"].host
        functions = {v: f.with_attr("target", host).without_attr("global_symbol") if RAW in f.attrs else _noted(f)
                     for v, f in mod.functions.items()}  # fmt: skip
        return _packed(functions, strict)

    return run


def _packed(functions: Mapping[Any, Any], strict: bool) -> Any:
    """The functions as virtual machines call them, with checks where those are wanted."""
    t = tirx.transform
    mod = tvm.transform.Sequential([t.SplitHostDevice(), t.MakePackedAPI()])(tvm.IRModule(dict(functions)))
    if not strict:
        mod.update(t.SkipAssert()(tvm.IRModule({v: f for v, f in mod.functions.items() if _FIXED in f.attrs})))
    return mod


def _kernel_passes() -> list[Any]:
    """TVM's order, without what is for devices with threads and memory of their own, and without StorageRewrite (schedule.CONFIG)."""
    from tvm import s_tir

    s, t = s_tir.transform, tirx.transform
    return [
        s.CanonicalizeLoop(), s.LowerInitBlock(), s.PlanAndUpdateBufferAllocationLocation(), s.ConvertBlocksToOpaque(),
        s.CompactBufferAllocation(), s.LowerMatchBuffer(), s.StmtSimplify(), s.AnnotateIrregularLoop(), s.LowerOpaqueBlock(),
        t.FlattenBuffer(), t.BF16ComputeLegalize(), t.NarrowDataType(32), s.LoopPartition(), t.VectorizeLoop(True), s.HoistIfThenElse(),
        t.UnrollLoop(), s.RenormalizeSplitPattern(), t.StmtSimplify(), t.RemoveNoOp(), s.RewriteUnsafeSelect(), t.CommonSubexprElim(),
        t.VerifyMemory(),
    ]  # fmt: skip


def _noted(code: Any) -> Any:
    return code.with_attr(_FIXED, True) if fixed(code) else code


def fixed(code: Any) -> bool:
    """Whether a function takes nothing but tensors of known sizes, row after row."""
    types = [p.ty for p in code.params]
    return all(hasattr(t, "shape") and not len(t.strides) and all(isinstance(d, tirx.IntImm) for d in t.shape) for t in types)


def pointer(dtype: str) -> Any:
    """The type of the address of elements."""
    return tvm.ir.PointerType(tvm.ir.PrimType(dtype), "global")


def raw(code: Any) -> Any:
    """A RAW function on tensors of known sizes as one on the pointers to their elements; it gives 0, or another number when an error was
    set."""
    pointers = [tvm.ir.Var(f"{p.name}_data", pointer(str(p.dtype))) for p in code.params]
    offsets = [b.elem_offset for b in code.params if isinstance(b.elem_offset, tvm.ir.Var)]
    none = [tirx.Bind(v, tirx.const(0, str(v.ty.dtype))) for v in offsets]
    body = tirx.SeqStmt([*none, *(tirx.DeclBuffer(b, data=p) for b, p in zip(code.params, pointers, strict=True)), code.body])
    for one in pointers:
        body = tirx.AttrStmt(one, "storage_alignment", tirx.const(ALIGNMENT, "int32"), body)
    made = function(code.attrs[RAW], pointers, body).with_attr("target", code.attrs["target"].host)
    return made.with_attr("tirx.noalias", True) if "tirx.noalias" in code.attrs else made


def function(name: str, params: Sequence[Any], body: Any) -> Any:
    """A RAW function, written with its pointers."""
    body = tirx.SeqStmt([body, tirx.Return(tirx.const(0, "int32"))])
    for key, value in (("device_type", 1), ("device_id", 0)):
        body = tirx.AttrStmt("default", key, tirx.const(value, "int32"), body)
    return tirx.PrimFunc(list(params), body, tvm.ir.PrimType("int32")).with_attr(RAW, name)
