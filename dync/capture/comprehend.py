"""Python's own loops over lists, and torch's control flow operators, written out: marked as the user's code is, so that they can turn
over lists of unknown length, and branches join.
"""

from __future__ import annotations

from typing import Any

import torch

from dync.capture.hashing import MOST


def collect(result: Any, items: Any, one: Any) -> Any:
    """A comprehension: `one(item)` is the list of what it gives for an item, none or one."""
    for item in items:
        result.extend(one(item))
    return result


def total(items: Any, start: Any) -> Any:
    for item in items:
        start = start + item
    return start


def joined(between: str, items: Any, one: Any, checked: Any) -> Any:
    """`between.join(...)`: `one(item)` are the texts that come of an item, none or one; `checked` raises for what is no text."""
    text, n = "", 0
    for item in items:
        for part in one(item):
            text = text + between + checked(part, n)
            n = n + 1
    return text.removeprefix(between)


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


def ranks(result: Any, items: Any, before: Any, strict: bool) -> Any:
    """How many items come before each: those that are before it, and of its equals, unless strict, those that stand before it."""
    i = 0
    for item in items:
        n, j = 0, 0
        for other in items:
            if before(other, item) or not strict and j < i and not before(item, other):
                n = n + 1
            j = j + 1
        result.append(n)
        i = i + 1
    return result


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


def kept(result: Any, items: Any, function: Any) -> Any:
    """`filter`."""
    for item in items:
        if function(item) if function is not None else item:
            result.append(item)
    return result


def reduced(function: Any, items: Any, value: Any) -> Any:
    """`functools.reduce` from a value that is there."""
    for item in items:
        value = function(value, item)
    return value


def running(result: Any, items: Any, function: Any) -> Any:
    """`itertools.accumulate`, behind the first value, which is in `result`."""
    value = result[-1]
    for item in items:
        value = function(value, item)
        result.append(value)
    return result


def less(a: Any, b: Any) -> bool:
    """`a < b` of two lists."""
    i = 0
    while i < len(a) and i < len(b):
        if a[i] != b[i]:
            return bool(a[i] < b[i])
        i += 1
    return bool(len(a) < len(b))


def bisect(a: Any, x: Any, lo: Any, hi: Any, key: Any, right: bool) -> Any:
    """The functions of the module of this name: where x belongs, before its equals or, with `right`, behind them."""
    while lo < hi:
        mid = (lo + hi) // 2
        found = key(a.at(mid))
        behind = not x < found if right else found < x
        if behind:
            lo = mid + 1
        else:
            hi = mid
    return lo


def rise(heap: Any, item: Any, start: Any, place: Any) -> None:
    """Puts an item of a heap where it belongs, at a place or above it, past its parents that are greater, at most as high as `start`."""
    while place > start:
        above = (place - 1) // 2
        parent = heap.at(above)
        if not item < parent:
            break
        heap.put(place, parent)
        place = above
    heap.put(place, item)


def sink(heap: Any, item: Any, start: Any) -> None:
    """Puts an item where it belongs below `start`: first down to a leaf, the lesser child in its place each time, then up again."""
    end, place = len(heap), start
    child = 2 * place + 1
    while child < end:
        if child + 1 < end:
            if not heap.at(child) < heap.at(child + 1):
                child += 1
        heap.put(place, heap.at(child))
        place = child
        child = 2 * place + 1
    rise(heap, item, start, place)


def heappush(heap: Any, item: Any) -> None:
    heap.append(item)
    rise(heap, item, 0, len(heap) - 1)


def heappop(heap: Any) -> Any:
    if not heap:
        raise IndexError("index out of range")
    last = heap.pop()
    if heap:
        first = heap.at(0)
        sink(heap, last, 0)
        return first
    return last


def heapreplace(heap: Any, item: Any) -> Any:
    if not heap:
        raise IndexError("index out of range")
    first = heap.at(0)
    sink(heap, item, 0)
    return first


def heappushpop(heap: Any, item: Any) -> Any:
    if heap:
        if heap.at(0) < item:
            return heapreplace(heap, item)
    return item


def heapify(heap: Any) -> None:
    place = len(heap) // 2 - 1
    while place >= 0:
        sink(heap, heap.at(place), place)
        place -= 1


def hash_order(hashed: Any) -> Any:
    """In which order a set's table has elements that were added in the order of their hashes here, by their numbers; see `hashing`."""
    n, mask, done = hashed.shape[0], 7, 0
    order = torch.arange(0)
    ahead = torch.arange(10)
    while True:
        limit = mask * 3 // 5 + 1
        some = min(limit, n)
        order = torch.cat([order, torch.arange(done, some)])  # those that are in came in the table's order
        table = torch.full((mask + 1,), -1)
        turn = 0
        while turn < some:
            rest = hashed[order[turn]]
            begin = rest & mask
            while True:
                free = (table[(begin + ahead).clamp(max=mask)] < 0) & ((ahead == 0) | (begin + 9 <= mask))
                if free.any():
                    break
                rest = (rest >> 5) & ((1 << 59) - 1)
                begin = (begin * 5 + 1 + rest) & mask
            table[begin + free.int().argmax()] = order[turn]
            turn += 1
        order = table[table >= 0]
        if n < limit:
            return order
        done, mask = some, mask * 4 + 3 if limit <= MOST else mask * 2 + 1
