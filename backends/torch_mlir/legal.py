"""ONNX as torch-mlir and IREE read it: nodes that they refuse or compute otherwise than ONNX says are said in another way, or refused.

Found by the conformance cases. Each rule is an operator's; what has no rule means here what ONNX says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dync.backends.base import Declined
from dync.backends.onnx.translate import label
from dync.backends.torch_mlir.bounds import Bounds
from dync.backends.torch_mlir.convolution import rows
from dync.ir.raising import MARK
from dync.ir.types import UNKNOWN

if TYPE_CHECKING:
    from dync.backends.onnx.translate import Translation

FLOATS, INTS = frozenset({1, 10, 11, 16}), frozenset({2, 3, 4, 5, 6, 7, 12, 13})
FLOAT, BOOL, UINT8, INT64, INT32, INT16, FLOAT64 = 1, 9, 2, 7, 6, 5, 11
TURN = (6.283185303211212, 3.968374295837407e-09, 2.2884754904439327e-17)
"""2 pi, in parts of which the first two have 27 bits."""
FARTHEST = 2.0**33
LONGEST_SORT = 64
"""Sorting by counting compares all with all."""


SCATTERS = frozenset({"ScatterElements", "ScatterND"})
SAME_MEMORY = frozenset({
    "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split", "Expand", "Transpose", "Cast", "Pad", "Concat", "Add",
    "Sub", "Mul", "Div", "Gather", "Where",
})  # fmt: skip
"""What may come to nothing, so that its result lies where its input does."""


class Refused(Exception):
    """There is no way to say a node; the text is the reason."""


@dataclass
class Graph:
    """A model's graph with the types that shape inference finds. convolved: into convolutions. decided: how many sizes are data's.

    made: the nodes in the place of the one at hand.
    """

    types: Mapping[str, tuple[int, list[int | None] | None]]
    constants: Mapping[str, Any]
    convolved: frozenset[str] = frozenset()
    decided: int = 0
    made: list[Any] = field(default_factory=list[Any])
    initializers: list[Any] = field(default_factory=list[Any])
    count: int = 0

    def dtype(self, name: str) -> int:
        return self.types[name][0] if name in self.types else 0

    def dims(self, name: str) -> list[int | None]:
        found = self.types[name][1] if name in self.types else None
        if found is None:
            raise Refused("a value of unknown rank")
        return found

    def op(self, kind: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        from onnx import helper

        self.count += 1
        name = result or f"legal{self.count}"
        self.made.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def const(self, value: Any, dtype: int) -> str:
        from onnx import helper, numpy_helper

        self.count += 1
        name = f"legal{self.count}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, helper.tensor_dtype_to_np_dtype(dtype)), name))
        return name


def legal(found: Translation) -> Translation | Declined:
    """A translated kernel with every node in a form that is computed right; or the first that has none."""
    import onnx

    model = onnx.load_model_from_string(found.model)
    graph, nodes = _facts(model), []
    bounds = Bounds(graph)
    for node in model.graph.node:
        graph.made = []
        if MARK in node.name:
            origin = found.origin[node.name]
            return Declined(f"{label(origin)}: it may raise, which code of IREE cannot", origin.meta.get("span", UNKNOWN))
        try:
            _sizes(graph, node)
            bounds.met(node)
            asked = len(graph.made)
            rule = RULES.get(node.op_type)
            said = rule(graph, node) if rule else False
            if node.domain:
                raise Refused(f"{node.domain}'s {node.op_type}")
        except Refused as reason:
            origin = found.origin.get(node.name)
            name, span = (str(origin.target), origin.meta.get("span", UNKNOWN)) if origin is not None else (node.op_type, UNKNOWN)
            return Declined(f"{name}: {reason} is not computed right by torch-mlir and IREE", span)
        for one in graph.made:
            one.name = node.name
        nodes += graph.made if said else [*graph.made[:asked], node]
    written = scattered(model) & found.weights.keys()
    if written:
        return Declined(f"a scatter into the weight {found.weights[min(written)]}, which IREE does in place")
    graph.made = []
    if (output := bounds.output()) is not None:
        nodes += graph.made
        model.graph.output.append(output)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(graph.initializers)
    return found._replace(model=model.SerializeToString())


def scattered(model: Any) -> frozenset[str]:
    """Inputs and weights whose memory IREE would write: it scatters in place, into its caller's memory too where that is all there is."""
    behind: dict[str, frozenset[str]] = {i.name: frozenset({i.name}) for i in (*model.graph.input, *model.graph.initializer)}
    found: frozenset[str] = frozenset()
    for node in model.graph.node:
        if node.op_type in SCATTERS:
            found |= behind.get(node.input[0], frozenset())
        elif node.op_type in SAME_MEMORY:
            same = frozenset(n for i in node.input for n in behind.get(i, ()))
            behind |= {o: same for o in node.output}
    return found


