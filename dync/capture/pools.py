"""Objects and lists that stand in lists, dicts and objects of unknown length: each is a row of a pool, and the row's number is what it is.

A list of unknown length holds its items' values. An object, or a list in a list, has a value that changes and may be held in several
places: so the objects of a class that such a list holds are, from the next attempt on, rows from their birth. The pool has a column for
each attribute, and all who hold an object hold its number. Lists in one place are rows too, of a pool in which items of all of them lie
one after another. Rows are taken out only when a call ends; see kept.py.
"""

from __future__ import annotations

import copy
import dataclasses
import dis
import functools
import gc
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import nn

from dync.capture.container_rows import ContainerRow, container_row_class
from dync.capture.dict_rows import DictRow, Young, dict_pool, has_names
from dync.capture.forms import LEAF, Column, Form, NotUniform, cells_of, common, form_of, leaf_count, may_lack, put_together, taken_apart
from dync.capture.growing import NOT_MADE, Growing
from dync.capture.image import pool_of, row_of
from dync.capture.list_rows import ListRow, agree, can_be_row, kinds_in, list_pool
from dync.capture.lists import KINDS, Grown, kind_of
from dync.capture.places import can_mark
from dync.capture.scalars import scalar_of
from dync.capture.tape import of_model
from dync.capture.templates import kept
from dync.capture.text import SymText
from dync.ir.classes import loaded_class
from dync.ir.flow import MISFIT

OBJECTS_OWN = ("__getattribute__", "__getattr__", "__setattr__", "__delattr__", "__new__", "__del__", "__reduce_ex__", "__reduce__")
"""Methods that say how an object holds what it holds: a class that has its own is left alone."""


def pool_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def can_be_rows(cls: type) -> bool:
    """Whether objects of a class are their attributes alone, in a dict."""
    frozen = dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    own = {m for m in OBJECTS_OWN if getattr(cls, m, None) is not getattr(object, m, None)}
    if own - ({"__setattr__", "__delattr__"} if frozen else set()) or issubclass(cls, (type, BaseException, nn.Module)):
        return False
    plain = all("__slots__" not in vars(c) for c in cls.__mro__[:-1]) and cls.__dictoffset__ != 0
    users = isinstance(cls.__init__, types.FunctionType) and all(isinstance(c, type) and c.__flags__ & (1 << 9) for c in cls.__mro__[:-1])
    return plain and users and loaded_class(pool_name(cls)) is cls and not cls.__module__.startswith(("dync.", "torch."))


