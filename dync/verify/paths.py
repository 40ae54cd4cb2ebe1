"""What there is to cover: both outcomes of each decision, each case of a switch, loops, and paths up to a bound. Torch-free.

outcome ::= block, label           label ::= "true" | "false" | "case 3" | "default"
path    ::= (block, label)...     from the entry to a return or raise, label "" where nothing is decided;
                                  equal rounds of a loop beyond the second are left out
loop    ::= head                   covered with "zero", "one" and "many" returns to its head
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dync.ir.flow import Branch, Decision, Edge, Exit, Flow, Switch, edges
from dync.ir.trace import Trace

Path = tuple[tuple[str, str], ...]
ROUNDS = 2
"""How often one path may take the same way back to a loop's head."""


@dataclass(frozen=True)
class Outcome:
    """One way out of a decision."""

    block: str
    label: str
    target: str
    decision: Decision


def label(exit: Branch | Switch, value: bool | int) -> str:
    """The label of the way that `exit` takes for `value`."""
    if isinstance(exit, Branch):
        return "true" if value else "false"
    return f"case {int(value)}" if int(value) in dict(exit.cases) else "default"


def ways(exit: Exit) -> tuple[tuple[str, Edge], ...]:
    """Labelled edges of a decision; nothing for other exits."""
    match exit:
        case Branch():
            return (("true", exit.then), ("false", exit.orelse))
        case Switch():
            return (*((f"case {k}", e) for k, e in exit.cases), *((("default", exit.default),) if exit.default else ()))
        case _:
            return ()


def outcomes(flow: Flow) -> tuple[Outcome, ...]:
    """Every outcome of every decision, in block order."""
    return tuple(
        Outcome(b.name, name, edge.target, b.exit.decision)
        for b in flow.blocks
        if isinstance(b.exit, (Branch, Switch))
        for name, edge in ways(b.exit)
    )


def steps(flow: Flow, trace: Trace) -> Path:
    """The path of a run; a run that was cut short gives the part that it went."""
    exits, records, path = {b.name: b.exit for b in flow.blocks}, iter(trace.decisions), []
    for name in trace.path:
        exit = exits[name]
        record = next(records, None) if isinstance(exit, (Branch, Switch)) else None
        path.append((name, label(exit, record.value) if record is not None and isinstance(exit, (Branch, Switch)) else ""))
    return tuple(path)


def back_edges(flow: Flow) -> frozenset[tuple[str, str]]:
    """(source, head) pairs that close a loop, by depth-first search from the entry."""
    targets = {b.name: [e.target for e in edges(b.exit)] for b in flow.blocks}
    found, state = set(), {}
    stack: list[tuple[str, Iterator[str]]] = [(flow.blocks[0].name, iter(targets[flow.blocks[0].name]))]
    state[flow.blocks[0].name] = "open"
    while stack:
        name, rest = stack[-1]
        target = next(rest, None)
        if target is None:
            state[name] = "done"
            stack.pop()
        elif state.get(target) == "open":
            found.add((name, target))
        elif target not in state:
            state[target] = "open"
            stack.append((target, iter(targets[target])))
    return frozenset(found)


def loop_counts(backs: frozenset[tuple[str, str]], path: Path) -> tuple[tuple[str, str], ...]:
    """(head, "zero" | "one" | "many") for each time that the run came to a loop from outside."""
    heads = {h for _, h in backs}
    found: list[tuple[str, str]] = []
    rounds: dict[str, int] = {}
    for source, (name, _) in zip((None, *(n for n, _ in path)), path):
        if name in heads and (source, name) in backs:
            rounds[name] = rounds.get(name, 0) + 1
        elif name in heads:
            found += [(name, amount(rounds[name]))] if name in rounds else []
            rounds[name] = 0
    return (*found, *((h, amount(n)) for h, n in rounds.items()))


def amount(n: int) -> str:
    """How a number of rounds is covered."""
    return ("zero", "one")[n] if n < 2 else "many"


def shorten(backs: frozenset[tuple[str, str]], path: Path) -> Path:
    """The path with equal rounds of a loop beyond the second left out."""
    out: list[tuple[str, str]] = []
    for source, step in zip((None, *(n for n, _ in path)), path):
        if (source, step[0]) in backs:
            _drop_round(out, step[0])
        out.append(step)
    return tuple(out)


def _drop_round(out: list[tuple[str, str]], head: str) -> None:
    """Removes the last round from `out` when it and the ROUNDS before it are the same."""
    at = [i for i, (n, _) in enumerate(out) if n == head][-ROUNDS - 1 :]
    rounds = [out[a:b] for a, b in zip(at, [*at[1:], len(out)])]
    if len(at) > ROUNDS and all(r == rounds[0] for r in rounds):
        del out[at[-1] :]


def paths(flow: Flow, bound: int) -> tuple[tuple[Path, ...], bool]:
    """Paths through the flow, at most `bound`, and whether these are all. Some may be infeasible."""
    backs, exits = back_edges(flow), {b.name: b.exit for b in flow.blocks}
    found: list[Path] = []
    stack: list[tuple[Path, str]] = [((), flow.blocks[0].name)]
    while stack and len(found) < bound:
        done, name = stack.pop()
        exit = exits[name]
        following = ways(exit) or tuple(("", e) for e in edges(exit))
        if not following:
            found.append((*done, (name, "")))
        for said, edge in reversed(following):
            path = (*done, (name, said))
            if (name, edge.target) not in backs or _rounds(done, name, edge.target) < ROUNDS:
                stack.append((path, edge.target))
    return tuple(found), not stack


def _rounds(path: Path, source: str, head: str) -> int:
    """How often the path has gone from `source` straight to `head`."""
    return sum(a == source and b == head for (a, _), (b, _) in zip(path, path[1:]))


def route(flow: Flow, block: str, label: str) -> Path:
    """A shortest way from the entry to `block`, leaving it by `label`; empty when there is none."""
    exits = {b.name: b.exit for b in flow.blocks}
    before: dict[str, tuple[str, str] | None] = {flow.blocks[0].name: None}
    queue = [flow.blocks[0].name]
    for name in queue:
        for said, edge in ways(exits[name]) or tuple(("", e) for e in edges(exits[name])):
            if edge.target not in before:
                before[edge.target] = (name, said)
                queue.append(edge.target)
    if block not in before:
        return ()
    back: list[tuple[str, str]] = [(block, label)]
    while (previous := before[back[-1][0]]) is not None:
        back.append(previous)
    return tuple(reversed(back))


def prefix(path: Path, block: str) -> Path:
    """The part of a path up to the first time that it leaves `block`."""
    at = next((i for i, (name, _) in enumerate(path) if name == block), len(path) - 1)
    return path[: at + 1]


def describe(path: Path) -> str:
    """A path by its decisions, e.g. "b0 true, b2 false"; "straight" when it takes none."""
    return ", ".join(f"{name} {said}" for name, said in path if said) or "straight"