def _facts(model: Any) -> Graph:
    import onnx
    from onnx import numpy_helper

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    types: dict[str, tuple[int, list[int | None] | None]] = {}
    for info in (*inferred.input, *inferred.value_info, *inferred.output):
        held = info.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else None for d in held.shape.dim] if held.HasField("shape") else None
        types[info.name] = (held.elem_type, shape)
    types |= {i.name: (i.data_type, list(i.dims)) for i in model.graph.initializer}
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer if i.data_location != onnx.TensorProto.EXTERNAL}
    convolved = frozenset(n.input[0] for n in model.graph.node if n.op_type == "Conv")
    return Graph(types, constants, convolved, sum(n.op_type == "NonZero" for n in model.graph.node))


def _sizes(graph: Graph, node: Any) -> None:
    """torch-mlir drops, and divides by, a size that is always zero."""
    for name in (*node.input, *node.output) if node.op_type in ("Concat", "Reshape") else ():
        shape = graph.types.get(name, (0, None))[1]
        if shape and 0 in shape and name not in graph.constants:
            raise Refused("a tensor without elements")


def _attribute(node: Any, name: str, default: Any = None) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


# -- said in another way: a rule gives True -----------------------------------------------------------------------------------


def _clip(graph: Graph, node: Any) -> bool:
    """Comparisons, which leave NaN as it is."""
    x = node.input[0]
    bounds = [(op, b) for op, b in zip(("Less", "Greater"), node.input[1:], strict=False) if b]
    if not bounds:
        return False
    for i, (op, bound) in enumerate(bounds):
        x = graph.op("Where", graph.op(op, x, bound), bound, x, result=node.output[0] if i == len(bounds) - 1 else "")
    return True


def _extreme(op: str) -> Callable[[Graph, Any], bool]:
    """Max and Min of integers by comparison."""

    def rule(graph: Graph, node: Any) -> bool:
        if graph.dtype(node.input[0]) not in INTS or len(node.input) < 2:
            return False
        x = node.input[0]
        for i, other in enumerate(node.input[1:]):
            x = graph.op("Where", graph.op(op, x, other), x, other, result=node.output[0] if i == len(node.input) - 2 else "")
        return True

    return rule


