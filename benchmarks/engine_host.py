"""Control flow inside the engines: cost of a branch and of a loop iteration on each host, and whole models."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import torch
from torch import nn

from benchmarks.host_overhead import Steps
from benchmarks.options import Options
from benchmarks.peers import reason
from benchmarks.result import Result
from benchmarks.subject import same
from benchmarks.timing import interleave

BRANCHES, TURNS = (8, 64), (10, 1000)
HOSTS: Mapping[str, str] = {"python": "onnxruntime", "onnx": "onnxruntime", "tvm": "tvm", "torch-mlir": "torch-mlir"}
"""Host → the backend of its blocks."""
MODELS = ("fashion-exits", "shallow-deep-vgg", "pabee", "duo-llm", "emoe", "mowst", "liquid")


class Turns(nn.Module):
    """A loop that halves a sum until it is small, in as many turns as the data says: float32 [1] → [1]."""

    def forward(self, x):
        while x.sum() > 0:
            x = x - 1.0
        return x


def run(options: Options) -> Result:
    from dync.models import ZOO

    rows, notes, ok = [], [], True
    per: dict[str, list[tuple[int, dict[str, float]]]] = {"branch": [], "loop iteration": []}
    steps = (torch.tensor([1.0, -2.0, 0.5, 3.0]),)
    programs = [("branch", n, f"{n} branches in a row", Steps(n).eval(), steps) for n in BRANCHES]
    programs += [("loop iteration", n, f"a loop of {n} turns", Turns().eval(), (torch.tensor([float(n)]),)) for n in TURNS]
    for name in MODELS:
        module, _, function = ZOO[name].partition(":")
        home = import_module(module)
        programs.append(("", 0, name, getattr(home, function)().eval(), home.example_inputs()))
    for kind, count, name, model, inputs in programs:
        times, right, declined = _times(model, inputs, options)
        notes += [f"{name} on the {host} host: {why}" for host, why in declined.items()]
        if kind:
            per[kind].append((count, times))
        rows.append((name, *(times.get(h, "") for h in HOSTS), "equal" if right else "WRONG"))
        ok &= right
    for what, ((few, low), (many, high)) in per.items():
        each = ", ".join(f"{h} {(high[h] - low[h]) / (many - few):.2g} µs" for h in HOSTS if h in low and h in high)
        notes.append(f"each further {what}, its two or three operations included: {each}")
    columns = ("program", *(f"{h} host µs" for h in HOSTS), "against eager")
    return Result("engine-host", "Hosts: control flow in Python and in engines", columns, tuple(rows), tuple(notes), ok)


def _times(model: nn.Module, inputs: tuple, options: Options) -> tuple[dict[str, float], bool, dict[str, str]]:
    """Microseconds of a call on each host that takes the model, whether all give eager's result, and why others do not take it."""
    import dync
    from dync.api import compile_with
    from dync.options import CompileOptions

    hosts, declined = {}, {}
    for host, backend in HOSTS.items():
        asked = CompileOptions.parse(backend=backend, host=host, threads=options.threads)
        try:
            hosts[host] = compile_with(asked, model, inputs)
        except dync.DyncError as error:
            declined[host] = reason(error)
    right = all(same(one(*inputs), model(*inputs)) for one in hosts.values())
    times = interleave(hosts, [inputs], options.seconds)
    return {h: 1e3 * t.median for h, t in times.items()}, right, declined
