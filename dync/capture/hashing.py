"""The order in which Python walks a set of integers: that of their places in its hash table (CPython, Objects/setobject.c).

A set to which elements are added one by one makes its table four times as large when it is three fifths full, and an integer begins to
look for a free place at its own last bits. Where no two begin at one place, that is the order; `comprehend.hash_order` knows it always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

MODULUS = (1 << 61) - 1
"""An integer's hash is what it leaves when it is divided by this (CPython, Include/pyhash.h)."""
MOST = 50_000
"""Elements from which on a table grows more slowly."""


def tables(most: int = MOST) -> list[tuple[int, int]]:
    """From how many elements on a table has how many places, but one."""
    found = [(0, 7)]
    while (n := found[-1][1] * 3 // 5 + 1) <= most:
        found.append((n, found[-1][1] * 4 + 3))
    return found


def hashes(do: Callable[..., Any], numbers: Any) -> Any:
    """Python's hashes of integers, int64 [n] both; -1 is no hash."""
    left = do(torch.fmod, numbers, MODULUS)
    return do(torch.where, do(torch.eq, left, -1), -2, left)


def places(do: Callable[..., Any], hashed: Any, n: Any) -> tuple[Any, Any]:
    """Where each of n elements begins to look for its place, int64 [n], and whether no two begin at one, as bool []."""
    count = do(torch.full, (1,), n, dtype=torch.int64)
    mask: Any = 0
    before = 0
    for least, last in tables():
        mask = do(torch.add, do(torch.mul, do(torch.ge, count, least), last - before), mask)
        before = last
    found = do(torch.bitwise_and, hashed, mask)
    meet = do(torch.any, do(torch.eq, do(torch.diff, do(torch.sort, found)[0]), 0))
    many = do(torch.any, do(torch.gt, count, MOST))
    return found, do(torch.logical_not, do(torch.logical_or, meet, many))
