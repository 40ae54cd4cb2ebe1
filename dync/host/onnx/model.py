"""The finished model of a whole Program: inputs, outputs, convention; or why it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol, TypeVar

import msgspec

from dync.host.base import Declined
from dync.host.onnx import convention
from dync.host.onnx.convention import EXIT, Convention, ExitRecord, Port, asked
from dync.host.onnx.graph import ENUM, IR_VERSION, NESTING, Scope, TooDeep, Type, Whole
from dync.host.onnx.plan import Plan, moved_out, plan
from dync.host.onnx.walk import TRACE, BlockModel, Walk, type_of
from dync.ir.flow import (
    FORM,
    DictTree,
    Flow,
    FlowBlock,
    Leaf,
    ListTree,
    Raise,
    RecordTree,
    Return,
    RowsTree,
    Switch,
    Tree,
    TupleTree,
    exit_operands,
    leaves,
)
from dync.ir.raising import LATE
from dync.ir.scalars import EFFECTS, TEXTS
from dync.ir.types import UNKNOWN, Lit, ObjectType, Ref, ScalarType, TensorType, Value, lit

PYTHON_ONLY = EFFECTS | dict.fromkeys(("format", "str", "repr"), "makes text of numbers") | dict.fromkeys(TEXTS, "reads a text")
WAY = "<exit>"
"""What stands for the number of the exit among values, whose names are identifiers."""
Translate = Callable[[FlowBlock], "BlockModel | Declined | None"]
"""A block's ONNX form; None where it has neither kernel nor host code."""


@dataclass(frozen=True)
class WholeModel:
    """model: a ModelProto whose weights stand outside. weights: initialiser → weight of the program. convention: what it means."""

    model: Any
    weights: Mapping[str, str]
    convention: Convention


def export(flow: Flow, translate: Translate, trace: bool = False, by_value: bool = False) -> WholeModel | Declined:
    """The whole flow as one ONNX model; or the first thing that ONNX cannot carry, with its place.

    by_value: each value that an exit returns has an output of its own, "<value>.out", instead of one of its type.
    """
    found = translated(flow, translate)
    if isinstance(found, Declined):
        return found
    models, written, made_plan = found
    if written:
        late = next((n for n, m in models.items() if m.stops), None)
        if late is not None:
            return Declined(LATE, flow.block(late).span)
    if made_plan.tangled:
        name = made_plan.tangled[0]
        return Declined(f"a cycle is entered sideways at {name}, which If and Loop cannot say", flow.block(name).span)
    moved: set[str] = set()
    while True:
        try:
            return Export(flow, made_plan, models, written, trace, by_value).run()
        except TooDeep as deep:
            if deep.block in (*moved, deep.outward, ""):
                return Declined(f"branches nest deeper than the {NESTING} levels that a model file may have", flow.blocks[0].span)
            moved.add(deep.block)
            made_plan = moved_out(made_plan, deep.block, deep.outward)


class Writes(Protocol):
    """A block's code in an engine's form."""

    @property
    def written(self) -> Mapping[str, int]:
        """Value that is written in place → index of the output that it then is."""
        ...


Code = TypeVar("Code", bound=Writes)


def translated(
    flow: Flow, translate: Callable[[FlowBlock], Code | Declined | None]
) -> tuple[dict[str, Code], frozenset[str], Plan] | Declined:
    """Block → its code, the values that some block writes in place, and the plan; or the first thing that no engine can carry."""
    if refused := unfit(flow):
        return refused
    found: dict[str, Code] = {}
    for block in flow.blocks:
        made = translate(block)
        if isinstance(made, Declined):
            return made
        if made is not None:
            found[block.name] = made
    written = frozenset(v for code in found.values() for v in code.written)
    return found, written, plan(flow, written & {i.value.name for i in flow.signature.inputs})


def unfit(flow: Flow) -> Declined | None:
    """State, effects and types that an engine cannot carry."""
    if flow.slots:
        first = next((s.name for s in flow.slots if s.name != FORM), FORM)
        return Declined(f"keeps {first} from call to call, and the engine has no state", flow.blocks[0].span)
    signature = flow.signature
    for value in (*(i.value for i in signature.inputs), *(p.value for p in signature.params)):
        if refused := unfit_value(value):
            return refused
    return next((refused for block in flow.blocks if (refused := unfit_block(block))), None)


