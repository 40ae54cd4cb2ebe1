"""Copies of models and arguments, in which tensors that share memory still do."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def clone(value: T, memo: dict[int, Any] | None = None) -> T:
    """`copy.deepcopy` that also takes tensors made by autograd, such as a state that a call with gradients left; they come out detached.

    memo: as deepcopy's: id of an object → what stands for it in the copy.
    """
    memo = {} if memo is None else memo
    for tensor in _made_by_autograd(value):
        memo[id(tensor)] = copy.deepcopy(tensor.detach(), memo)
    return copy.deepcopy(value, memo)


def _made_by_autograd(value: Any) -> list[torch.Tensor]:
    found, seen, left = [], set[int](), [value]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            found += [] if one.is_leaf else [one]
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, (list, tuple, set, frozenset)):
            left += one
        elif not isinstance(one, type):
            left += getattr(one, "__dict__", {}).values()
    return found
