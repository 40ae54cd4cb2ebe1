"""set and frozenset whose elements are numbers known only at run time.

Rows are in the order in which they came. Where a set was only ever added to, one element after another, that tells where Python walks
each: see `hashing`. Any other set's order is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import torch

from dync.capture import comprehend, hashing, keys
from dync.capture.dicts import sequence_of
from dync.capture.forms import LEAF
from dync.capture.keyed import Keyed, negated
from dync.capture.lists import Grown
from dync.capture.views import View, Walk


class KeyedSet(Keyed):
    """A set as rows, whose own order is never shown."""

    __slots__ = ()

    def copy(self) -> Any:
        self.engine.disorder(self.place)
        return super().copy()

    __copy__ = copy

    def drop(self, hit: Any) -> None:
        self.engine.disorder(self.place)
        super().drop(hit)

    def add(self, key: Any) -> None:
        self.put(key)

    def discard(self, key: Any) -> None:
        found, hit = self.find(key)
        if self.engine.truth(found) is not False:
            self.drop(hit)

    def remove(self, key: Any) -> None:
        self.drop(self.remove_or(key, lambda: self.missing(key)))

    # ---- order -----------------------------------------------------------------------------------------------------

    def refuse_order(self, what: str) -> NoReturn:
        self.engine.mark_stack()
        self.engine.without(self.place, "its order is asked for")
        self.engine.refuse("DY316", f"{what} a set of numbers known only at run time", "the order of a set is that of Python's hash table, "
                           "which is known here where integers were added one by one and none was taken out",
                           "walk `sorted(...)` of it, or keep a dict or list")
        raise AssertionError("a refusal raises")

    def in_order(self, what: str = "walking") -> Grown:
        """The elements as Python walks them."""
        rows = self.sequence()
        if self.engine.known_int(self.length) in (0, 1):
            return rows
        if rows.form.structure != LEAF or rows.form.columns[0].kind != "int" or not self.engine.in_order(self.place):
            return self.refuse_order(what)
        hashed = hashing.hashes(self._do, rows.columns[0])
        found, apart = hashing.places(self._do, hashed, self.length)
        order = self._do(torch.argsort, found) if self._do(torch.Tensor.item, apart) else comprehend.hash_order(hashed)
        return rows._like([self._do(torch.index_select, c, 0, order) for c in rows.columns])

    def pop(self) -> Any:
        return self.refuse_order("`pop` of")

    def walk(self) -> Walk:
        return Walk(Ordered(self))

    def at(self, index: Any) -> Any:
        return self.in_order().at(index)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.walk())

    # ---- algebra ---------------------------------------------------------------------------------------------------

    def _columns(self, other: Any) -> list[Any] | None:
        """The elements of another as columns of this one's form; None where it has none."""
        items = sequence_of(sorted(other) if isinstance(other, (set, frozenset)) else other)
        if not isinstance(items, Grown) and not items:
            return None
        return self.formed(items)._columns_of(items)

    def update(self, *others: Any) -> None:
        for other in others:
            if isinstance(other, (Keyed, View)) or isinstance(other, (set, frozenset, dict)) and other:
                self.engine.disorder(self.place)
            columns = self._columns(other)
            if columns is not None and self.rows is not None:
                columns = self.rows._joined([self.rows.columns, columns])
                if self.is_first(other):
                    self.set_columns(columns)
                    continue
                first, _ = keys.first_and_last(self._do, keys.matches(self._do, columns, columns))
                self.set_columns(keys.chosen(self._do, columns, first))

    def _keep(self, other: Any, wanted: bool) -> None:
        """Keeps the elements that are in another, or are not."""
        self.engine.disorder(self.place)
        columns = self._columns(other)
        if columns is None or self.rows is None:
            self.clear() if wanted else None
            return
        marks = keys.inside(self._do, self.rows.columns, columns)
        self.set_columns(keys.chosen(self._do, self.rows.columns, marks if wanted else self._do(torch.logical_not, marks)))

    def intersection_update(self, *others: Any) -> None:
        for other in others:
            self._keep(other, True)

    def difference_update(self, *others: Any) -> None:
        for other in others:
            self._keep(other, False)

    def symmetric_difference_update(self, other: Any) -> None:
        mine, theirs = self.copy(), self.like([] if self.rows is None else self.rows._stretch(0, 0))
        theirs.update(other)
        self.difference_update(theirs)
        theirs.difference_update(mine)
        self.update(theirs)

    def _made(self, how: str, *others: Any) -> Any:
        made = self.copy()
        getattr(made, how)(*others)
        return made

    def union(self, *others: Any) -> Any:
        return self._made("update", *others)

    def intersection(self, *others: Any) -> Any:
        return self._made("intersection_update", *others)

    def difference(self, *others: Any) -> Any:
        return self._made("difference_update", *others)

    def symmetric_difference(self, other: Any) -> Any:
        return self._made("symmetric_difference_update", other)

    def _all_in(self, other: Any) -> Any:
        """Whether each element is in another."""
        columns = self._columns(other)
        if columns is None or self.rows is None:
            return self.length == 0
        return self._do(torch.Tensor.item, self._do(torch.all, keys.inside(self._do, self.rows.columns, columns)))

    def issubset(self, other: Any) -> Any:
        return self._all_in(other)

    def issuperset(self, other: Any) -> Any:
        theirs = self.like([] if self.rows is None else self.rows._stretch(0, 0))
        theirs.update(other)
        return theirs._all_in(self)

    def isdisjoint(self, other: Any) -> Any:
        columns = self._columns(other)
        if columns is None or self.rows is None:
            return True
        return negated(self._do(torch.Tensor.item, self._do(torch.any, keys.inside(self._do, self.rows.columns, columns))))

    def __eq__(self, other: object) -> Any:
        if not is_set(other):
            return False
        return bool(self.length == set_length(other)) and self._all_in(other)

    def __le__(self, other: Any) -> Any:
        return self._all_in(other) if is_set(other) else NotImplemented

    def __lt__(self, other: Any) -> Any:
        return bool(self.length < set_length(other)) and self._all_in(other) if is_set(other) else NotImplemented

    def __ge__(self, other: Any) -> Any:
        return self.issuperset(other) if is_set(other) else NotImplemented

    def __gt__(self, other: Any) -> Any:
        return bool(self.length > set_length(other)) and self.issuperset(other) if is_set(other) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return self._turned("__or__", other)

    def __rand__(self, other: Any) -> Any:
        return self._turned("__and__", other)

    def __rsub__(self, other: Any) -> Any:
        return self._turned("__sub__", other)

    def __rxor__(self, other: Any) -> Any:
        return self._turned("__xor__", other)

    def _turned(self, operator: str, other: Any) -> Any:
        return getattr(self.engine.plain_operand(other, self), operator)(self) if is_set(other) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


