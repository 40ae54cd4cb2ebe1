"""Which local variable holds each value, and when a tensor can be let go.

Three steps, all on the flow's own single-assignment names: a parameter with one incoming edge is its argument; a result whose only use
is to become a join's parameter is computed into that parameter; a tensor that no path reads any more is deleted, so that memory stays
at eager's level.
"""

from __future__ import annotations

import keyword
from collections import Counter, deque
from dataclasses import dataclass, field

from dync.host.shape import Shape
from dync.ir.flow import Flow, FlowBlock, Jump, edges, exit_operands
from dync.ir.types import Operand, Ref, TensorType, ValueType

RESERVED = frozenset({
    "int", "float", "bool", "str", "repr", "format", "print", "abs", "round", "min", "max", "math", "inf", "nan", "run", "give", "state",
    "enter", "decide", "note", "IndexError", "pc", "log", "warn", "intern", "interned", "len", "chr", "slice",
    "random", "numpy", "torch", "time", "sys"})


@dataclass
class Names:
    """holder: value → what stands for it (a Ref to a local variable, or a constant). free_*: variables to delete, in order."""

    holder: dict[str, Operand] = field(default_factory=dict)
    types: dict[str, ValueType] = field(default_factory=dict)
    free_at_start: dict[str, tuple[str, ...]] = field(default_factory=dict)
    free_after_kernel: dict[str, tuple[str, ...]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=lambda: set(RESERVED))

    def resolve(self, operand: Operand) -> Operand:
        return self.holder.get(operand.name, operand) if isinstance(operand, Ref) else operand

    def local(self, name: str) -> str:
        """The variable that holds a defined value."""
        found = self.holder[name]
        assert isinstance(found, Ref)
        return found.name

    def moves(self, target: FlowBlock, args: tuple[Operand, ...]) -> list[tuple[str, Operand]]:
        """What an edge has to assign: (variable, value) pairs, without those that are in place already."""
        pairs = [(self.holder[p.name], self.resolve(a)) for p, a in zip(target.params, args, strict=True)]
        return [(p.name, a) for p, a in pairs if isinstance(p, Ref) and p != a]


def identifier(name: str, taken: set[str]) -> str:
    """`name` as a Python name that is ASCII, no keyword and not in `taken`; adds it to `taken`."""
    plain = name if name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__") else "v"
    number, made = 0, plain
    while made in taken:
        number += 1
        made = f"{plain}_{number}"
    taken.add(made)
    return made


def assign(flow: Flow, shape: Shape) -> Names:
    """The variables of `flow`."""
    names, blocks = Names(), {b.name: b for b in flow.blocks}
    signature = flow.signature
    outside = [*(i.value for i in signature.inputs), *(p.value for p in signature.params), *(s.value for s in flow.slots)]
    order = [blocks[n] for n in shape.order]
    for value in [*outside, *(v for b in order for v in (*b.params, *b.results, *(o.result for o in b.host)))]:
        names.types[value.name] = value.type
        names.holder[value.name] = Ref(identifier(value.name, names.taken))
    _forward_single_edges(names, order, blocks, shape)
    _compute_in_place(names, order, blocks)
    _free(names, order, blocks, {names.local(v.name) for v in outside})
    return names


def _forward_single_edges(names: Names, order: list[FlowBlock], blocks: dict[str, FlowBlock], shape: Shape) -> None:
    for block in order:
        for edge in edges(block.exit):
            target = blocks[edge.target]
            if len(shape.arrivals[target.name]) == 1 and target.name != shape.order[0]:
                for param, arg in zip(target.params, edge.args, strict=True):
                    names.holder[param.name] = names.resolve(arg)


def _uses(names: Names, block: FlowBlock) -> Counter[str]:
    operands = [*(Ref(n) for n in block.inputs), *(a for op in block.host for a in op.args), *exit_operands(block.exit)]
    return Counter(o.name for o in map(names.resolve, operands) if isinstance(o, Ref))


def _compute_in_place(names: Names, order: list[FlowBlock], blocks: dict[str, FlowBlock]) -> None:
    uses = {b.name: _uses(names, b) for b in order}
    total: Counter[str] = Counter()
    for one in uses.values():
        total.update(one)
    for block in order:
        if not isinstance(block.exit, Jump):
            continue
        edge, target = block.exit.edge, blocks[block.exit.edge.target]
        own = {names.holder[n]: n for n in (*(r.name for r in block.results), *(op.result.name for op in block.host))}
        for param, arg in zip(target.params, edge.args, strict=True):
            into, value = names.holder[param.name], names.resolve(arg)
            if value not in own or not isinstance(into, Ref) or not isinstance(value, Ref) or value == into:
                continue
            if total[value.name] != uses[block.name][value.name] or _read_later(names, block, own[value], into.name):
                continue
            names.holder[own[value]] = into


