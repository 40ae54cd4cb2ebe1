"""Invariants of graphs and weights. Each function yields one line per breach."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node

from dync.ir.effects import identity, mutated
from dync.ir.flow import leaves
from dync.ir.invariants_flow import fits
from dync.ir.meta import value_type
from dync.ir.program import Block
from dync.ir.scalars import SCALAR_OPS
from dync.ir.scope import Scope
from dync.ir.types import Ref, Span

_FUNCTIONS = {op.function for op in SCALAR_OPS.values()} | {f for m in (operator, math) for f in vars(m).values() if callable(f)}


def graphs_are_branch_free_aten(s: Scope) -> Iterator[str]:
    for block in s.program.blocks:
        earlier: set[Node] = set()
        for node in block.graph.nodes:
            yield from (
                f"{block.name}: {node.name} uses {n.name}, which is not before it" for n in node.all_input_nodes if n not in earlier
            )
            earlier.add(node)
            if node.op not in ("placeholder", "get_attr", "call_function", "output"):
                yield f"{block.name}: {node.name} is a {node.op}"
            elif node.op == "call_function" and not isinstance(node.target, OpOverload) and node.target not in _FUNCTIONS:
                called = getattr(node.target, "__name__", node.target)
                yield f"{block.name}: {node.name} calls {called}, neither an operator nor a scalar function"


def placeholders_are_inputs(s: Scope) -> Iterator[str]:
    for block in s.program.blocks:
        nodes = block.graph.find_nodes(op="placeholder")
        if len(nodes) != len(block.flow.inputs):
            yield f"{block.name}: {len(nodes)} placeholders for {len(block.flow.inputs)} inputs"
            continue
        for node, name in zip(nodes, block.flow.inputs, strict=True):
            yield from _agrees(s, block, node, name)
        if len(set(block.flow.inputs)) != len(block.flow.inputs):
            yield f"{block.name}: an input is listed twice"


def outputs_are_results(s: Scope) -> Iterator[str]:
    for block in s.program.blocks:
        outputs: Any = block.graph.output_node().args[0]
        if not isinstance(outputs, (tuple, list)) or len(outputs) != len(block.flow.results):
            yield f"{block.name}: the graph returns {outputs} for {len(block.flow.results)} results"
            continue
        for node, result in zip(outputs, block.flow.results, strict=True):
            yield from _agrees(s, block, node, result.name)


def _agrees(s: Scope, block: Block, node: Any, name: str) -> Iterator[str]:
    fake, declared = node.meta.get("val") if isinstance(node, Node) else node, s.types.get(name)
    if fake is not None and declared is not None and not fits(value_type(fake, s.symbols), declared):
        yield f"{block.name}: {name} is declared {declared}, its node computes {value_type(fake, s.symbols)}"


def nodes_say_where_and_what(s: Scope) -> Iterator[str]:
    for block in s.program.blocks:
        for node in block.graph.nodes:
            if node.op != "output" and not isinstance(node.meta.get("span"), Span):
                yield f"{block.name}: {node.name} has no span"
            if node.op != "output" and node.meta.get("val") is None and _has_value(node):
                yield f"{block.name}: {node.name} has no val"


def _has_value(node: Node) -> bool:
    return not isinstance(node.target, OpOverload) or bool(node.target._schema.returns)


def weights_are_those_read(s: Scope) -> Iterator[str]:
    read = dict.fromkeys(w for b in s.program.blocks for w in b.weights)
    slots = dict.fromkeys(o.name for t in s.program.slots for o in leaves(t.initial) if isinstance(o, Ref))
    yield from (f"no weight {n!r}" for n in read | slots if n not in s.program.weights)
    yield from (f"weight {n!r} is never read" for n in s.program.weights if n not in read and n not in slots)


def tied_weights_are_stored_once(s: Scope) -> Iterator[str]:
    first: dict[Any, str] = {}
    for name, tensor in s.program.weights.items():
        if tensor.numel() == 0 or tensor.layout != torch.strided:
            continue
        if (place := identity(tensor)) in first:
            yield f"weights {first[place]!r} and {name!r} are one tensor"
        first.setdefault(place, name)


def mutates_is_what_is_written(s: Scope) -> Iterator[str]:
    for block in s.program.blocks:
        names = block.names | {n: str(n.target) for n in block.graph.find_nodes(op="get_attr")}
        actual, declared = {names[n] for n in mutated(block.graph) if n in names}, set(block.flow.mutates)
        yield from (f"{block.name}: {n!r} is written, which mutates does not list" for n in sorted(actual - declared))
        yield from (f"{block.name}: mutates lists {n!r}, which is not written" for n in sorted(declared - actual))
