"""Mixed hosts: parts of a flow with one way in, each of which an engine runs as one kernel, and the flow that is left for Python.

    choose      flow, blocks that the engine takes → regions, as large as they can be: loops whole, decisions with what follows them
    collapse    flow, regions → the flow in which each region is one block, and the flow inside each region

before                                      after, with the region {b1, b2, b3}
    b0: print(...); jump b1(x)                  b0: print(...); jump b1(x)
    b1(y): branch p → b2 | b3                   b1(y__in): z, way = kernel(y__in)
    b2: ...; jump b1(z)                             switch way → b4 | b5
    b3: branch q → b4 | b5                      b4: ...
    b4: ...                                     b5: ...
    b5: ...

A region's results are what its ways out need: arguments, values that are read later, parts of what is returned or raised there.
Python takes the last step of a way out itself, so results of any structure, exceptions and state go through.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from dync.host.base import has_kernel
from dync.host.onnx.plan import Plan, plan, reads
from dync.host.shape import shape
from dync.ir.flow import (
    Decision,
    Edge,
    Exit,
    Flow,
    FlowBlock,
    Input,
    Jump,
    Leaf,
    Raise,
    Return,
    Signature,
    Switch,
    TupleTree,
    edges,
    leaves,
    map_edges,
)
from dync.ir.types import Operand, Ref, ScalarType, Value

INSIDE, ENDS, WAY = "__in", "__end", "__way"
"""Suffixes of made-up names: a region's inputs, blocks that only return or raise, the number of the way out."""


@dataclass(frozen=True)
class Part:
    """One region: its blocks, and its flow, each of whose exits returns a tuple of `results`, by name.

    inputs: the values that go in, in the order of the part's own inputs. results: what comes out; the number of the way out is last
    where there are several ways.
    """

    blocks: tuple[str, ...]
    flow: Flow
    inputs: tuple[str, ...]
    results: tuple[Value, ...]


@dataclass(frozen=True)
class Collapsed:
    """flow: regions as blocks, named as their first. parts: by that name. quiet: blocks of `flow` that are not of the program."""

    flow: Flow
    parts: Mapping[str, Part]
    quiet: frozenset[str]


