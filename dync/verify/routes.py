"""Ways through a flow that its own numbers allow: counters, flags and answers already given decide many branches. Torch-free.

state ::= block, what is known there and still needed: constants that edges pass, what host code makes of them, predicates
          that were answered on the way, and shapes of tensors whose size is asked for
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dync.ir.flow import Branch, Edge, Flow, Raise, Return, Switch, edges
from dync.ir.scalars import EFFECTS, SCALAR_OPS
from dync.ir.types import Lit, ObjectType, Operand, Ref, TensorType, ValueType
from dync.verify.paths import Path, label, ways

Known = tuple[tuple[str, str, Any], ...]
State = tuple[str, Known]
Taken = frozenset[tuple[str, str]]
"""Ways out, as block and label, and every block that is come to, with the label ""."""
MOST = 10_000
"""States that are looked at before a search gives up."""
LONGEST = 600
"""Blocks of a way that is worth trying."""


class Count(str):
    """A size that is not known, as "block.name": the same wherever the name is until the block runs again, and never negative."""


@dataclass(frozen=True)
class Rule:
    """What a result is, from what is known of the names that it reads: a shape, a size, or None where that is not known."""

    reads: frozenset[str]
    made: Callable[[Mapping[str, Any]], Any]


@dataclass
class Routes:
    """A flow, unfolded by what it knows. sizes: rules for results, by name. found: what was asked before."""

    flow: Flow
    sizes: Mapping[str, Rule] = field(default_factory=dict)
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
        made = {v.name: self.sizes[v.name].made(known) for v in block.results if v.name in self.sizes}
        older = {n for n, v in known.items() if _counted_in(state[0], v)}  # in an earlier round: another number
        known = {n: v for n, v in known.items() if n not in older and all(n != r.name for r in block.results)}
        known |= {n: v for n, v in made.items() if v is not None}
        for op in block.host:
            known.pop(op.result.name, None)
            args = [_value(a, known) for a in op.args]
            if op.op not in EFFECTS and None not in args:
                values = [a[0] for a in args if a]
                if any(isinstance(v, Count) for v in values):
                    known.update((op.result.name, v) for v in _counted(op.op, values))
                    continue
                try:
                    known[op.result.name] = SCALAR_OPS[op.op].function(*values)
                except (ArithmeticError, ValueError, TypeError):  # it raises where it stands; nothing is known
                    continue
        exit = block.exit
        asked = exit.predicate if isinstance(exit, Branch) else exit.index if isinstance(exit, Switch) else None
        answer = None if asked is None else _value(asked, known)
        answer = None if answer is not None and isinstance(answer[0], Count) else answer
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
        if isinstance(kind, ObjectType):  # a text: loops make it longer and longer
            return None
        return _value(operand, known)

    def _shape(self, name: str, known: dict[str, Any]) -> tuple[Any, ...]:
        kind = self.types.get(name)
        found = known.get(name) or (kind.shape if isinstance(kind, TensorType) else ())
        return found if all(isinstance(d, (int, Count)) for d in found) else ()

    def along(self, path: Path) -> list[State]:
        """The states before each step of a path and after it, as far as it can be gone."""
        states = [self.start]
        for name, said in path:
            after = next((s for way, s in self.following(states[-1]) if way == said), None) if states[-1][0] == name else None
            if after is None:
                break
            states.append(after)
        return states

    def possible(self) -> Taken | None:
        """What some call may take: none takes anything else. None where there are too many states to look at."""
        seen, queue, found = {self.start}, [self.start], set[tuple[str, str]]()
        for now in queue:
            found.add((now[0], ""))
            for way, after in self.following(now):
                found.add((now[0], way))
                if after not in seen:
                    seen.add(after)
                    queue.append(after)
            if len(seen) > MOST:
                return None
        return frozenset(found)

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

    def through(self, first: tuple[str, str], block: str, said: str) -> Path | None:
        """A way that takes an outcome, first of all as soon as it can, and then leaves `block` by `said`."""
        begun, _ = self.shortest(self.start, *first)
        if begun is None:
            return None
        rest, _ = self.shortest(self.along(begun)[-1], block, said)
        return None if rest is None else (*begun, *rest)

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


def _counted_in(block: str, value: Any) -> bool:
    """Whether `block` counted what `value`, a size or a shape, tells."""
    return any(isinstance(d, Count) and d.startswith(f"{block}.") for d in (value if isinstance(value, tuple) else (value,)))


def _counted(op: str, values: list[Any]) -> Iterator[bool]:
    """What a comparison says that involves counts, where it is certain."""
    if op in ("eq", "le", "ge", "ne", "lt", "gt") and values[0] == values[1] and type(values[0]) is type(values[1]):
        yield op in ("eq", "le", "ge")
    elif op in ("ge", "lt") and isinstance(values[1], int) and values[1] <= 0:
        yield op == "ge"
    elif op in ("gt", "ne", "le", "eq") and isinstance(values[1], int) and values[1] < 0:
        yield op in ("gt", "ne")


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


def _needed(flow: Flow, sizes: Mapping[str, Rule]) -> dict[str, frozenset[str]]:
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
            made = {v.name for v in b.results} | {op.result.name for op in b.host}
            later = {n for e in edges(exit) for n in needed[e.target] - {p.name for p in flow.block(e.target).params}}
            wanted = read | later
            read |= {n for v in b.results if v.name in sizes and v.name in wanted for n in sizes[v.name].reads}
            now = frozenset((read | later) - made)
            if now != needed[b.name]:
                needed[b.name], changed = now, True
    return needed
