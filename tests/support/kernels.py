"""Kernels for backend tests, traced from Python functions; and the conformance cases' shape."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from support import builder
from support.builder import Builder

from dync.backends.base import Kernel
from dync.backends.kernels import kernels
from dync.ir.flow import DimRange, Return, TupleTree
from dync.ir.types import Span
from dync.passes.graph.functionalize import functionalize


def kernel(
    function: Callable[..., Any],
    inputs: Mapping[str, str],
    weights: Mapping[str, torch.Tensor] | None = None,
    composite: bool = False,
    dims: Mapping[str, tuple[int, int | None]] | None = None,
    mutates: tuple[str, ...] = (),
) -> Kernel:
    """A Kernel of `function`; composite: ATen as the user called it (conv2d, linear), else as it is below autograd."""
    counts: list[int] = []

    @functools.wraps(function)
    def flat(*args: Any) -> tuple[Any, ...]:
        results = tuple(torch.utils._pytree.tree_leaves(function(*args)))
        counts.append(len(results))
        return results

    def names() -> Iterator[str]:
        yield from (f"r{i}" for i in range(counts[-1]))

    b = Builder("t", inputs, weights, dims=tuple(DimRange(n, low, high) for n, (low, high) in (dims or {}).items()))
    trace = functools.partial(builder.make_fx, pre_dispatch=True) if composite else builder.make_fx
    with patch.object(builder, "make_fx", trace), torch.no_grad():
        b.block("b0", flat, names(), Return(TupleTree(())), mutates=mutates)  # type: ignore[arg-type]
    program = b.program()
    for node in program.blocks[0].graph.nodes:
        node.meta["span"] = Span(function.__code__.co_filename, function.__code__.co_firstlineno)
    return kernels(program, functionalize)["b0"]


@dataclass(frozen=True)
class Case:
    """function(*inputs, *weights) by argument name. examples: input tuples that drawn inputs would not give."""

    name: str
    function: Callable[..., Any]
    inputs: Mapping[str, str]
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)
    examples: Sequence[tuple[Any, ...]] = ()
    dims: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)

    def kernel(self, composite: bool = False) -> Kernel:
        return kernel(self.function, self.inputs, self.weights, composite, self.dims)
