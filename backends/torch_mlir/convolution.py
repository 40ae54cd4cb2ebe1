"""Convolutions on small images as matrix products of shifted rows: IREE's own way gathers element by element, which takes most of the time.

[N, C, H, W] * [O, C, kh, kw]: the kw shifts along W, one behind the other as channels, are [N, kw·C, H, W']; for each of the kh shifts
along H its rows times that part of the weight; the sum of these. CIFAR ResNet-20 took 0.7 to 0.8 of the time on a busy machine; large
images, where the shifts leave the cache, took 1.1 to 1.4 of it, and stay convolutions.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dync.backends.torch_mlir.legal import Graph

LARGEST = 1 << 20
"""Bytes that all shifts of an image may take together."""
INT64, WIDTH = 7, {1: 4, 11: 8}
"""ONNX's number of a dtype; bytes of an element, for the dtypes that are rewritten."""


def rows(graph: Graph, node: Any) -> bool:
    """Says a two-dimensional, ungrouped convolution of known sizes so; whether it did."""
    from onnx import helper

    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    x, weight, *bias = node.input
    sizes, kernel = graph.dims(x), graph.dims(weight)
    known = [s for s in (*sizes, *kernel) if s is not None]
    dtype = graph.dtype(x)
    plain = said.get("group", 1) == 1 and said.get("auto_pad", b"NOTSET") == b"NOTSET"
    if len(known) != 8 or len(sizes) != 4 or dtype not in WIDTH or not plain:
        return False
    batch, channels, outputs, window = known[0], known[1], known[4], known[6:]
    strides, steps, pads = said.get("strides", [1, 1]), said.get("dilations", [1, 1]), said.get("pads", [0, 0, 0, 0])
    padded = [known[2] + pads[0] + pads[2], known[3] + pads[1] + pads[3]]
    made = [(p - d * (k - 1) - 1) // s + 1 for p, d, k, s in zip(padded, steps, window, strides, strict=True)]
    if min(made) < 1 or batch * channels * prod(window) * prod(made) * WIDTH[dtype] > LARGEST:
        return False

    def ints(*values: int) -> str:
        return graph.const(values, INT64)

    def shift(value: str, axis: int, by: int) -> str:
        start = by * steps[axis]
        end = start + (made[axis] - 1) * strides[axis] + 1
        if (start, end, strides[axis]) == (0, padded[axis], 1):
            return value
        return graph.op("Slice", value, ints(start), ints(end), ints(2 + axis), ints(strides[axis]))

    if any(pads):
        x = graph.op("Pad", x, ints(0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]), graph.const(0, dtype))
    columns = [shift(x, 1, i) for i in range(window[1])]
    wide = graph.op("Concat", *columns, axis=1) if len(columns) > 1 else columns[0]
    depth, total = window[1] * channels, ""
    for i in range(window[0]):
        row = graph.op("Reshape", shift(wide, 0, i), ints(batch, depth, prod(made)))
        part = graph.op("Slice", weight, ints(i), ints(i + 1), ints(2)) if window[0] > 1 else weight
        part = graph.op("Reshape", graph.op("Transpose", part, perm=[0, 2, 3, 1]), ints(outputs, depth))
        product = graph.op("MatMul", part, row)
        total = graph.op("Add", total, product) if total else product
    if any(bias):
        total = graph.op("Add", total, graph.op("Reshape", bias[0], ints(outputs, 1)))
    graph.op("Reshape", total, ints(batch, outputs, *made), result=node.output[0])
    return True