def _topk(graph: Graph, node: Any) -> bool:
    """By counting: an element's place is the number of those before it, NaN the largest. IREE sorts its input in place, and not stably."""
    x, k = node.input[0], graph.constants.get(node.input[1])
    dims = graph.dims(x)
    axis = _attribute(node, "axis", -1) % len(dims)
    size = dims[axis]
    if k is None or size is None or size > LONGEST_SORT:
        raise Refused(f"a sort of {'any number of' if size is None else size} elements")
    last = len(dims) - 1
    turn = [*(i for i in range(len(dims)) if i != axis), axis]
    row = graph.op("Transpose", x, perm=turn) if axis != last else x
    mine, theirs = graph.op("Unsqueeze", row, graph.const([-1], INT64)), graph.op("Unsqueeze", row, graph.const([-2], INT64))
    largest = _attribute(node, "largest", 1)
    before, equal = graph.op("Greater" if largest else "Less", theirs, mine), graph.op("Equal", theirs, mine)
    if graph.dtype(x) in FLOATS:
        their, my = (graph.op("IsNaN", v) for v in (theirs, mine))
        more, less = (their, my) if largest else (my, their)
        before = graph.op("Or", before, graph.op("And", more, graph.op("Not", less)))
        equal = graph.op("Or", equal, graph.op("And", their, my))
    tie = graph.op("And", equal, graph.const(np.tri(size, size, -1, dtype=bool), BOOL))
    counted = graph.op("Cast", graph.op("Or", before, tie), to=INT64)
    place = graph.op("ReduceSum", counted, graph.const([-1], INT64), keepdims=0)
    wanted = graph.const(np.arange(int(k.reshape(-1)[0]))[:, None], INT64)
    here = graph.op("Equal", graph.op("Unsqueeze", place, graph.const([-2], INT64)), wanted)
    at = graph.op("Where", here, graph.const(np.arange(size), INT64), graph.const(0, INT64))
    index = graph.op("ReduceSum", at, graph.const([-1], INT64), keepdims=0)
    back = [turn.index(i) for i in range(len(dims))]
    values, indices = (n if axis == last else "" for n in node.output)
    index = graph.op("Identity", index, result=indices) if indices else index
    value = graph.op("GatherElements", row, index, axis=last, result=values)
    if axis != last:
        graph.op("Transpose", value, perm=back, result=node.output[0])
        graph.op("Transpose", index, perm=back, result=node.output[1])
    return True


def _gelu(graph: Graph, node: Any) -> bool:
    """By tanh in its own words: torch-mlir's are off by 5e-5. (Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.)"""
    if _attribute(node, "approximate", b"none") != b"tanh":
        return False
    _double(graph, node)
    x, dtype = node.input[0], graph.dtype(node.input[0])
    cube = graph.op("Mul", graph.op("Mul", graph.op("Mul", x, x), x), graph.const(0.044715, dtype))
    inner = graph.op("Tanh", graph.op("Mul", graph.op("Add", x, cube), graph.const(math.sqrt(2 / math.pi), dtype)))
    graph.op("Mul", graph.op("Mul", x, graph.const(0.5, dtype)), graph.op("Add", inner, graph.const(1, dtype)), result=node.output[0])
    return True


def _circular(graph: Graph, node: Any) -> bool:
    """Of the rest by 2 pi, found in float64: IREE is off by 1e-7 times the argument. NaN beyond FARTHEST, where this would be off too.

    In three parts, of which the first two times a whole number are exact. (Cody and Waite, Software Manual for the Elementary Functions.)
    """
    x = node.input[0]
    if graph.dtype(x) != FLOAT:
        return False
    wide = graph.op("Cast", x, to=FLOAT64)
    turns = graph.op("Round", graph.op("Mul", wide, graph.const(1 / (2 * math.pi), FLOAT64)))
    for part in TURN:
        wide = graph.op("Sub", wide, graph.op("Mul", turns, graph.const(part, FLOAT64)))
    near = graph.op("Less", graph.op("Abs", x), graph.const(FARTHEST, FLOAT))
    rest = graph.op("Where", near, graph.op("Cast", wide, to=FLOAT), graph.const(math.nan, FLOAT))
    graph.op(node.op_type, rest, result=node.output[0])
    return True


def _unsigned(graph: Graph, node: Any) -> bool:
    """Of bytes, which IREE divides as if they had a sign, in int32."""
    if graph.dtype(node.input[0]) != UINT8:
        return False
    wide = graph.op(node.op_type, *(graph.op("Cast", i, to=INT32) for i in node.input))
    graph.op("Cast", wide, to=UINT8, result=node.output[0])
    return True


# -- refused ------------------------------------------------------------------------------------------------------------------


