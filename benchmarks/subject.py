"""dync itself as a runner, and when two results are the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def compile_dync(
    model: nn.Module, args: tuple, params: dict | None = None, threads: int = 1, backend: str = "auto", host: str = "auto"
) -> Any:
    """The compiled model. Raises Refused where dync does not take it."""
    import dync
    from benchmarks.peers import Refused, reason
    from dync.api import compile_with
    from dync.options import CompileOptions

    try:
        return compile_with(CompileOptions.parse(backend=backend, host=host, threads=threads), model, args, params=params)
    except dync.DyncError as error:
        raise Refused(reason(error)) from error


def same(a: Any, b: Any, tolerance: float = 1e-4) -> bool:
    """Equal structure, equal numbers and ints, floats within the tolerance of the largest element."""
    flat_a, tree_a = torch.utils._pytree.tree_flatten(a)
    flat_b, tree_b = torch.utils._pytree.tree_flatten(b)
    return tree_a == tree_b and all(_leaf(x, y, tolerance) for x, y in zip(flat_a, flat_b, strict=True))


def _leaf(a: Any, b: Any, tolerance: float) -> bool:
    if not isinstance(a, torch.Tensor):
        return type(a) is type(b) and a == b
    if not isinstance(b, torch.Tensor) or (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    scale = max(1.0, b.abs().max().item()) if b.numel() else 1.0
    return torch.allclose(a, b, rtol=0, atol=tolerance * scale, equal_nan=True)
