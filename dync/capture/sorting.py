"""Sorting of lists whose length is known only at run time: Python's order, which is stable, by the columns of their keys."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from dync.capture import comprehend
from dync.capture.forms import Column, Constant, may_lack
from dync.capture.lists import Grown


def arranged(items: Grown, by: list[Any], reverse: bool, apart: bool = False) -> Grown:
    """The items in the order of their rows in `by`, whose first column matters most. apart: no two may be equal."""
    engine, order = items.engine, None
    for column in reversed(by):
        if column.dtype == torch.bool:
            column = engine.do(torch.Tensor.to, column, torch.int64)
        elif column.dtype.is_floating_point and engine.do(torch.Tensor.item, engine.do(torch.any, engine.do(torch.isnan, column))):
            engine.trap("a list that holds NaN is sorted")
        now = column if order is None else engine.do(torch.index_select, column, 0, order)
        step = engine.do(torch.sort, now, stable=True, dim=0, descending=bool(reverse))[1]
        order = step if order is None else engine.do(torch.index_select, order, 0, step)
    assert order is not None
    if apart:
        check_apart(engine, [engine.do(torch.index_select, c, 0, order) for c in by])
    return items._like(items.taken_at(order))


def check_apart(engine: Any, by: list[Any]) -> None:
    """Which of two comes first whose keys are equal, Python's hash table says, or what stands behind the keys."""
    n = by[0].shape[0]
    if n < 2:
        return
    equal = None
    for c in by:
        same = engine.do(torch.eq, engine.do(torch.narrow, c, 0, 0, n - 1), engine.do(torch.narrow, c, 0, 1, n - 1))
        equal = same if equal is None else engine.do(torch.logical_and, equal, same)
    if engine.do(torch.Tensor.item, engine.do(torch.any, equal)):
        engine.trap("elements of a set, or tuples that hold more than numbers and texts, are sorted by keys that are equal")


def sort(items: Grown, walked: Any, key: Any, reverse: bool, apart: bool = False, strict: bool = False) -> Grown:
    """`sorted(items, key=key, reverse=reverse)`, where `key` is given what `walked` has. apart: see `arranged`.

    strict: of objects, no two may be equal by the `<` of their class.
    """
    cls = items.engine.pooled.get(items.form.columns[0].pool) if key is None and len(items.form.columns) == 1 else None
    if cls is not None and cls is not list:
        fields = compared_fields(cls)
        if fields is None:
            return by_rank(items, cls, reverse, strict)
        key = lambda item: tuple(getattr(item, name) for name in fields)  # noqa: E731
    of_lists = key is None and all(items.engine.pooled.get(c.pool) is list for c in items.form.columns)
    given = items if key is None and not of_lists else keys_of(items.engine, walked, tuple if of_lists else key)
    by = list(given.columns)
    for n, column in enumerate(given.form.columns):
        if column.ragged is not None or column.pool or by[n].dim() != 1 or column.choices and not all(map(is_text, column.choices)):
            if n == 0 or key is not None and apart:
                return items.refuse("sorting by what is no number and no text")
            by, apart = by[:n], True
            break
        if column.choices:
            by[n] = ranks(items.engine, column, by[n])
    if may_lack(given.form.structure):
        return items.refuse("sorting by what may be None")
    return arranged(items, by, reverse, apart) if by else items.copy()


def compared_fields(cls: type) -> list[str] | None:
    """The fields by which dataclass(order=True) compares; None for classes that compare in another way."""
    parameters = cls.__dict__.get("__dataclass_params__")
    return [f.name for f in dataclasses.fields(cls) if f.compare] if parameters is not None and parameters.order else None  # type: ignore[arg-type]


def by_rank(items: Grown, cls: type, reverse: bool, strict: bool) -> Grown:
    """Sorted by the `<` of the items' own class: each is compared with each."""
    if not any(name in vars(c) for c in cls.__mro__[:-1] for name in ("__lt__", "__gt__")):
        return items.refuse("sorting by what is no number and no text")
    engine = items.engine
    before = (lambda a, b: b < a) if reverse else (lambda a, b: a < b)
    engine.mark_function(comprehend.ranks)
    found = comprehend.ranks(engine.listed(f"the ranks of the sort at {engine.span()}", []), items, before, strict)
    ranks = (found if isinstance(found, Grown) else engine.rows_of(f"the sort at {engine.span()}", found)).columns[0]
    ordered = engine.do(torch.sort, ranks)[0]
    if not engine.do(torch.Tensor.item, engine.do(torch.all, engine.do(torch.eq, ordered, engine.do(torch.arange, ordered.shape[0])))):
        engine.trap("objects are sorted whose `<` is no order, or heapq picks from objects that are equal by it")
    return arranged(items, [ranks], False)


def is_text(constant: Constant) -> bool:
    return type(constant.value) is str


def ranks(engine: Any, column: Column, chosen: Any) -> Any:
    """Where each text stands among those that a column chooses from."""
    order = sorted(c.value for c in column.choices)
    return engine.do(torch.index_select, engine.do(torch.tensor, [order.index(c.value) for c in column.choices]), 0, chosen)


def keys_of(engine: Any, walked: Any, key: Any) -> Grown:
    """What `key` gives for each item."""
    engine.mark_function(comprehend.collect)
    found = comprehend.collect(engine.listed(f"the keys of the sort at {engine.span()}", []), walked, lambda item: (key(item),))
    return found if isinstance(found, Grown) else engine.rows_of(f"the sort at {engine.span()}", found)