def _read_later(names: Names, block: FlowBlock, made: str, variable: str) -> bool:
    """Whether `block` reads or writes `variable` at or after the point where it defines `made`."""
    results = [r.name for r in block.results]
    written = [names.local(n) for n in (*results, *(op.result.name for op in block.host))]
    if variable in written:
        return True
    later = block.host if made in results else block.host[[op.result.name for op in block.host].index(made) + 1:]
    operands = [*(a for op in later for a in op.args), *exit_operands(block.exit)]
    return Ref(variable) in map(names.resolve, operands)


def _free(names: Names, order: list[FlowBlock], blocks: dict[str, FlowBlock], kept: set[str]) -> None:
    """Fills free_*: backward liveness, then a forward pass over what is surely bound."""
    tensors = {h.name for n, h in names.holder.items() if isinstance(h, Ref) and isinstance(names.types[n], TensorType)} - kept
    live_in: dict[str, frozenset[str]] = {b.name: frozenset() for b in order}
    after_kernel: dict[str, frozenset[str]] = {}
    sources: dict[str, set[str]] = {b.name: set() for b in order}
    for block in order:
        for edge in edges(block.exit):
            sources[edge.target].add(block.name)
    work = deque(b.name for b in reversed(order))
    while work:
        name = work.popleft()
        block = blocks[name]
        after_kernel[name] = _live_after_kernel(names, block, blocks, live_in, tensors)
        found = after_kernel[name] - _written(names, block) | _read(names, block, tensors)
        if found != live_in[name]:
            live_in[name] = found
            work.extend(sources[name])
    _free_forward(names, order, blocks, live_in, after_kernel, tensors, sources)


def _live_after_kernel(names: Names, block: FlowBlock, blocks: dict[str, FlowBlock], live_in: dict[str, frozenset[str]],
                       tensors: set[str]) -> frozenset[str]:
    operands = (*exit_operands(block.exit), *(a for op in block.host for a in op.args))
    live = {o.name for o in map(names.resolve, operands) if isinstance(o, Ref)}
    for edge in edges(block.exit):
        target = blocks[edge.target]
        live |= live_in[edge.target] - {p for p, _ in names.moves(target, edge.args)}
    return frozenset(live & tensors)


def _written(names: Names, block: FlowBlock) -> frozenset[str]:
    return frozenset(names.local(r.name) for r in block.results)


def _read(names: Names, block: FlowBlock, tensors: set[str]) -> frozenset[str]:
    return frozenset(o.name for o in (names.holder[n] for n in block.inputs) if isinstance(o, Ref) and o.name in tensors)


def _free_forward(names: Names, order: list[FlowBlock], blocks: dict[str, FlowBlock], live_in: dict[str, frozenset[str]],
                  after_kernel: dict[str, frozenset[str]], tensors: set[str], sources: dict[str, set[str]]) -> None:
    everything = frozenset(tensors)
    leaving: dict[str, frozenset[str]] = {b.name: everything for b in order}
    entering: dict[str, frozenset[str]] = {}
    changed = True
    while changed:
        changed = False
        for i, block in enumerate(order):
            incoming = [frozenset()] if i == 0 else []
            for source in sources[block.name]:
                for edge in edges(blocks[source].exit):
                    if edge.target == block.name:
                        incoming.append(leaving[source] | {p for p, _ in names.moves(block, edge.args) if p in tensors})
            bound = frozenset.intersection(*incoming)
            kept = (bound & live_in[block.name]) | (_written(names, block) & tensors)
            out = kept & after_kernel[block.name]
            if entering.get(block.name) != bound or out != leaving[block.name]:
                entering[block.name], leaving[block.name], changed = bound, out, True
    for block in order:
        bound = entering[block.name]
        names.free_at_start[block.name] = tuple(sorted(bound - live_in[block.name]))
        dead = ((bound & live_in[block.name]) | (_written(names, block) & tensors)) - after_kernel[block.name]
        names.free_after_kernel[block.name] = tuple(sorted(dead))
