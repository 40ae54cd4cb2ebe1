"""IREE's flags: those without which numbers are wrong, and those that make a kind of block fast, as measured in benchmarks/blocks.py."""

from __future__ import annotations

from collections.abc import Iterable

from dync.backends.base import Target

EXACT = ("--iree-input-demote-f64-to-f32=false", "--iree-vm-target-extension-f64=true")
"""Without these IREE computes float64 as float32."""
LEAN = ("--iree-llvmcpu-debug-symbols=false", "--iree-opt-const-eval=false")
"""Half of the compile time; there are no constants to evaluate, as weights stand outside."""
CONVOLUTION = ("--iree-opt-level=O3", "--iree-global-opt-use-im2col-for-convs", "--iree-opt-data-tiling=false")
MATMUL = ("--iree-opt-level=O3", "--iree-opt-data-tiling=true")
BRANCHING = ("--iree-opt-level=O3", "--iree-opt-data-tiling=false")
"""With control flow around them IREE 3.13 loses tiled products: the blocks behind read memory that nobody wrote."""
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
PTX = {"sm_80": "sm_80", "sm_86": "sm_86", "sm_89": "sm_89", "sm_90": "sm_89"}
"""CUDA architecture → the newest one of IREE's that makes code for it; PTX of sm_89 runs on sm_90."""
NEWEST = "sm_80"
"""What "cuda" alone means: runs on all of the above."""


def flags(operators: Iterable[str], target: Target, branching: bool = False) -> tuple[tuple[str, ...], ...]:
    """The flags for a block of these ONNX operators, or a program with control flow, and the plain ones: the higher levels fail on some."""
    if target.kind == "cuda":
        arch = PTX[target.arch or NEWEST]
        return ((*EXACT, "--iree-opt-const-eval=false", "--iree-hal-target-device=cuda", f"--iree-cuda-target={arch}"),)
    base = (*EXACT, *LEAN, "--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu",
            f"--iree-llvmcpu-target-cpu={target.arch or 'host'}")
    return (*base, *(CONVOLUTION if CONVOLUTIONS & set(operators) else BRANCHING if branching else MATMUL)), base
