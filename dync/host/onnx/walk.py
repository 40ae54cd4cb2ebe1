"""The flow of a Program as nested ONNX graphs.

    block   →  its nodes, in the graph where it stands
    branch  →  If; its outputs are what the ways out of both sides bring: for each block that is gone on to, its parameters and the
               values alive there that this graph cannot see; with several such blocks also which one, as a number
    join    →  behind its branch; where not every way leads there, inside another If on that number
    loop    →  Loop, whose state is the header's parameters, and what the way out brings; while the number says "header", it goes on
    return  →  travels outwards like a block that is gone on to: its outputs are those of the model

What a way does not bring is filled with empty values, which nobody reads. A value that the outer graph sees already is not passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dync.host.onnx.convention import MARGINS, PATH, VALUES
from dync.host.onnx.graph import NESTING, Scope, TooDeep, Type
from dync.host.onnx.plan import Plan
from dync.ir.flow import Branch, Decision, Edge, FlowBlock, Jump, Raise, Return, Switch
from dync.ir.raising import MARK
from dync.ir.types import Operand, Ref, ScalarType, Span, TensorType, ValueType

END = ""
"""The way that leads out of the program."""
DEEP = NESTING - 6
"""From here on no decision is written: its block is moved outwards."""
TRACE = {PATH: Type("int64", 1), VALUES: Type("int64", 1), MARGINS: Type("float64", 1)}
NUMBERS = {"int": "int64", "float": "float64", "bool": "bool"}


@dataclass(frozen=True)
class BlockModel:
    """A block as an ONNX model of one graph, host operations included.

    inputs: the values that it reads, in the order of the model's inputs. outputs: the values that its outputs define, in order.
    weights: initialiser without bytes → weight of the program. written: value that is written in place → index of the output that it
    then is. errors: what numbers raise in it; the last output is the number of one, or -1.
    """

    model: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, str]
    written: Mapping[str, int]
    errors: Sequence[tuple[Exception, Span]] = ()

    @property
    def stops(self) -> bool:
        """Whether it stops the run where a number raises."""
        return any(MARK in node.name for node in self.model.graph.node)


@dataclass(frozen=True)
class Ways:
    """Where control goes on to from some piece of code: block names, or END, each with the values that it brings.

    selector: the number of the way taken, where there are several. condition: instead of it, where there are two that one bool tells
    apart: (the bool, the way if it is true, the other way).
    """

    brings: Mapping[str, Mapping[str, str]]
    selector: str | None = None
    condition: tuple[str, str, str] | None = None


def type_of(type: ValueType) -> Type:
    """Element type and rank of a value that ONNX carries."""
    if isinstance(type, TensorType):
        return Type(type.dtype, len(type.shape))
    assert isinstance(type, ScalarType), "declined before"
    return Type(NUMBERS[type.kind], 0)


@dataclass
class Walk:
    """One pass over the plan. Its entry, `program`, raises TooDeep where graphs nest too deep.

    models: the blocks that compute. types: of all values and outputs. ends, missing, failing: what the exit of a block, a switch without
    the case asked for, or an error of that number brings out of the program. variables: values that blocks write in place. numbers: of
    blocks.
    """

    plan: Plan
    blocks: Mapping[str, FlowBlock]
    models: Mapping[str, BlockModel]
    types: Mapping[str, Type]
    ends: Callable[[Scope, FlowBlock], Mapping[str, str]]
    missing: Callable[[Scope, FlowBlock], Mapping[str, str]]
    failing: Callable[[Scope, FlowBlock, str], Mapping[str, str]]
    variables: frozenset[str]
    numbers: Mapping[str, int]
    trace: bool = False
    around: dict[str, Scope] = field(default_factory=dict)
    """Of each loop that is being written: the scope in which it stands."""

    def program(self, scope: Scope) -> Mapping[str, str]:
        """Writes everything; what the program's end brings."""
        if self.trace:
            for name, type in TRACE.items():
                scope.env[name] = scope.whole.nothing(type)
        entry = self.plan.order[0]
        return self.sequence(scope, entry, dict(scope.env), ()).brings[END]

    # where code stands

    def sequence(self, scope: Scope, name: str, given: Mapping[str, str], open: tuple[str, ...]) -> Ways:
        """Block `name`, reached with the values `given`, and what stands behind it in this graph; the ways out of that."""
        behind: list[str] = []
        current: str | None = name
        ways = Ways({})
        while True:
            if current is not None:
                if current in self.plan.headers and current not in open:
                    behind[:0] = self.plan.outer.get(current, ())
                    ways = self.loop(scope, current, given, open)
                else:
                    scope.env.update(given)
                    behind[:0] = self.plan.inner.get(current, ())
                    ways = self.block(scope, self.blocks[current], open)
                if len(ways.brings) == 1 and self.goes_inline(only := next(iter(ways.brings)), open):
                    current, given = only, ways.brings[only]
                    continue
                current = None
            if not behind:
                return ways
            target = behind.pop(0)
            if target not in ways.brings:
                continue
            if len(ways.brings) == 1:
                current, given = target, ways.brings[target]
                continue
            ways = self.dispatch(scope, target, ways, open)

    def goes_inline(self, name: str, open: tuple[str, ...]) -> bool:
        return name in self.plan.inline and name not in open

    def dispatch(self, scope: Scope, target: str, ways: Ways, open: tuple[str, ...]) -> Ways:
        """`target` inside an If that asks whether it is gone on to; the other ways pass by."""
        rest = {n: v for n, v in ways.brings.items() if n != target}
        chosen = self.goes_to(scope, target, ways)
        return self.fork(
            scope, chosen, lambda inner: self.sequence(inner, target, ways.brings[target], open),
            lambda inner: Ways(rest, ways.selector if len(rest) > 1 else None), open,
        )  # fmt: skip

    # blocks and exits

    def block(self, scope: Scope, block: FlowBlock, open: tuple[str, ...]) -> Ways:
        error = None
        if block.name in self.models:
            made = self.models[block.name]
            outputs = scope.inline(made.model, [self.value(scope, n) for n in made.inputs], made.weights, block.name)
            scope.env.update(zip(made.outputs, outputs, strict=False))
            scope.env.update({value: outputs[i] for value, i in made.written.items()})
            error = outputs[-1] if made.errors else None
        if self.trace:
            self.append(scope, PATH, scope.whole.const([self.numbers[block.name]], "int64"))
        if error is not None:
            return self.checked(scope, block, error, open)
        return self.leave(scope, block, open)

    def checked(self, scope: Scope, block: FlowBlock, error: str, open: tuple[str, ...]) -> Ways:
        """The way on from a block in which a number may raise, unless it did."""
        if scope.depth >= DEEP:
            raise TooDeep(block.name, open[-1] if open else self.plan.order[0])

        def onward(inner: Scope) -> Ways:
            ways = self.leave(inner, block, open)
            if len(ways.brings) == 1 and self.goes_inline(only := next(iter(ways.brings)), open):
                return self.sequence(inner, only, ways.brings[only], open)
            return ways

        fine = scope.op("Less", error, scope.whole.const(0, "int64"))
        return self.fork(scope, fine, onward, lambda inner: self.end(inner, self.failing(inner, block, error)), open)

    def leave(self, scope: Scope, block: FlowBlock, open: tuple[str, ...]) -> Ways:
        exit = block.exit
        match exit:
            case Jump():
                return self.follow(scope, exit.edge)
            case Branch() | Switch() if scope.depth >= DEEP:
                raise TooDeep(block.name, open[-1] if open else self.plan.order[0])
            case Branch():
                predicate = self.operand(scope, exit.predicate, Type("bool", 0))
                self.decide(scope, exit.decision, scope.op("Cast", predicate, to=7) if self.trace else "")
                sides = (exit.then, exit.orelse)
                then, orelse = (lambda inner, edge=edge: self.side(inner, edge, open) for edge in sides)
                return self.fork(scope, predicate, then, orelse, open)
            case Switch():
                index = self.operand(scope, exit.index, Type("int64", 0))
                self.decide(scope, exit.decision, index)
                return self.cases(scope, index, sorted(exit.cases, key=lambda c: c[0]), block, open)
            case Return() | Raise():
                return self.end(scope, self.ends(scope, block))

    def end(self, scope: Scope, brings: Mapping[str, str]) -> Ways:
        return Ways({END: {**brings, **({n: scope.env[n] for n in TRACE} if self.trace else {})}})

    def side(self, scope: Scope, edge: Edge, open: tuple[str, ...]) -> Ways:
        """One side of a decision: the edge, and its target when that stands here."""
        ways = self.follow(scope, edge)
        if self.goes_inline(edge.target, open):
            return self.sequence(scope, edge.target, ways.brings[edge.target], open)
        return ways

    def cases(self, scope: Scope, index: str, cases: Sequence[tuple[int, Edge]], block: FlowBlock, open: tuple[str, ...]) -> Ways:
        """The cases of a switch by bisection; a number that is none of them takes the default."""
        assert isinstance(block.exit, Switch)
        default = block.exit.default
        if not cases:
            return self.end(scope, self.missing(scope, block)) if default is None else self.side(scope, default, open)
        if len(cases) == 1:
            number, edge = cases[0]
            hit = scope.op("Equal", index, scope.whole.const(number, "int64"))
            return self.fork(scope, hit, lambda s: self.side(s, edge, open), lambda s: self.cases(s, index, (), block, open), open)
        if default is not None:  # written once: its edge may stand inline
            number, edge = cases[0]
            hit = scope.op("Equal", index, scope.whole.const(number, "int64"))
            return self.fork(scope, hit, lambda s: self.side(s, edge, open), lambda s: self.cases(s, index, cases[1:], block, open), open)
        middle = len(cases) // 2
        below = scope.op("Less", index, scope.whole.const(cases[middle][0], "int64"))
        return self.fork(
            scope, below, lambda s: self.cases(s, index, cases[:middle], block, open),
            lambda s: self.cases(s, index, cases[middle:], block, open), open,
        )  # fmt: skip

    def follow(self, scope: Scope, edge: Edge) -> Ways:
        """The way along an edge: the target's parameters, and what is alive there."""
        params = self.blocks[edge.target].params
        brings = {p.name: self.operand(scope, a, self.types[p.name]) for p, a in zip(params, edge.args, strict=True)}
        alive = {n: scope.env[n] for n in sorted(self.plan.live[edge.target]) if n in scope.env}
        return Ways({edge.target: {**alive, **brings, **({n: scope.env[n] for n in TRACE} if self.trace else {})}})

    # If and Loop

    def fork(
        self, scope: Scope, condition: str, then: Callable[[Scope], Ways], orelse: Callable[[Scope], Ways], open: tuple[str, ...]
    ) -> Ways:  # fmt: skip
        """An If whose sides are written by `then` and `orelse`."""
        scopes = [scope.inner(), scope.inner()]
        sides = [then(scopes[0]), orelse(scopes[1])]
        labels = sorted({n for s in sides for n in s.brings}, key=self.number)
        brings: dict[str, dict[str, str]] = {n: {} for n in labels}
        passed: list[tuple[str, str]] = []
        for label in labels:
            having = [s.brings[label] for s in sides if label in s.brings]
            for key in dict.fromkeys(k for b in having for k in b):
                names = {b[key] for b in having if key in b}
                if len(names) == 1 and scope.sees(name := next(iter(names))):
                    brings[label][key] = name
                elif all(key in b for b in having) or label == END:
                    passed.append((label, key))
        columns = [[s.brings.get(label, {}).get(key) for s in sides] for label, key in passed]
        apart = all(len(s.brings) == 1 for s in sides) and len(labels) == 2
        kept = self.kept(labels, brings, passed, columns, open) if apart else []
        slots, places = _packed([(tuple(c), self.type(key)) for c, (_, key) in zip(columns, passed, strict=True)])
        outputs = [[(names[i] or scope.whole.nothing(type), type) for names, type in slots] for i in range(2)]
        selects = len(labels) > 1 and not apart
        if selects:
            for i, side in enumerate(sides):
                outputs[i].append((self.selector(scopes[i], side), Type("int64", 0)))
        if not outputs[0]:
            outputs = [[(scope.whole.const(0, "int64"), Type("int64", 0))]] * 2
        branches = {n: s.graph(o, scope.whole.fresh(n)) for n, s, o in zip(("then_branch", "else_branch"), scopes, outputs, strict=True)}
        made = scope.ops("If", [condition], len(outputs[0]), **branches)
        for (label, key), place in zip(passed, places, strict=True):
            brings[label][key] = made[place]
        for label, key, i in kept:
            brings[label][key] = made[places[i]]
        first, second = (next(iter(s.brings)) for s in sides) if apart else ("", "")
        told = (condition, first, second) if apart else None
        return Ways(brings, made[-1] if selects else None, told)

    def kept(
        self, labels: list[str], brings: Mapping[str, Mapping[str, str]], passed: list[tuple[str, str]], columns: list[list[str | None]],
        open: tuple[str, ...],
    ) -> list[tuple[str, str, int]]:  # fmt: skip
        """Where one way leads to the next turn of a loop and one out of it: values that go out in the place of values that go on, which
        changes `columns`. They are copied once, in the last turn, and not in every one. (way, value, number of the column)."""
        found: list[tuple[str, str, int]] = []
        if not open or open[-1] not in labels:
            return found
        onward, out = open[-1], next(n for n in labels if n != open[-1])
        free = [(k, n) for k, n in brings[out].items() if not self.around[onward].sees(n)]
        for i, (label, key) in enumerate(passed):
            fit = next(((k, n) for k, n in free if label == onward and self.type(k) == self.type(key)), None)
            if fit is not None:
                free.remove(fit)
                columns[i][columns[i].index(None)] = fit[1]
                found.append((out, fit[0], i))
        return found

    def loop(self, scope: Scope, header: str, given: Mapping[str, str], open: tuple[str, ...]) -> Ways:
        """A Loop: `given` are the values on entry."""
        whole = scope.whole
        params = [p.name for p in self.blocks[header].params]
        params += sorted(v for v in self.variables if v in self.plan.live[header] and v in given) + (list(TRACE) if self.trace else [])
        for name, value in given.items():
            if name not in params:
                scope.env[name] = value
        body = scope.inner()
        self.around[header] = scope
        body.input(whole.fresh("turn"), Type("int64", 0))
        body.input(whole.fresh("go"), Type("bool", 0))
        state = [body.input(whole.fresh("s"), self.type(n)) for n in params]
        ways = self.sequence(body, header, dict(zip(params, state, strict=True)), (*open, header))
        assert header in ways.brings and len(ways.brings) > 1, "a loop goes on and ends"
        out = {n: v for n, v in ways.brings.items() if n != header}
        brings: dict[str, dict[str, str]] = {n: {} for n in out}
        passed: list[tuple[str, str, str]] = []
        for label, values in out.items():
            for key, name in values.items():
                if scope.sees(name):
                    brings[label][key] = name
                else:
                    passed.append((label, key, name))
        after = [(ways.brings[header][n], self.type(n)) for n in params]
        ending = list(dict.fromkeys((name, self.type(key)) for _, key, name in passed if (name, self.type(key)) not in after))
        if len(out) > 1:
            ending.append((self.selector(body, ways), Type("int64", 0)))
        for _, type in ending:
            body.input(whole.fresh("e"), type)
        going = self.goes_to(body, header, ways)
        graph = body.graph([(going, Type("bool", 0)), *after, *ending], whole.fresh("loop"))
        first = [given[n] for n in params] + [whole.nothing(type) for _, type in ending]
        made = scope.ops("Loop", ["", whole.const(True, "bool"), *first], len(first), body=graph)
        for label, key, name in passed:
            brings[label][key] = made[[*after, *ending].index((name, self.type(key)))]
        return Ways(brings, made[-1] if len(out) > 1 else None)

    def selector(self, scope: Scope, ways: Ways) -> str:
        """The number of the way taken."""
        if ways.condition is not None:
            asked, *labels = ways.condition
            return scope.op("Where", asked, *(scope.whole.const(self.number(n), "int64") for n in labels))
        return ways.selector or scope.whole.const(self.number(next(iter(ways.brings))), "int64")

    def goes_to(self, scope: Scope, target: str, ways: Ways) -> str:
        """Whether it is `target` that is gone on to, one of several."""
        if ways.condition is not None:
            asked, then, _ = ways.condition
            return asked if then == target else scope.op("Not", asked)
        return scope.op("Equal", str(ways.selector), scope.whole.const(self.numbers[target], "int64"))

    def number(self, label: str) -> int:
        return -1 if label == END else self.numbers[label]

    # values

    def type(self, key: str) -> Type:
        return TRACE[key] if key in TRACE and self.trace else self.types[key]

    def value(self, scope: Scope, name: str) -> str:
        return scope.env[name]

    def operand(self, scope: Scope, operand: Operand, type: Type) -> str:
        """An operand as a value of `type`."""
        if not isinstance(operand, Ref):
            return scope.whole.const(operand.python, type.dtype)
        have = self.types[operand.name]
        name = scope.env[operand.name]
        return name if have.dtype == type.dtype else scope.op("Cast", name, to=_enum(type.dtype))

    # traces

    def append(self, scope: Scope, name: str, item: str) -> None:
        scope.env[name] = scope.op("Concat", scope.env[name], item, axis=0)

    def decide(self, scope: Scope, decision: Decision, value: str) -> None:
        """Notes what a decision came to, and how near it was."""
        if not self.trace:
            return
        one = scope.whole.const([1], "int64")
        self.append(scope, VALUES, scope.op("Reshape", value, one))
        margin = scope.whole.const([-1.0], "float64")
        if decision.left is not None and decision.right is not None:
            left, right = (self.operand(scope, o, Type("float64", 0)) for o in (decision.left, decision.right))
            gap = scope.op("Abs", scope.op("Sub", left, right))
            zero = scope.whole.const(0.0, "float64")
            margin = scope.op("Reshape", scope.op("Where", scope.op("Equal", left, right), zero, gap), one)
        self.append(scope, MARGINS, margin)


def _enum(dtype: str) -> int:
    from dync.host.onnx.graph import ENUM

    return ENUM[dtype]


def _packed(columns: Iterable[tuple[tuple[str | None, ...], Type]]) -> tuple[list[tuple[list[str | None], Type]], list[int]]:
    """Slots for columns of what each side brings (None: nothing), and the slot of each. Columns of one type that never differ share one."""
    slots: list[tuple[list[str | None], Type]] = []
    places: list[int] = []
    for column, type in columns:
        place = next((i for i, (names, kind) in enumerate(slots) if kind == type and _agree(names, column)), len(slots))
        if place == len(slots):
            slots.append(([None] * len(column), type))
        names = slots[place][0]
        names[:] = [a if b is None else b for a, b in zip(names, column, strict=True)]
        places.append(place)
    return slots, places


def _agree(names: Sequence[str | None], column: Sequence[str | None]) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(names, column, strict=True))