def _pow(graph: Graph, node: Any) -> bool:
    if graph.dtype(node.input[0]) in INTS:
        raise Refused("a power of integers")
    base = graph.constants.get(node.input[0])
    if node.input[1] not in graph.constants and (base is None or (base <= 0).any()):  # 0 ** 0 comes out as nan
        raise Refused("a power whose exponent is known only at run time")
    return False


def _pad(graph: Graph, node: Any) -> bool:
    pads = graph.constants.get(node.input[1])
    if pads is None or (pads < 0).any():
        raise Refused("padding by a negative or unknown number")
    if _attribute(node, "mode", b"constant") != b"constant":
        raise Refused(f"{_attribute(node, 'mode').decode()} padding")
    if node.output[0] in graph.convolved:
        raise Refused("padding before a convolution")
    axes = graph.constants.get(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    if len(node.input) > 3 and node.input[3]:  # which torch-mlir does not read
        if axes is None:
            raise Refused("padding of dimensions that are known only at run time")
        rank = len(graph.dims(node.input[0]))
        whole = np.zeros((2, rank), np.int64)
        whole[:, [int(a) % rank for a in axes]] = np.reshape(pads, (2, -1))
        graph.op("Pad", node.input[0], graph.const(whole.reshape(-1), INT64), node.input[2], result=node.output[0])
        return True
    return False


def _average(graph: Graph, node: Any) -> bool:
    if _attribute(node, "ceil_mode", 0):
        raise Refused("average pooling with ceil_mode")
    return False


def _resize(graph: Graph, node: Any) -> bool:
    if len(graph.dims(node.input[0])) != 4:
        raise Refused(f"interpolation of a tensor of rank {len(graph.dims(node.input[0]))}")
    return False


def _scatter(graph: Graph, node: Any) -> bool:
    if _attribute(node, "reduction", b"none") in (b"max", b"min"):
        raise Refused("scatter by maximum or minimum")
    return False


def _mod(graph: Graph, node: Any) -> bool:
    if graph.dtype(node.input[0]) in FLOATS:
        raise Refused("a remainder of floats")
    return _unsigned(graph, node)


def _cast(graph: Graph, node: Any) -> bool:
    if _attribute(node, "to") == INT16:
        raise Refused("a conversion to int16")
    return False


def _double(graph: Graph, node: Any) -> bool:
    if graph.dtype(node.input[0]) == FLOAT64:
        raise Refused(f"{node.op_type} of float64, for which there is no function to link,")
    return False


def _nonzero(graph: Graph, node: Any) -> bool:
    if None in graph.dims(node.input[0]) and graph.decided > 1:
        raise Refused("one of several sizes that data decides within tensors of open size")
    return False


def _one_way(graph: Graph, node: Any) -> bool:
    if len(node.input) > 4 and node.input[4]:
        raise Refused("a recurrent network on sequences of several lengths")
    if _attribute(node, "direction", b"forward") != b"forward":
        raise Refused("a recurrent network in two directions")
    return False


def _never(what: str) -> Callable[[Graph, Any], bool]:
    def rule(graph: Graph, node: Any) -> bool:
        raise Refused(what)

    return rule


RULES: Mapping[str, Callable[[Graph, Any], bool]] = {
    "Conv": rows, "Gelu": _gelu, **dict.fromkeys(("Sin", "Cos"), _circular), "Div": _unsigned, "Abs": _unsigned,
    "Clip": _clip, "Max": _extreme("Greater"), "Min": _extreme("Less"), "TopK": _topk, "Pow": _pow, "Pad": _pad,
    "AveragePool": _average, "Resize": _resize, "ScatterElements": _scatter, "ScatterND": _scatter,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _one_way),
    "Tan": lambda graph, node: _double(graph, node) or _circular(graph, node),
    **dict.fromkeys(("Tanh", "Sinh", "Cosh", "Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh", "Erf"), _double),
    "GridSample": _never("grid sampling"), "Unique": _never("unique"), "Cast": _cast, "Mod": _mod, "NonZero": _nonzero,
}  # fmt: skip
