"""Which block computes a wrong value: every block's compiled code, run on what the Program's meaning gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from dync.errors import DyncError
from dync.ir.clone import clone
from dync.ir.flow import edges
from dync.ir.interpret import held_slots, initial_state, run_graph
from dync.ir.program import Program
from dync.ir.scalars import SCALAR_OPS
from dync.ir.types import Operand, Ref
from dync.verify.calls import Call, copied
from dync.verify.compare import Tolerances, compare
from dync.verify.inputs import leaf_values
from dync.verify.paths import Path, ways

Kernel = Callable[..., tuple[Any, ...]]


def first_wrong_block(
    program: Program, kernels: Mapping[str, Kernel], call: Call, path: Path, tolerances: Tolerances, began: Mapping[str, Any]
) -> str:
    """The first block on `path` whose compiled code differs from its graph on the same inputs, and in which value.

    Each block is given what the Program's meaning computes, so that an earlier error is not blamed on a later block. Empty when
    all blocks agree: then the fault is between them (an edge, a decision, an output, the state). began: the state before the call.
    """
    state = clone(dict(began))
    initial_state(program, state)
    weights = {**program.weights, **{n: state[n] for n in program.written_weights}}
    args, kwargs = copied(call)
    values = leaf_values(program.signature, Call(args, kwargs, call.params))
    env = {i.value.name: values[i.path] for i in program.signature.inputs} | {
        p.value.name: values[p.name] for p in program.signature.params
    }
    held = held_slots(program, state)
    env |= {s.value.name: held[s.name] for s in program.slots}

    def value(operand: Operand) -> Any:
        return env[operand.name] if isinstance(operand, Ref) else operand.python

    blocks = {b.name: b for b in program.blocks}
    with torch.no_grad():
        for name, said in path:
            block = blocks.get(name)
            if block is None:
                return f"block {name} is not in the Program"
            inputs = [env[n] for n in block.flow.inputs]
            given = clone(inputs)
            results = run_graph(block.graph, inputs, weights)
            if name in kernels and (wrong := _wrong(name, kernels[name], given, results, [r.name for r in block.flow.results], tolerances)):
                return f"{wrong} ({block.flow.span})" if block.flow.span.line else wrong
            env |= zip((r.name for r in block.flow.results), results, strict=True)
            for op in block.flow.host:
                env[op.result.name] = SCALAR_OPS[op.op].function(*map(value, op.args))
            edge = dict(ways(block.flow.exit)).get(said) if said else next(iter(edges(block.flow.exit)), None)
            if edge is not None:
                bound = [value(a) for a in edge.args]
                env |= {p.name: v for p, v in zip(blocks[edge.target].flow.params, bound, strict=True)}
    return ""


def _wrong(name: str, kernel: Kernel, inputs: list[Any], expected: tuple[Any, ...], names: list[str], tolerances: Tolerances) -> str:
    try:
        got = kernel(*inputs)
    except (DyncError, RuntimeError, TypeError, ValueError) as error:
        return f"block {name}: its code fails on these inputs: {type(error).__name__}: {error}"
    for value, a, b in zip(names, expected, got):
        found = compare(a, b, tolerances, f"{name}.{value}")
        if not found.same:
            return f"block {name}, value {value}: {found.differences[0].what}"
    return ""
