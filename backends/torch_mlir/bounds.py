"""Indices that are out of range: IREE reads and writes whatever lies there. They are taken for 0, and a last output says that none is.

The function around a block asserts it, so that a call fails where ONNX Runtime and TVM fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dync.backends.torch_mlir.legal import Graph

IN_RANGE = "in_range"
"""The output's name: a bool without dimensions."""
INT32, INT64, BOOL = 6, 7, 9
BY_AXIS, BY_ROW = frozenset({"Gather", "GatherElements", "ScatterElements"}), frozenset({"GatherND", "ScatterND"})
MOVES = frozenset({"Cast", "Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators whose results hold nothing but what their inputs hold."""


class Bounds:
    """What is asked of the indices of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.fixed = set(graph.constants)
        """Values that hold nothing but constants."""
        self.wrong: list[str] = []

    def met(self, node: Any) -> None:
        """Looks at a node, in order; one that takes indices from the data takes checked ones from here on."""
        kind = node.op_type
        if kind in MOVES and all(i in self.fixed for i in (node.input if kind == "Concat" else node.input[:1])):
            self.fixed.update(node.output)
        if kind not in BY_AXIS | BY_ROW or node.input[1] in self.fixed:
            return
        graph, index = self.graph, node.input[1]
        dtype = graph.dtype(index)
        sizes = graph.op("Cast", graph.op("Shape", node.input[0]), to=dtype) if dtype != INT64 else graph.op("Shape", node.input[0])
        if kind in BY_AXIS:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            size = graph.op("Gather", sizes, graph.const(axis % len(graph.dims(node.input[0])), INT64), axis=0)
        else:
            depth = graph.dims(index)[-1]
            size = sizes if depth is None else graph.op("Slice", sizes, graph.const([0], INT64), graph.const([depth], INT64))
        below, above = graph.op("Less", index, graph.op("Neg", size)), graph.op("Not", graph.op("Less", index, size))
        bad = graph.op("Or", below, above)
        node.input[1] = graph.op("Where", bad, graph.const(0, dtype), index)
        self.wrong.append(graph.op("ReduceMax", graph.op("Reshape", graph.op("Cast", bad, to=INT32), graph.const([-1], INT64)), keepdims=0))

    def output(self) -> Any:
        """The output that says whether all is well, its nodes made; None where nothing is asked."""
        from onnx import helper

        if not self.wrong:
            return None
        graph, all_ = self.graph, self.wrong[0]
        for one in self.wrong[1:]:
            all_ = graph.op("Add", all_, one)
        graph.op("Less", all_, graph.const(1, INT32), result=IN_RANGE)
        return helper.make_tensor_value_info(IN_RANGE, BOOL, [])


def results(model: Any) -> list[Any]:
    """A model's outputs but for IN_RANGE."""
    return [o for o in model.graph.output if o.name != IN_RANGE]
