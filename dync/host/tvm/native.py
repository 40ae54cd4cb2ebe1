"""The TVM host's code as one compiled function, where all sizes are known: a decision costs what an `if` costs.

    register → a number on the stack, the address of a tensor; LLVM keeps it in a register or knows it
    block    → a call of its code on addresses (dync.backends.tvm.chains), its results in the arena (memory.py)
    jump     → what follows if nothing else leads there; else the number of the label, and once more around the loop that looks at it
    exit     → its number, and the bytes of what it gives, in tensors that the caller has made
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from dync.backends.tvm.builder import converted
from dync.backends.tvm.chains import STACK, Chain, Tensor, address, called
from dync.backends.tvm.door import tirx, tvm
from dync.backends.tvm.pipeline import pointer
from dync.backends.tvm.schedule.loops import STACKED, local, sequence
from dync.host.onnx.graph import Type
from dync.host.tvm.code import (
    COPY,
    NULL,
    TEST,
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
    Unless,
    Weight,
)
from dync.host.tvm.memory import ALIGNMENT, Block, Memory, planned
from dync.ir.types import ScalarType, TensorType, ValueType

NESTED = 24
"""How deep what follows an `if` may stand in it."""


def tensor_of(type: ValueType) -> Tensor | None:
    """What holds a value of the program; None where its sizes are not known."""
    if isinstance(type, TensorType) and all(isinstance(d, int) for d in type.shape):
        return Tensor(tuple(int(d) for d in type.shape), type.dtype)
    return Tensor((), {"int": "int64", "float": "float64", "bool": "bool"}[type.kind]) if isinstance(type, ScalarType) else None


@dataclass(frozen=True)
class Code:
    """A block's code: takes its arguments, constants, results, and `arena` bytes to work in if it asks for any.

    name: of the RAW function, "" if there is nothing to do. takes: the dtypes of what it takes, but for the bytes. constants: TVM's nodes.
    """

    name: str
    takes: tuple[str, ...]
    constants: tuple[Any, ...]
    arena: int
    memory: Block

    @classmethod
    def of(cls, name: str, chain: Chain) -> Code:
        first = len(chain.taken) - len(chain.made)
        constants = first - len(chain.constants)

        def place(number: int) -> tuple[str, int]:
            if number >= first:
                return "result", number - first
            return ("constant", number - constants) if number >= constants else ("argument", number)

        memory = Block(tuple(t.bytes for t in chain.taken[first:]), tuple(map(place, chain.gives)))
        return cls(name if chain.steps else "", tuple(t.dtype for t in chain.taken), chain.constants, chain.arena, memory)


@dataclass(frozen=True)
class Task:
    """A routine all of whose blocks are known. inputs: what it takes. registers: the tensors that hold values of the program.

    groups: how many weights each holds.
    """

    routine: Routine
    inputs: tuple[Tensor, ...]
    registers: Mapping[int, Tensor]
    blocks: Mapping[str, Code]
    helpers: Mapping[str, Helper]
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Native:
    """function: takes the inputs, the addresses of all weights (int64 [at least 1]), the constants, then the exit's number (int64 [1]) and
    the outputs, which it writes."""

    function: Any
    inputs: tuple[Tensor, ...]
    weights: Tensor
    constants: tuple[Any, ...]
    exit: Tensor
    outputs: tuple[Tensor, ...]


def written(task: Task) -> Native | None:
    """The routine as one function; None where its exits give one output in several sizes."""
    outputs = _outputs(task)
    return None if outputs is None else _Writer(task, outputs).native()


def _outputs(task: Task) -> tuple[Tensor, ...] | None:
    known = dict(task.registers)
    found: dict[int, Tensor] = {}
    types: list[Type | None] = []
    for one in task.routine.code:
        match one:
            case Run(block, (int(source),), ((0, to),)) if block in task.helpers and task.helpers[block].kind == "copy":
                known[to] = known[source]
            case Call(function, (_, *given)) if function == TUPLE:
                types += [None] * (len(given) - len(types))
                for i, operand in enumerate(given):
                    if isinstance(operand, Nothing):
                        types[i] = operand.type
                    elif isinstance(operand, int) and found.setdefault(i, known[operand]) != known[operand]:
                        return None
            case _:
                pass
    rest = {i: Tensor((0,) * t.rank, t.dtype) for i, t in enumerate(types) if t is not None} | found
    return tuple(rest[i] for i in sorted(rest))


class _Writer:
    def __init__(self, task: Task, outputs: tuple[Tensor, ...]) -> None:
        self.task, self.code = task, task.routine.code
        self.places = {one.name: i for i, one in enumerate(self.code) if isinstance(one, Label)}
        self.references = Counter(one.label for one in self.code if isinstance(one, (Unless, Goto)))
        self.references.update(one.name for one in self.code[:1] if isinstance(one, Label))
        self.starts = [sum(task.groups[:i]) for i in range(len(task.groups))]
        runs = [task.blocks[one.block] for one in self.code if isinstance(one, Run) and one.block in task.blocks]
        constants = dict.fromkeys(c for block in runs for c in block.constants)
        self.memory: Memory = planned(task.routine, {n: b.memory for n, b in task.blocks.items()}, task.helpers)
        size = self.memory.size + max((block.arena for block in runs), default=0)
        self.numbers = {n: size + i * ALIGNMENT for i, n in enumerate(dict.fromkeys(map(_key, _numbers(self.code))))}
        """Where constants that are Python numbers stand in the arena, by how they are written: -0.0 equals 0.0."""
        size = max(size + len(self.numbers) * ALIGNMENT, STACK + 1)
        buffer = tirx.decl_buffer
        self.arena = buffer([size], "uint8", name="arena")
        self.inputs = [buffer(list(t.shape), t.dtype, name=f"input{i}") for i, t in enumerate(task.inputs)]
        self.weights = buffer([max(sum(task.groups), 1)], "int64", name="weights")
        self.constants = {c: buffer(list(c.ty.shape.values), str(c.ty.dtype), name=f"constant{i}") for i, c in enumerate(constants)}
        self.exit = buffer([1], "int64", name="exit")
        self.outputs = [(buffer(list(t.shape), t.dtype, name=f"output{i}"), t) for i, t in enumerate(outputs)]
        self.words: list[Any] = []
        self.state = self.word("state")
        self.registers: dict[int, Any] = {}
        self.dtypes = {r: t.dtype for r, t in task.registers.items()}
        self.labels: dict[str, int] = {}
        """The labels that the loop looks for, with what stands for them."""

    def native(self) -> Native:
        start = [_store(self.register(i), _number(b.data)) for i, b in enumerate(self.inputs)]
        body = self.segment(0, 0)
        segments: list[Any] = []
        while len(segments) < len(self.labels):  # more of them come while these are written
            segments.append(self.segment(self.places[list(self.labels)[len(segments)]], 0))
        loop = [tirx.While(self.state[0] >= _int(0), self.dispatch(segments, 0))] if segments else []
        numbers = {_key(n): n for n in _numbers(self.code)}
        kept = [s for k, n in numbers.items() for s in self.put(self.at(self.numbers[k]), tirx.const(n.value, n.dtype), n.dtype)]
        words = [s for w in self.words for s in (tirx.AllocBuffer(w, STACKED), _store(w, _int(0)))]
        whole = [tirx.AllocBuffer(self.arena), *words, *kept, *start, _store(self.state, _int(-1)), body, *loop]
        outputs = [b for b, _ in self.outputs]
        params = [*self.inputs, self.weights, *self.constants.values(), self.exit, *outputs]
        weights, exit = (Tensor((int(b.shape[0]),), "int64") for b in (self.weights, self.exit))
        function = tirx.PrimFunc(params, tirx.SeqStmt(whole))
        return Native(function, self.task.inputs, weights, tuple(self.constants), exit, tuple(t for _, t in self.outputs))

    # control flow

    def segment(self, at: int, depth: int) -> Any:
        """The code from an instruction on, to where it ends or goes on elsewhere."""
        made: list[Any] = []
        for number in range(at, len(self.code)):
            match self.code[number]:
                case Unless(condition, label):
                    then = self.segment(number + 1, depth + 1)
                    made.append(tirx.IfThenElse(self.register(condition)[0] != _int(0), then, self.jump(label, depth + 1)))
                    break
                case Goto(label):
                    made.append(self.jump(label, depth))
                    break
                case Give():
                    made.append(_store(self.state, _int(-1)))
                    break
                case one:
                    made += self.statements(number, one)
        return sequence(*made)

    def jump(self, label: str, depth: int) -> Any:
        if self.references[label] == 1 and depth < NESTED:
            return self.segment(self.places[label], depth + 1)
        return _store(self.state, _int(self.labels.setdefault(label, len(self.labels))))

    def dispatch(self, segments: Sequence[Any], first: int) -> Any:
        """The segment that the state is the number of, by halves."""
        if len(segments) == 1:
            return segments[0]
        half = len(segments) // 2
        low, high = self.dispatch(segments[:half], first), self.dispatch(segments[half:], first + half)
        return tirx.IfThenElse(self.state[0] < _int(first + half), low, high)

    # single instructions

    def statements(self, number: int, one: Instruction) -> Iterator[Any]:
        match one:
            case Run(block, args, ((_, to),)) if block in self.task.helpers:
                yield from self.helper(number, self.task.helpers[block], args, to)
            case Run():
                yield from self.run(number, one)
            case Call(function, (source,), to) if function == COPY and to is not None:
                self.dtypes[to] = self.dtype(source)
                yield _store(self.register(to), self.operand(source))
            case Call(function, (source,), to) if function == TEST and to is not None:
                yield from self.load(source, lambda value: _store(self.register(to), tirx.Cast("int64", value)))
            case Call(function, args) if function == TUPLE:
                yield from self.give(args)
            case Label():
                pass
            case _:
                assert isinstance(one, Call) and one.function == NULL, f"no native form of {one}"

    def run(self, number: int, run: Run) -> Iterator[Any]:
        block = self.task.blocks[run.block]
        args = [self.operand(a) for a in run.args]
        constants = [_number(self.constants[c].data) for c in block.constants]
        results: list[Any] = []
        for i in range(len(block.memory.results)):
            word = self.word(f"made{number}_{i}")
            yield from self.slot((number, i), word)
            results.append(word[0])
        taken = [*args, *constants, *results]
        if block.name:
            given = [tirx.reinterpret(pointer(t), p) for t, p in zip(block.takes, taken, strict=True)]
            scratch = [address(self.arena.data, self.memory.size, "uint8")] if block.arena else []
            yield called(tvm.ir.GlobalVar(block.name), [*given, *scratch])
        begin = {"argument": 0, "constant": len(args), "result": len(args) + len(constants)}
        made = [(register, begin[kind] + i) for output, register in run.takes for kind, i in [block.memory.outputs[output]]]
        values = {at: taken[at] for _, at in made}
        if {r for r, _ in made} & {a for a in run.args if isinstance(a, int)}:  # all at once: one may take what another was
            for at, value in values.items():
                word = self.word(f"held{number}_{at}")
                yield _store(word, value)
                values[at] = word[0]
        for register, at in made:
            self.dtypes[register] = block.takes[at]
            yield _store(self.register(register), values[at])

    def slot(self, site: tuple[int, int], word: Any) -> Iterator[Any]:
        """The address of a slot of the site that no register holds: each holds one at most, and there is one slot more."""
        first, *others = (self.at(offset) for offset in self.memory.slots(site))
        holders = [self.register(r)[0] for r in self.memory.holders[site]]
        yield _store(word, first)
        for one in others:
            taken = reduce(tirx.Or, [h == word[0] for h in holders])
            yield tirx.IfThenElse(taken, _store(word, one), None)

    def helper(self, number: int, helper: Helper, args: Sequence[Operand], to: int) -> Iterator[Any]:
        if helper.kind == "copy":  # what an exit gives is copied there
            self.dtypes[to] = helper.dtype
            yield _store(self.register(to), self.operand(args[0]))
            return
        word = self.word(f"made{number}")
        yield from self.slot((number, 0), word)
        functions = {"cast": lambda a: converted(a, helper.to), "equal": lambda a, b: a == b, "less": lambda a, b: a < b}
        dtype = helper.to if helper.kind == "cast" else "bool"
        values: list[Any] = []
        for arg in args:
            yield from self.load(arg, values.append, helper.dtype)
        yield from self.put(word[0], functions[helper.kind](*values), dtype)
        self.dtypes[to] = dtype
        yield _store(self.register(to), word[0])

    def give(self, args: Sequence[Operand]) -> Iterator[Any]:
        assert isinstance(args[0], Int)
        yield _store(self.exit, _int(args[0].value))
        for (output, type), operand in zip(self.outputs, args[1:], strict=False):
            if not isinstance(operand, Nothing) and type.bytes:
                source = tirx.reinterpret(pointer(type.dtype), self.operand(operand))
                yield tirx.Evaluate(tirx.call_extern("int64", "memcpy", output.data, source, _int(type.bytes)))

    # values

    def word(self, name: str) -> Any:
        """A number on the stack."""
        made = local([1], "int64", name)
        self.words.append(made)
        return made

    def register(self, number: int) -> Any:
        if number not in self.registers:
            self.registers[number] = self.word(f"r{number}")
        return self.registers[number]

    def at(self, offset: int) -> Any:
        return _number(address(self.arena.data, offset, "uint8"))

    def operand(self, operand: Operand) -> Any:
        """The address of a tensor."""
        match operand:
            case int():
                return self.register(operand)[0]
            case Weight(group, index):
                return self.weights[_int(self.starts[group] + index)]
            case Number():
                return self.at(self.numbers[_key(operand)])
            case _:
                raise AssertionError(f"no tensor: {operand}")

    def dtype(self, operand: Operand) -> str:
        return operand.dtype if isinstance(operand, Number) else self.dtypes[operand] if isinstance(operand, int) else ""

    def load(self, operand: Operand, then: Callable[[Any], Any], dtype: str = "") -> Iterator[Any]:
        """`then` of the number that a 0-d tensor is."""
        dtype = dtype or self.dtype(operand)
        view = tirx.decl_buffer([1], dtype, name="number")
        yield tirx.DeclBuffer(view, data=tirx.reinterpret(pointer(dtype), self.operand(operand)))
        made = then(view[0])
        if made is not None:
            yield made

    def put(self, place: Any, value: Any, dtype: str) -> Iterator[Any]:
        view = tirx.decl_buffer([1], dtype, name="number")
        yield tirx.DeclBuffer(view, data=tirx.reinterpret(pointer(dtype), place))
        yield tirx.BufferStore(view, value, [_int(0)])


def _int(number: int) -> Any:
    return tirx.const(number, "int64")


def _store(word: Any, value: Any) -> Any:
    return tirx.BufferStore(word, value, [_int(0)])


def _number(address: Any) -> Any:
    return tirx.reinterpret("int64", address)


def _key(number: Number) -> tuple[str, str]:
    return repr(number.value), number.dtype


def _numbers(code: Sequence[Instruction]) -> Iterator[Number]:
    for one in code:
        if isinstance(one, (Run, Call)):
            yield from (a for a in one.args if isinstance(a, Number))
