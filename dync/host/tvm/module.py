"""The flow of a Program as code of TVM's virtual machine: each value is a register, each block a label with its code behind it.

    block   →  a call of its compiled code, whose results go to registers
    jump    →  the target's parameters set all at once, registers that hold dead tensors emptied, goto
    branch  →  the predicate read out of its tensor, a conditional jump; a switch is a search among its cases
    loop    →  a jump backwards: nothing grows
    write in place → a new tensor in the value's register
A result that may be an input, a constant, or another result is copied, so that callers own what they get; a returned input is itself.
A call that fails because an index is out of range in a block's code ends at exit -1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from dync.host.base import Declined
from dync.host.onnx.convention import EXIT, Convention, Port, encode
from dync.host.onnx.graph import Type
from dync.host.onnx.model import Export, translated
from dync.host.onnx.plan import Plan, reads
from dync.host.tvm.code import (
    COPY,
    DECIDE,
    ENTER,
    FAILED,
    MAIN,
    NULL,
    SAYS,
    TEST,
    TRACED,
    TUPLE,
    Call,
    Give,
    Goto,
    Helper,
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
from dync.ir.flow import Branch, Decision, Edge, Flow, FlowBlock, Jump, Raise, Return, Switch, edges
from dync.ir.raising import LATE
from dync.ir.types import Lit, Ref, TensorType, ValueType
from dync.ir.types import Operand as Source


@dataclass(frozen=True)
class Function:
    """A block's compiled code.

    inputs: the values it takes, then all tensors of the group of weights, `count` many. outputs: the values it gives as a tuple.
    written: value that is written in place → index of the output that it then is. checked: behind the outputs stands 0, the number of
    indices out of range, or -1 - the number of an error in `errors`. shared: indices of outputs whose memory may be an argument's, a
    constant's or another output's.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    group: int
    count: int
    written: Mapping[str, int]
    checked: bool
    errors: tuple[str, ...]
    shared: frozenset[int]


@dataclass(frozen=True)
class WholeProgram:
    """registers: the types of the values that the first registers of a routine hold."""

    routines: tuple[Routine, ...]
    helpers: tuple[Helper, ...]
    convention: Convention
    registers: Mapping[int, ValueType]


Translate = Callable[[FlowBlock], "Function | Declined | None"]


def export(flow: Flow, translate: Translate, traced: bool = True, given: bool = True) -> WholeProgram | Declined:
    """The whole flow as code; or the first thing that it cannot carry, with its place.

    given: the weights come as a last argument, a tuple of groups; else they are constants.
    """
    found = translated(flow, translate)
    if isinstance(found, Declined):
        return found
    functions, written, made_plan = found
    late = next((n for n, f in functions.items() if written and f.errors), None)
    if late is not None:
        return Declined(LATE, flow.block(late).span)
    return _Program(flow, made_plan, functions, written).program(traced, given)


