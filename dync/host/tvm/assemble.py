"""The TVM host's code as instructions of TVM's virtual machine, blocks in line where that can be: a call is half of a small block's cost.

A block's lines are read out of what the machine's builder says of the block that it has made; its last lines make a tuple of its
outputs. In line there is no tuple: an output is made in the register that takes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dync.host.tvm.code import (
    COPY,
    ITEM,
    NULL,
    TUPLE,
    Call,
    Give,
    Goto,
    Instruction,
    Int,
    Label,
    Nothing,
    Number,
    Operand,
    Routine,
    Run,
    Text,
    Unless,
    Weight,
)

LINE = re.compile(r"  call\s+(\S+)\s+in: *(.*?)\s+dst: (\S+)$")
VOID = "%void"


@dataclass(frozen=True)
class Body:
    """A block's calls (function, arguments, register), as the machine's builder writes them: %register, i(nteger), c[onstant], f[unction].

    outputs: what the tuple is made of.
    """

    lines: tuple[tuple[str, tuple[str, ...], str], ...]
    outputs: tuple[str, ...]


def bodies(text: str) -> dict[str, Body]:
    """The functions that are nothing but calls and the tuple that they give."""
    found: dict[str, Body] = {}
    for one in text.split("\n@"):
        head, _, rest = one.lstrip("@").partition(":\n")
        lines = [line.rstrip() for line in rest.splitlines() if line.strip()]
        if len(lines) < 2 or not (last := re.fullmatch(r"  ret\s+(%\d+)", lines[-1])):
            continue
        calls = [LINE.match(line) for line in lines[:-1]]
        if not all(calls):
            continue
        made = [(m[1], tuple(a.strip() for a in m[2].split(",") if a.strip()), m[3]) for m in calls if m]
        at = next((i for i, (name, _, to) in enumerate(made) if name == TUPLE and to == last[1]), None)
        if at is None or any(name != NULL for name, _, _ in made[at + 1 :]):
            continue
        outputs = made[at][1]
        found[head] = Body((*made[:at], *(m for m in made[at + 1 :] if m[2] not in outputs)), outputs)
    return found


class Assembler:
    """One routine. tensors: the weights as constants, where the routine is not given them."""

    def __init__(self, builder: Any, routine: Routine, tensors: Sequence[Sequence[Any]] | None, blocks: Mapping[str, Body]) -> None:
        self.b, self.routine, self.tensors, self.blocks = builder, routine, tensors, blocks
        self.free = 1 + max([routine.weights or 0, *(r for i in routine.code for r in _registers(i))])

    def emit(self) -> None:
        b = self.b
        lines: list[Any] = []
        places: dict[str, int] = {}
        for one in self.routine.code:
            match one:
                case Label():
                    places[one.name] = len(lines)
                case Run():
                    lines += self.run(one)
                case Call():
                    lines.append((one.function, [self.operand(a) for a in one.args], one.to))
                case _:
                    lines.append(one)
        with b.function(self.routine.name, len(self.routine.params), list(self.routine.params)):
            for at, one in enumerate(lines):
                match one:
                    case Unless():
                        b.emit_if(b.r(one.condition), places[one.label] - at)
                    case Goto():
                        b.emit_goto(places[one.label] - at)
                    case Give():
                        b.emit_ret(b.r(one.register))
                    case _:
                        b.emit_call(*one)

    def run(self, one: Run) -> Iterator[tuple[str, list[int], int | None]]:
        """The calls of a block's code."""
        b, scratch = self.b, self.free
        args: list[int] = []
        group = None
        for arg in one.args:
            if isinstance(arg, Weight) and self.tensors is None:
                assert self.routine.weights is not None
                if group is None:
                    group, scratch = scratch, scratch + 1
                    yield ITEM, [b.r(self.routine.weights), b.imm(arg.group)], group
                yield ITEM, [b.r(group), b.imm(arg.index)], scratch
                args.append(b.r(scratch))
                scratch += 1
            else:
                args.append(self.operand(arg))
        body = self.blocks.get(one.block)
        if body is None or any(_number(to) in range(len(args)) for _, _, to in body.lines):
            yield one.block, args, scratch
            for index, register in one.takes:
                yield ITEM, [b.r(scratch), b.imm(index)], register
            yield NULL, [], scratch
            return
        yield from self.inline(one, body, args, scratch)

    def inline(self, one: Run, body: Body, args: Sequence[int], scratch: int) -> Iterator[tuple[str, list[int], int | None]]:
        b = self.b
        read = {a for a in one.args if isinstance(a, int)}
        homes: dict[str, int] = {}
        copied: list[tuple[str, int]] = []
        for index, register in one.takes:
            output = body.outputs[index]
            made_here = _number(output) >= len(args)
            if made_here and output not in homes and register not in read:
                homes[output] = register
            else:
                copied.append((output, register))

        def place(token: str) -> int:
            """The register that a block's register is here."""
            return homes[token] if token in homes else scratch + _number(token) - len(args)

        def operand(token: str) -> int:
            match token[0]:
                case "%" if token == VOID:
                    return b.void_arg()
                case "%" if token == "%vm":
                    return b.vm_state()
                case "%":
                    return args[_number(token)] if _number(token) < len(args) else b.r(place(token))
                case "i":
                    return b.imm(int(token[1:]))
                case "c":
                    return b.c(int(token[2:-1]))
                case _:
                    return b.f(token[2:-1])

        for function, given, to in body.lines:
            yield function, [operand(t) for t in given], None if to == VOID else place(to)
        for output, register in copied:
            yield COPY, [operand(output)], register
        for output in dict.fromkeys(body.outputs):
            if output not in homes and _number(output) >= len(args):
                yield NULL, [], place(output)

    def operand(self, operand: Operand) -> int:
        import numpy as np
        import tvm

        b = self.b
        match operand:
            case int():
                return b.r(operand)
            case Int():
                return b.imm(operand.value)
            case Number():
                return b.convert_constant(tvm.runtime.tensor(np.array(operand.value, operand.dtype)))
            case Nothing():
                return b.convert_constant(tvm.runtime.tensor(np.zeros([0] * operand.type.rank, operand.type.dtype)))
            case Text():
                return b.convert_constant(operand.text)
            case Weight():
                assert self.tensors is not None
                return b.convert_constant(self.tensors[operand.group][operand.index])


def _number(token: str) -> int:
    """The number of a register, -1 for anything else."""
    return int(token[1:]) if re.fullmatch(r"%\d+", token) else -1


def _registers(one: Instruction) -> list[int]:
    match one:
        case Run():
            return [a for a in one.args if isinstance(a, int)] + [r for _, r in one.takes]
        case Call():
            return [a for a in (*one.args, one.to) if isinstance(a, int)]
        case Unless():
            return [one.condition]
        case Give():
            return [one.register]
        case _:
            return []
