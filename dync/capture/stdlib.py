"""Twins of what functools, heapq, bisect and itertools do with lists, for those of unknown length; any other gets the original."""

from __future__ import annotations

import bisect
import functools
import heapq
import itertools
import operator
from collections.abc import Callable
from typing import Any

import torch

from dync.capture import comprehend
from dync.capture.forms import LEAF, Column, Form
from dync.capture.lists import Grown
from dync.capture.once import Once, is_walk, taken
from dync.capture.tape import of_model
from dync.capture.walks import Paired, is_grown

ENDS = ("Stop argument for islice()", "Indices for islice()")


def _rows(engine: Any, items: Any, drained: bool = True) -> Any:
    """What gives the items, as a list."""
    items = taken(items, drained)
    return items if isinstance(items, (Grown, list)) else engine.collected(items)


def _reduce(engine: Any, function: Any, items: Any, *start: Any) -> Any:
    if not is_walk(engine, items):
        return functools.reduce(function, items, *start)
    rows = _rows(engine, items)
    if start:
        return comprehend.reduced(function, rows, start[0])
    if not rows:
        raise of_model(TypeError("reduce() of empty iterable with no initial value"))
    return comprehend.reduced(function, rows[1:], rows[0])


def _filter(engine: Any, function: Any, items: Any) -> Any:
    return Once(engine, [], (_filtered, _place(engine, "filter"), function, items)) if is_walk(engine, items) else filter(function, items)


def _filtered(engine: Any, place: str, function: Any, items: Any) -> Any:
    return comprehend.kept(engine.listed(place, []), _rows(engine, items), function)


def _accumulate(engine: Any, items: Any, function: Any = operator.add, *, initial: Any = None) -> Any:
    if not is_walk(engine, items):
        return itertools.accumulate(items, function, initial=initial)
    return Once(engine, [], (_accumulated, _place(engine, "accumulate"), items, function or operator.add, initial))


def _accumulated(engine: Any, place: str, items: Any, function: Any, initial: Any) -> Any:
    result, rows = engine.listed(place, []), _rows(engine, items)
    if initial is not None:
        result.append(initial)
    elif rows:
        result.append(rows[0])
        rows = rows[1:]
    else:
        return result
    return comprehend.running(result, rows, function)


def _chain(engine: Any, *parts: Any) -> Any:
    if not any(is_walk(engine, p) for p in parts):
        return itertools.chain(*parts)
    return Once(engine, [], (type(engine).spread, _place(engine, "chain"), *parts))


def _islice(engine: Any, items: Any, *ends: Any) -> Any:
    if not is_walk(engine, items):
        return itertools.islice(items, *ends)
    itertools.islice((), *(None if isinstance(e, torch.SymInt) else e for e in ends))  # raises for what is none
    for end in ends:
        if isinstance(end, torch.SymInt) and end < 0:
            raise of_model(ValueError(f"{ENDS[len(ends) > 1]} must be None or an integer: 0 <= x <= sys.maxsize."))
    return Once(engine, [], (_sliced, items, slice(*ends)))


def _sliced(engine: Any, items: Any, part: slice) -> Any:
    return _rows(engine, items, False)[part]


def _pairwise(engine: Any, items: Any) -> Any:
    if not is_walk(engine, items):
        return itertools.pairwise(items)
    rows = _rows(engine, items)
    return engine.builtin(zip)(rows, rows[1:])


class Runs(Paired):
    """What `groupby` walks: where runs of equal keys begin, with their keys and lengths, and the list of the items. of: its iterator."""

    __slots__ = ("of",)
    of: Once

    @property
    def length(self) -> Any:
        return self.parts[0].length

    def at(self, index: Any) -> Any:
        rows = self.parts[1]
        self.of.i = index + 1  # also where a comprehension walks all that is left
        key, begin, size = self.parts[0].at(index)
        begin, size = rows.engine.at_least(begin, 0), rows.engine.at_least(size, 1)
        return key, Run(self.of, index, rows._like(rows._stretch(begin, begin + size)))