class Ordered(View):
    """What a walk over a set shows."""

    __slots__ = ("rows",)
    KIND = "Set"

    def __init__(self, of: KeyedSet) -> None:
        super().__init__(of, "keys")
        self.rows = of.in_order()

    def sequence(self, kind: str = "list") -> Grown:
        return self.rows.converted(kind)


def is_set(x: object) -> bool:
    return isinstance(x, (set, frozenset, KeyedSet)) or isinstance(x, View) and x.part == "keys"


def set_length(x: Any) -> Any:
    return len(x) if isinstance(x, (set, frozenset)) else x.length


def _operator(how: str) -> Any:
    return lambda self, other: self._made(how, other) if is_set(other) else NotImplemented


def _in_place(how: str) -> Any:
    def operate(self: KeyedSet, other: Any) -> Any:
        if not is_set(other):
            return NotImplemented
        if self.kind == "frozenset":
            return self._made(how, other)
        getattr(self, how)(other)
        return self

    return operate


for _name, _how in {"or": "update", "and": "intersection_update", "sub": "difference_update", "xor": "symmetric_difference_update"}.items():
    setattr(KeyedSet, f"__{_name}__", _operator(_how))
    setattr(KeyedSet, f"__i{_name}__", _in_place(_how))

__all__ = ["KeyedSet"]
