"""Types of what graph nodes compute, read from meta["val"]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from dync.ir.program import Program
from dync.ir.types import Dim, ObjectType, ScalarType, TensorType, Value, ValueType

_SCALARS = {"bool": (bool, torch.SymBool), "int": (int, torch.SymInt), "float": (float, torch.SymFloat)}


def value_type(fake: Any, names: Mapping[Any, str] | None = None) -> ValueType:
    """The type of a fake tensor or symbolic scalar; `names` says what a ShapeEnv's symbols are called in types."""
    if isinstance(fake, torch.Tensor):
        return TensorType(str(fake.dtype).removeprefix("torch."), tuple(dim(d, names) for d in fake.shape), str(fake.device))
    for kind, classes in _SCALARS.items():
        if isinstance(fake, classes):
            return ScalarType(kind)  # type: ignore[arg-type]
    return ObjectType(type(fake).__name__)


def dim(size: Any, names: Mapping[Any, str] | None = None) -> Dim:
    """A size as a number or as text over named symbols."""
    if isinstance(size, int):
        return size
    expression = size.node.expr
    if expression.is_Integer:
        return int(expression)
    return str(expression.xreplace({s: type(s)(n, integer=True) for s, n in (names or {}).items()}))


def symbol_names(program: Program) -> dict[Any, str]:
    """What each symbol of the fakes is called in the program's types: found where a value's type shows a bare symbol."""
    names: dict[Any, str] = {}
    types = {v.name: v.type for v in values(program)}
    for block in program.blocks:
        nodes = [*block.graph.find_nodes(op="placeholder"), *block.outputs]
        for node, name in zip(nodes, (*block.flow.inputs, *(r.name for r in block.flow.results))):
            fake, type = getattr(node, "meta", {}).get("val"), types.get(name)
            if isinstance(fake, torch.Tensor) and isinstance(type, TensorType):
                for size, shown in zip(fake.shape, type.shape):
                    if isinstance(shown, str) and shown.isidentifier() and not isinstance(size, int) and size.node.expr.is_Symbol:
                        names.setdefault(size.node.expr, shown)
    return names


def values(program: Program) -> Iterator[Value]:
    """Every value that the program defines: inputs, run parameters, slots, then per block params, results, host results."""
    yield from (i.value for i in program.signature.inputs)
    yield from (p.value for p in program.signature.params)
    yield from (s.value for s in program.slots)
    for block in program.blocks:
        yield from (*block.flow.params, *block.flow.results, *(h.result for h in block.flow.host))
