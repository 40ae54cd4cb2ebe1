"""What a Program itself says about sizes: shapes of results by those of inputs, slices by their ends, counts of one mask.

size  ::= a number | Count, the unknown number of elements that one mask picks: equal to itself and never negative
shape ::= sizes
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.fx import Node

from dync.ir.program import Block, Program
from dync.ir.types import TensorType
from dync.verify.inputs import evaluate
from dync.verify.routes import Count, Rule

Source = tuple[frozenset[str], Callable[[Mapping[str, Any]], "int | Count | None"]]
"""The names that the size of a symbol is told from, and how."""
_SIGNS: Mapping[str, Callable[[int, int], int]] = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}


@dataclass(frozen=True)
class _Here:
    """A block and where its symbols come from."""

    block: Block
    inputs: Mapping[Node, str]
    sources: Mapping[str, Source]

    def rule(self, dims: tuple[Any, ...], whole: bool) -> Rule | None:
        """The rule of a shape, or of its only size; None where a symbol comes from elsewhere."""
        names = [n for d in dims for n in _symbols(d)]
        if not names or any(n not in self.sources for n in names):
            return None

        def made(known: Mapping[str, Any]) -> Any:
            sizes = {n: self.sources[n][1](known) for n in names}
            numbers = {n: v for n, v in sizes.items() if isinstance(v, int)}
            found = tuple(sizes[d] if d in sizes else evaluate(d, numbers) if _symbols(d) <= set(numbers) else None for d in dims)
            return None if None in found else found if whole else found[0]

        return Rule(frozenset().union(*(self.sources[n][0] for n in names)), made)


def size_rules(program: Program) -> dict[str, Rule]:
    """By name, for results that are tensors with symbolic shapes, or sizes of tensors: what they are, known their block's inputs."""
    found: dict[str, Rule] = {}
    for block in program.blocks:
        inputs = dict(zip(block.graph.find_nodes(op="placeholder"), block.flow.inputs))
        here = _Here(block, inputs, dict(_sources(block, inputs)))
        for result, node in zip(block.flow.results, block.graph.output_node().args[0]):  # type: ignore[arg-type]
            if not isinstance(node, Node):
                continue
            sized = str(node.target) == "aten.sym_size.int"
            value = node.meta.get("val")
            if sized and node.args[0] in inputs:
                rule = Rule(frozenset([inputs[node.args[0]]]), partial(_carried, inputs[node.args[0]], node.args[1]))  # type: ignore[index]
            elif sized:
                rule = here.rule((_dim(node.args[0], node.args[1]),), False)
            elif isinstance(result.type, TensorType) and isinstance(value, torch.Tensor):
                rule = here.rule(tuple(_dim(node, i) for i in range(value.dim())), True)
            else:
                continue
            if rule is not None:
                found[result.name] = rule
    return found


def _sources(block: Block, inputs: Mapping[Node, str]) -> Iterator[tuple[str, Source]]:
    for node in reversed(block.graph.nodes):
        made, at = _dim(node, 0), 0
        if str(node.target) == "aten.index.Tensor" and (mask := _mask(node)) is not None and str(made).isidentifier():
            token = Count(f"{block.name}.{mask.name}")
            yield str(made), (frozenset(), lambda known, token=token: token)
        if str(node.target) == "aten.slice.Tensor" and len(node.args) == 4 and isinstance(node.args[1], int):
            at = node.args[1]
            if str(_dim(node, at)).isidentifier() and _dim(node, at) != _dim(node.args[0], at):
                yield str(_dim(node, at)), _slice(node, inputs)
    for node, name in inputs.items():
        value = node.meta.get("val")
        for i in range(value.dim() if isinstance(value, torch.Tensor) else 0):
            if str(_dim(node, i)).isidentifier():
                yield str(_dim(node, i)), (frozenset([name]), partial(_carried, name, i))


def _carried(name: str, at: int, known: Mapping[str, Any]) -> int | Count | None:
    """A dimension of a known shape."""
    shape = known.get(name)
    return shape[at] if isinstance(shape, tuple) else None


def _slice(node: Node, inputs: Mapping[Node, str]) -> Source:
    """The size of a slice with step 1 of an input of the block."""
    source, at, *ends = node.args
    reads = frozenset(n for e in (source, *ends) for n in _read(e, inputs))

    def size(known: Mapping[str, Any]) -> int | None:
        shape = known.get(inputs.get(source, ""))  # type: ignore[arg-type]
        length = _number(_dim(source, at), known, inputs) if shape is None else shape[at]  # type: ignore[index]
        start, end = (_number(e, known, inputs) for e in ends)
        if not isinstance(length, int) or start is None or end is None:
            return None
        return len(range(length)[int(start) : int(end)])

    return reads, size


def _number(value: Any, known: Mapping[str, Any], inputs: Mapping[Node, str]) -> int | None:
    """A whole number that a graph computes from known ones."""
    if not isinstance(value, Node):
        return value if isinstance(value, int) else None
    if value in inputs:
        found = known.get(inputs[value])
        return found if isinstance(found, int) else None
    sign = _SIGNS.get(getattr(value.target, "__name__", ""))
    numbers = [_number(a, known, inputs) for a in value.args]
    return sign(*numbers) if sign is not None and len(numbers) == 2 and None not in numbers else None  # type: ignore[arg-type]


def _read(value: Any, inputs: Mapping[Node, str]) -> frozenset[str]:
    if not isinstance(value, Node):
        return frozenset()
    return frozenset([inputs[value]]) if value in inputs else frozenset(n for a in value.args for n in _read(a, inputs))


def _mask(node: Node) -> Node | None:
    listed = node.args[1]
    mask = listed[0] if isinstance(listed, (list, tuple)) and len(listed) == 1 else None
    value = mask.meta.get("val") if isinstance(mask, Node) else None
    return mask if isinstance(mask, Node) and isinstance(value, torch.Tensor) and value.dtype == torch.bool else None


def _dim(node: Any, at: Any) -> Any:
    """A dimension of a node's value, a number or text; None where there is none."""
    value = node.meta.get("val") if isinstance(node, Node) else None
    if not isinstance(value, torch.Tensor) or value.dim() <= at:
        return None
    size = value.shape[at]
    return size if isinstance(size, int) else str(size)


def _symbols(dim: Any) -> frozenset[str]:
    import ast

    return (
        frozenset(n.id for n in ast.walk(ast.parse(dim, mode="eval")) if isinstance(n, ast.Name)) if isinstance(dim, str) else frozenset()
    )
