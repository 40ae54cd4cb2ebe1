"""Blocks in a row become one, and blocks that only pass on are left out.

before                                          after
    b0() reads(x):                                  b0() reads(x):
        h = aten.exp(x)                                 h = aten.exp(x)
        jump b1(h)                                      z = aten.neg(h)
    b1(y) reads(y):                                     return z
        z = aten.neg(y)
        return z
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import msgspec
from torch.fx import Node

from dync.ir.effects import is_pure
from dync.ir.flow import Edge, Jump, edges, exit_operands, map_edges
from dync.ir.program import Block, Program
from dync.ir.rewrite import append_graph, copy_graph, replace_values
from dync.ir.scalars import CLOCKS, NEVER_RAISE
from dync.ir.types import Operand, Ref
from dync.passes.base import Pass, PassResult


@dataclass(frozen=True)
class Merge(Pass):
    """Bypasses empty forwarding blocks, then fuses each jump to a block with no other way in."""

    name: ClassVar[str] = "merge"

    def apply(self, program: Program) -> PassResult:
        made = _bypass_all(program)
        while (pair := _fusible(made)) is not None:
            made = _fuse(made, *pair)
        return PassResult(made, made is not program)


def _bypass_all(program: Program) -> Program:
    for block in program.blocks[1:]:
        if _forwards(program, block):
            program = _bypass(program, program.block(block.name))
    return program


def _forwards(program: Program, block: Block) -> bool:
    """Whether the block does nothing but jump on, and no other block reads its params."""
    flow = program.block(block.name).flow
    if not isinstance(flow.exit, Jump) or flow.exit.edge.target == flow.name:
        return False
    if flow.inputs or flow.results or flow.host or any(n.op != "output" for n in block.graph.nodes):
        return False
    own = {p.name for p in flow.params}
    return not any(own & _reads(b) for b in program.blocks if b.name != flow.name)


def _reads(block: Block) -> set[str]:
    flow = block.flow
    return {o.name for o in (*exit_operands(flow.exit), *(a for h in flow.host for a in h.args)) if isinstance(o, Ref)} | set(flow.inputs)


def _bypass(program: Program, block: Block) -> Program:
    assert isinstance(block.flow.exit, Jump)
    onward = block.flow.exit.edge

    def through(edge: Edge) -> Edge:
        if edge.target != block.name:
            return edge
        bound = dict(zip((p.name for p in block.flow.params), edge.args, strict=True))
        return Edge(onward.target, tuple(bound.get(a.name, a) if isinstance(a, Ref) else a for a in onward.args))

    return replace(
        program,
        blocks=tuple(
            replace(b, flow=msgspec.structs.replace(b.flow, exit=map_edges(b.flow.exit, through)))
            for b in program.blocks
            if b.name != block.name
        ),
    )


def _fusible(program: Program) -> tuple[Block, Block] | None:
    """The first block that jumps to a block with no other way in, and that block, where nothing stands between them."""
    ways = Counter(e.target for b in program.blocks for e in edges(b.flow.exit))
    blocks = {b.name: b for b in program.blocks}
    for first in program.blocks:
        if (
            isinstance(first.flow.exit, Jump)
            and ways[target := first.flow.exit.edge.target] == 1
            and target not in (first.name, program.blocks[0].name)
        ):
            if _may_follow(first, blocks[target], first.flow.exit.edge) and _may_stand_in(program, blocks[target], first.flow.exit.edge):
                return first, blocks[target]
    return None


def _may_stand_in(program: Program, second: Block, edge: Edge) -> bool:
    """Whether each argument may stand for its param in further blocks: it has its type, or they don't read the param."""
    bound = [(p, a) for p, a in zip(second.flow.params, edge.args, strict=True) if isinstance(a, Ref)]
    if not bound:
        return True
    types = {v.name: v.type for b in program.blocks for v in (*b.flow.params, *b.flow.results, *(h.result for h in b.flow.host))}
    wider = {p.name for p, a in bound if types.get(a.name, p.type) != p.type}
    return not wider or not any(wider & _reads(b) for b in program.blocks if b.name != second.name)


def _may_follow(first: Block, second: Block, edge: Edge) -> bool:
    """The host operations of `first` come to run after the kernel of `second`: it must not read them, act before one fails, or take time
    before one asks for it."""
    if any(h.op in CLOCKS for h in first.flow.host) and any(n.op == "call_function" for n in second.graph.nodes):
        return False
    bound = dict(zip((p.name for p in second.flow.params), edge.args, strict=True))
    read = {_name(bound.get(n, Ref(n))) for n in second.flow.inputs}
    acts = any(n.op == "call_function" and not is_pure(n) for n in second.graph.nodes)
    return not read & {h.result.name for h in first.flow.host} and not (acts and any(h.op not in NEVER_RAISE for h in first.flow.host))


def _name(operand: Operand) -> str | None:
    return operand.name if isinstance(operand, Ref) else None


def _fuse(program: Program, first: Block, second: Block) -> Program:
    assert isinstance(first.flow.exit, Jump)
    program = replace_values(program, dict(zip((p.name for p in second.flow.params), first.flow.exit.edge.args, strict=True)))
    one = _join(program.block(first.name), program.block(second.name))
    return replace(program, blocks=tuple(one if b.name == first.name else b for b in program.blocks if b.name != second.name))


def _join(a: Block, b: Block) -> Block:
    """One block that runs `a`, then `b`; b's params are already replaced."""
    a = replace(a, graph=copy_graph(a.graph))
    graph, known = a.graph, {name: node for node, name in a.names.items()}
    known |= {r.name: o for r, o in zip(a.flow.results, a.outputs)}
    inputs, bound = list(a.flow.inputs), {}
    for node, name in b.names.items():
        if name not in known:
            known[name] = _placeholder(graph, node)
            inputs.append(name)
        bound[node] = known[name]
    outputs = (*a.outputs, *append_graph(graph, b.graph, bound))
    graph.output_node().args = (outputs,)
    flow = msgspec.structs.replace(
        a.flow,
        inputs=tuple(inputs),
        results=(*a.flow.results, *b.flow.results),
        host=(*a.flow.host, *b.flow.host),
        exit=b.flow.exit,
        mutates=_mutates(graph, inputs),
    )
    return Block(flow, graph)


def _placeholder(graph: Any, like: Node) -> Node:
    places = graph.find_nodes(op="placeholder")
    with graph.inserting_after(places[-1]) if places else graph.inserting_before(next(iter(graph.nodes))):
        made = graph.create_node("placeholder", like.target)
    made.meta = dict(like.meta)
    return made


def _mutates(graph: Any, inputs: list[str]) -> tuple[str, ...]:
    from dync.ir.effects import mutated

    names: Mapping[Node, str] = dict(zip(graph.find_nodes(op="placeholder"), inputs))
    return tuple(dict.fromkeys(names.get(n, str(n.target)) for n in mutated(graph)))
