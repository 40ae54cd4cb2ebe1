"""Convolutions over one and two dimensions, transposed ones too: channels last, weights in panels of output channels."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax, te, tirx

from dync.backends.tvm.schedule.contract import Spec
from dync.backends.tvm.schedule.linear import FLOATS
from dync.backends.tvm.schedule.loops import constant, index
from dync.backends.tvm.schedule.tiles import shape, static_rows
from dync.backends.tvm.schedule.windows import Window

if TYPE_CHECKING:
    from dync.backends.tvm.schedule.graph import View, _Graph

Expr = Any

NAMES = ("nn.conv1d", "nn.conv2d", "nn.conv1d_transpose", "nn.conv2d_transpose")
MOST_EDGES = 8
"""Tiles of a row that are written out on their own because they reach over an edge; with more, the input is padded first."""


@dataclass(frozen=True)
class Plan:
    """The numbers of a convolution; windows of height and width, `groups` after small ones were put together."""

    channels: int
    out: int
    groups: int
    windows: tuple[Window, Window] | None
    transposed: bool
    strides: tuple[int, int]
    dilations: tuple[int, int]
    depthwise: bool


def convolution(graph: _Graph, call: relax.Call, name: str) -> Expr | View | None:
    """None where TVM's own form has to do: dynamic images that are transposed, other layouts, element types without vectors."""
    from dync.backends.tvm.schedule.graph import shape_of

    x, w = call.args
    transposed, flat = name.endswith("transpose"), "1d" in name
    layouts = (str(call.attrs.data_layout), str(call.attrs.kernel_layout), str(call.attrs.out_layout or call.attrs.data_layout))
    wanted = ("NCW", "IOW" if transposed else "OIW", "NCW") if flat else ("NCHW", "IOHW" if transposed else "OIHW", "NCHW")
    dtype = str(call.ty.dtype)
    kernel = [constant(s) for s in shape_of(graph._known(w))]
    result, image = tuple(call.ty.shape.values), shape_of(graph._known(x))
    channels, out = constant(image[1]), constant(result[1])
    if layouts != wanted or dtype not in FLOATS or {str(x.ty.dtype), str(w.ty.dtype)} != {dtype} or None in (*kernel, channels, out):
        return None
    value, weight = graph._known(x), graph.real(w)
    strides, pads, dilations = ([int(v) for v in values] for values in (call.attrs.strides, call.attrs.padding, call.attrs.dilation))
    if flat:
        value = graph.reshaped(value, (image[0], image[1], index(1), image[2]))
        weight = graph.emit(relax.op.reshape(weight, [*kernel[:2], 1, kernel[2]]))
        strides, pads, dilations = [1, *strides], [0, pads[0], 0, pads[1]], [1, *dilations]
        image, result, kernel = (*image[:2], index(1), image[2]), (*result[:2], index(1), result[2]), [*kernel[:2], 1, kernel[2]]
    last = graph.channels_last(value)
    windows = _windows(image, result, kernel, strides, pads, dilations, transposed, graph)
    if windows is None and transposed:
        return None
    if windows is None:
        pad = [0, 0, pads[0], pads[2], pads[1], pads[3], 0, 0]
        last = graph.emit(relax.op.nn.pad(last, pad)) if any(pad) else last
    lanes = graph.machine.lanes(dtype)
    groups = int(call.attrs.groups)
    if transposed:  # [in, out / groups, ...] to [out, in / groups, ...]
        weight = _swapped(graph, weight, groups, kernel)
    depthwise = groups == channels == out and groups > 1
    if not depthwise:
        weight, groups = _merged(graph, weight, groups, lanes)
    plan = Plan(channels, out, groups, windows, transposed, (strides[0], strides[1]), (dilations[0], dilations[1]), depthwise)  # pyright: ignore[reportArgumentType]
    weight = _tapped(graph, weight) if depthwise else _panels(graph, weight, lanes)
    made = graph.kernel(
        partial(conv2d, plan=plan), last, weight, [result[0], result[2], result[3]], name="depthwise" if depthwise else "conv2d"
    )
    y = graph.channels_first(made)
    return graph.reshaped(y, tuple(call.ty.shape.values)) if flat else y


