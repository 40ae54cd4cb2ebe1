"""Python's own loops over lists, written out: marked as the user's code is, so that they can turn over lists of unknown length."""

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


def holds(items: Any, for_any: bool) -> bool:
    """`any`, or `all`."""
    for item in items:
        if bool(item) is for_any:
            return for_any
    return not for_any
