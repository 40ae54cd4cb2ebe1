"""Ways through a flow that its own numbers allow: counters, flags and answers already given decide many branches. Torch-free.

state ::= block, what is known there and still needed: constants that edges pass, what host code makes of them, predicates
          that were answered on the way, and shapes of tensors whose size is asked for
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dync.ir.flow import Branch, Edge, Flow, Raise, Return, Switch, edges
from dync.ir.scalars import EFFECTS, SCALAR_OPS
from dync.ir.types import Lit, Operand, Ref, TensorType, ValueType
from dync.verify.paths import Path, label, ways

if TYPE_CHECKING:
    from dync.ir.program import Program

Known = tuple[tuple[str, str, Any], ...]
State = tuple[str, Known]
MOST = 2000
"""States that are looked at before a search gives up."""
LONGEST = 600
"""Blocks of a way that is worth trying."""


@dataclass
class Routes:
    """A flow, unfolded by what it knows. sizes: results that are one dimension of a tensor. found: what was asked before."""

    flow: Flow
    sizes: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    found: dict[tuple[State, str, str], tuple[Path | None, bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.blocks = {b.name: b for b in self.flow.blocks}
        self.types = _types(self.flow)
        self.needed = _needed(self.flow, self.sizes)
        self.start: State = (self.flow.blocks[0].name, ())
        self.next: dict[State, tuple[tuple[str, State], ...]] = {}

    def following(self, state: State) -> tuple[tuple[str, State], ...]:
        """The ways out of a state, as labels ("" for a jump) and states."""
        if state not in self.next:
            self.next[state] = tuple(self._following(state))
        return self.next[state]

    def _following(self, state: State) -> Iterator[tuple[str, State]]:
        block = self.blocks[state[0]]
        known = {name: value for name, _, value in state[1]}
        for one in block.results:
            known.pop(one.name, None)
            source, dim = self.sizes.get(one.name, ("", 0))
            shape = self._shape(source, known) if source else ()
            if shape and isinstance(shape[dim], int):
                known[one.name] = shape[dim]
        for op in block.host:
            known.pop(op.result.name, None)
            args = [_value(a, known) for a in op.args]
            if op.op not in EFFECTS and None not in args:
                try:
                    known[op.result.name] = SCALAR_OPS[op.op].function(*(a[0] for a in args if a))
                except (ArithmeticError, ValueError, TypeError):  # it raises where it stands; nothing is known
                    continue
        exit = block.exit
        asked = exit.predicate if isinstance(exit, Branch) else exit.index if isinstance(exit, Switch) else None
        answer = None if asked is None else _value(asked, known)
        for said, edge in ways(exit) or tuple(("", e) for e in edges(exit)):
            if answer is not None and isinstance(exit, (Branch, Switch)) and label(exit, answer[0]) != said:
                continue
            learnt = {asked.name: _meant(said)} if isinstance(asked, Ref) and said != "default" else {}
            yield said, self._entered(edge, known | learnt)

    def _entered(self, edge: Edge, known: dict[str, Any]) -> State:
        bound = {p.name: self._bound(p.type, a, known) for p, a in zip(self.blocks[edge.target].params, edge.args, strict=True)}
        now = {n: v for n, v in known.items() if n not in bound} | {n: v[0] for n, v in bound.items() if v is not None}
        needed = self.needed[edge.target]
        return edge.target, tuple(sorted((n, type(v).__name__, v) for n, v in now.items() if n in needed))

    def _bound(self, kind: ValueType, operand: Operand, known: dict[str, Any]) -> tuple[Any] | None:
        if isinstance(kind, TensorType):
            shape = self._shape(operand.name, known) if isinstance(operand, Ref) else ()
            return (shape,) if shape else None
        return _value(operand, known)

    def _shape(self, name: str, known: dict[str, Any]) -> tuple[Any, ...]:
        kind = self.types.get(name)
        return known.get(name) or (kind.shape if isinstance(kind, TensorType) else ())

    def along(self, path: Path) -> list[State]:
        """The states before each step of a path and after it, as far as it can be gone."""
        states = [self.start]
        for name, said in path:
            after = next((s for way, s in self.following(states[-1]) if way == said), None) if states[-1][0] == name else None
            if after is None:
                break
            states.append(after)
        return states

    def shortest(self, state: State, block: str, said: str) -> tuple[Path | None, bool]:
        """A shortest way from `state` through `block`, left by `said`; where there is none, whether that is certain."""
        key = (state, block, said)
        if key not in self.found:
            self.found[key] = self._shortest(state, block, said)
        return self.found[key]

    def _shortest(self, state: State, block: str, said: str) -> tuple[Path | None, bool]:
        before: dict[State, tuple[State, str] | None] = {state: None}
        queue = [state]
        for now in queue:
            for way, after in self.following(now):
                if (now[0], way) == (block, said):
                    path = [(block, said)]
                    back = before[now]
                    while back is not None:
                        path.append((back[0][0], back[1]))
                        back = before[back[0]]
                    return (tuple(reversed(path)), True) if len(path) <= LONGEST else (None, False)
                if after not in before:
                    before[after] = (now, way)
                    queue.append(after)
            if len(before) > MOST:
                return None, False
        return None, True

    def turned(self, path: Path, block: str, said: str) -> Path | None:
        """The path that goes along a long part of `path` and still leaves `block` by `said`; None where no part that was tried does."""
        states = self.along(path)
        last = min(len(states), len(path)) - 1
        visits = [i for i in range(last + 1) if path[i][0] == block]
        for at in dict.fromkeys([*visits[-1:], *range(last, max(last - 8, -1), -1), *visits[:1], *(last >> k for k in range(12))]):
            rest, _ = self.shortest(states[at], block, said)
            if rest is not None:
                return (*path[:at], *rest)
        return None


def asked_sizes(program: Program) -> dict[str, tuple[str, int]]:
    """Results of blocks that are one dimension of an input of theirs: by name, the input and the dimension."""
    found: dict[str, tuple[str, int]] = {}
    for block in program.blocks:
        inputs = dict(zip(block.graph.find_nodes(op="placeholder"), block.flow.inputs))
        for result, node in zip(block.flow.results, block.graph.output_node().args[0]):  # type: ignore[arg-type]
            if str(getattr(node, "target", "")) == "aten.sym_size.int" and node.args[0] in inputs:  # type: ignore[union-attr]
                found[result.name] = (inputs[node.args[0]], node.args[1])  # type: ignore[union-attr,index,assignment]
    return found


def _meant(said: str) -> bool | int:
    """The value behind a label."""
    return said == "true" if said in ("true", "false") else int(said.removeprefix("case "))


def _value(operand: Operand, known: dict[str, Any]) -> tuple[Any] | None:
    if isinstance(operand, Lit):
        value = operand.python
        return (value,) if isinstance(value, (bool, int, float, str)) else None
    return (known[operand.name],) if isinstance(operand, Ref) and operand.name in known else None


def _types(flow: Flow) -> dict[str, ValueType]:
    inputs = [*(i.value for i in flow.signature.inputs), *(s.value for s in flow.slots)]
    return {v.name: v.type for v in (*inputs, *(v for b in flow.blocks for v in (*b.params, *b.results)))}


def _needed(flow: Flow, sizes: Mapping[str, tuple[str, int]]) -> dict[str, frozenset[str]]:
    """What a block, or one after it, computes or decides with and that is not made anew before."""
    needed: dict[str, frozenset[str]] = {b.name: frozenset() for b in flow.blocks}
    changed = True
    while changed:
        changed = False
        for b in reversed(flow.blocks):
            exit = b.exit
            asked = [exit.predicate] if isinstance(exit, Branch) else [exit.index] if isinstance(exit, Switch) else []
            passed = [] if isinstance(exit, (Return, Raise)) else [a for e in edges(exit) for a in e.args]
            read = {o.name for o in (*asked, *passed, *(a for op in b.host for a in op.args)) if isinstance(o, Ref)}
            read |= {sizes[v.name][0] for v in b.results if v.name in sizes}
            made = {v.name for v in b.results} | {op.result.name for op in b.host}
            later = {n for e in edges(exit) for n in needed[e.target] - {p.name for p in flow.block(e.target).params}}
            now = frozenset((read | later) - made)
            if now != needed[b.name]:
                needed[b.name], changed = now, True
    return needed