def _windows(
    image: Any, result: Any, kernel: Any, strides: list[int], pads: list[int], dilations: list[int], transposed: bool, graph: _Graph
) -> tuple[Window, Window] | None:  # fmt: skip
    """None where a size is dynamic, or where edges would make most of the code."""
    found = []
    for d in range(2):
        size, out = constant(image[2 + d]), constant(result[2 + d])
        if size is None or out is None:
            return None
        found.append(Window(size, out, kernel[2 + d], strides[d], pads[d], dilations[d], transposed))
    rows, _ = shape(found[1].phases()[0].count, 4, graph.machine)
    edges = sum(t.edge for p in found[1].phases() for t in static_rows(p.count, rows, *p.interior(found[1].size)))
    return None if edges > MOST_EDGES and not transposed else (found[0], found[1])


def _swapped(graph: _Graph, weight: Expr, groups: int, kernel: Any) -> Expr:
    i, o, h, w = kernel
    parts = graph.emit(relax.op.reshape(weight, [groups, i // groups, o, h, w]))
    turned = graph.emit(relax.op.permute_dims(parts, [0, 2, 1, 3, 4]))
    return graph.emit(relax.op.reshape(turned, [groups * o, i // groups, h, w]))


def _merged(graph: _Graph, weight: Expr, groups: int, lanes: int) -> tuple[Expr, int]:
    """Groups put together, with zeros between them, until one fills whole vectors of output channels."""
    o, i, h, w = (constant(s) or 0 for s in weight.ty.shape.values)
    each = o // groups
    size = next((m for m in range(1, groups + 1) if groups % m == 0 and each * m % lanes == 0), groups)
    if size == 1:
        return weight, groups
    dtype = str(weight.ty.dtype)
    apart = graph.emit(relax.op.reshape(weight, [groups // size, size, each, 1, i, h, w]))
    own = relax.const(np.eye(size, dtype=bool).reshape(1, size, 1, size, 1, 1, 1))
    whole = graph.emit(relax.op.where(own, apart, relax.const(0, dtype)))
    return graph.emit(relax.op.reshape(whole, [o, size * i, h, w])), groups // size


def _panels(graph: _Graph, weight: Expr, lanes: int) -> Expr:
    """[O, I, H, W] as [ceil(O / lanes), H, W, I, lanes]."""
    o, i, h, w = (constant(s) or 0 for s in weight.ty.shape.values)
    if o % lanes:
        weight = graph.emit(relax.op.nn.pad(weight, [0, -o % lanes, 0, 0, 0, 0, 0, 0]))
    parts = graph.emit(relax.op.reshape(weight, [-(-o // lanes), lanes, i, h, w]))
    return graph.emit(relax.op.permute_dims(parts, [0, 3, 4, 2, 1]))


def _tapped(graph: _Graph, weight: Expr) -> Expr:
    """[C, 1, H, W] as [H, W, C]."""
    c, _, h, w = (constant(s) or 0 for s in weight.ty.shape.values)
    return graph.emit(relax.op.permute_dims(graph.emit(relax.op.reshape(weight, [c, h, w])), [1, 2, 0]))


def conv2d(x: te.Tensor, weight: te.Tensor, sizes: list[Any], plan: Plan) -> te.Tensor:
    """x [N, H, W, C] → [N, H', W', O]. With windows, it is for the rule of contractions alone: reads outside of x are not guarded here."""
    taps_at = 0 if plan.depthwise else 1
    kh, kw = te.reduce_axis((0, weight.shape[taps_at]), "kh"), te.reduce_axis((0, weight.shape[taps_at + 1]), "kw")
    inner = [] if plan.depthwise else [te.reduce_axis((0, weight.shape[3]), "c")]
    each, lanes = plan.out // plan.groups, weight.shape[-1]

    def place(o: Any, k: Any, d: int) -> Any:
        pad = plan.windows[d].pad if plan.windows else 0
        if plan.transposed:
            return tirx.floordiv(o + pad - k * plan.dilations[d], plan.strides[d])
        return o * plan.strides[d] + k * plan.dilations[d] - pad

    def product(n: Any, i: Any, j: Any, o: Any) -> Any:
        y, z = place(i, kh, 0), place(j, kw, 1)
        if plan.depthwise:
            return te.sum(x[n, y, z, o] * weight[kh, kw, o], axis=[kh, kw])
        (c,) = inner
        channel = c if plan.groups == 1 else tirx.floordiv(o, each) * weight.shape[3] + c
        return te.sum(x[n, y, z, channel] * weight[tirx.floordiv(o, lanes), kh, kw, c, tirx.floormod(o, lanes)], axis=[kh, kw, c])

    windows = ((1, 4, plan.windows[0]), (2, 5, plan.windows[1])) if plan.windows else ()
    return te.compute((*sizes, index(plan.out)), product, name="conv2d", attrs=Spec(2, 3, windows, not plan.depthwise).note())