class _Program(Export):
    """The exits, outputs and convention are those of the ONNX host."""

    def __init__(self, flow: Flow, plan: Plan, functions: Mapping[str, Function], variables: frozenset[str]) -> None:
        super().__init__(flow, plan, {}, variables, False)
        self.functions = functions
        self.values = {v.name: v for v in self.inputs}
        for block in flow.blocks:
            self.values |= {v.name: v for v in (*block.params, *block.results, *(o.result for o in block.host))}
        names = [*(v.name for v in self.inputs), "", *(n for n in self.values if n not in {v.name for v in self.inputs})]
        self.register = {n: i for i, n in enumerate(names)}
        self.weights = self.register.pop("")
        self.free = len(names)
        """The first register that holds no value."""
        self.number = {b.name: i for i, b in enumerate(flow.blocks)}
        self.helpers: dict[str, Helper] = {}
        self.errors: dict[str, int] = {}
        self.places = self._places()

    def program(self, traced: bool, given: bool) -> WholeProgram:
        names = self._input_names()
        ports = [Port(p, *t) for p, t in ((EXIT, Type("int64", 0)), *self.ports())]
        code = _Writer(self, False).code()
        said = msgspec.structs.replace(self._convention(names, ports), errors=tuple(self.errors))
        params = (*(p.name for p in said.inputs), *(["weights"] if given else []))
        routines = [
            Routine(MAIN, params, code, self.weights if given else None),
            Routine(SAYS, (), (Call(COPY, (Text(encode(said)),), 0), Give(0))),
        ]
        if traced:
            routines.append(Routine(TRACED, params, _Writer(self, True).code(), self.weights if given else None))
        types = {r: self.values[n].type for n, r in self.register.items() if n in self.values}
        return WholeProgram(tuple(routines), tuple(self.helpers.values()), said, types)

    def ports(self) -> list[tuple[str, Type]]:
        return [*self.outputs.items(), *((f"{n}_after", self.types[n]) for n in self.written)]

    def helper(self, kind: str, dtype: str, rank: int = 0, to: str = "") -> str:
        made = Helper(kind, dtype, rank, to)
        self.helpers[made.name] = made
        return made.name

    def wanted(self, block: FlowBlock) -> set[str]:
        """The values that are read in a block's exit or behind it."""
        return reads(block).union(self.written, *(self.plan.live[e.target] for e in edges(block.exit)))

    def dead(self, block: FlowBlock, target: FlowBlock) -> list[str]:
        """The tensors that nobody reads once control has gone on to `target`; inputs are their caller's."""
        here = {*self.plan.live[block.name], *(p.name for p in block.params)}
        here |= set(self.functions[block.name].outputs) & self.wanted(block) if block.name in self.functions else set()
        kept = {*self.plan.live[target.name], *(p.name for p in target.params), *(v.name for v in self.inputs)}
        big = (n for n in here - kept if n in self.values and isinstance(self.values[n].type, TensorType))
        return sorted(big, key=self.register.__getitem__)

    def _places(self) -> dict[str, frozenset[str]]:
        """Value → names of the memory that it may be: "" for what others know, else where it is made. To the least fixed point."""
        found: dict[str, set[str]] = {n: set() for n in self.values}
        for value in self.inputs:
            found[value.name].add("")
        for block, function in self.functions.items():
            for i, name in enumerate(function.outputs):
                if name in found:
                    found[name].add("" if i in function.shared else f"{block} {i}")
            for name, i in function.written.items():
                found[name].add("" if i in function.shared else f"{block} {i}")
        ways = [w for n in self.plan.order for e in edges(self.blocks[n].exit) for w in self._bindings(n, e)]
        changed = True
        while changed:
            changed = False
            for source, param, where in ways:
                new = found[source] if source in found else {where}
                if not new <= found[param]:
                    found[param] |= new
                    changed = True
        return {n: frozenset(p) for n, p in found.items()}

    def _bindings(self, block: str, edge: Edge) -> list[tuple[str, str, str]]:
        """(value, or "" where it is a constant or made on the way; parameter; the memory of what is made)."""
        made = []
        for i, (param, arg) in enumerate(zip(self.blocks[edge.target].params, edge.args, strict=True)):
            if isinstance(arg, Ref):
                same = self.types[arg.name].dtype == self.types[param.name].dtype
                made.append((arg.name if same else "", param.name, f"{block} to {edge.target} {i}"))
            else:
                made.append(("", param.name, ""))
        return made