class Pooling(Growing):
    """Makes rows of objects and lists where they were found to be needed."""

    pooled: dict[str, type]
    """Pool → the class whose objects it has."""
    attribute_names: dict[str, tuple[str, ...]]
    """Pool → the attributes of its objects, in order."""
    kept_lists: set[str]
    """Pools of lists."""
    lent: list[Grown] | None = None
    """While a form is learnt: lists that pass for rows of a pool, of which some are another path's."""
    same_pool: dict[str, str]
    """Pool of lists that were found to stand in another one's places too → that other one."""
    pools: dict[str, Grown]
    """The rows of each, in this run."""
    segments: dict[Any, Any]
    """What was read of rows in this run."""
    row_classes: dict[str, type]
    dict_births: set[str]
    """Places of birth of dicts that are rows; and pools, for all dicts with their keys."""
    young_births: set[str]
    """Those of dicts that get keys before they are rows."""
    list_births: set[str]
    """Places of birth of lists of several kinds of things that are rows."""
    list_pools: dict[tuple[str, ...], str]
    """What stands in their places → their pool."""

    # ---- learning --------------------------------------------------------------------------------------------------

    def learn(self, key: str, kind: str, items: tuple[Any, ...]) -> bool:
        outer, self.lent = self.lent, []
        try:
            for item in items:
                self.adopted(f"{key}[]", item)
            return super().learn(key, kind, items)
        except NotUniform as error:
            return self.unlearnt(key, kind, error)
        finally:
            for x in self.lent:
                x.dync_pool = ""
            self.lent = outer

    def adopted(self, place: str, x: Any) -> Any:
        """An item that a list or an attribute takes: what has rows of its own stands in them now. Raises NotUniform where it cannot."""
        if isinstance(x, tuple) and not isinstance(x, torch.Size):
            for n, part in enumerate(x):
                self.adopted(f"{place}[{n}]", part)
        elif isinstance(x, Grown):
            self.take_in(place, x)
        elif type(x) in KINDS:
            self.learn_list(x)
        elif type(x) is Young:
            self.adopt_young(x)
        elif has_names(x):
            self.learn_dict(x)
        elif type(x) is SymText:
            taken_apart(x)
        else:
            try:
                taken_apart(x)
            except NotUniform:
                self.learn_class(x)
        return x

    def form(self, kind: str, items: tuple[Any, ...]) -> Form:
        try:
            return super().form(kind, items)
        except NotUniform:
            for item in items[1:]:
                self.join_pools(super().form(kind, items[:1]), super().form(kind, (item,)))
            raise

    def widen(self, key: str, form: Form, other: str = "") -> NoReturn:
        mine = self.grown[key]
        assert mine is not None
        self.join_pools(mine, form)
        super().widen(key, form, other)

    def give_up(self, key: str, reason: str) -> NoReturn:
        """What holds lists of a pool that cannot be is learnt anew, without it."""
        holders = [k for k, form in self.grown.items() if form is not None and any(c.pool == key for c in form.columns)]
        for k in holders:
            if k not in self.pooled:
                del self.grown[k]
        super().give_up(key, reason)

    def join_pools(self, a: Form, b: Form) -> None:
        """Lists of one place stand in one pool: where two forms differ in their pools of lists, these become one, and it is learnt anew."""
        if a.structure != b.structure:
            return
        pairs = zip(a.columns, b.columns, strict=True) if len(a.columns) == len(b.columns) else ()
        fresh = False
        for gone, stays in ((x.pool, y.pool) for x, y in pairs):
            x, y = self.grown.get(gone), self.grown.get(stays)
            if gone == stays or not {gone, stays} <= self.kept_lists or x is None or y is None or x.kind != y.kind:
                continue
            try:
                self.grown[stays] = common(y, x) if x.columns and y.columns else y if y.columns else x
            except NotUniform:
                continue
            fresh = True
            self.same_pool[gone] = stays
            self.kept_lists.discard(gone)
            del self.grown[gone]
            for key, form in self.grown.items():
                if form is not None and any(c.pool == gone for c in form.columns):
                    columns = tuple(replace(c, kind=f"pointer:{stays}") if c.pool == gone else c for c in form.columns)
                    self.grown[key] = Form(form.kind, form.structure, columns)
        if fresh:
            self.start_again()

    def learn_list(self, x: Any) -> None:
        """A list of Python's that is to stand in a pool is one of unknown length from its birth."""
        key = self.born[id(x)][0] if id(x) in self.born else ""
        reason = self.ungrown.get(key, "") if key else f"it holds a {type(x).__name__} {NOT_MADE}"
        if not reason and not x:
            self.grown[key] = Form(kind_of(x), LEAF, ())
        elif reason or not self.learn(key, kind_of(x), tuple(x)):
            self.learn_list_row(key, x, reason or self.ungrown[key])
        self.start_again()

    def learn_list_row(self, key: str, x: Any, reason: str) -> None:
        """Lists born where this one was are rows from their birth; where that is not known, all that agree. reason: why it is no Grown."""
        kinds = kinds_in(x)
        pool = self.pool_of_lists(kinds)
        born = key or pool
        if type(x) is not list or not can_be_row(kinds, not key) or pool in self.ungrown or born in self.list_births:
            raise NotUniform(self.ungrown.get(pool, reason))
        self.list_births.add(born)
        self.mark_comparing()

    def listed(self, key: str, value: Any) -> Any:
        made = super().listed(key, value)
        if not self.list_births or type(made) is not list:
            return made
        kinds = kinds_in(made)
        born = can_be_row(kinds, key not in self.list_births) and not self.list_births.isdisjoint((key, self.pool_of_lists(kinds)))
        return self.list_row(made) if born else made

    def pool_of_lists(self, kinds: tuple[str, ...]) -> str:
        """The pool of lists of several kinds of things: that of the first ones met that agree."""
        return next((pool for own, pool in self.list_pools.items() if agree(own, kinds)), "") \
            or self.list_pools.setdefault(kinds, list_pool(kinds))

    def list_row(self, held: list[Any]) -> Any:
        """A list of several kinds of things as a row."""
        pool = self.pool_of_lists(kinds_in(held))
        numbered = {str(n): x for n, x in enumerate(held)}
        return held if pool in self.ungrown else self.row_at(pool, self.container_row(pool, ListRow, numbered))

    def learn_dict(self, x: dict[str, Any]) -> None:
        """Dicts made where this one was are rows from their birth; where that is not known, as in another call, all with these keys."""
        pool = dict_pool(tuple(x))
        made = self.born[id(x)][0] if id(x) in self.born else pool
        if pool in self.ungrown or made == pool and made in self.dict_births:
            raise NotUniform(self.ungrown.get(pool, "it holds a dict that is not made in forward"))
        self.mark_comparing()
        (self.young_births if made in self.dict_births else self.dict_births).add(made)
        self.start_again()

    def adopt_young(self, x: Young) -> None:
        held = x.dync_held()
        pool = dict_pool(tuple(held))
        if pool in self.ungrown or not has_names(held):
            raise NotUniform(self.ungrown.get(pool, "it holds a dict without keys, or with others than texts"))
        row = self.container_row(pool, DictRow, held)
        x.grow_up(self.row_classes[pool], row)

    def as_dict_row(self, place: str, x: Any) -> Any:
        """A dict just made by the user's code."""
        if place in self.young_births:
            return Young(x)
        return self.dict_row(x) if has_names(x) and not self.dict_births.isdisjoint((place, dict_pool(tuple(x)))) else x

    def dict_row(self, held: dict[str, Any]) -> Any:
        """A dict as a row."""
        pool = dict_pool(tuple(held))
        return held if pool in self.ungrown else self.row_at(pool, self.container_row(pool, DictRow, held))

    def container_row(self, pool: str, base: type[ContainerRow], held: dict[str, Any]) -> Any:
        """Puts what a dict or list holds into its pool; the row's number."""
        names = tuple(held)
        self.pooled[pool], self.attribute_names[pool] = base.dync_kind, names
        return self.new_row(pool, lambda: container_row_class(base, self, pool, names), held)

    def learn_class(self, x: Any) -> None:
        cls, pool = type(x), pool_name(type(x))
        if not can_be_rows(cls):
            raise NotUniform(f"it holds a {cls.__name__}")
        if pool in self.ungrown or pool in self.pooled:
            raise NotUniform(self.ungrown.get(pool, f"it holds a {cls.__name__} that is not made in forward by calling the class"))
        self.watch(cls)
        self.mark_comparing()
        self.pooled[pool] = cls
        self.patch(cls, "__init__", pooling(self, cls, pool))
        self.start_again()

    def mark_comparing(self) -> None:
        """Marks the functions that ask `is` of more than None: what one row is, is one object."""
        files = {code.co_filename for code in self.tried}
        found = {f.__code__ for f in gc.get_objects() if type(f) is types.FunctionType and f.__code__.co_filename in files}
        fresh = {c for c in found if c not in self.tried and can_mark(c) and not self.is_marked(c)
                 and any(i.opname == "IS_OP" for i in dis.get_instructions(c))}
        if fresh:
            self.rewrite(fresh)
            self.start_again()

    def form_list(self, grown: Grown, item: Any) -> None:
        """The first item that a list takes tells their form."""
        form = form_of(self, grown.form.kind, (item,))
        self.grown[grown.key] = Form(grown.form.kind, form.structure, form.columns)
        self.start_again()

    def default_of(self, place: str, factory: Any) -> Any:
        """What the factory of a defaultdict that was born at a place makes."""
        made = factory()
        return self.listed(f"{place} default", made) if type(made) in KINDS and id(made) not in self.born else made

    # ---- rows ------------------------------------------------------------------------------------------------------

    def open_pools(self) -> None:
        """Makes the pools of this run, with no rows in them."""
        for pool in sorted({*self.pooled, *self.kept_lists}):
            form = self.grown.get(pool)
            if form is not None and form.columns and pool not in self.pools:
                self.pools[pool] = self.grow(pool, form if pool in self.pooled else rows_form(form), ())

    def take_in(self, pool: str, x: Grown) -> None:
        """Puts a list into the pool of the place that takes it; one that stands in another place already stays where it is."""
        if x.dync_pool:
            return
        while pool in self.same_pool:
            pool = self.same_pool[pool]
        if pool in self.ungrown:
            raise NotUniform(self.ungrown[pool])
        inner = self.grown.get(pool)
        if ":" in x.form.kind:
            raise NotUniform("it holds deques with a `maxlen`")
        if any(c.ragged is not None for c in x.form.columns):
            raise NotUniform("it holds lists of tensors of several sizes")
        if may_lack(x.form.structure):
            raise NotUniform("it holds lists of tensors or numbers, or None")
        if inner is None:
            self.kept_lists.add(pool)
            inner = self.grown[pool] = x.form
            if x.form.columns:
                self.start_again()
        if inner.kind != x.form.kind:
            raise NotUniform(f"it holds a {x.form.kind} beside a {inner.kind}")
        if (inner.structure, inner.columns) != (x.form.structure, x.form.columns):
            self.widen(pool, x.form, x.key if x.key in self.grown else "")
        if self.lent is not None:
            x.dync_pool = pool
            self.lent.append(x)
            return
        row = self.add_row(self.pools[pool], [c for part in x.own for c in (part, self.one_number(part.shape[0]))]) if inner.columns else 0
        x.key, x.dync_pool, x.dync_row, x.own = pool, pool, row, []

    def add_row(self, rows: Grown, cells: list[Any]) -> Any:
        """Puts a row behind the others; its number."""
        n = rows.length
        rows.replace(rows._joined([rows.columns, cells]))
        return n

    def one_number(self, n: Any) -> Any:
        return self.do(torch.full, (1,), n, dtype=torch.int64)

    def row_at(self, pool: str, row: Any) -> Any:
        """The object, or list, in a row."""
        if pool in self.pooled:
            made = object.__new__(self.row_classes[pool])
            object.__setattr__(made, "dync_row", row)
            return made
        form = self.grown[pool]
        assert form is not None
        found = Grown(self, pool, form, [])
        found.dync_pool, found.dync_row = pool, row
        return found

    def same_row(self, pool: str) -> bool:
        """Whether objects of a pool are equal where they are one."""
        return pool in self.pooled and self.pooled[pool].__eq__ is object.__eq__

    def is_row(self, a: Any, b: Any) -> bool:
        """Whether two rows of one pool are the same."""
        return bool(row_of(a) == row_of(b))

    # ---- cells -----------------------------------------------------------------------------------------------------

    def read_once(self, what: str, tensors: list[Any], row: Any, read: Callable[[], Any]) -> Any:
        """What was read of a row, once on a path: what is not written is the same wherever it is read. It is no constant: paths join."""
        own = (what, *map(id, tensors), scalar_of(row))
        found = next((self.segments[r, own] for r in self.rec.chain() if (r, own) in self.segments), None)
        if found is None:
            found = self.segments[self.rec, own] = (tensors, read())
        return found[1]

    def bounds_of(self, sizes: Any, row: Any) -> tuple[Any, Any, Any]:
        """Of a row's items among those of all rows: how many lie before, how many it has, how many lie behind."""
        def read() -> tuple[Any, Any, Any]:
            numbers = self.do(torch.arange, sizes.shape[0])
            marks = [self.do(f, numbers, row) for f in (torch.lt, torch.eq, torch.gt)]
            sums = [self.do(torch.sum, self.do(torch.mul, sizes, self.do(torch.Tensor.to, m, torch.int64))) for m in marks]
            before, own, behind = (self.at_least(self.do(torch.Tensor.item, s), 0) for s in sums)
            return before, own, behind

        return self.read_once("bounds", [sizes], row, read)

    def stretch_of(self, flat: Any, start: Any, size: Any) -> Any:
        places = self.do(torch.add, self.do(torch.arange, size), start)
        return self.do(torch.index_select, flat, 0, places)

    def cell_at(self, column: Column, tensors: list[Any], row: Any) -> Any:
        """A cell as a tensor."""
        def read() -> Any:
            if column.ragged is None:
                return self.do(torch.select, self.do(torch.index_select, tensors[0], 0, self.one_number(row)), 0, 0)
            start, size, _ = self.bounds_of(tensors[1], row)
            found = self.stretch_of(tensors[0], start, size)
            moved = self.do(torch.movedim, found, 0, column.ragged) if column.ragged else found
            return self.do(torch.Tensor.contiguous, moved) if column.ragged else found

        return self.read_once("cell", tensors, row, read)

    def with_cell(self, column: Column, tensors: list[Any], row: Any, cells: list[Any]) -> list[Any]:
        """A column with another cell in a row."""
        def chosen(x: Any, new: Any) -> Any:
            marks = self.do(torch.eq, self.do(torch.arange, x.shape[0]), row)
            for _ in range(x.dim() - 1):
                marks = self.do(torch.unsqueeze, marks, -1)
            return self.do(torch.where, marks, new, x)

        if column.ragged is None:
            return [chosen(tensors[0], cells[0])]
        flat, sizes = tensors
        start, size, rest = self.bounds_of(sizes, row)
        parts = [self.stretch_of(flat, 0, start), cells[0], self.stretch_of(flat, start + size, rest)]
        return [self.do(torch.cat, parts), chosen(sizes, cells[1])]

    def pooled_columns(self, x: Grown) -> list[Any]:
        """The columns of a list in a pool."""
        return [self.cell_at(column, tensors, x.dync_row) for column, tensors in self.pools[x.dync_pool]._pairs()]

    def put_pooled(self, x: Grown, columns: list[Any]) -> None:
        rows = self.pools[x.dync_pool]
        new = [self.with_cell(column, tensors, x.dync_row, [part, self.one_number(part.shape[0])])
               for (column, tensors), part in zip(rows._pairs(), columns, strict=True)]
        rows.replace([t for tensors in new for t in tensors])

    def gathered(self, pool: str, numbers: Any) -> Iterator[tuple[Column, list[Any]]]:
        """The columns of a pool, of the rows with these numbers."""
        return self.rows_at(self.pools[pool]._pairs(), numbers)

    def rows_at(self, pairs: Iterator[tuple[Column, list[Any]]], numbers: Any) -> Iterator[tuple[Column, list[Any]]]:
        """Columns with their tensors, of the rows with these numbers."""
        for column, tensors in pairs:
            if column.ragged is None:
                yield column, [self.do(torch.index_select, tensors[0], 0, numbers)]
                continue
            flat, sizes = tensors
            starts = self.do(torch.sub, self.do(torch.cumsum, sizes, 0), sizes)
            mine, begun = (self.do(torch.index_select, t, 0, numbers) for t in (sizes, starts))
            total = self.at_least(self.do(torch.Tensor.item, self.do(torch.sum, mine)), 0)
            shifts = self.do(torch.sub, begun, self.do(torch.sub, self.do(torch.cumsum, mine, 0), mine))
            places = self.do(torch.repeat_interleave, shifts, mine, output_size=total)
            places = self.do(torch.add, places, self.do(torch.arange, total))
            yield column, [self.do(torch.index_select, flat, 0, places), mine]

    def numbers_in(self, pool: str, rows: Any) -> Any:
        """The numbers in lists of one length, one after another, as a tensor [lists, length, ...]."""
        form = self.grown[pool]
        if pool in self.pooled or form is None:
            return self.pools[pool].refuse("torch.tensor of objects")
        parts = [tensors for _, tensors in self.gathered(pool, rows)]
        size = self.at_least(self.do(torch.Tensor.item, self.do(torch.select, parts[0][1], 0, 0)), 0) if parts else 0
        if size == 0:
            return self.do(torch.zeros, (rows.shape[0], 0), dtype=torch.float64)
        if self.do(torch.Tensor.item, self.do(torch.any, self.do(torch.ne, parts[0][1], size))):
            raise of_model(ValueError(f"{MISFIT}: torch.tensor of lists of several lengths"))
        flat = Grown(self, pool, form, [tensors[0] for tensors in parts]).numbers()
        return self.do(torch.reshape, flat, (rows.shape[0], size, *flat.shape[1:]))

    # ---- objects ---------------------------------------------------------------------------------------------------

    def pool_object(self, pool: str, x: Any) -> None:
        """An object of a class that has rows was just made: it is one."""
        if pool in self.ungrown or self.finished or not self.activations:
            return
        held = dict(vars(x))
        if self.attribute_names.setdefault(pool, tuple(held)) != tuple(held):
            self.give_up(pool, f"objects of {type(x).__name__} have several sets of attributes")
        row = self.new_row(pool, lambda: row_class(self, type(x), pool, tuple(held)), held)
        vars(x).clear()
        object.__setattr__(x, "dync_row", row)
        object.__setattr__(x, "__class__", self.row_classes[pool])

    def new_row(self, pool: str, made: Callable[[], type], held: dict[str, Any]) -> Any:
        """Puts what an object or dict holds into its pool; the row's number. The first one tells the form. made: makes the rows' class."""
        if pool not in self.row_classes:
            self.row_classes[pool] = made()
        try:
            columns = form.columns if (form := self.grown.get(pool)) is not None else ()
            values = tuple(self.adopted(f"{pool}.{name}", kept(self, v, columns)) for name, v in held.items())
            if self.grown.get(pool) is None:
                self.grown[pool] = form_of(self, "list", (values,))
                self.start_again()
        except NotUniform as error:
            self.give_up(pool, str(error))
        rows = self.pools[pool]
        return self.add_row(rows, rows._row(values))

    def deep_copied(self, x: Any, memo: Any) -> dict[str, Any]:
        """Copies of what an object or dict holds. Starts over where two of them might hold one thing."""
        inner = [c.pool for c in self.pools[pool_of(x)].form.columns if c.pool]
        if len({*inner}) < len(inner) or any(p in self.pooled for p in inner):
            x.dync_give_up(f"a deep copy of a {self.pooled[pool_of(x)].__name__} that holds objects, or two lists")
        return {name: copy.deepcopy(v, memo) for name, v in x.dync_held().items()}

    def attribute_at(self, pool: str, n: int) -> tuple[Any, list[tuple[Column, list[Any]]], int]:
        """The structure of an attribute, its columns, and how many columns stand before."""
        rows = self.pools[pool]
        parts = rows.form.structure[1]
        start = sum(map(leaf_count, parts[:n]))
        return parts[n], list(rows._pairs())[start:start + leaf_count(parts[n])], start

    def read_field(self, pool: str, row: Any, n: int) -> Any:
        structure, columns, _ = self.attribute_at(pool, n)
        rows = self.pools[pool]

        def cell(column: Column, tensors: list[Any]) -> Any:
            return rows.decoded(column, tensors, row, lambda: self.cell_at(column, tensors, row))

        return put_together(structure, (functools.partial(cell, *pair) for pair in columns))

    def write_field(self, pool: str, row: Any, n: int, value: Any) -> None:
        structure, columns, start = self.attribute_at(pool, n)
        rows, own = self.pools[pool], tuple(c for c, _ in columns)
        mine = Form("list", structure, own)
        try:
            value = self.adopted(f"{pool}.{self.attribute_names[pool][n]}", kept(self, value, own))
            found = common(mine, form_of(self, "list", (value,)))
        except NotUniform as error:
            self.give_up(pool, str(error))
        if found != mine:
            cls, parts = rows.form.structure
            before, after = rows.form.columns[:start], rows.form.columns[start + len(own):]
            self.grown[pool] = Form("list", (cls, (*parts[:n], found.structure, *parts[n + 1:])), (*before, *found.columns, *after))
            self.start_again()
        leaves = zip(columns, cells_of(mine, value), strict=True)
        new = [self.with_cell(c, tensors, row, rows._cells(c, leaf)) for (c, tensors), leaf in leaves]
        every = [tensors for _, tensors in rows._pairs()]
        every[start:start + len(own)] = new
        rows.replace([t for tensors in every for t in tensors])


