"""Kernels for backend tests, traced from Python functions; and the conformance cases' shape."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Mapping, Sequence
from unittest.mock import patch

import torch
from support import builder
from support.builder import Builder

from dync.backends.base import Kernel
from dync.backends.kernels import kernels
from dync.ir.flow import DimRange, Leaf, Return, TupleTree
from dync.ir.program import Block
from dync.ir.types import Ref, Span
from dync.passes.graph.functionalize import Functional, functionalize


def kernel(function: Callable[..., Any], inputs: Mapping[str, str], weights: Mapping[str, torch.Tensor] | None = None, composite: bool = False,
           dims: Mapping[str, tuple[int, int | None]] | None = None, mutates: tuple[str, ...] = ()) -> Kernel:
    """A Kernel of `function`; composite: ATen as the user called it (conv2d, linear), else as it is below autograd."""
    ranges = tuple(DimRange(n, low, high) for n, (low, high) in (dims or {}).items())
    b = Builder("t", inputs, weights, dims=ranges)
    flat = wrapped(function)
    count = len(results_of(flat, b))
    names = tuple(f"r{i}" for i in range(count))
    trace = functools.partial(builder.make_fx, pre_dispatch=True) if composite else builder.make_fx
    with patch.object(builder, "make_fx", trace), torch.no_grad():
        b.block("b0", flat, names, Return(TupleTree(tuple(Leaf(Ref(n)) for n in names))), mutates=mutates)
    program = b.program()
    for node in program.blocks[0].graph.nodes:
        lines = re.findall(rf'File "{re.escape(function.__code__.co_filename)}", line (\d+)', node.meta.get("stack_trace") or "")
        node.meta["span"] = Span(function.__code__.co_filename, int(lines[-1])) if lines else node.meta["span"]
    return kernels(program, functional)["b0"]


def functional(block: Block) -> Block:
    """The block without in-place operations, where the pass can take them out."""
    made = functionalize(block.graph)
    return replace(block, graph=made.graph) if isinstance(made, Functional) and not made.copies else block


def wrapped(function: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """`function` with a tuple of tensors and numbers as its result."""

    @functools.wraps(function)
    def flat(*args: Any) -> tuple[Any, ...]:
        return tuple(torch.utils._pytree.tree_leaves(function(*args)))

    return flat


def results_of(function: Callable[..., Any], b: Builder) -> tuple[Any, ...]:
    import inspect

    with b.fakes, torch.no_grad():
        values = [b.fakes.from_tensor(b.weights[n.replace("__", ".")], static_shapes=True) if n.replace("__", ".") in b.weights else b.values[n]
                  for n in inspect.signature(function).parameters]
        return function(*values)


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
