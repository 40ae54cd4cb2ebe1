"""Matrix products: [rows, K] by packed weights, and products of batches."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import relax, te, tirx

from dync.backends.tvm.schedule.contract import Spec
from dync.backends.tvm.schedule.loops import constant, index

if TYPE_CHECKING:
    from dync.backends.tvm.schedule.graph import View, _Graph

Expr = Any
FLOATS = ("float32", "float64")


def matmul(graph: _Graph, call: relax.Call) -> Expr | View | None:
    """None where TVM's own form has to do."""
    from dync.backends.tvm.schedule.graph import shape_of

    a, b = call.args
    left, right = shape_of(graph._known(a)), shape_of(graph._known(b))
    dtype = str(call.ty.dtype)
    if dtype not in FLOATS or {str(a.ty.dtype), str(b.ty.dtype)} != {dtype} or len(left) < 2 or len(right) < 2:
        return None
    if len(right) == 2 and constant(right[0]) is not None and constant(right[1]) is not None:
        rows = graph.flat_rows(a)
        lanes = graph.machine.lanes(dtype)
        made = graph.kernel(linear, rows, packed(graph, graph.real(b), lanes), int(constant(right[1]) or 0), name="linear")
        return graph.reshaped(made, tuple(call.ty.shape.values))
    return graph.kernel(batched, graph.real(a), graph.real(b), list(call.ty.shape.values), name="matmul")


def packed(graph: _Graph, weight: Expr, lanes: int) -> Expr:
    """[K, N] as panels [ceil(N / lanes), K, lanes], zeros after the end."""
    k, n = (constant(s) or 0 for s in weight.ty.shape.values)
    if n % lanes:
        weight = graph.emit(relax.op.nn.pad(weight, [0, 0, 0, -n % lanes]))
    panels = graph.emit(relax.op.reshape(weight, [k, -(-n // lanes), lanes]))
    return graph.emit(relax.op.permute_dims(panels, [1, 0, 2]))


def linear(x: te.Tensor, panels: te.Tensor, columns: int) -> te.Tensor:
    """x [M, K] times panels [ceil(N / lanes), K, lanes]: [M, N]."""
    k = te.reduce_axis((0, x.shape[1]), "k")
    lanes = panels.shape[2]

    def product(i: Any, j: Any) -> Any:
        return te.sum(x[i, k] * panels[tirx.floordiv(j, lanes), k, tirx.floormod(j, lanes)], axis=k)

    return te.compute((x.shape[0], index(columns)), product, name="linear", attrs=Spec(0, 1, panels=True).note())


def batched(a: te.Tensor, b: te.Tensor, shape: list[Any]) -> te.Tensor:
    """a [..., M, K] times b [..., K, N], leading dimensions broadcast."""
    k = te.reduce_axis((0, a.shape[-1]), "k")

    def at(t: te.Tensor, lead: tuple[Any, ...], row: Any, column: Any) -> Any:
        own = len(t.shape) - 2
        places = [index(0) if constant(s) == 1 else i for s, i in zip(list(t.shape)[:own], lead[len(lead) - own :], strict=True)]
        return t(*places, row, column)

    def product(*at_point: Any) -> Any:
        *lead, i, j = at_point
        return te.sum(at(a, tuple(lead), i, k) * at(b, tuple(lead), k, j), axis=k)

    rank = len(shape)
    return te.compute(tuple(shape), product, name="matmul", attrs=Spec(rank - 2, rank - 1).note())
