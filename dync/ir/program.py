"""The Program: blocks of branch-free ATen graphs, joined by typed exits, weights on the side.

    program ::= name, signature, blocks, weights, slots, history
    block   ::= flow (see flow.py) + graph
    graph   ::= torch.fx.Graph of
                  placeholder          one per flow.inputs, in order; tensors or Python scalars
                  get_attr             target = a key of Program.weights
                  call_function        ATen OpOverload, or a scalar function of scalars.SCALAR_OPS (operator.add, ...) on sizes and items
                  output               a tuple, one value per flow.results, in order
                Scalars appear in a graph as Python numbers: aten._local_scalar_dense (tensor → number), aten.sym_size.int.
                Every node has meta["val"] (a FakeTensor or a symbolic scalar) and meta["span"] (a Span).

Meaning: `interpret.interpret`. Legality: `verify.verify`, one function per invariant. Text: `text.print_program`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dync.ir.flow import Flow, FlowBlock, Signature, Slot, StateForm

if TYPE_CHECKING:
    import torch
    from torch.fx import Graph, Node


@dataclass(frozen=True)
class Block:
    """Branch-free code with one exit. The graph reads its placeholders and weights, nothing else."""

    flow: FlowBlock
    graph: Graph

    @property
    def name(self) -> str:
        return self.flow.name

    @property
    def outputs(self) -> tuple[Any, ...]:
        """What the graph returns, one for each result: a node, or a constant."""
        return tuple(self.graph.output_node().args[0])  # type: ignore[arg-type]

    @property
    def names(self) -> dict[Node, str]:
        """The placeholders, each with the name of the input that it stands for."""
        return dict(zip(self.graph.find_nodes(op="placeholder"), self.flow.inputs))

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights that the graph reads, in order of first use."""
        return tuple(dict.fromkeys(str(n.target) for n in self.graph.nodes if n.op == "get_attr"))


@dataclass(frozen=True)
class Program:
    """A whole dynamic network. `weights` holds each tensor once: tied parameters share one entry."""

    name: str
    signature: Signature
    blocks: tuple[Block, ...]
    weights: Mapping[str, torch.Tensor]
    slots: tuple[Slot, ...] = ()
    history: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Text of the user's files that spans point into, by file name."""
    forms: tuple[StateForm, ...] = ()

    @property
    def flow(self) -> Flow:
        return Flow(self.name, self.signature, tuple(b.flow for b in self.blocks), self.slots, self.forms)

    def block(self, name: str) -> Block:
        return next(b for b in self.blocks if b.name == name)

    @cached_property
    def written_weights(self) -> tuple[str, ...]:
        """Names of the weights that some block writes, itself or through a view made in another block."""
        from dync.ir.aliases import written_weights

        return written_weights(self)

    def with_blocks(self, blocks: tuple[Block, ...], note: str) -> Program:
        """The same program with other blocks; `note` goes into the history."""
        return replace(self, blocks=blocks, history=(*self.history, note))
