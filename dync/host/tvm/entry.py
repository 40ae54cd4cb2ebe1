"""What the virtual machine calls: memory for the results, and one call of the program as a compiled function (native.py)."""

from __future__ import annotations

from typing import Any

from dync.backends.tvm.build import lowering
from dync.backends.tvm.chains import Tensor
from dync.backends.tvm.door import relax, tirx, tvm
from dync.backends.tvm.parts import Part, unchecked
from dync.host.tvm.native import Native


def entry(name: str, native: Native, aim: Any) -> Part:
    """A function of the inputs and the addresses of the weights; it gives the exit's number (int64 [1]) and the outputs."""
    inner = f"{name}_native"
    params = [relax.Var(f"i{i}", _type(t)) for i, t in enumerate((*native.inputs, native.weights))]
    results = (native.exit, *native.outputs)
    bb = relax.BlockBuilder()
    with bb.function(name, params):
        made = [bb.emit(relax.op.builtin.alloc_tensor(relax.ShapeExpr(list(t.shape)), t.dtype, 0)) for t in results]
        args = [*params, *native.constants, *made]
        bb.emit(tvm.ir.Call(relax.ExternFunc(inner), args, ty_args=[relax.TupleType([])], ret_ty=relax.TupleType([])))
        bb.emit_func_output(relax.Tuple(made))
    module = bb.finalize()
    module[name] = module[name].with_attr("relax.force_pure", True)
    with aim:
        module = tvm.transform.Sequential(lowering())(module)
    functions = {v: unchecked(f) if isinstance(f, relax.Function) else f for v, f in module.functions.items()}
    return Part(name, functions, "", 0, (), {inner: native.function}, None)


def _type(tensor: Tensor) -> Any:
    return relax.TensorType(relax.ShapeExpr([tirx.const(d, "int64") for d in tensor.shape]), tensor.dtype)
