"""The shape of a control flow graph: order, dominators, loops, and where each block's code is to stand.

Dominators after Cooper, Harvey and Kennedy, "A simple, fast dominance algorithm" (2001); placement after
Ramsey, "Beyond Relooper" (ICFP 2022), with loop exits moved behind their loop.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from dync.ir.flow import Flow, Raise, Return, edges

MANY_ARRIVALS = 4
"""A join that is reached from this many depths of a decision chain gets a block that is left with `break`."""


@dataclass
class Shape:
    """order: reachable blocks in reverse postorder. arrivals: sources of each block's incoming edges, one entry an edge.

    inner: blocks that stand behind a block's own code, in order. outer: blocks behind the loop that a header opens.
    loops: the blocks of each header's loop.
    tangled: targets of edges that enter a cycle sideways (irreducible). chained: joins reached from many depths.
    """

    order: tuple[str, ...]
    arrivals: dict[str, list[str]]
    headers: set[str] = field(default_factory=set)
    inner: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    outer: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    inline: set[str] = field(default_factory=set)
    tangled: set[str] = field(default_factory=set)
    chained: set[str] = field(default_factory=set)
    size: dict[str, int] = field(default_factory=dict)
    loops: dict[str, set[str]] = field(default_factory=dict)


def shape(flow: Flow) -> Shape:
    """The shape of `flow`; blocks that cannot be reached are left out."""
    exits = {b.name: b.exit for b in flow.blocks}
    targets = {n: tuple(e.target for e in edges(x)) for n, x in exits.items()}
    order = _reverse_postorder(flow.blocks[0].name, targets)
    rank = {n: i for i, n in enumerate(order)}
    arrivals: dict[str, list[str]] = {n: [] for n in order}
    for name in order:
        for target in targets[name]:
            arrivals[target].append(name)
    made = Shape(order, arrivals)
    above = _dominators(order, rank, arrivals)
    depth, span = _tree(order, above)

    def dominates(a: str, b: str) -> bool:
        return span[a][0] <= span[b][0] < span[a][1]

    loops = _loops(order, arrivals, dominates)
    made.headers, made.loops = set(loops), loops
    around: dict[str, list[str]] = {n: [] for n in order}  # headers of the loops around a block, outermost first
    for header in order:
        for name in loops.get(header, ()):
            around[name].append(header)
    for name in order:
        made.size[name] = span[name][1] - span[name][0]
    for name in order[1:]:
        forward = [u for u in arrivals[name] if not dominates(name, u)]
        if any(rank[u] >= rank[name] for u in forward):
            made.tangled.add(name)
        left = [h for h in around[above[name]] if name not in loops[h]]
        ends = isinstance(exits[name], (Return, Raise))
        if len(forward) == 1 and (ends or not left):
            made.inline.add(name)
        elif left:
            made.outer[left[0]].append(name)
        else:
            made.inner[above[name]].append(name)
        if len({depth[u] for u in forward}) >= MANY_ARRIVALS:
            made.chained.add(name)
    return made


def _reverse_postorder(entry: str, targets: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    seen, done = {entry}, []
    stack = [(entry, iter(targets[entry][::-1]))]
    while stack:
        name, rest = stack[-1]
        for target in rest:
            if target not in seen:
                seen.add(target)
                stack.append((target, iter(targets[target][::-1])))
                break
        else:
            stack.pop()
            done.append(name)
    return tuple(done[::-1])


def _dominators(order: tuple[str, ...], rank: dict[str, int], arrivals: dict[str, list[str]]) -> dict[str, str]:
    above = {order[0]: order[0]}
    changed = True
    while changed:
        changed = False
        for name in order[1:]:
            known = [u for u in arrivals[name] if u in above]
            best = known[0]
            for other in known[1:]:
                while best != other:
                    if rank[best] > rank[other]:
                        best = above[best]
                    else:
                        other = above[other]
            if above.get(name) != best:
                above[name], changed = best, True
    return above


def _tree(order: tuple[str, ...], above: dict[str, str]) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    """Depth in the dominator tree, and [enter, leave) numbers: a dominates b when b's enter lies in a's range."""
    below: dict[str, list[str]] = defaultdict(list)
    for name in order[1:]:
        below[above[name]].append(name)
    depth, enter, leave, clock = {order[0]: 0}, {}, {}, 0
    stack = [(order[0], False)]
    while stack:
        name, done = stack.pop()
        if done:
            leave[name] = clock
            continue
        enter[name] = clock
        clock += 1
        stack.append((name, True))
        for child in below[name]:
            depth[child] = depth[name] + 1
            stack.append((child, False))
    return depth, {n: (enter[n], leave[n]) for n in order}


def _loops(order: tuple[str, ...], arrivals: dict[str, list[str]], dominates: object) -> dict[str, set[str]]:
    """Header → blocks of its natural loop."""
    loops: dict[str, set[str]] = {}
    for header in order:
        work = [u for u in arrivals[header] if dominates(header, u)]  # type: ignore[operator]
        if not work:
            continue
        body = {header}
        while work:
            name = work.pop()
            if name not in body:
                body.add(name)
                work += arrivals[name]
        loops[header] = body
    return loops
