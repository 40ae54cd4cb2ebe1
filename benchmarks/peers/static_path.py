"""The static oracle for any Program: the way that one call takes, chosen beforehand, as a straight program. A bound, no system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from dync.ir.flow import Branch, Edge, Exit, Jump, Leaf, Return, Switch, TupleTree, edges
from dync.ir.program import Block, Program
from dync.ir.rewrite import copy_graph, replace_operands
from dync.ir.types import Operand, Ref, Value


def static_path(program: Program, path: Sequence[str]) -> Program:
    """The blocks of `path` in a row, each visit with names of its own: call → (result, what was decided on the way).

    All that the call does is done, and nothing waits for it. Raises ValueError for a way that cannot be told from the path, or that raises.
    """
    visits: list[Block] = []
    asked: list[Operand] = []
    now: dict[str, str] = {}
    """Value → its name in the last visit of the block that defines it."""
    for n, name in enumerate(path):
        follows = (path[n + 1], f"{path[n + 1]}_at_{n + 1}") if n + 1 < len(path) else None
        block = program.block(name)
        visits.append(_visit(block, n, now, follows))
        if isinstance(block.flow.exit, (Branch, Switch)):
            asked.append(_renamed(block.flow.exit.predicate if isinstance(block.flow.exit, Branch) else block.flow.exit.index, now))
    last = visits[-1].flow
    if not isinstance(last.exit, Return):
        raise ValueError("the path ends in an exception")
    decided = tuple(Leaf(o) for o in asked)
    ending = msgspec.structs.replace(last.exit, tree=TupleTree((last.exit.tree, TupleTree(decided))))
    visits[-1] = replace(visits[-1], flow=msgspec.structs.replace(last, exit=ending))
    return replace(program, blocks=tuple(visits))


def _visit(block: Block, n: int, now: dict[str, str], follows: tuple[str, str] | None) -> Block:
    """One visit, which jumps on to `follows` (block, visit) alone; `now` takes its names. The entry's params keep theirs."""
    flow = block.flow
    now |= {p.name: f"{p.name}_at_{n}" for p in flow.params} if n else {}
    inputs, mutates = (tuple(now.get(i, i) for i in names) for names in (flow.inputs, flow.mutates))
    now |= {v.name: f"{v.name}_at_{n}" for v in (*flow.results, *(h.result for h in flow.host))}
    made = replace_operands(flow, lambda o: _renamed(o, now))
    made = msgspec.structs.replace(
        made, name=f"{flow.name}_at_{n}", params=_named(flow.params, now), inputs=inputs, results=_named(flow.results, now),
        mutates=mutates, host=tuple(msgspec.structs.replace(h, result=_named((h.result,), now)[0]) for h in made.host),
        exit=made.exit if follows is None else _only(made.exit, *follows),
    )  # fmt: skip
    graph = copy_graph(block.graph)
    for node, value in zip(graph.find_nodes(op="placeholder"), inputs, strict=True):
        node.target = value
    return Block(made, graph)


def _renamed(operand: Operand, now: Mapping[str, str]) -> Operand:
    return Ref(now.get(operand.name, operand.name)) if isinstance(operand, Ref) else operand


def _named(values: Sequence[Value], now: Mapping[str, str]) -> tuple[Value, ...]:
    return tuple(msgspec.structs.replace(v, name=now.get(v.name, v.name)) for v in values)


def _only(exit: Exit, target: str, visit: str) -> Exit:
    """The way to `target` alone. Raises ValueError where several lead there with other arguments."""
    first, *others = [e for e in edges(exit) if e.target == target]
    if any(e != first for e in others):
        raise ValueError(f"two ways lead to {target}")
    return Jump(Edge(visit, first.args))