def unfit_block(block: FlowBlock) -> Declined | None:
    """Effects and types in a block that an engine cannot carry."""
    for op in block.host:
        if op.op in PYTHON_ONLY:
            who = op.op if "." in op.op else "it"
            return Declined(f"{who} {PYTHON_ONLY[op.op]}, which only Python does", op.span)
    for value in (*block.params, *block.results, *(o.result for o in block.host)):
        if refused := unfit_value(value):
            return refused
    for operand in exit_operands(block.exit):
        strange = isinstance(operand, Lit) and not isinstance(operand.python, (bool, int, float))
        if strange and not isinstance(block.exit, (Return, Raise)):
            return Declined(f"passes {operand} on to another block", block.span)
    return None


def unfit_value(value: Value) -> Declined | None:
    """Why a value cannot go in or out of a model."""
    if isinstance(value.type, ObjectType):
        return Declined(f"a value is a Python object ({value.type.kind})", value.span)
    if isinstance(value.type, TensorType) and value.type.dtype not in ENUM:
        return Declined(f"{value.name} has element type {value.type.dtype}, which cannot go in or out of a model", value.span)
    if isinstance(value.type, TensorType) and not value.type.device.startswith("cpu"):
        return Declined(f"{value.name} is on {value.type.device}", value.span)
    return None


def _values(flow: Flow) -> Iterable[Value]:
    yield from (i.value for i in flow.signature.inputs)
    yield from (p.value for p in flow.signature.params)
    for block in flow.blocks:
        yield from (*block.params, *block.results, *(o.result for o in block.host))


