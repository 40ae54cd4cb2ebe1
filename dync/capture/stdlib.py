"""Twins of what functools, heapq, bisect and itertools do with lists, for those of unknown length; any other gets the original."""

from __future__ import annotations

import bisect
import functools
import heapq
import itertools
import operator
from collections.abc import Callable
from typing import Any

from dync.capture import comprehend
from dync.capture.lists import is_grown
from dync.capture.once import Once, taken
from dync.capture.tape import of_model

NONE = object()


def _reduce(engine: Any, function: Any, items: Any, *start: Any) -> Any:
    items = taken(items)
    if not is_grown(items):
        return functools.reduce(function, items, *start)
    if start:
        return comprehend.reduced(function, items, start[0])
    if not items:
        raise of_model(TypeError("reduce() of empty iterable with no initial value"))
    return comprehend.reduced(function, items[1:], items[0])


def _filter(engine: Any, function: Any, items: Any) -> Any:
    items = taken(items)
    return Once(engine, comprehend.kept(_fresh(engine, "filter"), items, function)) if is_grown(items) else filter(function, items)


def _accumulate(engine: Any, items: Any, function: Any = operator.add, *, initial: Any = NONE) -> Any:
    items = taken(items)
    if not is_grown(items):
        return itertools.accumulate(items, function, **({} if initial is NONE else {"initial": initial}))
    result = _fresh(engine, "accumulate")
    if initial is not NONE:
        result.append(initial)
    elif items:
        result.append(items[0])
        items = items[1:]
    return Once(engine, comprehend.running(result, items, function))


def _chain(engine: Any, *parts: Any) -> Any:
    grown = any(is_grown(p) or isinstance(p, Once) for p in parts)
    return Once(engine, engine.spread(_place(engine, "chain"), *parts)) if grown else itertools.chain(*parts)


def _islice(engine: Any, items: Any, *ends: Any) -> Any:
    items = taken(items, False)
    return Once(engine, items[slice(*ends)]) if is_grown(items) else itertools.islice(items, *ends)


def _pairwise(engine: Any, items: Any) -> Any:
    items = taken(items)
    return engine.builtin(zip)(items, items[1:]) if is_grown(items) else itertools.pairwise(items)


def _of_heap(name: str) -> Callable[..., Any]:
    ours, pythons = getattr(comprehend, name), getattr(heapq, name)
    return lambda engine, heap, *item: (ours if is_grown(heap) else pythons)(heap, *item)


def _foremost(name: str) -> Callable[..., Any]:
    """`heapq.nlargest` and `nsmallest`: the first of the sorted items, by Python's documentation."""
    pythons, reverse = getattr(heapq, name), name == "nlargest"

    def pick(engine: Any, n: Any, items: Any, key: Any = None) -> Any:
        items = taken(items)
        return engine.builtin(sorted)(items, key=key, reverse=reverse)[: max(n, 0)] if is_grown(items) else pythons(n, items, key)

    return pick


def _bisect(name: str) -> Callable[..., Any]:
    pythons, inserts, right = getattr(bisect, name), name.startswith("insort"), not name.endswith("left")

    def find(engine: Any, a: Any, x: Any, lo: Any = 0, hi: Any = None, *, key: Any = None) -> Any:
        if not is_grown(a):
            return pythons(a, x, lo, len(a) if hi is None else hi, key=key)
        sought = key(x) if inserts and key is not None else x
        at = comprehend.bisect(a, sought, lo, engine.length(a) if hi is None else hi, key or (lambda item: item), right)
        return a.insert(at, x) if inserts else at

    return find


def _place(engine: Any, name: str) -> str:
    return f"the list of the {name} at {engine.span()}"


def _fresh(engine: Any, name: str) -> Any:
    return engine.listed(_place(engine, name), [])


HEAP = ("heappush", "heappop", "heapify", "heapreplace", "heappushpop")
SEARCH = ("bisect", "bisect_left", "bisect_right", "insort", "insort_left", "insort_right")
TWINS: dict[Any, Callable[..., Any]] = {
    functools.reduce: _reduce, filter: _filter, itertools.accumulate: _accumulate, itertools.chain: _chain, itertools.islice: _islice,
    itertools.pairwise: _pairwise, **{getattr(heapq, n): _of_heap(n) for n in HEAP},
    **{getattr(heapq, n): _foremost(n) for n in ("nlargest", "nsmallest")}, **{getattr(bisect, n): _bisect(n) for n in SEARCH}}
NAMES = frozenset({"reduce", "filter", "accumulate", "chain", "islice", "pairwise", "nlargest", "nsmallest", *HEAP, *SEARCH})
"""By which the source names them."""
