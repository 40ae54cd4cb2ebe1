"""What a Program means: this runs it, block after block, on torch tensors. Everything compiled is compared with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from dync.errors import DyncError, GuardError
from dync.ir.aliases import written_weights as written_weights
from dync.ir.binding import bind
from dync.ir.classes import exception
from dync.ir.flow import Branch, Edge, Jump, Raise, Return, Switch
from dync.ir.given import containers, give_back
from dync.ir.interned import forgotten
from dync.ir.opaque import ABSENT
from dync.ir.program import Block, Program
from dync.ir.scalars import SCALAR_OPS
from dync.ir.state import attribute_names, inside, outside
from dync.ir.trace import DecisionRecord, Trace, margin
from dync.ir.trees import build
from dync.ir.types import Operand, Ref

Watch = Callable[[str, Sequence[Any]], None]
"""Called with a block's name and its inputs before it runs."""


class StepLimitError(DyncError):
    """A run went through more blocks than it was allowed to: a rolled loop that does not end."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `error` is the model's own exception, or None and `result` counts."""

    result: Any
    error: BaseException | None
    trace: Trace


def interpret(
    program: Program,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    state: MutableMapping[str, Any] | None = None,
    limit: int = 100_000,
) -> tuple[Any, Trace]:
    """Runs the program and returns (result, trace); an exception that the model raises is raised.

    args, kwargs: of the call; input tensors are written in place where the model does so. params: values of run-time
    parameters by name. state: attributes and written weights by name; what is missing starts from the program's initial
    values, and the run updates it. Without it the run starts afresh and leaves the program's weights as they are.
    Raises GuardError when the call has another structure, StepLimitError after `limit` blocks.
    """
    outcome = run(program, args, kwargs, params, state=state, limit=limit)
    if outcome.error is not None:
        raise outcome.error
    return outcome.result, outcome.trace


def run(
    program: Program,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    state: MutableMapping[str, Any] | None = None,
    limit: int = 100_000,
    watch: Watch | None = None,
) -> Outcome:
    """As `interpret`, but an exception of the model comes back in the Outcome, with its trace. watch: told of each block that runs."""
    state = {} if state is None else state
    initial_state(program, state)
    weights = {**program.weights, **{n: state[n] for n in program.written_weights}}
    held = containers(program.signature, args, kwargs or {}, params or {})
    slots = held_slots(program, state)
    walk = _Walk(program, weights, _entry(program, args, kwargs or {}, params or {}, slots), watch)
    with torch.no_grad(), forgotten():
        outcome = walk.run(slots, limit)
    now = outside(program.forms, slots)
    state.update({name: now.get(name, ABSENT) for name in attribute_names(program.slots, program.forms)})
    if outcome.error is None:
        return replace(outcome, result=give_back(program.signature, held, outcome.result))
    return outcome


def held_slots(program: Program, state: Mapping[str, Any]) -> dict[str, Any]:
    """What the slots hold, by name, when attributes and weights hold `state`. Raises GuardError where no form fits."""
    kept = attribute_names(program.slots, program.forms)
    return inside(program.slots, program.forms, {n: state[n] for n in kept if n in state})


def initial_state(program: Program, state: MutableMapping[str, Any]) -> None:
    """Fills in what `state` lacks: each slot's first value, and a copy of each weight that the program writes."""
    for name in program.written_weights:
        if name not in state:
            state[name] = program.weights[name].detach().clone()
    first = {s.name: build(s.initial, lambda n: state.get(n, program.weights[n])) for s in program.slots}
    held = outside(program.forms, first)
    for name in attribute_names(program.slots, program.forms):
        state.setdefault(name, held.get(name, ABSENT))


def run_graph(graph: Graph, inputs: Iterable[Any], weights: Mapping[str, torch.Tensor]) -> tuple[Any, ...]:
    """Runs one graph; in-place operations write."""
    env: dict[Node, Any] = {}
    arguments = iter(inputs)
    for node in graph.nodes:
        match node.op:
            case "placeholder":
                env[node] = next(arguments)
            case "get_attr":
                env[node] = weights[str(node.target)]
            case "call_function":
                env[node] = node.target(*map_arg(node.args, env.__getitem__), **map_arg(node.kwargs, env.__getitem__))
            case "output":
                return tuple(map_arg(node.args[0], env.__getitem__))
    raise AssertionError("graph without output")


