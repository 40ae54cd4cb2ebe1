"""Legal forms of normalisations: the mean first, then the mean square of what is left, as exact as torch's."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from dync.backends.tvm.schedule.loops import product

Expr = Any


def layer_norm(bb: relax.BlockBuilder, call: relax.Call) -> Expr:
    """relax.nn.layer_norm over the last axes."""
    x = call.args[0]
    rank = len(x.ty.shape.values)
    axes = sorted(int(a) % rank for a in call.attrs.axes)
    if axes != list(range(axes[0], rank)) or str(x.ty.dtype) not in ("float32", "float64"):
        from tvm.relax.transform.legalize_ops.common import LegalizeFunc  # noqa: F401

        return call
    return bb.call_te(_layer_norm, *call.args, axes[0], float(call.attrs.epsilon), primfunc_name_hint="layer_norm")


def _layer_norm(x: te.Tensor, gamma: te.Tensor, beta: te.Tensor, first: int, epsilon: float) -> te.Tensor:
    lead, last = list(x.shape)[:first], list(x.shape)[first:]
    size = product(last)
    count = tirx.const(size, x.dtype) if isinstance(size, int) else tirx.Cast(x.dtype, size)

    def axes(name: str) -> list[Any]:
        return [te.reduce_axis((0, s), f"{name}{i}") for i, s in enumerate(last)]

    k, m = axes("k"), axes("m")
    total = te.compute(lead, lambda *i: te.sum(x(*i, *k), axis=k), name="total")
    mean = te.compute(lead, lambda *i: total(*i) / count, name="mean")
    square = te.compute(lead, lambda *i: te.sum((x(*i, *m) - mean(*i)) * (x(*i, *m) - mean(*i)), axis=m), name="square")
    scale = te.compute(lead, lambda *i: tirx.const(1, x.dtype) / tirx.sqrt(square(*i) / count + tirx.const(epsilon, x.dtype)), name="scale")

    def normal(*i: Any) -> Any:
        at, own = i[:first], i[first:]
        return (x(*i) - mean(*at)) * scale(*at) * gamma(*own) + beta(*own)

    return te.compute(x.shape, normal, name="layer_norm")


FORMS = {"relax.nn.layer_norm": layer_norm}
