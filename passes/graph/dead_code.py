"""What nothing needs goes: operations, results, host operations, params, blocks and weights.

before                                          after
    b0() reads(x):                                  b0() reads(x):
        %0 = aten.exp(x)                                y = aten.neg(x)
        y = aten.neg(x)                                 return y
        unused = aten.sum(y)
        return y

Kept always: what writes memory that others may see, draws random numbers, checks, or may raise in the host.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec
from torch.fx import Graph, Node

from dync.ir.effects import is_pure, is_random, roots, written
from dync.ir.flow import Branch, Edge, FlowBlock, HostOp, Raise, Return, Switch, edges, exit_operands, leaves, map_edges
from dync.ir.program import Block, Program
from dync.ir.rewrite import copy_graph
from dync.ir.scalars import NEVER_RAISE
from dync.ir.scope import Scope
from dync.ir.text import digest
from dync.ir.types import Operand, Ref
from dync.passes.base import Pass, PassResult


@dataclass(frozen=True)
class DeadCode(Pass):
    """Removes what has no use."""

    name: ClassVar[str] = "dead-code"

    def apply(self, program: Program) -> PassResult:
        reached = Scope(program).reached
        kept = replace(program, blocks=tuple(b for b in program.blocks if b.name in reached))
        live = _Liveness(kept).names
        params = {b.name: [p.name in live for p in b.flow.params] for b in kept.blocks}
        blocks = tuple(_without_dead(b, live, params) for b in kept.blocks)
        read = {w for b in blocks for w in b.weights} | {o.name for t in program.slots for o in leaves(t.initial) if isinstance(o, Ref)}
        made = replace(program, blocks=blocks, weights={n: w for n, w in program.weights.items() if n in read})
        return PassResult(made, digest(made) != digest(program))


class _Liveness:
    """Marks the names that are needed, from exits and effects backwards, over loops too."""

    def __init__(self, program: Program) -> None:
        self.names: set[str] = set()
        self._users: dict[str, list[tuple[Operand, ...]]] = {}
        self._nodes: dict[str, tuple[Node, Needs]] = {}
        self._needs: dict[str, Needs] = {}
        self._inputs: dict[Node, str] = {}
        for block in program.blocks:
            self._index(block, program)
        for block in program.blocks:
            self._need(_decided(block.flow))
            for op in block.flow.host:
                self._need(() if op.op in NEVER_RAISE else (Ref(op.result.name), *op.args))
            needs = self._needs[block.name]
            self._need(tuple(Ref(self._inputs[n]) for n in needs.of(*needs.effects) if n in self._inputs))

    def _index(self, block: Block, program: Program) -> None:
        self._users.update({op.result.name: [op.args] for op in block.flow.host})
        self._inputs.update(block.names)
        needs = self._needs[block.name] = Needs(block.graph)
        for result, node in zip(block.flow.results, block.outputs):
            if isinstance(node, Node):
                self._nodes[result.name] = (node, needs)
        into = [e for b in program.blocks for e in edges(b.flow.exit) if e.target == block.name]
        self._users.update({p.name: [(e.args[i],) for e in into] for i, p in enumerate(block.flow.params)})

    def _need(self, operands: tuple[Operand, ...]) -> None:
        todo = [o.name for o in operands if isinstance(o, Ref)]
        while todo:
            name = todo.pop()
            if name in self.names:
                continue
            self.names.add(name)
            todo += [o.name for args in self._users.get(name, ()) for o in args if isinstance(o, Ref)]
            if name in self._nodes:
                node, needs = self._nodes[name]
                todo += [self._inputs[n] for n in needs.of(node) if n in self._inputs]


def _decided(flow: FlowBlock) -> tuple[Operand, ...]:
    """What the exit reads itself, edge arguments not counted."""
    exit = flow.exit
    return (
        exit_operands(exit)
        if isinstance(exit, (Return, Raise))
        else exit_operands(map_edges(exit, lambda e: Edge(e.target)))
        if isinstance(exit, (Branch, Switch))
        else ()
    )


def ancestors(*nodes: Node) -> set[Node]:
    """The nodes and all that they are computed from."""
    found: set[Node] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += node.all_input_nodes
    return found


class Needs:
    """What a graph's effects, and any of its nodes, need."""

    def __init__(self, graph: Graph) -> None:
        self.memory = roots(graph)
        self.local: dict[Node, frozenset[Node]] = {}
        """Writes that nobody sees who does not read the memory, which is made in this graph."""
        for node in graph.nodes:
            touched = frozenset[Node]().union(*(self.memory[t] for t in written(node)))
            if touched and not is_random(node) and all(r.op == "call_function" for r in touched):
                self.local[node] = touched
        self.effects = [n for n in graph.nodes if n.op == "call_function" and not is_pure(n) and n not in self.local]

    def of(self, *nodes: Node) -> set[Node]:
        """The nodes with all that they are computed from, the writes into their memory too."""
        found = ancestors(*nodes)
        todo = list(self.local)
        while todo:
            read = frozenset[Node]().union(*(self.memory[n] for n in found if n in self.memory))
            more = [n for n in todo if n not in found and self.local[n] & read]
            if not more:
                break
            found |= ancestors(*more)
            todo = [n for n in todo if n not in found]
        return found


def _without_dead(block: Block, live: set[str], params: dict[str, list[bool]]) -> Block:
    flow, graph = block.flow, copy_graph(block.graph)
    pairs = [(r, o) for r, o in zip(flow.results, graph.output_node().args[0]) if r.name in live]  # type: ignore[arg-type]
    graph.output_node().args = (tuple(o for _, o in pairs),)
    needs = Needs(graph)
    needed = needs.of(*needs.effects, *(o for _, o in pairs if isinstance(o, Node)))
    names = dict(zip(graph.find_nodes(op="placeholder"), flow.inputs))
    for node in reversed(list(graph.nodes)):
        if node.op != "output" and node not in needed:
            graph.erase_node(node)
    host: tuple[HostOp, ...] = tuple(h for h in flow.host if h.result.name in live)
    exit = map_edges(flow.exit, lambda e: Edge(e.target, tuple(a for a, keep in zip(e.args, params[e.target]) if keep)))
    return Block(
        msgspec.structs.replace(
            flow,
            params=tuple(p for p in flow.params if p.name in live),
            inputs=tuple(n for m, n in names.items() if m in needed),
            results=tuple(r for r, _ in pairs),
            host=host,
            exit=exit,
        ),
        graph,
    )