def choose(flow: Flow, fit: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """Regions of blocks in `fit`, each with its first block first. Those that save no call of a kernel are left out."""
    form = shape(flow)
    blocks, taken, found = {b.name: b for b in flow.blocks}, set(form.tangled), []
    allowed = set(fit) - taken
    for first in form.order:
        if first in taken or first not in allowed:
            continue
        inside = [first]
        for name in form.order[form.order.index(first) + 1:]:
            whole = form.loops.get(name, {name})
            ways = {u for n in whole for u in form.arrivals[n]} - whole
            if name not in inside and whole <= allowed and not whole & taken and ways <= set(inside):
                inside += [n for n in form.order if n in whole]
        turns = any(u in inside and u in form.loops[n] for n in inside if n in form.headers for u in form.arrivals[n])
        ends = any(not (ways := edges(blocks[n].exit)) or any(e.target not in inside for e in ways) for n in inside)
        if ends and (turns or sum(has_kernel(blocks[n]) for n in inside) > 1):
            found.append(tuple(inside))
            taken |= set(inside)
    return tuple(found)


def collapse(flow: Flow, regions: Sequence[Sequence[str]]) -> Collapsed:
    """The flow with each region as one block. Raises ValueError, one line, for regions that are none of this flow."""
    if not regions:
        return Collapsed(flow, {}, frozenset())
    blocks, known = {b.name: b for b in flow.blocks}, plan(flow)
    names = [n for region in regions for n in region]
    if not all(regions) or len(set(names)) != len(names) or not set(names) <= set(known.order):
        raise ValueError("its regions do not fit its blocks")
    types = {v.name: v for v in _values(flow)}
    parts: dict[str, Part] = {}
    made: dict[str, list[FlowBlock]] = {}
    quiet: set[str] = set()
    for region in regions:
        inside = [blocks[n] for n in region]
        part, one, ends = _region(inside, known, types)
        parts[region[0]] = part
        made |= {n: [] for n in region} | {region[0]: [one, *ends]}
        quiet |= {one.name, *(e.name for e in ends)}
    reached = set(known.order)
    left = tuple(b for block in flow.blocks if block.name in reached for b in made.get(block.name, [block]))
    return Collapsed(msgspec.structs.replace(flow, blocks=left), parts, frozenset(quiet))


def _region(inside: list[FlowBlock], known: Plan, types: Mapping[str, Value]) -> tuple[Part, FlowBlock, list[FlowBlock]]:
    """The part, the block that stands for it, and the blocks behind it that return or raise."""
    first, names = inside[0], {b.name for b in inside}
    own = {v.name for b in inside for v in (*b.params, *b.results, *(o.result for o in b.host))}
    ways: list[tuple[str, Exit, list[str]]] = []  # stub inside, what comes behind it, values that it brings
    bodies: list[FlowBlock] = []

    def out(behind: Exit, brings: set[str]) -> Edge:
        stub = f"{first.name}{ENDS}{len(ways)}"
        ways.append((stub, behind, sorted(brings & own)))
        return Edge(stub)

    def leave(edge: Edge) -> Edge:
        if edge.target in names:
            return edge
        return out(Jump(edge), {*_names(edge.args), *known.live[edge.target]})

    for block in inside:
        if isinstance(block.exit, (Return, Raise)):
            trees = (block.exit.tree,) if isinstance(block.exit, Return) else block.exit.args
            brings = {n for t in (*trees, *(w.tree for w in block.exit.writes)) for n in _names(leaves(t))}
            bodies.append(msgspec.structs.replace(block, exit=Jump(out(block.exit, brings))))
        else:
            bodies.append(msgspec.structs.replace(block, exit=map_edges(block.exit, leave)))
    stubs = [FlowBlock(s, (), (), (), (), Return(TupleTree(tuple(Leaf(Ref(n)) for n in brings)))) for s, _, brings in ways]
    read = {n for b in inside for n in reads(b)} - own
    outside = [types[n] for n in sorted(read)]
    params = [msgspec.structs.replace(p, name=p.name + INSIDE) for p in first.params]
    entry = FlowBlock(first.name + INSIDE, (), (), (), (), Jump(Edge(first.name, tuple(Ref(p.name) for p in params))))
    signature = Signature((), TupleTree(()), TupleTree(()), tuple(Input(v, v.name) for v in (*params, *outside)))
    flow = Flow(first.name, signature, (entry, *bodies, *stubs))
    order = [n for n in shape(flow).order if n in {s for s, _, _ in ways}]
    results = [types[n] for n in sorted({n for _, _, brings in ways for n in brings})]
    way = Value(first.name + WAY, ScalarType("int"))
    if len(order) > 1:
        results.append(way)
    exits = {s: behind for s, behind, _ in ways}
    ends = [FlowBlock(s, (), (), (), (), exits[s], span=first.span) for s in order if not isinstance(exits[s], Jump)]
    onward = [_onward(s, exits[s]) for s in order]
    exit: Exit = Jump(onward[0])
    if len(order) > 1:
        exit = Switch(Ref(way.name), tuple(enumerate(onward[:-1])), Decision("the way out of the region"), onward[-1])
    inputs = tuple(v.name for v in (*params, *outside))
    one = FlowBlock(first.name, tuple(params), inputs, tuple(results), (), exit, span=first.span)
    return Part(tuple(b.name for b in inside), flow, inputs, tuple(results)), one, ends


def _onward(stub: str, behind: Exit) -> Edge:
    return behind.edge if isinstance(behind, Jump) else Edge(stub)


def _names(operands: Sequence[Operand]) -> set[str]:
    return {o.name for o in operands if isinstance(o, Ref)}


def _values(flow: Flow) -> list[Value]:
    signature = flow.signature
    values = [*(i.value for i in signature.inputs), *(p.value for p in signature.params), *(s.value for s in flow.slots)]
    for block in flow.blocks:
        values += [*block.params, *block.results, *(o.result for o in block.host)]
    return values

