"""Where the tensors of a routine stand when all their sizes are known: one arena, planned over the whole flow. Imports no TVM.

A site is the place in the code that makes a tensor. A register is a pointer, so that the same tensor in several registers is one; a site
whose last tensor may still be held when it makes the next one (a loop's `x = f(x)`) has a slot more for each register that may hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dync.host.tvm.code import COPY, Call, Goto, Helper, Instruction, Label, Operand, Routine, Run, Unless

ALIGNMENT = 64
Site = tuple[int, int]
"""(number of the Run in the code, number of the result)."""


@dataclass(frozen=True)
class Block:
    """What a block's code makes: bytes of each result; and for each output the result that it is, or else the argument or constant
    ("result", "argument", "constant"; number) whose memory it is."""

    results: tuple[int, ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Memory:
    """offsets: where each site's first slot stands; slots: how many it has, one behind the other; holders: the registers that may hold
    a tensor of its when it makes the next. size: bytes of the arena."""

    offsets: Mapping[Site, int]
    sizes: Mapping[Site, int]
    holders: Mapping[Site, tuple[int, ...]]
    size: int

    def slots(self, site: Site) -> tuple[int, ...]:
        """The offsets of its slots."""
        return tuple(self.offsets[site] + i * self.sizes[site] for i in range(1 + len(self.holders[site])))


def planned(routine: Routine, blocks: Mapping[str, Block], helpers: Mapping[str, Helper]) -> Memory:
    """The memory of a routine all of whose blocks are known."""
    return _Planner(routine.code, blocks, helpers).memory()


Held = dict[int, frozenset[Site]]
"""Register → the sites whose tensors it may hold."""


@dataclass
class _Planner:
    code: Sequence[Instruction]
    blocks: Mapping[str, Block]
    helpers: Mapping[str, Helper]
    sizes: dict[Site, int] = field(default_factory=dict[Site, int])
    holders: dict[Site, set[int]] = field(default_factory=dict[Site, set[int]])
    apart: dict[Site, set[Site]] = field(default_factory=dict[Site, set[Site]])
    """Sites that are held when a site makes its tensor."""

    def memory(self) -> Memory:
        places = {one.name: i for i, one in enumerate(self.code) if isinstance(one, Label)}
        entered: dict[int, Held] = {0: {}}
        left = [0]
        while left:
            at = left.pop()
            for label, held in self.walked(at, dict(entered[at])):
                to = places[label]
                before = entered.get(to)
                after = held if before is None else {r: before.get(r, frozenset()) | held.get(r, frozenset()) for r in before | held}
                if after != before:
                    entered[to] = after
                    left.append(to)
        return self.placed()

    def walked(self, at: int, held: Held) -> Iterable[tuple[str, Held]]:
        """From an instruction to where it jumps or gives: (label, what is held there)."""
        for number in range(at, len(self.code)):
            match self.code[number]:
                case Label():
                    pass
                case Run() as run:
                    self.run(number, run, held)
                case Call(function, args, to) if to is not None:
                    held[to] = self.holding(args[0], held) if function == COPY else frozenset()
                case Unless(_, label):
                    yield label, dict(held)
                case Goto(label):
                    yield label, held
                    return
                case _:
                    return

    def holding(self, operand: Operand, held: Held) -> frozenset[Site]:
        return held.get(operand, frozenset()) if isinstance(operand, int) else frozenset()

    def run(self, number: int, run: Run, held: Held) -> None:
        helper = self.helpers.get(run.block)
        if helper is not None and helper.kind == "copy":
            held[run.takes[0][1]] = self.holding(run.args[0], held)
            return
        block = Block((ALIGNMENT,), (("result", 0),)) if helper is not None else self.blocks[run.block]
        sites = [(number, i) for i in range(len(block.results))]
        taken = {register for _, register in run.takes}
        kept = {r: s for r, s in held.items() if s and (r not in taken or r in run.args)}
        for site, size in zip(sites, block.results, strict=True):
            self.sizes[site] = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
            self.holders.setdefault(site, set()).update(r for r, s in kept.items() if site in s)
            self.apart.setdefault(site, set()).update(sites, *kept.values())
        made: Held = {}
        for output, register in run.takes:
            kind, i = block.outputs[output]
            if kind == "result":
                made[register] = frozenset({sites[i]})
            else:
                made[register] = self.holding(run.args[i], held) if kind == "argument" else frozenset()
        held.update(made)

    def placed(self) -> Memory:
        """Large sites first, each at the lowest place where it is over none that it is apart from."""
        apart: dict[Site, set[Site]] = {s: set(others) - {s} for s, others in self.apart.items()}
        for site, others in self.apart.items():
            for other in others - {site}:
                apart[other].add(site)
        whole = {s: self.sizes[s] * (1 + len(self.holders[s])) for s in self.sizes}
        offsets: dict[Site, int] = {}
        for site in sorted(whole, key=lambda s: (-whole[s], s)):
            at = 0
            for start, end in sorted((offsets[o], offsets[o] + whole[o]) for o in apart[site] if o in offsets):
                if at + whole[site] <= start:
                    break
                at = max(at, end)
            offsets[site] = at
        size = max((offsets[s] + whole[s] for s in offsets), default=0)
        return Memory(offsets, self.sizes, {s: tuple(sorted(h)) for s, h in self.holders.items()}, size)
