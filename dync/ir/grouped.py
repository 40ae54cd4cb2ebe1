"""torch's grouped matrix product on fakes: its own description takes bfloat16 alone, its kernels float32 and float16 too."""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_impls import register_op_impl
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

ALIGNED = 16
"""Bytes that rows, or columns, lie apart."""


@register_op_impl(torch.ops.aten._grouped_mm.default)
def grouped_mm(
    mode: FakeTensorMode, func: Any, a: FakeTensor, b: FakeTensor, offs: Any = None, bias: Any = None, out_dtype: Any = None,
) -> Any:
    """The fake product of `a` [rows, k] and `b` [groups, k, n], where group g has the rows up to offs[g]; NotImplemented for other forms.

    Raises RuntimeError where torch's kernel does.
    """
    if a.dtype not in (torch.float32, torch.float16) or a.dim() != 2 or b.dim() != 3 or offs is None or bias is not None:
        return NotImplemented
    if b.dtype != a.dtype or offs.dtype != torch.int32 or offs.dim() != 1 or out_dtype not in (None, a.dtype):
        return NotImplemented
    if a.shape[1] != b.shape[1] or b.shape[0] != offs.shape[0]:
        raise RuntimeError("contraction dimension of mat_a and mat_b must match" if a.shape[1] != b.shape[1] else
                           "matrix batch sizes have to match")
    if not (_aligned(a) and _aligned(b)):
        raise RuntimeError("strides should be multiple of 16 bytes")
    columns = b.shape[2]
    if not isinstance(columns, int):
        return NotImplemented
    each = ALIGNED // a.dtype.itemsize
    with mode:
        return torch.empty_strided((a.shape[0], columns), (-(-columns // each) * each, 1), dtype=a.dtype, device=a.device)


def _aligned(x: FakeTensor) -> bool:
    """Whether the last two dimensions are a matrix by rows or by columns that lie 16 bytes apart, as far as strides are known."""
    rows, columns = x.stride()[-2:]
    apart = columns if isinstance(rows, int) and rows == 1 else rows
    return not isinstance(apart, int) or apart * x.dtype.itemsize % ALIGNED == 0
