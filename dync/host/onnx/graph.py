"""Writing nested ONNX graphs: scopes see the names of those around them; constants and weights stand once, in the outermost graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

OPSET, IR_VERSION = 20, 10
ENUM = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9,
        "float16": 10, "float64": 11, "uint32": 12, "uint64": 13}  # fmt: skip
"""torch's dtype names → onnx.TensorProto.DataType, without bfloat16, which numpy callers cannot feed."""
NESTING = 28
"""Levels of subgraphs that a model may have: protobuf reads 100 nested messages, three a level."""


class Type(NamedTuple):
    """Element type and rank of a value."""

    dtype: str
    rank: int


class TooDeep(Exception):
    """A graph nested deeper than protobuf reads, at `block`, which may stand behind `outward` instead, further out in the same loop."""

    def __init__(self, block: str = "", outward: str = "") -> None:
        super().__init__(block)
        self.block, self.outward = block, outward


@dataclass
class Whole:
    """What the scopes of one model share."""

    initializers: list[Any] = field(default_factory=list)
    domains: dict[str, int] = field(default_factory=lambda: {"": OPSET})
    outside: set[str] = field(default_factory=set)
    weights: dict[str, str] = field(default_factory=dict)
    reserved: set[str] = field(default_factory=set)
    _constants: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _count: int = 0

    def fresh(self, hint: str = "v") -> str:
        self._count += 1
        while (name := f"{hint}_{self._count}") in self.reserved:
            self._count += 1
        return name

    def const(self, value: Any, dtype: str) -> str:
        """The name of a constant; equal ones stand once."""
        from onnx import numpy_helper

        array = np.asarray(value, np.dtype(dtype))
        return self.constant(numpy_helper.from_array(array, ""), (ENUM[dtype], array.shape, array.tobytes()))

    def constant(self, tensor: Any, key: tuple[Any, ...]) -> str:
        if key not in self._constants:
            name = self.fresh("c")
            copy = type(tensor)()
            copy.CopyFrom(tensor)
            copy.name = name
            self.initializers.append(copy)
            self.outside.add(name)
            self._constants[key] = name
        return self._constants[key]

    def nothing(self, type: Type) -> str:
        """A value to stand where none is asked for: a number 0, a tensor of size 0."""
        return self.const(np.zeros([0] * type.rank), type.dtype)

    def weight(self, name: str, tensor: Any) -> str:
        """The initialiser of a weight; `tensor` is a TensorProto that names its type, dims and external place."""
        if name not in self.weights:
            copy = builtin_copy(tensor)
            copy.name = self.weights[name] = f"weight.{name}"
            self.initializers.append(copy)
            self.outside.add(copy.name)
        return self.weights[name]


def builtin_copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


@dataclass
class Scope:
    """One graph under construction. env: value of the program → its name here, those of the scopes around included."""

    whole: Whole
    env: dict[str, str]
    parent: Scope | None = None
    nodes: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    defined: set[str] = field(default_factory=set)
    depth: int = 0

    def inner(self) -> Scope:
        """A scope for a subgraph of a node here. Raises TooDeep beyond NESTING."""
        if self.depth >= NESTING:
            raise TooDeep
        return Scope(self.whole, dict(self.env), self, depth=self.depth + 1)

    def sees(self, name: str) -> bool:
        """Whether `name` is defined here or around here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.defined:
                return True
            scope = scope.parent
        return name in self.whole.outside

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one result."""
        return self.ops(op, inputs, 1, **attributes)[0]

    def ops(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> tuple[str, ...]:
        """A node with `count` results."""
        from onnx import helper

        outputs = [self.whole.fresh() for _ in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=self.whole.fresh(op), **attributes))
        self.defined.update(outputs)
        return tuple(outputs)

    def input(self, name: str, type: Type) -> str:
        """Declares an input of this graph, its sizes open."""
        from onnx import helper

        self.inputs.append(helper.make_tensor_value_info(name, ENUM[type.dtype], [None] * type.rank))
        self.defined.add(name)
        return name

    def inline(self, model: Any, inputs: Iterable[str], weights: Mapping[str, str], prefix: str) -> list[str]:
        """The nodes of a model of one graph, its inputs bound to `inputs`, its initialisers outermost; names of its outputs here."""
        graph = model.graph
        names: dict[str, str] = {"": ""}
        names.update(zip((i.name for i in graph.input), inputs, strict=True))
        for tensor in graph.initializer:
            key = (tensor.data_type, tuple(tensor.dims), tensor.raw_data, tensor.SerializeToString() if not tensor.raw_data else b"")
            if tensor.name in weights:
                names[tensor.name] = self.whole.weight(weights[tensor.name], tensor)
            else:
                names[tensor.name] = self.whole.constant(tensor, key)
        for node in graph.node:
            copy = builtin_copy(node)
            copy.name = f"{prefix}/{node.name}"
            for name in node.output:
                if name:
                    names[name] = self.whole.fresh("v")
                    self.defined.add(names[name])
            copy.input[:] = [names[n] for n in node.input]
            copy.output[:] = [names[n] for n in node.output]
            self.nodes.append(copy)
        for one in model.opset_import:
            self.whole.domains.setdefault(one.domain, one.version)
        return [names[o.name] for o in graph.output]

    def own(self, name: str, used: set[str]) -> str:
        """`name` as the result of a node of this graph that is no output yet, through Identity where needed."""
        if name not in self.defined or name in used or any(i.name == name for i in self.inputs):
            name = self.op("Identity", name)
        used.add(name)
        return name

    def graph(self, outputs: Sequence[tuple[str, Type]], name: str) -> Any:
        """The finished subgraph; its outputs are typed, their sizes open."""
        from onnx import TypeProto, helper

        used: set[str] = set()
        infos = []
        for value, type in outputs:
            kind = TypeProto()
            kind.tensor_type.elem_type = ENUM[type.dtype]
            infos.append(helper.make_value_info(self.own(value, used), kind))
        return helper.make_graph(self.nodes, name, self.inputs, infos)
