"""What every host shares: the module that a generator makes, and the check that a flow is fit to be walked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dync.ir.flow import Branch, Decision, Flow, FlowBlock, Raise, Return, Switch, Tree, edges, exit_operands
from dync.ir.scalars import SCALAR_OPS
from dync.ir.types import UNKNOWN, Operand, Ref, Span


@dataclass(frozen=True)
class HostModule:
    """Python text that defines `run`, and the names that its runner must bind before executing it.

    arguments: run's parameters, in order: dynamic leaves, then run-time parameters, as named in the Signature; then "state" where
    there are slots; then "give", which turns a tensor into the caller's kind; then "enter" and "decide" in the tracing variant, and
    "note" where there are regions.
    kernels: block name → global that is its kernel, called with the block's inputs, returning a tuple of its results.
    builders: global → structure over leaves named "0", "1", ...; called with these leaves.
    raises: global → the exit whose exception it makes; called with the arguments' values.
    decisions: what `decide(i, value, left, right)` means by i: block name and Decision.
    """

    source: str
    lines: Mapping[int, Span]
    arguments: tuple[str, ...]
    kernels: Mapping[str, str]
    builders: Mapping[str, Tree]
    raises: Mapping[str, Raise]
    decisions: tuple[tuple[str, Decision], ...]


def has_kernel(block: FlowBlock) -> bool:
    """Whether the block computes anything outside the host."""
    return bool(block.inputs or block.results or block.mutates)


def check(flow: Flow) -> None:
    """Raises ValueError, one line, when no host can walk `flow`: a name used twice or never defined, an unknown target or operation."""
    if not flow.blocks:
        raise ValueError("the flow has no blocks")
    defined = _defined(flow)
    by_name = {b.name: b for b in flow.blocks}
    if len(by_name) != len(flow.blocks):
        raise ValueError("two blocks have one name")
    if flow.blocks[0].params:
        raise ValueError(f"entry block {flow.blocks[0].name!r} has parameters")
    slots = {s.name for s in flow.slots}
    for block in flow.blocks:
        for name in (*block.inputs, *(o.name for o in _operands(block) if isinstance(o, Ref))):
            if name not in defined:
                raise ValueError(f"block {block.name!r} reads {name!r}, which nothing defines")
        for op in block.host:
            _check_op(op.op, len(op.args))
        for edge in edges(block.exit):
            if edge.target not in by_name:
                raise ValueError(f"block {block.name!r} goes to {edge.target!r}, which does not exist")
            if len(edge.args) != len(by_name[edge.target].params):
                wanted = len(by_name[edge.target].params)
                raise ValueError(f"block {block.name!r} gives {len(edge.args)} values to {edge.target!r}, which takes {wanted}")
        if isinstance(block.exit, (Return, Raise)) and any(w.slot not in slots for w in block.exit.writes):
            raise ValueError(f"block {block.name!r} writes a slot that does not exist")


def _defined(flow: Flow) -> set[str]:
    signature = flow.signature
    values = [*(i.value for i in signature.inputs), *(p.value for p in signature.params), *(s.value for s in flow.slots)]
    for block in flow.blocks:
        values += [*block.params, *block.results, *(o.result for o in block.host)]
    names = {v.name for v in values}
    if len(names) != len(values):
        raise ValueError("two values have one name")
    return names


def _check_op(op: str, arity: int) -> None:
    if op not in SCALAR_OPS:
        raise ValueError(f"unknown host operation {op!r}")
    wanted = SCALAR_OPS[op].arity
    if wanted != arity:
        raise ValueError(f"host operation {op!r} takes {wanted} operands, not {arity}")


def _operands(block: FlowBlock) -> tuple[Operand, ...]:
    return tuple(a for op in block.host for a in op.args) + exit_operands(block.exit)


def decides(block: FlowBlock) -> Decision | None:
    """The decision at a block's end, if its exit is one."""
    return block.exit.decision if isinstance(block.exit, (Branch, Switch)) else None


@dataclass(frozen=True)
class Declined:
    """A host's "no" to a program: the reason, and the place in the user's source that it comes from."""

    reason: str
    span: Span = UNKNOWN

    def __str__(self) -> str:
        return self.reason + (f" ({self.span})" if self.span != UNKNOWN else "")