class Run(Once):
    """The items of one run: none any more when the `groupby` that gave it has gone on."""

    __slots__ = ("of", "number")

    def __init__(self, of: Once, number: Any, items: Grown) -> None:
        super().__init__(of.engine, items)
        self.of, self.number = of, number

    def begin(self) -> None:
        super().begin()
        if self.of.i is None:
            self.of.begin()
        if self.of.i != self.number + 1:
            self.walk, self.i = self.walk._like(self.walk._stretch(0, 0)), 0


def _groupby(engine: Any, items: Any, key: Any = None) -> Any:
    key = key and engine.builtin(key)
    if type(items) is list:
        engine.many_to_compare(items, items)
    if not is_walk(engine, items):
        return itertools.groupby(items, key)
    made = Once(engine, [])
    made.pending = (_runs, _place(engine, "groupby"), items, key, made)
    return made


def _runs(engine: Any, place: str, items: Any, key: Any, of: Once) -> Any:
    rows = _rows(engine, items)
    keys = comprehend.collect(engine.listed(f"{place}, keys", []), rows, lambda item: (key(item),)) if key else rows
    if not rows:
        return []
    keys = engine.rows_of(f"{place}, keys", keys) if isinstance(keys, list) else keys
    if any(c.kind == "tensor" or c.pool or c.ragged is not None for c in keys.form.columns):
        return keys.refuse("`groupby` by tensors, lists or objects")
    begins = engine.do(torch.ones, (1,), dtype=torch.bool)
    n, changes = keys.length, []
    for c in keys.columns:
        after, before = engine.do(torch.narrow, c, 0, 1, n - 1), engine.do(torch.narrow, c, 0, 0, n - 1)
        changes.append(engine.do(torch.cat, [begins, engine.do(torch.ne, after, before)]))
    changed = functools.reduce(functools.partial(engine.do, torch.logical_or), changes)
    places = engine.do(torch.squeeze, engine.do(torch.nonzero, changed), 1)
    end = engine.do(torch.full, (1,), n, dtype=torch.int64)
    sizes = engine.do(torch.diff, engine.do(torch.cat, [places, end]))
    columns = [*(engine.do(torch.index_select, c, 0, places) for c in keys.columns), places, sizes]
    number = Column("int", torch.int64)
    form = Form("list", (tuple, (keys.form.structure, LEAF, LEAF)), (*keys.form.columns, number, number))
    made = Runs((engine.derived(f"{place}, runs", form, columns, keys.key), rows))
    made.of = of
    return made


def _of_heap(name: str) -> Callable[..., Any]:
    ours, pythons = getattr(comprehend, name), getattr(heapq, name)
    return lambda engine, heap, *item: (ours if is_grown(heap) else pythons)(heap, *item)


def _foremost(name: str) -> Callable[..., Any]:
    """`heapq.nlargest` and `nsmallest`: the first of the sorted items, by Python's documentation."""
    pythons, reverse = getattr(heapq, name), name == "nlargest"

    def pick(engine: Any, n: Any, items: Any, key: Any = None) -> Any:
        items = taken(items)
        if not is_grown(items):
            return pythons(n, items, key)
        strict = n != 1  # the heap gives equal objects in an order of its own
        return engine.sort(items, key and engine.builtin(key), reverse, strict)[: max(n, 0)]

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


HEAP = ("heappush", "heappop", "heapify", "heapreplace", "heappushpop")
SEARCH = ("bisect", "bisect_left", "bisect_right", "insort", "insort_left", "insort_right")
TWINS: dict[Any, Callable[..., Any]] = {
    functools.reduce: _reduce, filter: _filter, itertools.accumulate: _accumulate, itertools.chain: _chain, itertools.islice: _islice,
    itertools.pairwise: _pairwise, itertools.groupby: _groupby, **{getattr(heapq, n): _of_heap(n) for n in HEAP},
    **{getattr(heapq, n): _foremost(n) for n in ("nlargest", "nsmallest")}, **{getattr(bisect, n): _bisect(n) for n in SEARCH}}
NAMES = frozenset({"reduce", "filter", "accumulate", "chain", "islice", "pairwise", "groupby", "nlargest", "nsmallest", *HEAP, *SEARCH})
"""By which the source names them."""
