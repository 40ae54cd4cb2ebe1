"""Calls close to a decision's threshold, one on each side: by bisection between two calls that decide differently.

A predicate that is shifted a little goes wrong only for calls near its threshold; random calls seldom come near it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dync.ir.flow import Flow, Signature
from dync.ir.trace import Trace
from dync.verify.calls import Call
from dync.verify.inputs import call_of, leaf_values
from dync.verify.paths import steps

ROUNDS = 12
PARTS = (0.5, 0.25, 0.75)
"""Where between two calls a third is tried; where none of them comes to the block, the search ends."""


def between(signature: Signature, a: Call, b: Call, part: float) -> Call | None:
    """The call `part` of the way from `a` to `b`; None where they cannot be mixed (other sizes, other integers)."""
    ours, theirs = leaf_values(signature, a), leaf_values(signature, b)
    mixed: dict[str, Any] = {}
    for path, x in ours.items():
        y = theirs[path]
        tensors = isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) and x.shape == y.shape
        if tensors and x.is_floating_point() or isinstance(x, float) and isinstance(y, float):
            mixed[path] = x + (y - x) * part
        elif (
            tensors
            and torch.equal(torch.as_tensor(x), torch.as_tensor(y))
            or not isinstance(x, torch.Tensor)
            and type(x) is type(y)
            and x == y
        ):
            mixed[path] = x
        else:
            return None
    return call_of(signature, mixed, "near a threshold", a.seed)


def close(flow: Flow, run: Callable[[Call], Trace | None], block: str, a: Call, b: Call) -> tuple[Call, Call] | None:
    """Two calls that come to `block` alike and then decide differently, as near to each other as ROUNDS halvings bring them.

    a, b: such calls to begin with. None where no mix of them comes to the block.
    """
    middle: Call | None = None
    decided: str | None = None
    first, last = _decided(flow, run(a), block), _decided(flow, run(b), block)
    if first is None or last is None or first == last:
        return None
    low, high, moved = a, b, False
    for _ in range(ROUNDS):
        for part in PARTS:
            middle = between(flow.signature, low, high, part)
            decided = None if middle is None else _decided(flow, run(middle), block)
            if middle is None or decided is not None:
                break
        if middle is None or decided is None:
            break
        low, high, moved = (middle, high, True) if decided == first else (low, middle, True)
    return (low, high) if moved else None


def _decided(flow: Flow, trace: Trace | None, block: str) -> str | None:
    """The first label by which a run left `block`."""
    return None if trace is None else next((said for name, said in steps(flow, trace) if name == block), None)
