"""Where each block's code stands in nested graphs, and which values are alive at its beginning. Imports no onnx."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dync.host.shape import shape
from dync.ir.flow import Flow, FlowBlock, edges, exit_operands
from dync.ir.types import Ref


@dataclass(frozen=True)
class Plan:
    """inner: the joins that stand behind a block's own code, in order. outer: the blocks that stand behind a header's loop.

    inline: blocks that stand where their only edge is. live: names of the values that are read at or behind a block's beginning, its
    own parameters left out. order: reachable blocks, reverse postorder. tangled: where a cycle is entered sideways.
    """

    order: tuple[str, ...]
    headers: frozenset[str]
    inner: dict[str, tuple[str, ...]]
    outer: dict[str, tuple[str, ...]]
    inline: frozenset[str]
    live: dict[str, frozenset[str]]
    tangled: tuple[str, ...]


def plan(flow: Flow, kept: frozenset[str] = frozenset()) -> Plan:
    """The plan of a flow; the values `kept` count as read by every exit."""
    form = shape(flow)
    blocks = {b.name: b for b in flow.blocks}
    return Plan(
        form.order, frozenset(form.headers), {n: tuple(v) for n, v in form.inner.items()}, {n: tuple(v) for n, v in form.outer.items()},
        frozenset(form.inline), _live(form.order, blocks, kept), tuple(sorted(form.tangled)),
    )


def moved_out(made: Plan, block: str, outward: str) -> Plan:
    """The plan with `block` standing behind `outward`, a dominator of it in the same loop: every way to it then leads out there."""
    rank = {n: i for i, n in enumerate(made.order)}
    inner = {n: tuple(m for m in members if m != block) for n, members in made.inner.items()}
    inner[outward] = tuple(sorted((*inner.get(outward, ()), block), key=rank.__getitem__))
    return replace(made, inner=inner, inline=made.inline - {block})


def reads(block: FlowBlock) -> set[str]:
    """The values that a block reads, in its kernel, host code and exit."""
    operands = [a for op in block.host for a in op.args] + list(exit_operands(block.exit))
    return {*block.inputs, *(o.name for o in operands if isinstance(o, Ref))}


def _live(order: tuple[str, ...], blocks: dict[str, FlowBlock], kept: frozenset[str]) -> dict[str, frozenset[str]]:
    """Backward data flow to the least fixed point."""
    made = {n: {v.name for v in (*blocks[n].params, *blocks[n].results, *(o.result for o in blocks[n].host))} for n in order}
    live: dict[str, frozenset[str]] = {n: frozenset() for n in order}
    changed = True
    while changed:
        changed = False
        for name in reversed(order):
            ways = edges(blocks[name].exit)
            behind = {v for e in ways for v in live[e.target]} if ways else kept
            found = frozenset((reads(blocks[name]) | behind) - made[name])
            if found != live[name]:
                live[name], changed = found, True
    return live
