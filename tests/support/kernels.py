"""Kernels for backend tests, traced from Python functions; and the conformance cases' shape."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence
from unittest.mock import patch

import torch
from support import builder
from support.builder import Builder
from torch.fx.experimental.proxy_tensor import make_fx

from dync.backends.base import Kernel
from dync.backends.kernels import kernels
from dync.ir.flow import DimRange, Leaf, Return, TupleTree
from dync.ir.program import Program
from dync.ir.types import Ref, Span


def kernel(function: Callable[..., Any], inputs: Mapping[str, str], weights: Mapping[str, torch.Tensor] | None = None, composite: bool = False,
           dims: Mapping[str, tuple[int, int | None]] | None = None, mutates: tuple[str, ...] = ()) -> Kernel:
    """A Kernel of `function`; composite: ATen as the user called it (conv2d, linear), else as it is below autograd."""
    ranges = tuple(DimRange(n, low, high) for n, (low, high) in (dims or {}).items())
    b = Builder("t", inputs, weights, dims=ranges)
    flat = wrapped(function)
    count = len(results_of(flat, b))
    names = tuple(f"r{i}" for i in range(count))
    trace = functools.partial(builder.make_fx, pre_dispatch=True) if composite else builder.make_fx
    program = traced(b, flat, names, mutates, trace)
    if not mutates and any(writes(n) for n in program.blocks[0].graph.nodes):
        program = traced(Builder("t", inputs, weights, dims=ranges), flat, names, mutates, functional)
    for node in program.blocks[0].graph.nodes:
        lines = re.findall(rf'File "{re.escape(function.__code__.co_filename)}", line (\d+)', node.meta.get("stack_trace") or "")
        node.meta["span"] = Span(function.__code__.co_filename, int(lines[-1])) if lines else node.meta["span"]
    return kernels(program)["b0"]


def traced(b: Builder, flat: Callable[..., Any], names: tuple[str, ...], mutates: tuple[str, ...], trace: Callable[..., Any]) -> Program:
    with patch.object(builder, "make_fx", trace), torch.no_grad():
        b.block("b0", flat, names, Return(TupleTree(tuple(Leaf(Ref(n)) for n in names))), mutates=mutates)
    return b.program()


def functional(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """make_fx of `function` without its in-place operations."""
    return make_fx(torch.func.functionalize(function, remove="mutations"), **options)


def writes(node: torch.fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


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