def _entry(
    program: Program, args: Sequence[Any], kwargs: Mapping[str, Any], params: Mapping[str, Any], slots: Mapping[str, Any]
) -> dict[str, Any]:
    """Values before the first block: inputs, run parameters (given by argument, by `params`, or default), slots."""
    signature = program.signature
    unknown = sorted(set(params) - {p.name for p in signature.params})
    if unknown:
        raise GuardError(f"no run-time parameter {unknown[0]!r}; there are: {', '.join(p.name for p in signature.params) or 'none'}")
    settings = {p.name: params.get(p.name, p.default) for p in signature.params}
    found = bind(signature, args, kwargs, {p.name: settings[p.name] for p in signature.params if p.place == "argument"})
    env = {i.value.name: found[i.path] for i in signature.inputs}
    env |= {p.value.name: found.get(p.name, settings[p.name]) for p in signature.params}
    return env | {s.value.name: slots[s.name] for s in program.slots}


class _Raised(Exception):
    """An operator of a block raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass
class _Walk:
    program: Program
    weights: Mapping[str, torch.Tensor]
    env: dict[str, Any]
    watch: Watch | None = None
    path: list[str] = field(default_factory=list)
    decisions: list[DecisionRecord] = field(default_factory=list)

    def run(self, slots: MutableMapping[str, Any], limit: int) -> Outcome:
        blocks = {b.name: b for b in self.program.blocks}
        block: Block | None = self.program.blocks[0]
        while block is not None:
            if len(self.path) == limit:
                raise StepLimitError(f"{self.program.name}: stopped after {limit} blocks, last {self.path[-1]}")
            try:
                self._run_block(block)
            except _Raised as error:
                return Outcome(None, error.cause, Trace(tuple(self.path), tuple(self.decisions)))
            edge = self._edge(block)
            block = self._follow(blocks, edge) if edge else None
        exit = blocks[self.path[-1]].flow.exit
        assert isinstance(exit, (Return, Raise))
        result = build(exit.tree, self.env.__getitem__) if isinstance(exit, Return) else None
        args = [build(t, self.env.__getitem__) for t in exit.args] if isinstance(exit, Raise) else ()
        error = exception(exit.cls, args, exit.fields) if isinstance(exit, Raise) else None
        slots.update({w.slot: build(w.tree, self.env.__getitem__) for w in exit.writes})
        return Outcome(result, error, Trace(tuple(self.path), tuple(self.decisions)))

    def _run_block(self, block: Block) -> None:
        self.path.append(block.name)
        inputs = [self.env[n] for n in block.flow.inputs]
        if self.watch is not None:
            self.watch(block.name, inputs)
        try:
            results = run_graph(block.graph, inputs, self.weights)
        except Exception as error:  # an operator's own: the model raises it
            raise _Raised(error) from error
        self.env.update(zip((r.name for r in block.flow.results), results, strict=True))
        for op in block.flow.host:
            self.env[op.result.name] = SCALAR_OPS[op.op].function(*map(self._value, op.args))

    def _value(self, operand: Operand) -> Any:
        return self.env[operand.name] if isinstance(operand, Ref) else operand.python

    def _edge(self, block: Block) -> Edge | None:
        exit = block.flow.exit
        match exit:
            case Jump():
                return exit.edge
            case Branch():
                taken = self._decide(block, exit, bool(self._value(exit.predicate)))
                return exit.then if taken else exit.orelse
            case Switch():
                index = self._decide(block, exit, int(self._value(exit.index)))
                edge = dict(exit.cases).get(index, exit.default)
                if edge is None:
                    raise IndexError(f"{exit.decision.span}: {exit.decision.text}: index {index} out of range")
                return edge
            case _:
                return None

    def _decide(self, block: Block, exit: Branch | Switch, value: Any) -> Any:
        asked = exit.decision
        gap = None if asked.left is None or asked.right is None else margin(self._value(asked.left), self._value(asked.right))
        self.decisions.append(DecisionRecord(block.name, asked.text, asked.span, value, gap))
        return value

    def _follow(self, blocks: Mapping[str, Block], edge: Edge) -> Block:
        target = blocks[edge.target]
        bound = [self._value(a) for a in edge.args]
        self.env.update(zip((p.name for p in target.flow.params), bound, strict=True))
        return target
