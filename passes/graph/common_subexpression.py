"""Equal operations on equal operands are done once, within a block.

before                                          after
    %0 = aten.exp(x)                                %0 = aten.exp(x)
    %1 = aten.exp(x)                                y = aten.add.Tensor(%0, %0)
    y = aten.add.Tensor(%0, %1)

Not merged: what draws random numbers; a tensor that is written, or one that leaves the block (two results would become
one tensor, and a later write to one would show in the other); reads of a tensor with a write between them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch.fx import Graph, Node

from dync.ir.effects import is_pure, roots, written
from dync.ir.program import Program
from dync.ir.rewrite import copy_graph
from dync.passes.base import Pass, PassResult


@dataclass(frozen=True)
class CommonSubexpression(Pass):
    """Merges equal operations."""

    name: ClassVar[str] = "common-subexpression"

    def apply(self, program: Program) -> PassResult:
        blocks, changed = [], False
        for block in program.blocks:
            graph = copy_graph(block.graph)
            merged = merge_equal(graph)
            blocks.append(replace(block, graph=graph) if merged else block)
            changed |= bool(merged)
        return PassResult(replace(program, blocks=tuple(blocks)), changed)


def merge_equal(graph: Graph) -> int:
    """Merges equal operations of `graph` in place; returns how many were merged."""
    memory, versions, seen, merged = roots(graph), Counter[Node](), dict[Hashable, Node](), 0
    shared = {r for n in graph.output_node().all_input_nodes if _is_tensor(n) for r in memory[n]}
    changed = {r for n in graph.nodes for w in written(n) for r in memory[w]}
    reshaped = {w for n in graph.nodes if torch.Tag.inplace_view in getattr(n.target, "tags", ()) for w in written(n)}
    for node in list(graph.nodes):
        for target in written(node):
            versions.update(memory[target])
        if node.op not in ("call_function", "get_attr") or not is_pure(node):
            continue
        reads = tuple(sorted((r.name, versions[r]) for n in node.all_input_nodes for r in memory[n]))
        key = (node.op, node.target, _key(node.args), _key(tuple(sorted(node.kwargs.items()))), reads)
        first = seen.setdefault(key, node)
        fresh = memory[node] == {node} and node.op != "get_attr"
        if (
            first is node
            or {first, node} & reshaped
            or (fresh and _is_tensor(node) and (node in shared or node in changed or first in changed))
        ):
            continue
        node.replace_all_uses_with(first)
        graph.erase_node(node)
        merged += 1
    return merged


def _is_tensor(node: Node) -> bool:
    return not isinstance(node.meta.get("val"), (bool, int, float, torch.SymBool, torch.SymInt, torch.SymFloat))


def _key(value: Any) -> Hashable:
    """A hashable stand-in that tells 1, 1.0 and True apart, and 0.0 from -0.0."""
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, *map(_key, value))
    return (type(value).__name__, value if isinstance(value, Hashable) and not isinstance(value, float) else repr(value))
