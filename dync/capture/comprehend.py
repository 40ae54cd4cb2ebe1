"""Python's own loops over lists, and torch's control flow operators, written out: marked as the user's code is, so that they can turn
over lists of unknown length, and branches join.
"""

from __future__ import annotations

from typing import Any


def collect(result: Any, items: Any, one: Any) -> Any:
    """A comprehension: `one(item)` is the list of what it gives for an item, none or one."""
    for item in items:
        result.extend(one(item))
    return result


def total(items: Any, start: Any) -> Any:
    for item in items:
        start = start + item
    return start


def extreme(items: Any, name: str, key: Any, otherwise: Any) -> Any:
    """`max` and `min`: the first of the items that none is beyond."""
    if not items:
        if otherwise:
            return otherwise[0]
        raise ValueError(f"{name}() arg is an empty sequence")
    best = items[0]
    for item in items:
        beyond = key(item) > key(best) if name == "max" else key(item) < key(best)
        if beyond:
            best = item
    return best


def extreme_by(items: Any, name: str, key: Any) -> Any:
    """`max` and `min` by a key, of items that there are."""
    best = items[0]
    bound = key(best)
    for item in items:
        found = key(item)
        beyond = found > bound if name == "max" else found < bound
        if beyond:
            best, bound = item, found
    return best


def holds(items: Any, for_any: bool) -> bool:
    """`any`, or `all`."""
    for item in items:
        if bool(item) is for_any:
            return for_any
    return not for_any


def cond(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
    """torch.cond, of the same signature."""
    if pred:
        return true_fn(*operands)
    return false_fn(*operands)


def while_loop(cond_fn: Any, body_fn: Any, carried_inputs: Any) -> Any:
    """torch.while_loop, of the same signature."""
    while cond_fn(*carried_inputs):
        carried_inputs = body_fn(*carried_inputs)
    return carried_inputs
