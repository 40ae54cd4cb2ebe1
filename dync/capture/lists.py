"""Lists whose length is known only at run time, as the user's Python sees them.

A list that is found to differ in length where paths join, or from turn to turn of a rolled loop, is from the next attempt on a
`Grown` from its birth. It holds columns in place of items: one tensor for each leaf of an element, row i for item i. So it joins,
is carried by loops, and reaches every host and backend as tensors. Items are values: memory that a list holds is never written.
"""

from __future__ import annotations

import collections
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch

from dync.capture import comprehend
from dync.capture.comprehend import joined
from dync.capture.forms import (
    ABSENT,
    LEAF,
    MAYBE,
    NUMBERS,
    Alike,
    Column,
    Form,
    NotUniform,
    cells_of,
    choice,
    common,
    form_of,
    paired,
    put_together,
)
from dync.capture.image import SYMBOLIC, pool_of, row_of
from dync.capture.places import as_seen, unpacked
from dync.capture.tape import of_model
from dync.capture.templates import kept
from dync.capture.text import BRACKETS, formatted, join
from dync.ir.flow import MISFIT

KINDS: dict[type, str] = {list: "list", tuple: "tuple", collections.deque: "deque"}
CLASSES = {name: cls for cls, name in KINDS.items()}
OF_SETS, OF_PLACES = "a set or dict is made of it", "a tensor is indexed by it"
RATHER_KNOWN = {OF_SETS: 1000, OF_PLACES: 50}
"""Why a list of unknown length is Python's own where it can be, and so often may paths stay apart for one."""


def kind_of(x: Any) -> str:
    """The kind of Python's own list, tuple or deque, "deque:5" with its `maxlen`; "" for anything else."""
    kind, most = KINDS.get(type(x), ""), getattr(x, "maxlen", None)
    return kind if most is None else f"{kind}:{most}"


class Walked:
    """What is walked as a list of unknown length is, and is none: it has `length` and `at`."""

    __slots__ = ()
    length: Any
    at: Any
    sequence: Any