def rows_form(inner: Form) -> Form:
    """The form of a pool of lists: a list is a row of stretches, one for each of its columns."""
    columns = tuple(Column("tensor", c.dtype, c.device, (None, *c.shape)) for c in inner.columns)
    return Form("list", (tuple, (LEAF,) * len(columns)), columns)


def pooling(engine: Any, cls: type, pool: str) -> Any:
    """The constructor of a class whose objects are rows."""
    made: Any = cls.__init__

    @functools.wraps(made)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        if type(self) is cls:
            engine.pool_object(pool, self)

    return init


def row_class(engine: Any, cls: type, pool: str, names: tuple[str, ...]) -> type:
    """The class of objects that are rows: one of the user's objects in all that its code asks."""
    def attribute(n: int) -> property:
        return property(lambda self: engine.read_field(pool, row_of(self), n),
                        lambda self, value: engine.write_field(pool, row_of(self), n, value))

    def refuse(what: str) -> Callable[..., Any]:
        return lambda self, *_: engine.give_up(pool, f"{what} of a {cls.__name__}")

    def put(self: Any, name: str, value: Any) -> None:
        if not isinstance(getattr(type(self), name, None), property):
            engine.give_up(pool, f"objects of {cls.__name__} get an attribute {name!r} later")
        object.__setattr__(self, name, value)

    def made_of(held: dict[str, Any]) -> Any:
        made = object.__new__(cls)
        for name, value in held.items():
            object.__setattr__(made, name, value)
        engine.pool_object(pool, made)
        return made

    body: dict[str, Any] = {name: attribute(n) for n, name in enumerate(names)}
    body |= {"dync_pool": pool, "dync_at": lambda self, row: engine.row_at(pool, row), "dync_names": names, "dync_engine": engine,
             "dync_held": lambda self: {name: getattr(self, name) for name in names},
             "dync_give_up": lambda self, reason: engine.give_up(pool, reason),
             "__module__": cls.__module__, "__qualname__": cls.__qualname__, "__slots__": (),
             "__class__": property(lambda self: cls), "__dict__": property(refuse("the `__dict__`")),
             "__delattr__": refuse("an attribute is taken out"),
             "__reduce_ex__": refuse("a copy")}
    own = {"__copy__": lambda self: made_of(self.dync_held()), "__deepcopy__": lambda self, memo: made_of(engine.deep_copied(self, memo))}
    body |= {name: function for name, function in own.items() if not hasattr(cls, name)}
    if cls.__setattr__ is object.__setattr__:
        body["__setattr__"] = put
    if cls.__eq__ is object.__eq__:
        body["__eq__"] = lambda self, other: engine.is_row(self, other) if pool_of(other) == pool else NotImplemented
        body["__hash__"] = refuse("a hash")
    elif dataclasses.is_dataclass(cls) and cls.__dataclass_params__.eq:  # type: ignore[attr-defined]
        def equal(self: Any, other: Any) -> Any:
            """By fields, of which Python takes those for equal that are one object: on columns that shows of the whole alone."""
            if pool_of(other) == pool:
                if engine.is_row(self, other):
                    return True
                if any(c.kind == "tensor" or c.pool for c in engine.pools[pool].form.columns):
                    engine.give_up(pool, f"a comparison of a {cls.__name__}")
            return cls.__eq__(self, other)

        body["__eq__"], body["__hash__"] = equal, cls.__hash__
    return type(cls.__name__, (cls,), body)
