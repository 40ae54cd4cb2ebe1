"""What a Program's own numbers prove: outcomes that no call takes, and programs that differ only where no call comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from dync.ir.flow import Branch, Decision, Exit, Flow, HostOp, Jump, Switch, exit_operands, leaves
from dync.ir.program import Block, Program
from dync.ir.scalars import NEVER_RAISE
from dync.ir.types import Operand, Ref, TensorType
from dync.verify.paths import ways
from dync.verify.routes import Routes, Taken
from dync.verify.sizes import size_rules


def routes(flow: Flow, program: Program | None) -> tuple[Routes, Routes]:
    """With fewer facts first: more of them tell apart more states than can be looked at."""
    rules = size_rules(program) if program is not None else {}
    shapes = {v.name for b in flow.blocks for v in b.results if isinstance(v.type, TensorType)}
    return Routes(flow, {n: r for n, r in rules.items() if n not in shapes}), Routes(flow, rules)


def possible(proofs: Iterable[Routes]) -> Taken | None:
    """What some call may take, proved of all else that none does; None where there are too many states to tell."""
    found = [t for r in proofs if (t := r.possible()) is not None]
    return frozenset.intersection(*found) if found else None


def acts(program: Program) -> Any:
    """What calls may run, read and decide, to compare with a mutant's: no call tells apart two programs that are equal in it.

    Graphs and weights are compared by identity, so both programs must be alive.
    """
    taken = possible(routes(program.flow, program))
    reached = [b for b in program.blocks if taken is None or (b.name, "") in taken]
    exits = {b.name: _exit(b, taken) for b in reached}
    live = _live(reached, exits)
    blocks = [msgspec.structs.replace(b.flow, host=tuple(_kept(b.flow.host, live)), exit=exits[b.name]) for b in reached]
    read = {n for b in reached for n in b.weights} | set(_names(o for s in program.slots for o in leaves(s.initial)))
    return blocks, [b.graph for b in reached], {n: id(w) for n, w in program.weights.items() if n in read}


def _exit(block: Block, taken: Taken | None) -> Exit:
    """The exit without ways that no call takes, and without what its decision says to people."""
    exit = block.flow.exit
    left = [said for said, _ in ways(exit) if taken is None or (block.name, said) in taken]
    match exit:
        case Branch() if len(left) == 1:
            return Jump(dict(ways(exit))[left[0]])
        case Branch():
            return msgspec.structs.replace(exit, decision=Decision(""))
        case Switch():
            cases = tuple((k, e) for k, e in exit.cases if f"case {k}" in left)
            return msgspec.structs.replace(exit, cases=cases, default=exit.default if "default" in left else None, decision=Decision(""))
        case _:
            return exit


def _live(blocks: Iterable[Block], exits: Mapping[str, Exit]) -> set[str]:
    """Names that something needs."""
    live = {n for b in blocks for n in b.flow.inputs} | set(_names(o for exit in exits.values() for o in exit_operands(exit)))
    host, before = [op for b in blocks for op in b.flow.host], -1
    while len(live) > before:
        before = len(live)
        live.update(n for op in _kept(host, live) for n in _names(op.args))
    return live


def _kept(host: Iterable[HostOp], live: set[str]) -> Iterator[HostOp]:
    return (op for op in host if op.result.name in live or op.op not in NEVER_RAISE)


def _names(operands: Iterable[Operand]) -> Iterator[str]:
    return (o.name for o in operands if isinstance(o, Ref))
