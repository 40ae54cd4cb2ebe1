"""dict, OrderedDict, defaultdict and Counter whose keys are numbers known only at run time."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch

from dync.capture import keys
from dync.capture.forms import LEAF, Column, put_together
from dync.capture.keyed import Keyed, key_of
from dync.capture.lists import Grown
from dync.capture.sorting import arranged
from dync.capture.tape import of_model
from dync.capture.views import View

NOTHING = object()
PURE = (int, float, bool)
"""Factories that give the same number each time."""


class KeyedDict(Keyed):
    """A dict as rows of keys and values, in the order in which the keys came."""

    __slots__ = ()

    # ---- values ----------------------------------------------------------------------------------------------------

    def value(self, hit: Any) -> Any:
        """The value in the row that is marked."""
        place = self.engine.read_once("place", [hit], 0, lambda: keys.place(self._do, hit))
        return self._picked(self._values(), place)

    def _values(self) -> list[Any]:
        assert self.rows is not None
        return self.rows.columns[self.width:]

    def _picked(self, columns: list[Any], number: Any) -> Any:
        """The value in row `number`, an int64 tensor."""
        assert self.rows is not None
        at, rows = self._do(torch.unsqueeze, number, 0), self.rows

        def cell(form: Column, column: Any) -> Any:
            return rows.decoded(form, [column, number], 0, lambda: self._do(
                torch.select, self._do(torch.index_select, column, 0, at), 0, 0))

        pairs = zip(rows.form.columns[self.width:], columns, strict=True)
        return put_together(rows.form.structure[1][1], (functools.partial(cell, *pair) for pair in pairs))

    def _is_alike(self, value: Any) -> bool:
        """Whether a value is a number of the one kind that the dict holds."""
        if self.rows is None or self.rows.form.structure[1][1] != LEAF:
            return False
        kind = self.rows.form.columns[-1].kind
        return type(value).__name__ == kind or isinstance(value, {"int": torch.SymInt, "float": torch.SymFloat}.get(kind, torch.SymBool))

    def get(self, key: Any, default: Any = None) -> Any:
        found, hit = self.find(key)
        known = self.engine.truth(found)
        if known is None and self._is_alike(default):
            row = self.rows._cells(self.rows.form.columns[-1], default)[0]  # type: ignore[union-attr]
            absent = self._do(torch.unsqueeze, self._do(torch.logical_not, self._do(torch.any, hit)), 0)
            marks = self._do(torch.cat, [hit, absent])
            return self._picked([self._do(torch.cat, [self._values()[0], row])], keys.place(self._do, marks))
        return self.value(hit) if found else default

    def __getitem__(self, key: Any) -> Any:
        if self.kind == "Counter":
            return self.get(key, 0)
        if self.default is not None:
            return self._found_or_made(key)
        return self.value(self.remove_or(key, lambda: self.missing(key)))

    def _found_or_made(self, key: Any) -> Any:
        """`d[key]` of a defaultdict, which puts a default where there is none."""
        found, hit = self.find(key)
        if self.default in PURE and (self.rows is None or self._is_alike(self.default())):
            return self._with(key, self.default(), found, hit)
        return self.value(hit) if found else self._with(key, self.engine.default_of(self.place, self.default), False, hit)

    def _with(self, key: Any, value: Any, found: Any, hit: Any) -> Any:
        """The value of a key, which is put there now where it is missing."""
        key = self.fitted(key, key_of(self.rows.form)) if self.rows is not None else key
        rows, known = self.formed(((key, value),)), self.engine.truth(found)
        if known is not True:
            row = rows._row((key, value))
            if known is None:
                fresh = self.engine.fresh(hit)
                row = [self._do(torch.narrow, c, 0, 0, fresh) for c in row]
            self.append(row, rows.columns, key)
        return self.value(self.find(key)[1]) if known is not False else value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        found, hit = self.find(key)
        if self._is_alike(default):
            return self._with(key, default, found, hit)
        return self.value(hit) if found else self._with(key, default, False, hit)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.put(key, value)

    def __delitem__(self, key: Any) -> None:
        if self.kind == "Counter":
            found, hit = self.find(key)
            if found:
                self.drop(hit)
        else:
            self.drop(self.remove_or(key, lambda: self.missing(key)))

    def pop(self, key: Any, default: Any = NOTHING) -> Any:
        found, hit = self.find(key)
        if not found:
            return self.missing(key) if default is NOTHING else default
        value = self.value(hit)
        self.drop(hit)
        return value

    def popitem(self, last: bool = True) -> Any:
        if not self:
            text = "dictionary is empty" if self.kind == "OrderedDict" else "popitem(): dictionary is empty"
            raise of_model(KeyError(text))
        assert self.rows is not None
        n = self.length
        at = n - 1 if last else 0
        item = self.rows.at(at)
        self.set_columns(self.rows._stretch(0, n - 1) if last else self.rows._stretch(1, n))
        return item

    def move_to_end(self, key: Any, last: bool = True) -> None:
        hit = self.remove_or(key, lambda: self.missing(key))
        assert self.rows is not None
        one, rest = (keys.chosen(self._do, self.rows.columns, marks) for marks in (hit, self._do(torch.logical_not, hit)))
        self.set_columns(self.rows._joined([rest, one] if last else [one, rest]))

    # ---- views -----------------------------------------------------------------------------------------------------

    def keys(self) -> View:
        return View(self, "keys")

    def values(self) -> View:
        return View(self, "values")

    def items(self) -> View:
        return View(self, "items")

    def walk(self) -> Any:
        return self.keys().walk()

    def at(self, index: Any) -> Any:
        return self.keys().at(index)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    # ---- many at once ----------------------------------------------------------------------------------------------

    def update(self, other: Any = (), **more: Any) -> None:
        if more:
            self.refuse("names as keys")
        if self.kind == "Counter":
            return self.count(other, 1)
        self.merge(other)

    def merge(self, other: Any) -> None:
        """Takes the items of another: a key that is there keeps its place, and takes the last value."""
        items = pairs_of(other)
        if isinstance(items, (list, tuple)) and len(items) < 2:
            for key, value in items:
                self[key] = value
            return
        columns = self._appended(items)
        if columns is None:
            return
        if self.is_first(other):
            self.set_columns(columns)
            return
        first, last = keys.first_and_last(self._do, keys.matches(self._do, columns[:self.width], columns[:self.width]))
        values = [self._do(torch.index_select, c, 0, last) for c in columns[self.width:]]
        self.set_columns(keys.chosen(self._do, [*columns[:self.width], *values], first))

    def _appended(self, items: Any) -> list[Any] | None:
        """The columns with those of other items after them, keys twice perhaps; None where there is nothing to add."""
        if not isinstance(items, Grown) and not items:
            return None
        rows = self.formed(items)
        return rows._joined([rows.columns, rows._columns_of(items)])

    def count(self, other: Any, sign: int) -> None:
        """Counter's update and subtract."""
        if isinstance(other, (dict, KeyedDict)):
            items = pairs_of(other)
            if not isinstance(items, Grown):
                items = [(k, v * sign) for k, v in items]
            elif sign < 0:
                return self.refuse("`subtract` of another dict")
        else:
            items = ones(self, sequence_of(other), sign)
        columns = self._appended(items)
        if columns is None:
            return
        equal = keys.matches(self._do, columns[:self.width], columns[:self.width])
        first, _ = keys.first_and_last(self._do, equal)
        counts = self._do(torch.sum, self._do(torch.mul, self._do(torch.Tensor.to, equal, columns[-1].dtype), columns[-1]), 1)
        if self.rows is not None and self.rows.form.columns[-1].kind != "int":
            self.refuse("adding counts that are not integers")
        self.set_columns(keys.chosen(self._do, [*columns[:self.width], counts], first))

    def subtract(self, other: Any = ()) -> None:
        self.count(other, -1)

    def most_common(self, n: Any = None) -> Any:
        items = self.items().sequence()
        found = arranged(items, items.columns[-1:], True)
        return found if n is None else found[:n]

    def total(self) -> Any:
        return self.engine.item_of_sum(self.values().sequence())

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, (dict, KeyedDict)):
            return False
        if self.kind == "OrderedDict" or getattr(other, "kind", "") == "OrderedDict" or self.kind == "Counter":
            return self.refuse("a comparison")
        items = pairs_of(other)
        theirs = self.like([] if self.rows is None else self.rows._stretch(0, 0))
        theirs.merge(items)
        if self.rows is None or theirs.rows is None:
            return theirs.length == self.length
        if any(c.kind == "tensor" or c.pool for c in self.rows.form.columns):
            return self.refuse("a comparison")
        return bool(self.length == theirs.length) and self._do(torch.Tensor.item, self._do(torch.all, keys.inside(
            self._do, self.rows.columns, theirs.rows.columns)))

    __hash__ = None  # type: ignore[assignment]

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, (dict, KeyedDict)):
            return NotImplemented
        made = self.copy()
        made.update(other) if self.kind != "Counter" else self.refuse("`|`")
        return made

    def __ror__(self, other: Any) -> Any:
        if not isinstance(other, dict):
            return NotImplemented
        return self.engine.plain_operand(other, self) | self

    def __ior__(self, other: Any) -> Any:
        self.merge(other) if self.kind != "Counter" else self.refuse("`|=`")
        return self

    def _refuse_operator(self, *_: Any) -> Any:
        return self.refuse("an operator")

    __add__ = __sub__ = __and__ = __iadd__ = __isub__ = __iand__ = _refuse_operator

    def __reversed__(self) -> Iterator[Any]:
        return iter(self.sequence().reversed())


def pairs_of(other: Any) -> Any:
    """The items of a dict, or the pairs that it is made of: a Grown, or a list."""
    if isinstance(other, KeyedDict):
        return other.items().sequence() if other.rows is not None else []
    if hasattr(other, "keys") and not isinstance(other, Grown):
        return [(k, other[k]) for k in other.keys()]
    return sequence_of(other)


def sequence_of(items: Any) -> Any:
    """A Grown or Python's list or tuple of what is walked."""
    if isinstance(items, (Keyed, View)):
        return [] if isinstance(items.length, int) and items.length == 0 else items.sequence()
    return items if isinstance(items, (Grown, list, tuple)) else list(items)


def ones(of: KeyedDict, items: Any, sign: int) -> Any:
    """Each item with a count of one."""
    return of.engine.paired_with(items, sign)
