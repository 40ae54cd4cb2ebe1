"""The flow of a Program as MLIR: each block an MLIR block, its code a call, its exit a branch; all ways out lead to one last block.

    jump    →  cf.br, with the target's parameter; several come as one list of views of buffers
    branch  →  the predicate read out of its tensor, cf.cond_br; a switch is a chain of these
    loop    →  a branch backwards: no stack, no state besides the header's parameters
    write in place → a further parameter of the blocks behind it, where the value is alive
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dync.host.base import Declined
from dync.host.mlir import text
from dync.host.mlir.text import ELEMENTS
from dync.host.onnx.convention import EXIT, Convention, Port, encode
from dync.host.onnx.graph import Type
from dync.host.onnx.model import Export, translated
from dync.host.onnx.plan import Plan
from dync.ir.flow import Branch, Decision, Edge, Flow, FlowBlock, Jump, Raise, Return, Switch
from dync.ir.types import Lit, Operand, Ref

MAIN, TRACED, TELL = "main", "traced", "dync"
"""The function, the one that tells its way, and the module of those that it tells."""
VIEW, VIEWS = "!hal.buffer_view", "!util.list<?>"


@dataclass(frozen=True)
class Function:
    """A block's code as a function on tensors.

    inputs: values, then `weights` (global, its type). outputs: values. types: MLIR types of all inputs, and of the outputs.
    written: value that is written in place → index of the output that it then is.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: tuple[tuple[str, ...], tuple[str, ...]]
    weights: tuple[tuple[str, str], ...]
    written: Mapping[str, int]


@dataclass(frozen=True)
class WholeModule:
    """text: the module without the bodies of the blocks' functions and without the globals. outputs: dtypes of what `main` gives."""

    text: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    convention: Convention


Translate = Callable[[FlowBlock], "Function | Declined | None"]


def export(flow: Flow, translate: Translate, traced: bool = True, copied: frozenset[str] = frozenset()) -> WholeModule | Declined:
    """The whole flow as one module; or the first thing that it cannot carry, with its place. copied: inputs that get their own memory."""
    found = translated(flow, translate)
    if isinstance(found, Declined):
        return found
    functions, written, made_plan = found
    return _Module(flow, made_plan, functions, written, copied).run(traced)


class _Module(Export):
    """The exits, outputs and convention are those of the ONNX host."""

    def __init__(
        self, flow: Flow, plan: Plan, functions: Mapping[str, Function], variables: frozenset[str], copied: frozenset[str]
    ) -> None:
        super().__init__(flow, plan, {}, variables, False)
        self.functions, self.copied = functions, copied
        values = [*self.inputs, *(v for b in flow.blocks for v in (*b.params, *b.results, *(o.result for o in b.host)))]
        self.texts = {v.name: text.type_text(v.type) for v in values}
        self.local = {v.name: f"%v{i}" for i, v in enumerate(values)}
        self.label = {b.name: f"^b{i}" for i, b in enumerate(flow.blocks)}
        self.number = {b.name: i for i, b in enumerate(flow.blocks)}

    def run(self, traced: bool) -> WholeModule:  # type: ignore[override]
        names = self._input_names()
        ports = [Port(p, *t) for p, t in ((EXIT, Type("int64", 0)), *self._outputs())]
        said = self._convention(names, ports)
        told = [f"func.func private @{TELL}.enter(i64, i64) -> i64", f"func.func private @{TELL}.decide(i64, f64, i64) -> i64"]
        lines = told if traced else []
        lines += _Function(self, "").lines(said)
        if traced:
            lines += _Function(self, TELL).lines(said)
        return WholeModule("\n".join(lines), said.inputs, tuple(ports), said)

    def _outputs(self) -> list[tuple[str, Type]]:
        return [*self.outputs.items(), *((f"{n}_after", self.types[n]) for n in self.written)]

    def carried(self, block: str) -> list[str]:
        """The variables that come to a block as further parameters."""
        return sorted(self.variables & self.plan.live[block]) if block != self.plan.order[0] else []

    def params(self, block: str) -> list[tuple[str, str]]:
        """What comes to a block: (value, its name there)."""
        number = self.number[block]
        found = [(p.name, self.local[p.name]) for p in self.blocks[block].params]
        return found + [(v, f"{self.local[v]}_{number}") for v in self.carried(block)]


