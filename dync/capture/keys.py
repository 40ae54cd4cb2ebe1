"""Questions about keys that are the rows of integer columns: a key of one number is one column, of a tuple of numbers several.

`do` calls torch on the user's behalf. No result depends on how a backend breaks ties.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

Do = Callable[..., Any]


def hits(do: Do, columns: list[Any], key: list[Any]) -> Any:
    """bool [n]: which of n rows are the key."""
    equal = [do(torch.eq, c, k) for c, k in zip(columns, key, strict=True)]
    return functools.reduce(lambda a, b: do(torch.logical_and, a, b), equal)


def matches(do: Do, a: list[Any], b: list[Any]) -> Any:
    """bool [n, m]: which of n rows are which of m rows."""
    equal = [do(torch.eq, do(torch.unsqueeze, x, 1), do(torch.unsqueeze, y, 0)) for x, y in zip(a, b, strict=True)]
    return functools.reduce(lambda x, y: do(torch.logical_and, x, y), equal)


def inside(do: Do, a: list[Any], b: list[Any]) -> Any:
    """bool [n]: which of n rows are among m rows."""
    return do(torch.any, matches(do, a, b), 1)


def place(do: Do, marks: Any) -> Any:
    """int64 [...]: the number of the one True along the last dimension; 0 where there is none."""
    numbers = do(torch.arange, marks.shape[-1])
    return do(torch.sum, do(torch.mul, do(torch.Tensor.to, marks, torch.int64), numbers), -1)


def first_and_last(do: Do, equal: Any) -> tuple[Any, Any]:
    """Of bool [n, n], which rows are equal: bool [n], those with none equal before; int64 [n], the last that is equal to each."""
    numbers = do(torch.arange, equal.shape[0])
    earlier = do(torch.lt, do(torch.unsqueeze, numbers, 0), do(torch.unsqueeze, numbers, 1))
    before = do(torch.any, do(torch.logical_and, equal, earlier), 1)
    after = do(torch.any, do(torch.logical_and, equal, earlier), 0)
    last = do(torch.logical_and, equal, do(torch.unsqueeze, do(torch.logical_not, after), 0))
    return do(torch.logical_not, before), place(do, last)


def chosen(do: Do, columns: list[Any], mask: Any) -> list[Any]:
    """The rows that a mask marks."""
    numbers = do(torch.select, do(torch.nonzero, mask), 1, 0)
    return [do(torch.index_select, c, 0, numbers) for c in columns]
