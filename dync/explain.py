"""What a Program's control flow came from: every data-dependent decision, its place in the source, and what it became."""

from __future__ import annotations

import linecache
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from dync.ir.flow import Branch, Decision, Flow, FlowBlock, Raise, Return, Switch, edges
from dync.ir.state import text_of
from dync.ir.types import UNKNOWN, Span
from dync.report import Refusal, size, table

if TYPE_CHECKING:
    from dync.ir.program import Block, Program


class Construct(msgspec.Struct, frozen=True):
    """One decision of the source. became: "branch", "loop", "switch", "early return" or "raise"; blocks: those that ask it."""

    text: str
    span: Span
    line: str
    became: str
    blocks: tuple[str, ...]
    targets: tuple[str, ...]


class BlockFacts(msgspec.Struct, frozen=True):
    """One block: operators with their counts, weights in bytes, where it goes, and which backend claims it."""

    block: str
    span: Span
    operators: dict[str, int]
    weight_bytes: int
    goes_to: tuple[str, ...]
    exit: str
    backend: str = ""
    refused: tuple[Refusal, ...] = ()


class Explanation(msgspec.Struct, frozen=True):
    """All constructs of a Program and its blocks."""

    name: str
    constructs: tuple[Construct, ...]
    blocks: tuple[BlockFacts, ...]
    states: tuple[str, ...] = ()
    """The structures that the model's written attributes may have when a call begins, where there is more than one."""
    traps: tuple[str, ...] = ()
    """Paths without code, each with its place and why: a call that takes one is refused."""

    def __str__(self) -> str:
        found, blocks = len(self.constructs), len(self.blocks)
        asked = f"{found} data-dependent decision{'s' * (found != 1)} in the source"
        lines = [f"{self.name}: {asked}, {blocks} block{'s' * (blocks != 1)}", ""]
        for one in self.constructs:
            lines += [f"{one.span}: {one.became}: {one.text}", *_caret(one), f"  asked by {', '.join(one.blocks)}", ""]
        lines += [f"a call begins with state {n}: {text}" for n, text in enumerate(self.states)] + [""] * bool(self.states)
        lines += [*self.traps, *[""] * bool(self.traps)]
        rows = [
            (
                b.block,
                b.backend or "-",
                f"{sum(b.operators.values())}",
                size(b.weight_bytes),
                f"{b.exit} {' '.join(b.goes_to)}".strip(),
                "; ".join(map(str, b.refused)),
            )
            for b in self.blocks
        ]
        return "\n".join([*lines, *table(("block", "backend", "operators", "weights", "exit", "not taken by"), rows)])


def _caret(one: Construct) -> list[str]:
    if not one.line:
        return []
    width = one.span.end_col - one.span.col if one.span.end_line == one.span.line else len(one.line) - one.span.col
    return [f"    {one.line}", "    " + " " * one.span.col + "^" * max(1, width)]


def explain(program: Program, claims: Mapping[str, tuple[str, tuple[Refusal, ...]]]) -> Explanation:
    """The explanation of `program`; `claims` says for each block with code which backend claims it and which ones refused it."""
    types = {s.name: s.value.type for s in program.slots}
    states = tuple(text_of(f, types) for f in program.forms) if len(program.forms) > 1 else ()
    traps = tuple(h.removeprefix("trap ") for h in program.history if h.startswith("trap "))
    blocks = tuple(_facts(b, program, claims) for b in program.blocks)
    return Explanation(program.name, constructs(program.flow, program.sources), blocks, states, traps)


def constructs(flow: Flow, sources: Mapping[str, str]) -> tuple[Construct, ...]:
    """The decisions of a flow, one per place in the source, in source order: an unrolled `if` in a loop is one construct."""
    reach = reachable(flow)
    groups: dict[tuple[Span, str], list[tuple[FlowBlock, Decision]]] = {}
    for block in flow.blocks:
        if isinstance(block.exit, (Branch, Switch)):
            decision = block.exit.decision
            groups.setdefault((decision.span, decision.text), []).append((block, decision))
    made = [
        Construct(
            text, span, _line(span, sources), _became([b for b, _ in members], flow, reach),
            tuple(b.name for b, _ in members), tuple(dict.fromkeys(e.target for b, _ in members for e in edges(b.exit))),
        )
        for (span, text), members in groups.items()
    ]  # fmt: skip
    return tuple(sorted(made, key=lambda c: (c.span.file, c.span.line, c.span.col)))


def reachable(flow: Flow) -> dict[str, frozenset[str]]:
    """For each block, the blocks that can run after it; itself only inside a loop."""
    after = {b.name: {e.target for e in edges(b.exit)} for b in flow.blocks}
    changed = True
    while changed:
        changed = False
        for name in reversed(list(after)):
            wider = after[name].union(*(after[n] for n in after[name]))
            changed |= wider != after[name]
            after[name] = wider
    return {n: frozenset(a) for n, a in after.items()}


def _became(blocks: Sequence[FlowBlock], flow: Flow, reach: Mapping[str, frozenset[str]]) -> str:
    kinds = Counter(_kind(b, flow, reach) for b in blocks)
    return " and ".join(kinds)


def _kind(block: FlowBlock, flow: Flow, reach: Mapping[str, frozenset[str]]) -> str:
    if isinstance(block.exit, Switch):
        return "switch"
    arms = [frozenset({e.target}) | reach[e.target] for e in edges(block.exit)]
    if block.name in reach[block.name] and any(block.name not in a for a in arms):
        return "loop"
    for arm, other in zip(arms, reversed(arms), strict=True):
        if not arm & other and all(isinstance(flow.block(n).exit, Raise) for n in arm if not edges(flow.block(n).exit)):
            return "raise"
    if not arms[0] & arms[1] and any(isinstance(flow.block(n).exit, Return) for n in arms[0] | arms[1]):
        return "early return"
    return "branch"


def _line(span: Span, sources: Mapping[str, str]) -> str:
    if span == UNKNOWN:
        return ""
    lines = sources.get(span.file, "").splitlines()
    return lines[span.line - 1] if 0 < span.line <= len(lines) else linecache.getline(span.file, span.line).rstrip("\n")


def _facts(block: Block, program: Program, claims: Mapping[str, tuple[str, tuple[Refusal, ...]]]) -> BlockFacts:
    backend, refused = claims.get(block.name, ("", ()))
    return BlockFacts(
        block.name, block.flow.span, dict(Counter(str(n.target) for n in block.graph.nodes if n.op == "call_function")),
        sum(program.weights[w].nbytes for w in block.weights), tuple(e.target for e in edges(block.flow.exit)),
        type(block.flow.exit).__name__.lower(), backend, refused,
    )  # fmt: skip