class Export:
    def __init__(self, flow: Flow, plan: Plan, models: Mapping[str, BlockModel], variables: frozenset[str], trace: bool,
                 by_value: bool = False) -> None:  # fmt: skip
        self.by_value = by_value
        self.flow, self.plan, self.models, self.variables, self.trace = flow, plan, models, variables, trace
        self.blocks = {b.name: b for b in flow.blocks}
        self.types = {v.name: type_of(v.type) for v in _values(flow)}
        self.scalars = {v.name for v in _values(flow) if isinstance(v.type, ScalarType)}
        self.inputs = [i.value for i in flow.signature.inputs] + [p.value for p in flow.signature.params]
        self.written = [v.name for v in self.inputs if v.name in variables]
        self.exits: list[ExitRecord] = []
        self.leaving: dict[tuple[str, str], tuple[int, dict[str, str]]] = {}
        self.outputs: dict[str, Type] = {}
        for name in plan.order:
            self._add_exit(self.blocks[name])

    # exits

    def _add_exit(self, block: FlowBlock) -> None:
        """Numbers the exit of a block and gives its values their outputs."""
        errors = self.models[block.name].errors if block.name in self.models else ()
        if errors:
            self.leaving["error", block.name] = (len(self.exits), {})
        for error, span in errors:
            trees = tuple(Leaf(lit(a)) for a in error.args)
            self.exits.append(ExitRecord("raise", block.name, trees, f"{type(error).__module__}:{type(error).__qualname__}", span=span))
        exit = block.exit
        match exit:
            case Return():
                self._record("return", block, (exit.tree,), span=exit.span)
            case Raise():
                self._record("raise", block, exit.args, cls=exit.cls, span=exit.span, fields=exit.fields)
            case Switch() if exit.default is None:
                self._record("index", block, (Leaf(exit.index),), span=exit.decision.span)
            case _:
                pass

    def _record(self, kind: Any, block: FlowBlock, trees: tuple[Tree, ...], cls: str = "", span: Any = UNKNOWN,
                fields: tuple[str, ...] = ()) -> None:
        refs = dict.fromkeys(o.name for t in trees for o in leaves(t) if isinstance(o, Ref))
        inputs = {i.value.name for i in self.flow.signature.inputs}
        taken: dict[str, str] = {}
        for ref in refs:
            type = self.types[ref]
            free = (n for i in count() if (n := f"{type.dtype}_{type.rank}d_{i}") not in taken.values())
            name = f"{ref}.out" if self.by_value else next(free)
            self.outputs.setdefault(name, type)
            taken[ref] = name
        named = {r: r if r in inputs else n for r, n in taken.items()}
        self.leaving[kind, block.name] = (len(self.exits), taken)
        self.exits.append(ExitRecord(kind, block.name, tuple(_renamed(t, named) for t in trees), cls, "", span,
                                     tuple(named[r] for r in taken if r in self.scalars), fields))

    def failing(self, scope: Scope, block: FlowBlock, error: str) -> Mapping[str, str]:
        first, _ = self.leaving["error", block.name]
        return {WAY: scope.op("Add", error, scope.whole.const(first, "int64"))}

    def ends(self, scope: Scope, block: FlowBlock) -> Mapping[str, str]:
        return self._leave(scope, "return" if isinstance(block.exit, Return) else "raise", block)

    def missing(self, scope: Scope, block: FlowBlock) -> Mapping[str, str]:
        return self._leave(scope, "index", block)

    def _leave(self, scope: Scope, kind: str, block: FlowBlock) -> Mapping[str, str]:
        number, taken = self.leaving[kind, block.name]
        brings = {output: scope.env[value] for value, output in taken.items()}
        brings |= {f"{name}_after": scope.env[name] for name in self.written}
        return brings | ({WAY: scope.whole.const(number, "int64")} if len(self.exits) > 1 else {})

    # the model

    def run(self) -> WholeModel:
        from onnx import helper

        whole = Whole()
        names = self._input_names()
        scope = Scope(whole, dict(names))
        whole.outside.update(names.values())
        whole.reserved = {EXIT, *names.values(), *self.outputs}
        types = {**self.types, **self.outputs, **{f"{n}_after": self.types[n] for n in self.written}, WAY: Type("int64", 0)}
        numbers = {b.name: i for i, b in enumerate(self.flow.blocks)}
        walk = Walk(self.plan, self.blocks, self.models, types, self.ends, self.missing, self.failing, self.variables, numbers, self.trace)
        brought = dict(walk.program(scope))
        brought.setdefault(WAY, whole.const(0, "int64"))
        ports = [WAY, *self.outputs, *(f"{n}_after" for n in self.written), *(TRACE if self.trace else ())]
        all_types = {**types, **TRACE}
        infos = []
        for port in ports:
            type = all_types[port]
            output = EXIT if port == WAY else port
            scope.nodes.append(helper.make_node("Identity", [brought.get(port) or whole.nothing(type)], [output], name=f"output/{port}"))
            infos.append(helper.make_tensor_value_info(output, ENUM[type.dtype], [None] * type.rank))
        graph = helper.make_graph(scope.nodes, self.flow.name, self._input_infos(names), infos, self._defaults(names) + whole.initializers)
        imports = [helper.make_opsetid(d, v) for d, v in whole.domains.items()]
        model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=imports, producer_name="dync")
        said = self._convention(names, [Port(EXIT if p == WAY else p, *all_types[p]) for p in ports])
        entry = model.metadata_props.add()
        entry.key, entry.value = convention.KEY, convention.encode(said)
        return WholeModel(model, {initializer: weight for weight, initializer in whole.weights.items()}, said)

    def _input_names(self) -> dict[str, str]:
        """Value → name of the model's input: a run-time parameter is called as users call it."""
        params = {p.value.name: p.name for p in self.flow.signature.params}
        names = {v.name: params.get(v.name, v.name) for v in self.inputs}
        return {value: f"{name}.in" if name == EXIT or name in self.outputs else name for value, name in names.items()}

    def _input_infos(self, names: Mapping[str, str]) -> list[Any]:
        from onnx import helper

        infos = []
        for value in self.inputs:
            shape = value.type.shape if isinstance(value.type, TensorType) else ()
            dims = [d if isinstance(d, int) or d.isidentifier() else None for d in shape]
            infos.append(helper.make_tensor_value_info(names[value.name], ENUM[self.types[value.name].dtype], dims))
        return infos

    def _defaults(self, names: Mapping[str, str]) -> list[Any]:
        """An initialiser with the name of an input is its default."""
        import numpy as np
        from onnx import numpy_helper

        return [
            numpy_helper.from_array(np.array(p.default, np.dtype(self.types[p.value.name].dtype)), names[p.value.name])
            for p in self.flow.signature.params
        ]

    def _convention(self, names: Mapping[str, str], outputs: list[Port]) -> Convention:
        inputs = tuple(Port(names[v.name], *self.types[v.name], v.name) for v in self.inputs)
        decisions = tuple(asked(self.flow).values())
        written = tuple((f"{n}_after", n) for n in self.written)
        blocks = tuple(b.name for b in self.flow.blocks)
        return Convention(self.flow.name, self.flow.signature, inputs, tuple(outputs), tuple(self.exits), blocks, decisions, written)


def _renamed(tree: Tree, names: Mapping[str, str]) -> Tree:
    """The tree with other names at its references."""
    match tree:
        case Leaf(Ref(name)):
            return Leaf(Ref(names[name]))
        case ListTree():
            return ListTree(tuple(_renamed(t, names) for t in tree.items))
        case TupleTree():
            return TupleTree(tuple(_renamed(t, names) for t in tree.items))
        case DictTree():
            return DictTree(tree.keys, tuple(_renamed(t, names) for t in tree.items), tree.kind)
        case RowsTree():
            return msgspec.structs.replace(tree, items=tuple(_renamed(t, names) for t in tree.items))
        case RecordTree():
            return RecordTree(tree.kind, tree.cls, tree.fields, tuple(_renamed(t, names) for t in tree.items))
        case _:
            return tree
