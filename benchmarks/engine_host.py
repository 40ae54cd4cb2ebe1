"""Control flow inside the engine: cost of a branch and of a loop iteration on both hosts, and the ratio on whole models."""

from __future__ import annotations

from importlib import import_module

import torch
from torch import nn

from benchmarks.host_overhead import Steps
from benchmarks.options import Options
from benchmarks.peers import Refused, reason
from benchmarks.result import Result
from benchmarks.subject import same
from benchmarks.timing import interleave

BRANCHES, TURNS = (8, 64), (10, 1000)
MODELS = ("fashion-exits", "emoe", "mowst", "liquid")


class Turns(nn.Module):
    """A loop that halves a sum until it is small, in as many turns as the data says: float32 [1] → [1]."""

    def forward(self, x):
        while x.sum() > 0:
            x = x - 1.0
        return x


def run(options: Options) -> Result:
    rows, notes, ok = [], [], True
    per: dict[str, list[tuple[int, float, float]]] = {"branch": [], "loop iteration": []}
    for count in BRANCHES:
        times, right = _pair(Steps(count).eval(), [(torch.tensor([1.0, -2.0, 0.5, 3.0]),)], options)
        per["branch"].append((count, *times))
        rows.append((f"{count} branches in a row", *times, times[0] / times[1], "equal" if right else "WRONG"))
        ok &= right
    for count in TURNS:
        times, right = _pair(Turns().eval(), [(torch.tensor([float(count)]),)], options)
        per["loop iteration"].append((count, *times))
        rows.append((f"a loop of {count} turns", *times, times[0] / times[1], "equal" if right else "WRONG"))
        ok &= right
    for what, ((few, *low), (many, *high)) in per.items():
        python, onnx = ((b - a) / (many - few) for a, b in zip(low, high, strict=True))
        notes.append(f"each further {what}, its two or three operations included: Python host {python:.1f} µs, ONNX host {onnx:.1f} µs")
    for name in MODELS:
        from dync.models import ZOO

        module, _, function = ZOO[name].partition(":")
        home = import_module(module)
        try:
            times, right = _pair(getattr(home, function)().eval(), [home.example_inputs()], options)
        except Refused as refused:
            notes.append(f"{name}: {refused}")
            continue
        rows.append((name, *times, times[0] / times[1], "equal" if right else "WRONG"))
        ok &= right
    columns = ("program", "Python host µs", "ONNX host µs", "Python / ONNX", "against eager")
    return Result("engine-host", "Hosts: control flow in Python and in ONNX Runtime", columns, tuple(rows), tuple(notes), ok)


def _pair(model: nn.Module, inputs: list[tuple], options: Options) -> tuple[tuple[float, float], bool]:
    """Microseconds of a call on each host, and whether both give eager's result. Raises Refused."""
    import dync
    from dync.api import compile_with
    from dync.options import CompileOptions

    try:
        hosts = {h: compile_with(CompileOptions.parse(host=h, threads=options.threads), model, inputs[0]) for h in ("python", "onnx")}
    except dync.DyncError as error:
        raise Refused(reason(error)) from error
    right = all(same(one(*args), model(*args)) for one in hosts.values() for args in inputs)
    times = interleave(hosts, inputs, options.seconds / 2)
    return (1e3 * times["python"].median, 1e3 * times["onnx"].median), right
