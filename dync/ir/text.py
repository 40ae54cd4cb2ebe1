"""The one printer of Programs, and their digest.

program NAME(input: type, ...)             dims, params, slots, weights follow, one a line
BLOCK(param: type, ...) reads(value, ...) writes(value, ...):
    %0: type = aten.op(value, @weight)     # file.py:line       a node; one that is a result has the result's name
    host value: type = a > b                                    a host operation
    jump | branch | switch | return | raise                     the exit
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import torch
from torch.fx import Node

from dync.ir.flow import (
    Branch,
    DictTree,
    Edge,
    Exit,
    FlowBlock,
    Jump,
    Key,
    Leaf,
    ListTree,
    OneOfTree,
    OpaqueTree,
    Raise,
    RecordTree,
    Return,
    RowsTree,
    ScalarTree,
    Switch,
    Tree,
    TupleTree,
)
from dync.ir.meta import symbol_names, value_type
from dync.ir.program import Block, Program
from dync.ir.scalars import SCALAR_OPS
from dync.ir.types import Lit, Span, TensorType, Value, ValueType


def print_program(program: Program, spans: bool = True) -> str:
    """The program as text: deterministic, and without the values of its weights."""
    names = symbol_names(program)
    parts = ["\n".join(_header(program))]
    parts += ["\n".join(_block(b, names, spans)) for b in program.blocks]
    return "\n\n".join(parts) + "\n"


def print_graph(graph: torch.fx.Graph, spans: bool = False) -> str:
    """One graph as text, placeholders by their targets: what tests of graph rewrites compare."""
    names: dict[Node, str] = {}
    lines = [f"graph({', '.join(str(n.target) for n in graph.find_nodes(op='placeholder'))}):"]
    lines += [f"    {line}" for line in _nodes(graph, (), names, {}, spans)]
    return "\n".join([*lines, f"    return {_argument(graph.output_node().args[0], names)}"]) + "\n"


def digest(program: Program) -> str:
    """SHA-256 (hex) of what the program does: its text without spans and history; of weights only names and types."""
    return hashlib.sha256(print_program(program, spans=False).encode()).hexdigest()


def _typed(value: Value) -> str:
    return f"{value.name}: {_type_text(value.type)}"


def _type_text(type: ValueType) -> str:
    return f"{type} on {type.device}" if isinstance(type, TensorType) and type.device != "cpu" else str(type)


def _header(program: Program) -> Iterator[str]:
    s = program.signature
    yield f"program {program.name}({', '.join(_typed(i.value) for i in s.inputs)})"
    yield from (f"fixed {f.path} = {f.value}" for f in s.fixed)
    yield from (f"dim {d.name} in [{d.low}, {'inf' if d.high is None else d.high}]" for d in s.dims)
    yield from (f"param {_typed(p.value)} = {p.default} in [{p.low}, {p.high}] from {p.place} {p.name}" for p in s.params)
    yield from (f"slot {t.name} as {_typed(t.value)} = {tree_text(t.initial)}" for t in program.slots)
    for n, form in enumerate(program.forms):
        sizes = "".join(f"; {d.name} from {d.low}" for d in form.dims)
        pools = "".join(f"; {name} = {tree_text(tree)}" for name, tree in form.pools)
        yield f"state {n}: {', '.join(f'{name} = {tree_text(tree)}' for name, tree in form.attributes) or 'nothing'}{pools}{sizes}"
    yield from (f"weight {n}: {_type_text(value_type(w))}" for n, w in program.weights.items())


def _block(block: Block, symbols: Mapping[Any, str], spans: bool) -> Iterator[str]:
    flow = block.flow
    yield f"{flow.name}({', '.join(map(_typed, flow.params))}){_names('reads', flow.inputs)}{_names('writes', flow.mutates)}:"
    names = block.names
    yield from (f"    {line}" for line in _nodes(block.graph, tuple(r.name for r in flow.results), names, symbols, spans))
    for result, node in zip(flow.results, block.outputs):
        if names.get(node) != result.name:  # type: ignore[arg-type]
            yield f"    {_typed(result)} = {_argument(node, names)}"
    for op in flow.host:
        yield f"    host {_typed(op.result)} = {SCALAR_OPS[op.op].text.format(*op.args)}{_comment(op.span, spans)}"
    yield from (f"    {line}" for line in _exit(flow, spans))


def _names(word: str, names: tuple[str, ...]) -> str:
    return f" {word}({', '.join(names)})" if names else ""


def _comment(span: Span | None, spans: bool) -> str:
    why = f" ({span.why})" if span and span.why else ""
    return f"  # {PurePath(span.file).name}:{span.line}{why}" if spans and span and span.line else ""


def _nodes(
    graph: torch.fx.Graph, results: tuple[str, ...], names: dict[Node, str], symbols: Mapping[Any, str], spans: bool
) -> Iterator[str]:
    """One line for each operation. Fills `names`: a node that is one result bears its name, others count %0, %1, ..."""
    outputs, numbers = tuple(graph.output_node().args[0]), itertools.count()  # type: ignore[arg-type]
    result_names = {o: r for r, o in reversed(list(zip(results, outputs)))}
    for node in graph.nodes:
        if node.op == "placeholder":
            names.setdefault(node, str(node.target))
        elif node.op == "get_attr":
            names[node] = f"@{node.target}"
        elif node.op == "call_function":
            names[node] = result_names.get(node) or f"%{next(numbers)}"
            yield f"{names[node]}: {_type(node.meta.get('val'), symbols)} = {_call(node, names)}{_comment(node.meta.get('span'), spans)}"


def _type(fake: Any, symbols: Mapping[Any, str]) -> str:
    if isinstance(fake, (list, tuple)):
        return f"({', '.join(_type(f, symbols) for f in fake)})"
    return "none" if fake is None else _type_text(value_type(fake, symbols))


_TEXTS = {(op.function, op.text.count("{")): op.text for op in SCALAR_OPS.values()}


def _call(node: Node, names: Mapping[Node, str]) -> str:
    target: Any = node.target
    args = [_argument(a, names) for a in node.args] + [f"{k}={_argument(v, names)}" for k, v in node.kwargs.items()]
    if isinstance(target, torch._ops.OpOverload):
        return f"{str(target).removesuffix('.default')}({', '.join(args)})"
    if (target, len(args)) in _TEXTS:
        return _TEXTS[target, len(args)].format(*args)
    if target.__name__ == "getitem":
        return f"{args[0]}[{args[1]}]"
    return f"{target.__module__.strip('_')}.{target.__name__}({', '.join(args)})"


def _argument(value: Any, names: Mapping[Node, str]) -> str:
    if isinstance(value, Node):
        return names[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_argument(v, names) for v in value)}]"
    if isinstance(value, slice):
        return f"slice({', '.join(_argument(v, names) for v in (value.start, value.stop, value.step))})"
    return str(value) if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)) else repr(value)


def _fielded(exit: Raise) -> Iterator[str]:
    names = ("",) * (len(exit.args) - len(exit.fields)) + tuple(f"{f}=" for f in exit.fields)
    yield from (n + tree_text(t) for n, t in zip(names, exit.args, strict=True))


def _edge(edge: Edge) -> str:
    return f"{edge.target}({', '.join(map(str, edge.args))})"


def _exit(flow: FlowBlock, spans: bool) -> Iterator[str]:
    exit: Exit = flow.exit
    match exit:
        case Jump():
            yield f"jump {_edge(exit.edge)}"
        case Branch():
            yield f"branch {exit.predicate} ? {_edge(exit.then)} : {_edge(exit.orelse)}{_asks(exit, spans)}"
        case Switch():
            yield f"switch {exit.index}{_asks(exit, spans)}"
            yield from (f"    case {n}: {_edge(e)}" for n, e in exit.cases)
            yield from [f"    default: {_edge(exit.default)}"] if exit.default else []
        case Return() | Raise():
            yield from (f"{w.slot} := {tree_text(w.tree)}" for w in exit.writes)
            text = (
                f"return {tree_text(exit.tree)}"
                if isinstance(exit, Return)
                else f"raise {exit.cls}({', '.join(_fielded(exit))})"
            )
            yield text + _comment(exit.span, spans)


def _asks(exit: Branch | Switch, spans: bool) -> str:
    decision = exit.decision
    compared = f" by |{decision.left} - {decision.right}|" if decision.left and decision.right else ""
    return f" asks {decision.text!r}{compared}{_comment(decision.span, spans)}"


def tree_text(tree: Tree) -> str:
    """A tree as the Python expression that builds it."""
    match tree:
        case Leaf():
            return str(tree.operand)
        case OpaqueTree():
            return f"<{tree.kind} {tree.text}>"
        case RowsTree():
            return f"{tree.kind} of {tree_text(tree.element)} over rows of ({', '.join(map(tree_text, tree.items))})"
        case ListTree():
            return f"[{', '.join(map(tree_text, tree.items))}]"
        case TupleTree():
            return f"({', '.join(map(tree_text, tree.items))}{',' * (len(tree.items) == 1)})"
        case DictTree():
            items = ", ".join(f"{_key(k)}: {tree_text(t)}" for k, t in zip(tree.keys, tree.items))
            return f"{'' if tree.kind == 'dict' else tree.kind}{{{items}}}"
        case ScalarTree():
            return SCALAR_OPS[tree.op].text.format(*map(tree_text, tree.items))
        case OneOfTree():
            return f"({', '.join(map(tree_text, tree.items[1:]))})[{tree_text(tree.items[0])}]"
        case RecordTree():
            return f"{tree.cls.rpartition(':')[2]}({', '.join(f'{f}={tree_text(t)}' for f, t in zip(tree.fields, tree.items))})"


def _key(key: Key) -> str:
    return str(key) if isinstance(key, Lit) else tree_text(key)
