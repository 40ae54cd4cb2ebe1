"""The blocks of `blocks` on a GPU, against eager PyTorch there: `python -m benchmarks.gpu_blocks make FOLDER [cuda:sm_90]` compiles them on
any machine, `python -m benchmarks.gpu_blocks run FOLDER` times them where there is a GPU and PyTorch for it. Tensors come from the CPU
and go back to it; every output is compared with eager's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import torch

from benchmarks.blocks import BLOCKS, model
from benchmarks.timing import interleave

BACKENDS = ("tvm", "torch-mlir")


def make(folder: Path, target: str = "cuda:sm_90") -> None:
    """An artifact for each block and backend."""
    import dync

    folder.mkdir(parents=True, exist_ok=True)
    for name, block in BLOCKS.items():
        built, inputs = model(block)
        dims = {d: torch.export.Dim(label, min=low, max=high) for d, (label, low, high) in block.dynamic.items()}
        shapes = (dims,) if dims else None
        for backend in BACKENDS:
            compiled = dync.compile(built, inputs[-1], target=target, backend=backend, dynamic_shapes=shapes, strict=True)
            compiled.save(folder / f"{name}.{backend}.dync")
            print(compiled.report, flush=True)


def run(folder: Path, seconds: float = 3.0) -> None:
    """Medians of a call in ms, and their ratio to eager's on the same GPU."""
    from dync.runtime.program import load

    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for name, block in BLOCKS.items():
        if not all((folder / f"{name}.{b}.dync").is_file() for b in BACKENDS):
            print(f"{block.title}: not in {folder}")
            continue
        built, inputs = model(block)
        want = [built(*args) for args in inputs]
        there = built.cuda()
        runners: dict[str, Callable[..., Any]] = {"eager on the GPU": lambda x, there=there: there(x.cuda()).cpu()}
        for backend in BACKENDS:
            runners[backend] = load(folder / f"{name}.{backend}.dync")
        right = {n: all(close(one(*a), w) for a, w in zip(inputs, want, strict=True)) for n, one in runners.items()}
        times = [interleave(runners, [args], seconds / len(inputs)) for args in inputs]
        for n in runners:
            median = geometric_mean([t[n].median for t in times])
            ratio = geometric_mean([t[n].median / t["eager on the GPU"].median for t in times])
            print(f"{block.title:40} {n:18} {median:9.3f} ms  {ratio:7.3f}  {'equal' if right[n] else 'WRONG'}", flush=True)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
    with torch.no_grad():
        {"make": make, "run": run}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])  # type: ignore[operator]
