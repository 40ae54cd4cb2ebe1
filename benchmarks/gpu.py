"""dync on a GPU against eager PyTorch there: the blocks of `blocks`, and the models of the zoo with what they decide.

`python -m benchmarks.gpu make FOLDER [cuda:sm_90]` compiles on any machine that has nvcc, `python -m benchmarks.gpu run FOLDER [SECONDS]`
times where there are a GPU and PyTorch for it: tensors that come from the CPU and go back to it, and tensors that are on the GPU and stay
there. Every output is compared with eager's on the CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from benchmarks.blocks import BLOCKS, model
from benchmarks.static_paths import WIDE
from benchmarks.subject import same
from benchmarks.timing import interleave

EAGER = "eager"
LARGE = 1 << 16
"""Weights of more numbers than this repeat a short row of them, so that the artifacts of large models travel well when packed."""
TOLERANCE = 1e-3
"""Of the largest element, against eager on the CPU."""
INPUTS = 8
"""Inputs of a model that are timed, at most."""


@dataclass(frozen=True)
class Subject:
    """A model, what it is timed on, and the backends that compile it."""

    title: str
    build: Callable[[], tuple[nn.Module, list[tuple[Any, ...]]]]
    backends: tuple[str, ...]
    dynamic: Mapping[int, tuple[str, int, int]] = field(default_factory=dict)


def subjects() -> Iterator[tuple[str, Subject]]:
    from dync.models import ZOO

    for name, block in BLOCKS.items():
        yield name, Subject(block.title, lambda block=block: model(block), ("tvm", "torch-mlir"), block.dynamic)
    for name, where in ZOO.items():
        yield name, Subject(name, lambda where=where: _zoo(where, {}), ("tvm",))
    for name, sizes in WIDE.items():
        yield f"{name}-wide", Subject(f"{name}, 768 wide", lambda where=ZOO[name], sizes=sizes: _zoo(where, sizes), ("tvm",))


def _zoo(where: str, sizes: Mapping[str, int]) -> tuple[nn.Module, list[tuple[Any, ...]]]:
    module, _, function = where.partition(":")
    home = import_module(module)
    torch.manual_seed(0)
    return getattr(home, function)(**sizes).eval(), home.varied_inputs()


def packable(built: nn.Module) -> nn.Module:
    """`built` with large weights made of short rows, of the same spread."""
    for weight in built.parameters():
        if weight.numel() > LARGE:
            row = weight.flatten()[:4099].clone()  # a prime: no two rows of the matrix are alike
            weight.copy_(row.repeat(weight.numel() // row.numel() + 1)[: weight.numel()].view_as(weight))
    return built


def make(folder: Path, target: str = "cuda:sm_90") -> None:
    """An artifact for each subject and backend."""
    import dync

    folder.mkdir(parents=True, exist_ok=True)
    for name, subject in subjects():
        built, inputs = subject.build()
        dims = {d: torch.export.Dim(label, min=low, max=high) for d, (label, low, high) in subject.dynamic.items()}
        for backend in subject.backends:
            try:
                compiled = dync.compile(
                    packable(built), inputs[-1], target=target, backend=backend, dynamic_shapes=(dims,) if dims else None
                )
            except dync.DyncError as error:
                print(f"{subject.title} on {backend}: {error}", flush=True)
                continue
            compiled.save(folder / f"{name}.{backend}.dync")
            print(subject.title, compiled.report, sep="\n", flush=True)


def run(folder: Path, seconds: str = "3") -> None:
    """Medians of a call in ms, and their ratio to eager's on the same GPU."""
    from dync.runtime.program import load

    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    ratios: dict[str, list[float]] = {}
    for name, subject in subjects():
        try:
            found = {b: load(path) for b in subject.backends if (path := folder / f"{name}.{b}.dync").is_file()}
            if not found:
                continue
            built, inputs = subject.build()
            for line in timed(subject.title, packable(built), inputs[:INPUTS], found, float(seconds), ratios):
                print(line, flush=True)
        except Exception as error:  # shown, and the others still run
            print(f"{subject.title}: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
    for way, all_ in ratios.items():
        print(f"{way}: {geometric_mean(all_):.3f} of eager's time, geometric mean of {len(all_)}")


def timed(
    title: str, built: nn.Module, inputs: list[tuple[Any, ...]], found: Mapping[str, Any], seconds: float, ratios: dict[str, list[float]]
) -> Iterator[str]:
    """A line for each runner and way, the ratio to eager where eager itself runs on the GPU."""
    want = [deepcopy(built)(*deepcopy(args)) for args in inputs]
    there = deepcopy(built).cuda()
    ways: dict[str, tuple[Callable[[Callable[..., Any]], Callable[..., Any]], Callable[..., Any], list[Any]]] = {
        "from the CPU": (lambda run: run, lambda *args: moved(there(*moved(args, "cuda")), "cpu"), inputs),
        "on the GPU": (synchronised, synchronised(there), moved(inputs, "cuda")),
    }
    for way, (wrap, eager, given) in ways.items():
        runners: dict[str, Callable[..., Any]] = {n: wrap(one) for n, one in found.items()}
        right = {}
        for n, one in runners.items():
            found[n].reset_state()
            right[n] = sum(same(moved(one(*deepcopy(args)), "cpu"), w, TOLERANCE) for args, w in zip(given, want, strict=True))
        try:
            right[EAGER] = sum(same(moved(eager(*deepcopy(args)), "cpu"), w, TOLERANCE) for args, w in zip(given, want, strict=True))
            runners[EAGER] = eager
        except RuntimeError as error:
            yield f"{title}: eager itself cannot run {way}: {str(error).splitlines()[0]}"
        times = [interleave(runners, [args], seconds / len(inputs)) for args in given]
        for n in runners:
            median = geometric_mean([t[n].median for t in times])
            ratio = geometric_mean([t[n].median / t[EAGER].median for t in times]) if EAGER in runners else float("nan")
            if n != EAGER and EAGER in runners:
                ratios.setdefault(f"{n}, {way}", []).append(ratio)
            yield f"{title:36} {way:12} {n:10} {median:9.3f} ms {ratio:7.3f}  {right[n]} of {len(inputs)} equal"


def synchronised(run: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        result = run(*args)
        torch.cuda.synchronize()
        return result

    return call


def moved(value: Any, device: str) -> Any:
    return pytree.tree_map_only(torch.Tensor, lambda t: t.to(device), value)


if __name__ == "__main__":
    with torch.no_grad():
        {"make": make, "run": run}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
