"""Regions of random graphs: the collapsed flow, with each region walked as one kernel, does what the flow means."""

from __future__ import annotations

import random
from typing import Any

import pytest
from host.random_flows import Kernels, OutOfFuel, random_flow, walk
from host.test_python_fuzz import Raised

from dync.host.base import HostModule, has_kernel
from dync.host.python import generate
from dync.host.regions import Collapsed, Part, choose, collapse
from dync.ir.flow import Flow, Leaf, Return, Switch, TupleTree
from dync.ir.types import Ref


def region(part: Part, kernels: Kernels, traced: bool) -> Any:
    """What an engine would make of a region, by the naive walker."""
    for block in part.flow.blocks:
        kernels.calls.setdefault(block.name, lambda: ())
    ends = [b.name for b in part.flow.blocks if isinstance(b.exit, Return)]
    order = [n for n in _order(part.flow) if n in ends]

    def call(*given: Any) -> list[Any]:
        note, inputs = (given[0], given[1:]) if traced else (None, given)
        got, path, decisions = walk(part.flow, kernels, list(inputs), {})
        if note is not None:
            note([n for n in path if n in part.blocks], decisions)
        tree = part.flow.block(path[-1]).exit.tree
        assert isinstance(tree, TupleTree)
        names = [i.operand.name for i in tree.items if isinstance(i, Leaf) and isinstance(i.operand, Ref)]
        plain = [v[1] if isinstance(v, tuple) and v[0] == "given" else v for v in got]
        found = dict(zip(names, plain, strict=True)) | {f"{part.flow.name}__way": order.index(path[-1])}
        return [found.get(v.name) for v in part.results]

    return call


def _order(flow: Flow) -> tuple[str, ...]:
    from dync.host.shape import shape

    return shape(flow).order


def execute(module: HostModule, made: Collapsed, kernels: Kernels, args: list[Any], state: dict[str, Any], traced: bool) -> Any:
    import math

    path: list[str] = []
    decisions: list[Any] = []

    def raiser(cls: str):
        return lambda *values: Raised(("raised", cls, list(values)))

    def note(blocks: list[str], asked: list[Any]) -> None:
        path.extend(blocks)
        decisions.extend(asked)

    calls = {b: region(made.parts[b], kernels, traced) if b in made.parts else kernels.calls[b] for b in module.kernels}
    space: dict[str, Any] = {"math": math, **{name: calls[block] for block, name in module.kernels.items()}}
    space |= {name: raiser(e.cls) for name, e in module.raises.items()}
    exec(compile(module.source, "<host>", "exec"), space)
    extra = {
        "state": state, "give": lambda v: ("given", v), "enter": path.append, "note": note,
        "decide": lambda i, v, a, b: decisions.append((module.decisions[i][0], v, a, b)),
    }  # fmt: skip
    try:
        result: Any = space["run"](*args, *(extra[a] for a in module.arguments if a in extra))
    except Raised as error:
        result = error.args[0]
    except IndexError:
        result = ("IndexError",)
    return result, path, decisions


def compare(flow: Flow, seed: int) -> int:
    """Compares three runs; the number of regions."""
    rng = random.Random(seed)
    fit = [b.name for b in flow.blocks if rng.random() < 0.8 and not (isinstance(b.exit, Switch) and b.exit.default is None)]
    made = collapse(flow, choose(flow, fit))
    called = {b.name for b in made.flow.blocks if has_kernel(b)} | made.parts.keys()
    args = [3, 4][: len(flow.signature.inputs)]
    for run in range(3):
        outcomes: list[Any] = []
        for traced in (None, False, True):
            kernels, state = Kernels(flow, seed * 31 + run), {"s": 7}
            try:
                if traced is None:
                    found = walk(flow, kernels, args, state)
                else:
                    module = generate(made.flow, traced, called, made.quiet)
                    found = execute(module, made, kernels, args, state, traced)
            except OutOfFuel:
                found = (None, None, None)
            outcomes.append((found[0], kernels.log, state, *(found[1:] if traced is not False else ())))
        wanted, plainly, told = outcomes
        assert plainly[:3] == wanted[:3], generate(made.flow, False, None, made.quiet).source
        assert told == wanted, generate(made.flow, True, None, made.quiet).source
    return len(made.parts)


@pytest.mark.parametrize("wild", [0.0, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("size", [3, 6, 12, 30])
def test_regions_do_what_the_flow_means(size: int, wild: float) -> None:
    found = [compare(random_flow(seed * 100 + size, size, wild, bare=0.3), seed) for seed in range(12 if size < 30 else 4)]
    assert sum(found)


def test_regions_that_are_none() -> None:
    flow = random_flow(1, 6)
    for regions in ([["b0"], ["b0"]], [["nowhere"]], [[]]):
        with pytest.raises(ValueError, match="regions do not fit"):
            collapse(flow, regions)