class _Writer:
    """One routine being written."""

    def __init__(self, program: _Program, tell: bool) -> None:
        self.p, self.tell = program, tell
        self.out: list[Instruction] = []
        self.labels = 0
        self.results, self.condition = program.free, program.free + 1
        self.spare = program.free + 2

    def code(self) -> tuple[Instruction, ...]:
        for name in self.p.plan.order:
            self.block(self.p.blocks[name])
        return tuple(self.out)

    def call(self, function: str, *args: Operand, to: int | None = None) -> None:
        self.out.append(Call(function, args, to))

    def help(self, helper: str, *args: Operand, to: int) -> None:
        self.out.append(Run(helper, args, ((0, to),)))

    def block(self, block: FlowBlock) -> None:
        self.out.append(Label(block.name))
        if self.tell:
            self.call(ENTER, Int(self.p.number[block.name]))
        if block.name in self.p.functions:
            self.run(block, self.p.functions[block.name])
        exit = block.exit
        match exit:
            case Jump():
                self.go(block, exit.edge)
            case Branch():
                self.branch(block, exit)
            case Switch():
                self.switch(block, exit)
            case Return() | Raise():
                self.end("return" if isinstance(exit, Return) else "raise", block)

    def run(self, block: FlowBlock, function: Function) -> None:
        registers, wanted = self.p.register, self.p.wanted(block)
        weights = [Weight(function.group, i) for i in range(function.count)]
        taken = {n: i for i, n in enumerate(function.outputs) if n in registers and n in wanted} | dict(function.written)
        takes = [(i, registers[n]) for n, i in taken.items()]
        if function.checked:
            takes.append((len(function.outputs), self.spare))
        self.out.append(Run(function.name, (*(registers[n] for n in function.inputs), *weights), tuple(takes)))
        if function.checked:
            self.call(TEST, self.spare, to=self.condition)
            right = self.label("right")
            self.out.append(Unless(self.condition, right))
            for i, error in enumerate(function.errors):
                self.help(self.p.helper("equal", "int64"), self.spare, Number(-1 - i, "int64"), to=self.condition)
                self.call(TEST, self.condition, to=self.condition)
                other = self.label("other")
                self.out.append(Unless(self.condition, other))
                self.fail(FAILED - 1 - self.p.errors.setdefault(error, len(self.p.errors)))
                self.out.append(Label(other))
            self.fail(FAILED)
            self.out.append(Label(right))

    def fail(self, exit: int) -> None:
        self.call(TUPLE, Int(exit), to=self.results)
        self.out.append(Give(self.results))

    def label(self, what: str) -> str:
        self.labels += 1
        return f"{what} {self.labels}"

    # exits

    def branch(self, block: FlowBlock, exit: Branch) -> None:
        predicate = self.operand(exit.predicate, "bool", self.spare)
        self.decided(exit.decision, predicate)
        self.call(TEST, predicate, to=self.condition)
        otherwise = self.label("else")
        self.out.append(Unless(self.condition, otherwise))
        self.go(block, exit.then)
        self.out.append(Label(otherwise))
        self.go(block, exit.orelse)

    def switch(self, block: FlowBlock, exit: Switch) -> None:
        index = self.operand(exit.index, "int64", self.spare)
        self.decided(exit.decision, index)
        missing = self.label("missing")
        self.search(block, index, sorted(exit.cases, key=lambda c: c[0]), missing)
        self.out.append(Label(missing))
        if exit.default is None:
            self.end("index", block)
        else:
            self.go(block, exit.default)

    def search(self, block: FlowBlock, index: Operand, cases: Sequence[tuple[int, Edge]], missing: str) -> None:
        """The case that the index is, by halves."""
        if not cases:
            self.out.append(Goto(missing))
            return
        half = len(cases) // 2
        kind = "less" if half else "equal"
        self.help(self.p.helper(kind, "int64"), index, Number(cases[half][0], "int64"), to=self.condition)
        self.call(TEST, self.condition, to=self.condition)
        other = self.label("case") if half else missing
        self.out.append(Unless(self.condition, other))
        if half:
            self.search(block, index, cases[:half], missing)
            self.out.append(Label(other))
            self.search(block, index, cases[half:], missing)
        else:
            self.go(block, cases[0][1])

    def go(self, block: FlowBlock, edge: Edge) -> None:
        """Sets the target's parameters, all at once, and goes there."""
        target = self.p.blocks[edge.target]
        moves: dict[int, Operand] = {}
        for i, (param, arg) in enumerate(zip(target.params, edge.args, strict=True)):
            moves[self.p.register[param.name]] = self.operand(arg, self.p.types[param.name].dtype, self.spare + 1 + i)
        moves = {to: source for to, source in moves.items() if to != source}
        while moves:
            free = next((to for to in moves if to not in moves.values()), None)
            if free is None:  # a ring: one of its registers is kept aside
                free = next(iter(moves))
                self.call(COPY, free, to=self.spare)
                moves = {to: self.spare if source == free else source for to, source in moves.items()}
            self.call(COPY, moves.pop(free), to=free)
        for name in self.p.dead(block, target):
            self.call(NULL, to=self.p.register[name])
        self.out.append(Goto(edge.target))

    def end(self, kind: str, block: FlowBlock) -> None:
        p = self.p
        number, taken = p.leaving[kind, block.name]
        brings = {output: value for value, output in taken.items()} | {f"{n}_after": n for n in p.written}
        given: list[Operand] = [Int(number)]
        seen: set[str] = set()
        for name, type in p.ports():
            value = brings.get(name)
            if value is None:
                given.append(Nothing(type))
                continue
            place, register = p.places[value], p.register[value]
            if value not in p.scalars and name in p.outputs and value not in {v.name for v in p.inputs}:
                if "" in place or place & seen:
                    copy = self.spare + len(given)
                    self.help(p.helper("copy", *type), register, to=copy)
                    register = copy
                seen |= place
            given.append(register)
        self.call(TUPLE, *given, to=self.results)
        self.out.append(Give(self.results))

    # operands

    def operand(self, operand: Source, dtype: str, spare: int) -> Operand:
        """An operand as the tensor of that dtype, in `spare` where it must be made."""
        if isinstance(operand, Lit):
            value = operand.python
            assert isinstance(value, (bool, int, float)), "declined before"
            return Number(value, dtype)
        have = self.p.types[operand.name].dtype
        register = self.p.register[operand.name]
        if have == dtype:
            return register
        self.help(self.p.helper("cast", have, 0, dtype), register, to=spare)
        return spare

    def decided(self, decision: Decision, value: Operand) -> None:
        """Tells what a decision came to, and what it compared."""
        if not self.tell:
            return
        compared = [] if decision.left is None or decision.right is None else [decision.left, decision.right]
        self.call(DECIDE, value, *(self.told(o) for o in compared))

    def told(self, operand: Source) -> Operand:
        if isinstance(operand, Lit):
            return Number(operand.python, "float64")  # type: ignore[arg-type]
        return self.p.register[operand.name]
