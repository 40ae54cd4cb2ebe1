"""Builds Programs by hand out of Python functions, one per block, traced with make_fx on shared fake tensors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

from dync.ir.flow import Decision, DictTree, DimRange, Exit, FlowBlock, HostOp, Input, Leaf, RunParam, Signature, Slot, TupleTree
from dync.ir.program import Block, Program
from dync.ir.types import UNKNOWN, Lit, Operand, Ref, ScalarType, Span, TensorType, Value, ValueType, lit


def operand(value: Operand | str | float | bool | None) -> Operand:
    """A name as Ref, a number as Lit; strings are names."""
    if isinstance(value, (Ref, Lit)):
        return value
    return Ref(value) if isinstance(value, str) else lit(value)


def parse_type(text: str) -> ValueType:
    """The inverse of str(type): "float32[N, 4]", "int", "float", "bool"."""
    if text in ("int", "float", "bool"):
        return ScalarType(text)  # type: ignore[arg-type]
    dtype, dims = re.fullmatch(r"(\w+)\[(.*)\]", text).groups()  # type: ignore[union-attr]
    return TensorType(dtype, tuple(int(d) if d.strip().isdigit() else d.strip() for d in dims.split(",") if d.strip()))


class Builder:
    """Collects blocks; a block function's argument names say what it reads: a value, or a weight ("lin__w" is "lin.w")."""

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, str],
        weights: Mapping[str, torch.Tensor] | None = None,
        params: tuple[RunParam, ...] = (),
        slots: tuple[Slot, ...] = (),
        dims: tuple[DimRange, ...] = (),
    ) -> None:
        self.name, self.weights, self.slots, self.blocks = name, dict(weights or {}), slots, []
        self.shapes = ShapeEnv(allow_scalar_outputs=True, allow_dynamic_output_shape_ops=True)
        self.fakes = FakeTensorMode(shape_env=self.shapes, allow_non_fake_inputs=True)
        self.symbols: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        values = [self.value(n, parse_type(t)) for n, t in inputs.items()]
        for one in (*params, *slots):
            self.value(one.value.name, one.value.type)
        self.signature = Signature(
            tuple(inputs),
            TupleTree(tuple(Leaf(Ref(n)) for n in inputs)),
            DictTree((), ()),
            tuple(Input(v, v.name) for v in values),
            (),
            params,
            dims,
        )

    def value(self, name: str, type: ValueType) -> Value:
        """Declares a value and makes its fake."""
        match type:
            case ScalarType("int"):
                self.values[name] = self.shapes.create_unbacked_symint()
            case ScalarType("float"):
                self.values[name] = self.shapes.create_unbacked_symfloat()
            case ScalarType("bool"):
                self.values[name] = self.shapes.create_unbacked_symbool()
            case TensorType():
                with self.fakes:
                    self.values[name] = torch.empty([self._size(d) for d in type.shape], dtype=getattr(torch, type.dtype))
            case _:
                self.values[name] = None
        self.shapes.pending_fresh_unbacked_symbols.clear()
        return Value(name, type)

    def _size(self, dim: int | str) -> Any:
        if isinstance(dim, int):
            return dim
        if dim not in self.symbols:
            source, hint = ConstantSource(dim), 5 + len(self.symbols)
            symbol = self.shapes.create_symbol(hint, source, dynamic_dim=DimDynamic.DYNAMIC)
            self.symbols[dim] = self.shapes.create_symintnode(symbol, hint=hint, source=source)
        return self.symbols[dim]

    def type(self, fake: Any) -> ValueType:
        """The type of a fake tensor or symbolic scalar."""
        if isinstance(fake, torch.Tensor):
            return TensorType(str(fake.dtype).removeprefix("torch."), tuple(self._dim(d) for d in fake.shape), str(fake.device))
        for kind, classes in {"bool": (bool, torch.SymBool), "int": (int, torch.SymInt), "float": (float, torch.SymFloat)}.items():
            if isinstance(fake, classes):
                return ScalarType(kind)  # type: ignore[arg-type]
        raise TypeError(fake)

    def _dim(self, dim: Any) -> int | str:
        if isinstance(dim, int):
            return dim
        names = {s.node.expr: n for n, s in self.symbols.items()}
        return str(dim.node.expr.xreplace({k: type(k)(v, integer=True) for k, v in names.items()}))

    def block(
        self,
        name: str,
        function: Callable[..., Any] | None,
        results: tuple[str, ...],
        exit: Exit,
        params: Mapping[str, str] | None = None,
        host: tuple[HostOp, ...] = (),
        mutates: tuple[str, ...] = (),
    ) -> None:
        """Traces `function` (its tuple of results gets the names `results`) and appends the block."""
        declared = tuple(self.value(n, parse_type(t)) for n, t in (params or {}).items())
        names = tuple(n.replace("__", ".") for n in inspect.signature(function).parameters) if function else ()
        inputs = tuple(n for n in names if n not in self.weights)
        graph = self._trace(function, names) if function else _empty()
        outputs = graph.output_node().args[0]
        defined = []
        for result, node in zip(results, outputs, strict=True):
            fake, span = (node.meta["val"], node.meta["span"]) if isinstance(node, torch.fx.Node) else (node, UNKNOWN)
            self.values[result] = fake
            defined.append(Value(result, self.type(fake), span))
        for op in host:
            self.value(op.result.name, op.result.type)
        self.blocks.append(Block(FlowBlock(name, declared, inputs, tuple(defined), host, exit, mutates), graph))

    def _trace(self, function: Callable[..., Any], names: tuple[str, ...]) -> torch.fx.Graph:
        fakes = [self.fakes.from_tensor(self.weights[n], static_shapes=True) if n in self.weights else self.values[n] for n in names]
        with self.fakes:
            module = make_fx(lambda *a: tuple(function(*a)), record_stack_traces=True)(*fakes)
        graph = module.graph
        graph.owning_module = None
        for node in graph.find_nodes(op="get_attr"):
            constant = getattr(module, node.target)
            node.target = f"constant{len(self.weights)}"
            self.weights[node.target] = constant
            node.meta["val"] = self.fakes.from_tensor(constant, static_shapes=True)
        code = function.__code__
        for node in list(graph.nodes):
            lines = re.findall(rf'File "{re.escape(code.co_filename)}", line (\d+)', node.meta.get("stack_trace") or "")
            node.meta["span"] = Span(code.co_filename, int(lines[-1]) if lines else code.co_firstlineno)
        for node, name, fake in zip(graph.find_nodes(op="placeholder"), names, fakes, strict=True):
            node.meta["val"] = fake
            if name in self.weights:
                with graph.inserting_after([*graph.find_nodes(op="placeholder")][-1]):
                    got = graph.create_node("get_attr", name)
                got.meta |= node.meta
                node.replace_all_uses_with(got)
                graph.erase_node(node)
            else:
                node.target = name
        return graph

    def program(self) -> Program:
        return Program(self.name, self.signature, tuple(self.blocks), MappingProxyType(self.weights), self.slots, ("by hand",))


def _empty() -> torch.fx.Graph:
    graph = torch.fx.Graph()
    graph.output(()).meta["span"] = Span("hand.py", 1)
    return graph


def asks(text: str, left: Operand | str | float | None = None, right: Operand | str | float | None = None) -> Decision:
    """A Decision on `text`; strings are names."""
    return Decision(text, Span("hand.py", 1), None if left is None else operand(left), None if right is None else operand(right))
