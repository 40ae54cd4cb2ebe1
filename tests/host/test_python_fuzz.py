"""The Python host against the naive walker, on random graphs."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from host.random_flows import Endless, Kernels, OutOfFuel, random_flow, walk

from dync.host.base import HostModule
from dync.host.python import generate
from dync.ir.flow import Flow


class Raised(Exception):
    pass


def execute(module: HostModule, flow: Flow, kernels: Kernels, args: list[Any], state: dict[str, Any]) -> tuple[Any, list[str], list[Any]]:
    path: list[str] = []
    decisions: list[Any] = []

    def raiser(cls: str):
        def make(*values: Any) -> Exception:
            return Raised(("raised", cls, list(values)))

        return make

    space: dict[str, Any] = {"math": math, "inf": math.inf, "nan": math.nan}
    space |= {name: kernels.calls[block] for block, name in module.kernels.items()} | {n: raiser(e.cls) for n, e in module.raises.items()}
    exec(compile(module.source, "<host>", "exec"), space)
    extra = {
        "state": state,
        "give": lambda v: ("given", v),
        "enter": path.append,
        "decide": lambda i, v, a, b: decisions.append((module.decisions[i][0], v, a, b)),
    }
    try:
        result: Any = space["run"](*args, *(extra[a] for a in module.arguments if a in extra))
    except Raised as error:
        result = error.args[0]
    except IndexError:
        result = ("IndexError",)
    return result, path, decisions


def compare(flow: Flow, seed: int, runs: int = 3) -> None:
    plain, tracing = generate(flow), generate(flow, trace=True)
    args = [3, 4][: len(flow.signature.inputs)]
    for run in range(runs):
        outcomes = []
        for module in (None, plain, tracing):
            kernels, state = Kernels(flow, seed * 31 + run), {"s": 7}
            try:
                if module is None:
                    outcome, path, decisions = walk(flow, kernels, args, state)
                else:
                    outcome, path, decisions = execute(module, flow, kernels, args, state)
            except OutOfFuel:
                outcome = path = decisions = None
            outcomes.append((outcome, kernels.log, state, path, decisions))
        wanted, plainly, traced = outcomes
        assert plainly[:3] == wanted[:3], plain.source
        assert traced == wanted, tracing.source


@pytest.mark.parametrize("wild", [0.0, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("size", [3, 6, 12, 30])
def test_every_graph_runs_as_it_is_meant(size: int, wild: float) -> None:
    for seed in range(60 if size < 30 else 25):
        compare(random_flow(seed * 100 + size, size, wild), seed)
        if seed % 4 == 0:
            with contextlib.suppress(Endless):
                compare(random_flow(seed * 100 + size, size, wild, bare=0.7), seed)


def test_large_wild_graph() -> None:
    compare(random_flow(5, 300, 0.2), 5, runs=2)
    compare(random_flow(6, 300, 0.02), 6, runs=2)