class Grown:
    """A list, tuple or deque of unknown length; what Python's own would do, on columns.

    One that a list or an object of unknown length holds stands in a pool, as row `row` of it, and has no columns of its own.
    No columns at all: one that was never given anything, so that the form of its items is not known yet.
    """

    __slots__ = ("engine", "key", "form", "own", "dync_pool", "dync_row")
    __class__ = as_seen(lambda self: CLASSES[self.kind])  # type: ignore[assignment]

    def __init__(self, engine: Any, key: str, form: Form, columns: list[Any]) -> None:
        self.engine, self.key, self.form, self.own = engine, key, form, columns
        self.dync_pool, self.dync_row = "", 0

    @property
    def columns(self) -> list[Any]:
        if not self.form.columns:
            return []
        return self.own if not self.dync_pool else self.engine.pooled_columns(self)

    @property
    def kind(self) -> str:
        return self.form.kind.partition(":")[0]

    @property
    def maxlen(self) -> int | None:
        if self.kind != "deque":
            raise AttributeError(f"'{self.kind}' object has no attribute 'maxlen'")
        most = self.form.kind.partition(":")[2]
        return int(most) if most else None

    def within(self, columns: list[Any], first: bool = False) -> list[Any]:
        """The last rows of these, or the first, so many as a deque may have."""
        most = self.maxlen if self.kind == "deque" else None
        if most is None:
            return columns
        made = self._like(columns)
        over = torch.sym_max(made.length - most, 0)
        return made._stretch(0, made.length - over) if first else made._stretch(over, made.length)

    def dync_at(self, row: Any) -> Grown:
        """The list in another row of its pool."""
        return self.engine.row_at(self.dync_pool, row)

    def dync_give_up(self, reason: str) -> None:
        self.engine.give_up(self.dync_pool, reason)

    def replace(self, columns: list[Any]) -> None:
        """Makes these the columns."""
        if self.dync_pool and columns:  # none where nothing was ever put into a list of the pool
            self.engine.put_pooled(self, columns)
        else:
            self.own[:] = columns

    # ---- columns ---------------------------------------------------------------------------------------------------

    def _do(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.engine.do(function, *args, **kwargs)

    def _pairs(self) -> Iterator[tuple[Column, list[Any]]]:
        """Each column with its tensors."""
        tensors = iter(self.columns)
        for column in self.form.columns:
            yield column, [next(tensors)] if column.ragged is None else [next(tensors), next(tensors)]

    def _row(self, item: Any) -> list[Any]:
        """An item as a stretch of one row. Starts the capture over where it has another form."""
        form, fits = self.form, True
        try:
            item = self.engine.adopted(f"{self.key}[]", kept(self.engine, item, form.columns))
            if not self.form.columns:
                self.engine.form_list(self, item)
            form = form_of(self.engine, self.form.kind, (item,))
            fits = common(self.form, form) == self.form
        except NotUniform as error:
            self.engine.give_up(self.key, str(error))
        if not fits:
            self.engine.widen(self.key, form)
        return [t for column, leaf in zip(self.form.columns, cells_of(self.form, item)) for t in self._cells(column, leaf)]

    def _cells(self, column: Column, leaf: Any) -> list[Any]:
        if leaf is ABSENT:
            sizes: list[Any] = [s or 0 for s in column.shape]
            first = 1 if column.ragged is None else sizes.pop(column.ragged)
            made = self._do(torch.zeros, (first, *sizes), dtype=column.dtype, device=column.device)
            return [made] if column.ragged is None else [made, self._do(torch.zeros, (1,), dtype=torch.int64)]
        if column.kind != "tensor":
            return [self._do(torch.full, (1,), self.engine.as_int(leaf) if isinstance(leaf, torch.SymBool) else leaf, dtype=column.dtype)]
        self.engine.keep(leaf)
        if column.ragged is None:
            return [self._do(torch.unsqueeze, leaf, 0)]
        return [self._do(torch.movedim, leaf, column.ragged, 0), self._do(torch.full, (1,), leaf.shape[column.ragged], dtype=torch.int64)]

    def _joined(self, parts: list[list[Any]]) -> list[Any]:
        """Stretches one after another."""
        return [self._do(torch.cat, list(column)) if len(parts) > 1 else column[0] for column in zip(*parts)]

    def _offset(self, sizes: Any, row: Any) -> Any:
        """Where row `row` begins."""
        if isinstance(row, int) and row == 0:
            return 0
        found = self._do(torch.Tensor.item, self._do(torch.sum, self._do(torch.narrow, sizes, 0, 0, row)))
        return self.engine.at_least(found, 0)

    def _stretch(self, start: Any, stop: Any) -> list[Any]:
        """The rows from `start` to `stop`, both within bounds."""
        found = []
        for column, tensors in self._pairs():
            if column.ragged is not None:
                first, last = self._offset(tensors[1], start), self._offset(tensors[1], stop)
                found.append(self._do(torch.narrow, tensors[0], 0, first, last - first))
            found.append(self._do(torch.narrow, tensors[-1], 0, start, stop - start))
        return found

    def _like(self, columns: list[Any], kind: str = "") -> Grown:
        return Grown(self.engine, self.key, Form(kind or self.form.kind, self.form.structure, self.form.columns), columns)

    @property
    def length(self) -> Any:
        if not self.form.columns:
            return 0
        return next(self._pairs())[1][-1].shape[0]

    def at(self, index: Any) -> Any:
        """Item `index`, which is within bounds."""
        cells = (functools.partial(self._cell, column, tensors, index) for column, tensors in self._pairs())
        return put_together(self.form.structure, cells)

    def put(self, index: Any, item: Any) -> None:
        """Puts an item in the place of item `index`, which is within bounds: the list stays as long as it was."""
        cells = iter(self._row(item))
        mine = [(column, tensors, [next(cells) for _ in tensors]) for column, tensors in self._pairs()]
        self.replace([t for column, tensors, new in mine for t in self.engine.with_cell(column, tensors, index, new)])

    def whole(self, n: int) -> tuple[Any, ...]:
        """All items, where there are n."""
        return tuple(map(self.at, range(n)))

    def _cell(self, column: Column, tensors: list[Any], index: Any) -> Any:
        def read() -> Any:
            if column.ragged is None:
                return self._do(torch.select, tensors[0], 0, index)
            size = self.engine.at_least(self._do(torch.Tensor.item, self._do(torch.select, tensors[1], 0, index)), 0)
            row = self._do(torch.narrow, tensors[0], 0, self._offset(tensors[1], index), size)
            return self._do(torch.Tensor.contiguous, self._do(torch.movedim, row, 0, column.ragged))

        return self.decoded(column, tensors, index, read)

    def decoded(self, column: Column, tensors: list[Any], index: Any, read: Callable[[], Any]) -> Any:
        """What cell `index` of a column stands for; read: gives it as a tensor."""
        if column.kind == "tensor":
            row = read()
            self.engine.keep(row)
            return row
        number = self.engine.read_once("number", tensors, index, lambda: self._do(torch.Tensor.item, read()))
        if column.pool:
            return None if column.choices and number < 0 else self.engine.row_at(column.pool, number)
        if column.choices:
            return column.choices[self.engine.pick(number, [(n,) for n in range(len(column.choices) - 1)])].value
        return number

    # ---- indices ---------------------------------------------------------------------------------------------------

    def _number(self, index: Any) -> Any:
        return self._do(torch.Tensor.item, index) if isinstance(index, torch.Tensor) else index

    def _inside(self, index: Any, message: str) -> Any:
        """`index` counted from the start; an IndexError of the model's where it is out of bounds."""
        index, n = self._number(index), self.length
        if isinstance(index, torch.SymInt) and self.engine.truth(index < 0) is None:  # one decision for both ends
            if (index >= -n) & (index < n):
                return self.engine.from_start(index, n)
        elif index < 0:
            index = index + n
            if index >= 0:
                return index
        elif index < n:
            return index
        raise of_model(IndexError(message))

    def _bounds(self, part: slice) -> tuple[Any, Any]:
        n = self.length
        start, stop = self._clamped(part.start, 0, n), self._clamped(part.stop, n, n)
        return start, torch.sym_max(start, stop)

    def _behind(self, end: Any) -> Any:
        """The place after `end`; None for a -1 as for None: after the last item there is no place."""
        end = self._number(end)
        return None if end is None or end == -1 else end + 1

    def _clamped(self, end: Any, default: Any, n: Any) -> Any:
        if end is None:
            return default
        end = self._number(end)
        if end < 0:
            return torch.sym_max(end + n, 0)
        return torch.sym_min(end, n)

    # ---- what a list does ------------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self.length != 0)

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return self.at(self._inside(index, f"{self.kind} index out of range"))
        step = 1 if index.step is None else index.step
        if not isinstance(step, int):
            return self.refuse("a slice whose step is known only at run time")
        if step < 0:  # x[a:b:-1] holds what lies behind b up to a, backwards
            index = slice(self._behind(index.stop), self._behind(index.start))
        part = self._like(self._stretch(*self._bounds(index)))
        if step < 0:
            part.reverse()
        if step in (1, -1):
            return part
        if any(c.ragged is not None for c in self.form.columns):
            every = self._do(torch.arange, part.length)
            return self._like(part.taken_at(self._do(torch.ops.aten.slice.Tensor, every, 0, 0, None, abs(step))))
        return self._like([self._do(torch.ops.aten.slice.Tensor, c, 0, 0, None, abs(step)) for c in part.columns])

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            start, stop = self._bounds(index)
            self.replace(self._joined([self._stretch(0, start), self._columns_of(value), self._stretch(stop, self.length)]))
        else:
            self.put(self._inside(index, f"{self.kind} assignment index out of range"), value)

    def __delitem__(self, index: Any) -> None:
        if isinstance(index, slice):
            start, stop = self._bounds(index)
        else:
            start = self._inside(index, f"{self.kind} assignment index out of range")
            stop = start + 1
        self.replace(self._joined([self._stretch(0, start), self._stretch(stop, self.length)]))

    def append(self, item: Any) -> None:
        self.replace(self.within(self._joined([self.columns, self._row(item)])))

    def appendleft(self, item: Any) -> None:
        self.replace(self.within(self._joined([self._row(item), self.columns]), True))

    def extend(self, items: Any) -> None:
        self.replace(self.within(self._joined([self.columns, self._columns_of(items)])))

    def insert(self, index: Any, item: Any) -> None:
        if self.kind == "deque" and self.maxlen is not None and self.length >= self.maxlen:
            raise of_model(IndexError("deque already at its maximum size"))
        at = self._clamped(index, 0, self.length)
        self.replace(self._joined([self._stretch(0, at), self._row(item), self._stretch(at, self.length)]))

    def pop(self, index: Any = -1) -> Any:
        if not self:
            raise of_model(IndexError(f"pop from {'an ' if self.kind == 'deque' else ''}empty {self.kind}"))
        at = self._inside(index, "pop index out of range")
        item, n = self.at(at), self.length
        parts = [self._stretch(0, at), self._stretch(at + 1, n)]
        last, first = index == -1 if isinstance(index, int) else False, isinstance(at, int) and at == 0
        self.replace(parts[0] if last else parts[1] if first else self._joined(parts))
        return item

    def popleft(self) -> Any:
        return self.pop(0)

    def clear(self) -> None:
        self.replace(self._stretch(0, 0))

    def converted(self, kind: str) -> Grown:
        return self._like(list(self.columns), kind)

    def copy(self) -> Grown:
        return self.converted(self.form.kind)

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Any:
        """A copy: its items are values. Lists and objects in it may be held elsewhere too."""
        return self.refuse("a deep copy") if any(c.pool for c in self.form.columns) else self.copy()

    def taken_at(self, numbers: Any) -> list[Any]:
        """The columns of the rows with these numbers."""
        return [t for _, own in self.engine.rows_at(self._pairs(), numbers) for t in own]

    def reverse(self) -> None:
        if any(c.ragged is not None for c in self.form.columns):
            self.replace(self.taken_at(self._do(torch.flip, self._do(torch.arange, self.length), [0])))
        else:
            self.replace([self._do(torch.flip, c, [0]) for c in self.columns])

    def sort(self, *, key: Any = None, reverse: Any = False) -> None:
        self.replace(self.engine.sort(self, key, reverse).columns)

    def reversed(self) -> Grown:
        made = self.copy()
        made.reverse()
        return made

    def _columns_of(self, items: Any) -> list[Any]:
        """The columns of another list, of this one's form."""
        if isinstance(items, Grown):
            if (items.form.structure, items.form.columns) != (self.form.structure, self.form.columns):
                self.engine.widen(self.key, items.form, items.key)
            return list(items.columns)
        items = list(items)
        if items and not self.form.columns:
            self._row(items[0])
        rows = [self._row(item) for item in items]
        return self._joined(rows) if rows else self._stretch(0, 0)

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, (Grown, list, tuple)):
            return NotImplemented
        return self._like(self.within(self._joined([self.columns, self._columns_of(other)])))

    def __mul__(self, times: Any) -> Any:
        times = self.engine.place_of(times)
        if isinstance(times, torch.SymInt):
            often = torch.sym_max(times, 0)
            return self._like(self.within([self._do(torch.Tensor.repeat, c, (often, *(1,) * (c.dim() - 1))) for c in self.columns]))
        if not isinstance(times, int):
            return NotImplemented
        return self._like(self.within(self._joined([self.columns] * times) if times > 0 else self._stretch(0, 0)))

    __rmul__ = __mul__

    def __imul__(self, times: Any) -> Any:
        made = self * times
        if self.kind == "tuple":
            return made
        self.replace(made.columns)
        return self

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, (list, tuple)):
            return NotImplemented
        return self._like(self._joined([self._columns_of(other), self.columns]))

    def __iadd__(self, other: Any) -> Any:
        if self.kind == "tuple":
            return self + other
        self.extend(other)
        return self

    def _hits(self, item: Any, what: str) -> Any:
        """Which items are equal to this one, as bool [n]; None where none can be."""
        if any(c.kind == "tensor" or c.pool and not self.engine.same_row(c.pool) for c in self.form.columns):
            return self.refuse(f"`{what}`")
        try:
            pairs = list(paired(self.form.structure, item, zip(self.form.columns, self.columns)))
            places = [choice(column, leaf) if column.choices and not column.pool else None for column, _, leaf in pairs]
        except NotUniform:
            return None
        except Alike as which:
            return self.refuse(f"`{what}` {which}")
        found = None
        for (column, tensor, leaf), place in zip(pairs, places):
            if isinstance(leaf, torch.Tensor):
                return self.refuse(f"`{what}` of a tensor")
            if column.pool or pool_of(leaf):
                leaf = -1 if leaf is None else row_of(leaf) if pool_of(leaf) == column.pool else None
            elif column.choices:
                leaf = place
            if not isinstance(leaf, (bool, int, float, *SYMBOLIC)):
                return None
            equal = self._do(torch.eq, tensor, self.engine.as_int(leaf) if isinstance(leaf, torch.SymBool) else leaf)
            found = equal if found is None else self._do(torch.logical_and, found, equal)
        return found

    def __contains__(self, item: Any) -> bool:
        hits = self._hits(item, "in")
        return hits is not None and bool(self._do(torch.Tensor.item, self._do(torch.any, hits)))

    def count(self, item: Any) -> Any:
        hits = self._hits(item, "count")
        return 0 if hits is None else self._do(torch.Tensor.item, self._do(torch.sum, hits))

    def _first(self, item: Any, what: str, text: Callable[[], Any]) -> Any:
        """The index of the first item that is equal; raises the model's ValueError where there is none."""
        hits = self._hits(item, what)
        if hits is None or not self._do(torch.Tensor.item, self._do(torch.any, hits)):
            raise of_model(ValueError(text()))
        return self.engine.at_least(self._do(torch.Tensor.item, self._do(torch.argmax, self._do(torch.Tensor.to, hits, torch.int64))), 0)

    def index(self, item: Any, start: Any = 0, stop: Any = None) -> Any:
        kind = self.kind
        if not (type(start) is int and start == 0 and stop is None):
            start = self._number(start)
            start = start if start >= 0 else torch.sym_max(start + self.length, 0)
            return self[start:stop].index(item) + start
        name = kind if kind != "tuple" else "tuple.index(x): x"
        said = [f"{name} not in tuple"] if kind == "tuple" else [formatted(self.engine, item, ord("r"), ""), f" is not in {kind}"]
        return self._first(item, "index", lambda: join(self.engine, said))

    def remove(self, item: Any) -> None:
        text = "deque.remove(x): x not in deque" if self.kind == "deque" else "list.remove(x): x not in list"
        at = self._first(item, "remove", lambda: text)
        self.replace(self._joined([self._stretch(0, at), self._stretch(at + 1, self.length)]))

    # ---- what needs to know the length now ---------------------------------------------------------------------------

    def __len__(self) -> int:
        n = self.length
        return n if isinstance(n, int) else self.engine.concretise_int(n.node.expr)

    def __iter__(self) -> Iterator[Any]:
        n = self.engine.known_int(self.length)
        if n is None:
            wanted = unpacked(sys._getframe(1))
            n = self.refuse("walking it here") if wanted is None else self.engine.length_unpacked(self.length, wanted)
        return iter([self.at(i) for i in range(n)])

    def dync_text(self, engine: Any) -> Any:
        """What `str` and `repr` give: the brackets of a list or tuple, and the repr of each item."""
        if self.kind == "deque":
            self.refuse("the text")
        inner = joined(", ", self, lambda item: (formatted(engine, item, ord("r"), ""),), lambda text, _: text)
        opened, closed = BRACKETS[CLASSES[self.kind]]
        alone = self.kind == "tuple" and bool(self.length == 1)
        return join(engine, [opened, inner, "," if alone else "", closed])

    def __repr__(self) -> str:
        return self.refuse("the text")

    def refuse(self, what: str) -> NoReturn:
        self.engine.mark_stack()  # marked code may know what to do here
        self.engine.split_comprehension()
        self.engine.without(self.key, f"{what} is asked of it")
        self.engine.refuse("DY313", f"{what} on a {self.kind} whose length is known only at run time",
                                  "it holds its items as the rows of tensors", "use append, extend, pop, indices, slices of step 1, for "
                                  "statements and comprehensions, torch.stack, torch.cat, torch.tensor, sum, or keep a tensor")
        raise AssertionError("a refusal raises")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr({"list": list, "tuple": tuple}.get(self.kind, collections.deque), name):
            raise AttributeError(f"'{self.kind}' object has no attribute '{name}'")
        return self.refuse(f"`{name}`")

    def _compared(self, other: Any, says: Callable[[Any, Any], Any]) -> Any:
        """What `says` of two lists, or tuples, that Python takes for the same class."""
        kind = other.form.kind if isinstance(other, Grown) else KINDS.get(type(other))
        return says(self, other) if kind == self.form.kind else NotImplemented

    def __lt__(self, other: Any) -> Any:
        return self._compared(other, comprehend.less)

    def __gt__(self, other: Any) -> Any:
        return self._compared(other, lambda a, b: comprehend.less(b, a))

    def __le__(self, other: Any) -> Any:
        return self._compared(other, lambda a, b: not comprehend.less(b, a))

    def __ge__(self, other: Any) -> Any:
        return self._compared(other, lambda a, b: not comprehend.less(a, b))

    def __eq__(self, other: object) -> Any:
        """Of lists of numbers and of tuples of them: the same class, as long, and equal items."""
        kind = other.form.kind if isinstance(other, Grown) else KINDS.get(type(other))
        if kind != self.form.kind:
            return NotImplemented
        theirs: Any = other
        if any(c.kind not in NUMBERS and not c.choices for c in self.form.columns):
            return self.refuse("a comparison")
        if not self.length == (theirs.length if isinstance(theirs, Grown) else len(theirs)):
            return False
        if not isinstance(other, Grown):
            return all(bool(self.at(n) == item) for n, item in enumerate(theirs))
        if self.length == 0:
            return True
        if (self.form.structure, self.form.columns) != (theirs.form.structure, theirs.form.columns) or any(
                c.choices for c in self.form.columns):
            return self.refuse("a comparison")
        equal = [self._do(torch.all, self._do(torch.eq, a, b)) for a, b in zip(self.columns, theirs.columns, strict=True)]
        return all(bool(self._do(torch.Tensor.item, e)) for e in equal)

    __hash__ = None  # type: ignore[assignment]

    # ---- torch -------------------------------------------------------------------------------------------------------

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("the engine's mode sees every call first")

    def stacked(self, dim: int = 0) -> Any:
        """The items as one tensor along a new dimension."""
        column, (rows, *sizes) = self._only()
        rank = self._checked(dim, len(column.shape) + 1)
        rows = rows if column.ragged is None else self._even(column.ragged, rows, sizes[0], "stack expects each tensor to be equal size")
        return self._do(torch.clone, self._do(torch.movedim, rows, 0, dim % rank), memory_format=torch.contiguous_format)

    @staticmethod
    def _checked(dim: int, rank: int) -> int:
        """The rank. Raises torch's IndexError for a dimension that there is not."""
        if not -rank <= dim < rank:
            raise of_model(IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})"))
        return rank

    def _even(self, dim: int | None, rows: Any, sizes: Any, message: str) -> Any:
        """The rows of a column whose sizes along `dim` may differ as those of one where they do not; the model's error where they do."""
        size = self.engine.at_least(self._do(torch.Tensor.item, self._do(torch.select, sizes, 0, 0)), 0)
        if not self._do(torch.Tensor.item, self._do(torch.all, self._do(torch.eq, sizes, size))):
            raise of_model(RuntimeError(f"{MISFIT}: {message}"))
        assert dim is not None
        return self._do(torch.movedim, self._do(torch.reshape, rows, (self.length, size, *rows.shape[1:])), 1, dim + 1)

    def concatenated(self, dim: int = 0) -> Any:
        """The items one after another along a dimension that they have."""
        column, (rows, *sizes) = self._only()
        rank = self._checked(dim, len(column.shape))
        dim %= rank
        apart = column.ragged not in (None, dim)
        if apart:
            rows = self._even(column.ragged, rows, sizes[0], f"Sizes of tensors must match except in dimension {dim}")
        if apart or column.ragged is None:
            moved = self._do(torch.movedim, rows, 0, dim)
            shape = list(moved.shape)
            rows = self._do(torch.reshape, moved, (*shape[:dim], shape[dim] * shape[dim + 1], *shape[dim + 2:]))
        else:
            rows = self._do(torch.movedim, rows, 0, dim)
        return self._do(torch.clone, rows, memory_format=torch.contiguous_format)

    def padded(self, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right") -> Any:
        """What torch.nn.utils.rnn.pad_sequence makes of the items: rows of all of them, or of padding."""
        if not self:
            raise of_model(RuntimeError("received an empty list of sequences"))
        if self.form.structure == MAYBE:
            return self.refuse("padding items that may be None")
        column, (rows, *sizes) = self._only()
        if column.ragged is None:
            found = self.stacked()
        elif column.ragged != 0:
            return self.refuse("padding along the first dimension, where another one differs,")
        else:
            sizes = sizes[0]
            longest, total = self.engine.at_least(self._do(torch.Tensor.item, self._do(torch.amax, sizes)), 0), rows.shape[0]
            place = self._do(torch.unsqueeze, self._do(torch.arange, longest), 0)
            last = self._do(torch.unsqueeze, self._do(torch.cumsum, sizes, 0), 1)
            size = self._do(torch.unsqueeze, sizes, 1)
            place = self._do(torch.sub, place, self._do(torch.rsub, size, longest)) if padding_side == "left" else place
            inside = self._do(torch.logical_and, self._do(torch.ge, place, 0), self._do(torch.lt, place, size))
            source = self._do(torch.where, inside, self._do(torch.add, self._do(torch.sub, last, size), place), total)
            filling = self._do(torch.full, (1, *rows.shape[1:]), padding_value, dtype=rows.dtype, device=rows.device)
            flat = self._do(torch.index_select, self._do(torch.cat, [rows, filling]), 0, self._do(torch.reshape, source, (-1,)))
            found = self._do(torch.reshape, flat, (self.length, longest, *rows.shape[1:]))
        if batch_first:
            return found
        return self._do(torch.clone, self._do(torch.transpose, found, 0, 1), memory_format=torch.contiguous_format)

    @property
    def rank(self) -> int:
        """How many dimensions the items have, that are tensors, or None."""
        return len(self.form.columns[-1].shape)

    def _only(self) -> tuple[Column, list[Any]]:
        """The column of items that are tensors, with its tensors. Raises torch's TypeError where one is None."""
        *here, (column, tensors) = self._pairs()
        if self.form.structure not in (LEAF, MAYBE) or column.kind != "tensor":
            self.refuse("stacking tuples or numbers")
        for _, (there,) in here:
            if not self._do(torch.Tensor.item, self._do(torch.all, there)):
                first = self._do(torch.Tensor.item, self._do(torch.argmin, self._do(torch.Tensor.to, there, torch.int64)))
                said = ["expected Tensor as element ", formatted(self.engine, first, ord("s"), ""), " in argument 0, but got NoneType"]
                raise of_model(TypeError(join(self.engine, said)))
        return column, tensors

    def numbers(self) -> Any:
        """A list of numbers, or of tuples or lists of numbers, as a tensor of ints, floats or bools in full precision."""
        return self._numbers(self.form.structure, self._pairs())

    def _numbers(self, structure: Any, cells: Iterator[tuple[Column, list[Any]]]) -> Any:
        if structure == LEAF:
            column, tensors = next(cells)
            if column.pool and column.choices == ():
                return self.engine.numbers_in(column.pool, tensors[0])
            if not column.shape and not column.choices:
                return tensors[0]
        elif isinstance(structure, tuple) and structure[1]:
            parts = [self._numbers(s, cells) for s in structure[1]]
            dtype = functools.reduce(torch.promote_types, (p.dtype for p in parts))
            if len({len(p.shape) for p in parts}) == 1:
                return self._do(torch.stack, [self._do(torch.Tensor.to, p, dtype) for p in parts], 1)
        return self.refuse("torch.tensor of constants, or of tensors with dimensions,")