class _Function:
    """One function being written."""

    def __init__(self, module: _Module, tell: str) -> None:
        self.m, self.tell = module, tell
        self.names = text.Names()
        self.out: list[str] = []
        self.now: dict[str, str] = {}
        """What a variable is at this point."""
        self.turn = ""
        """What the last call that tells the way gave: the next one takes it, for IREE keeps no other order of calls."""
        self.chains = 0

    def lines(self, said: Convention) -> list[str]:
        m = self.m
        given = {v.name: f"{m.local[v.name]}_given" if v.name in m.copied else m.local[v.name] for v in m.inputs}
        arguments = ", ".join(f"{given[v.name]}: {m.texts[v.name]}" for v in m.inputs)
        outputs = [VIEW for _ in m._outputs()]
        results = ", ".join(["i64", *outputs])
        name = TRACED if self.tell else MAIN
        json = encode(said).replace("\\", "\\\\").replace('"', '\\"')
        self.out.append(f'func.func @{name}({arguments}) -> ({results}) attributes {{iree.reflection = {{dync = "{json}"}}}} {{')
        for v in m.inputs:
            if v.name in m.copied:
                self.out += text.copy(self.names, m.local[v.name], given[v.name], m.types[v.name], m.texts[v.name])
        self.turn = self.op("arith.constant 0 : i64")
        self.out.append(f"cf.br {self.target(m.label[m.plan.order[0]], self.told())}")
        for block in m.plan.order:
            self.block(m.blocks[block])
        self.out.append(f"^end(%number: i64, %ends: {VIEWS}):")
        self.out.append(f"return {', '.join(['%number', *self.unpacked('%ends', len(outputs))])} : {results}\n}}")
        return self.out

    def add(self, line: str) -> str:
        """The line, and what it defines."""
        self.out.append(line)
        return line.partition(" = ")[0]

    def op(self, code: str) -> str:
        return self.add(f"{self.names.fresh()} = {code}")

    def nothing(self, type: Type) -> str:
        """What stands for an output that an exit does not give."""
        one = text.tensor(type.dtype, [1] * type.rank)
        value = text.number(0, "bool") if type.dtype == "bool" else "0.0" if "float" in type.dtype else "0"
        return self.exported(self.op(f"arith.constant dense<{value}> : {one}"), one)

    def exported(self, value: str, type: str) -> str:
        """A tensor as what the caller gets: memory that it has alone, so that IREE 3.13 cannot lose it where exits meet."""
        found = ", ".join([self.add(line) for line in text.sizes(self.names, value, type)][1::2])
        return self.op(f"hal.tensor.export {value} : {type}{'{' + found + '}' if found else ''} -> {VIEW}")

    def constant(self, value: str, type: str) -> str:
        """A tensor of one value that goes along an edge, hidden from IREE 3.13: on some paths it copies a constant from nowhere."""
        return self.op(f"util.optimization_barrier {self.op(f'arith.constant dense<{value}> : {type}')} : {type}")

    def cast(self, value: str, have: str, want: str) -> str:
        return value if have == want else self.op(f"tensor.cast {value} : {have} to {want}")

    # blocks

    def block(self, block: FlowBlock) -> None:
        m = self.m
        came = m.params(block.name)
        self.now = {v: m.local[v] for v in m.variables} | {v: n for v, n in came if v in m.variables}
        several = f"%came{m.number[block.name]}" if len(came) > 1 else ""
        params = [(several, VIEWS)] if several else [(n, m.texts[v]) for v, n in came]
        number = m.number[block.name]
        self.turn = f"%turn{number}"
        params += self.told()
        self.out.append(f"{m.label[block.name]}" + (f"({', '.join(f'{n}: {t}' for n, t in params)})" if params else "") + ":")
        if several:
            for view, (v, n) in zip(self.unpacked(several, len(came)), came, strict=True):
                self.imported(n, view, m.texts[v])
        if self.tell:
            entered = self.op(f"arith.constant {number} : i64")
            self.turn = self.op(f"func.call @{TELL}.enter({entered}, {self.turn}) : (i64, i64) -> i64")
        if block.name in m.functions:
            self.call(m.functions[block.name])
        self.exit(block)

    def imported(self, name: str, view: str, type: str) -> None:
        """Defines the tensor `name` that a view shows."""
        sizes = [self.op(f"hal.buffer_view.dim<{view} : {VIEW}>[{i}] : index") for i in text.open_sizes(type)]
        self.out.append(f"{name} = hal.tensor.import {view} : {VIEW} -> {type}{'{' + ', '.join(sizes) + '}' if sizes else ''}")

    def packed(self, views: Sequence[str]) -> str:
        """A list of views, which goes along an edge as one.

        IREE 3.13's VM moves the last of a branch's equal operands and orders the moves afterwards: one of them may be gone by then.
        Equal they are also where two values share a buffer, or are the same to the compiler.
        """
        return self.op(f"util.list.construct [{', '.join(f'{v} : {VIEW}' for v in views)}] : {VIEWS}")

    def unpacked(self, views: str, count: int) -> list[str]:
        places = [self.op(f"arith.constant {i} : index") for i in range(count)]
        return [self.op(f"util.list.get {views}[{place}] : {VIEWS} -> {VIEW}") for place in places]

    def call(self, function: Function) -> None:
        m = self.m
        types, results = function.types
        weights = [self.op(f"util.global.load immutable @{w} : {t}") for w, t in function.weights]
        given = [self.cast(self.value(n), m.texts[n], t) for n, t in zip(function.inputs, types, strict=False)]
        found = self.names.fresh()
        many = len(results) > 1
        self.out.append(f"{found}{f':{len(results)}' if many else ''} = func.call @{function.name}({', '.join([*given, *weights])}) : "
                        f"({', '.join(types)}) -> ({', '.join(results)})")
        outputs = [f"{found}#{i}" if many else found for i in range(len(results))]
        for name, value, type in zip(function.outputs, outputs, results, strict=False):
            if name not in m.local:
                continue  # what a value is after a write: below
            self.out.append(f"{m.local[name]} = tensor.cast {value} : {type} to {m.texts[name]}")
        for name, i in function.written.items():
            self.now[name] = self.cast(outputs[i], results[i], m.texts[name])

    def value(self, name: str) -> str:
        return self.now.get(name, self.m.local[name])

    # exits

    def exit(self, block: FlowBlock) -> None:
        exit = block.exit
        match exit:
            case Jump():
                self.out.append(f"cf.br {self.edge(exit.edge)}")
            case Branch():
                predicate = self.read(exit.predicate, "bool")
                self.decided(exit.decision, predicate, "bool")
                self.out.append(f"cf.cond_br {predicate}, {self.edge(exit.then)}, {self.edge(exit.orelse)}")
            case Switch():
                self.switch(block, exit)
            case Return() | Raise():
                self.out.append(f"cf.br {self.end('return' if isinstance(exit, Return) else 'raise', block)}")

    def switch(self, block: FlowBlock, exit: Switch) -> None:
        index = self.read(exit.index, "int64")
        self.decided(exit.decision, index, "int64")
        for number, edge in exit.cases:
            hit = self.op(f"arith.cmpi eq, {index}, {self.op(f'arith.constant {number} : i64')} : i64")
            self.chains += 1
            self.out.append(f"cf.cond_br {hit}, {self.edge(edge)}, ^else{self.chains}\n^else{self.chains}:")
        self.out.append(f"cf.br {self.end('index', block) if exit.default is None else self.edge(exit.default)}")

    def edge(self, edge: Edge) -> str:
        """The target with what it is given."""
        m = self.m
        came = m.params(edge.target)
        args = dict(zip((p.name for p in m.blocks[edge.target].params), edge.args, strict=True))
        given = [(self.operand(args.get(v, Ref(v)), v), m.texts[v]) for v, _ in came]
        if len(given) > 1:
            given = [(self.packed([self.exported(*g) for g in given]), VIEWS)]
        return self.target(m.label[edge.target], given + self.told())

    def told(self) -> list[tuple[str, str]]:
        return [(self.turn, "i64")] if self.tell else []

    def target(self, label: str, given: Sequence[tuple[str, str]]) -> str:
        return label + (f"({', '.join(n for n, _ in given)} : {', '.join(t for _, t in given)})" if given else "")

    def end(self, kind: str, block: FlowBlock) -> str:
        m = self.m
        number, taken = m.leaving[kind, block.name]
        brings = {output: value for value, output in taken.items()} | {f"{n}_after": n for n in m.written}
        given = [(brings.get(name), type) for name, type in m._outputs()]
        views = [self.nothing(t) if v is None else self.exported(self.value(v), m.texts[v]) for v, t in given]
        return self.target("^end", [(self.op(f"arith.constant {number} : i64"), "i64"), (self.packed(views), VIEWS)])

    # operands

    def operand(self, operand: Operand, param: str) -> str:
        """An operand as the tensor that a parameter takes."""
        m = self.m
        want, type = m.types[param], m.texts[param]
        if isinstance(operand, Ref) and m.types[operand.name].dtype == want.dtype:
            return self.cast(self.value(operand.name), m.texts[operand.name], type)
        if isinstance(operand, Lit):
            return self.constant(text.number(operand.python, want.dtype), type)  # type: ignore[arg-type]
        return self.op(f"tensor.from_elements {self.read(operand, want.dtype)} : {type}")

    def read(self, operand: Operand, dtype: str) -> str:
        """An operand as a number of that dtype."""
        if not isinstance(operand, Ref):
            return self.op(f"arith.constant {text.number(operand.python, dtype)} : {ELEMENTS[dtype]}")  # type: ignore[arg-type]
        have = self.m.types[operand.name].dtype
        value = self.add(text.element(self.names, self.value(operand.name), have))
        for line in text.converted(self.names, value, have, dtype):
            value = self.add(line)
        return value

    def decided(self, decision: Decision, value: str, dtype: str) -> None:
        """Tells what a decision came to, and how near it was."""
        if not self.tell:
            return
        for line in text.converted(self.names, value, dtype, "int64"):
            value = self.add(line)
        margin = self.op(f"arith.constant {text.number(-1.0, 'float64')} : f64")
        if decision.left is not None and decision.right is not None:
            left, right = self.read(decision.left, "float64"), self.read(decision.right, "float64")
            gap = self.op(f"math.absf {self.op(f'arith.subf {left}, {right} : f64')} : f64")
            same = self.op(f"arith.cmpf oeq, {left}, {right} : f64")
            zero = self.op(f"arith.constant {text.number(0.0, 'float64')} : f64")
            margin = self.op(f"arith.select {same}, {zero}, {gap} : f64")
        self.turn = self.op(f"func.call @{TELL}.decide({value}, {margin}, {self.turn}) : (i64, f64, i64) -> i64")


