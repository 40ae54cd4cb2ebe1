"""The form that items of a list of unknown length have in common: a structure, and a column for each of its leaves."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from dync.capture.image import SYMBOLIC, class_name, pool_of, row_of
from dync.capture.scalars import scalar_of
from dync.capture.templates import AnyText, Filled, Template, Texts
from dync.capture.text import SymText

NUMBERS = {"int": torch.int64, "float": torch.float64, "bool": torch.bool}
MAX_CHOICES = 64
"""Texts and the like that an item may be: each that is found while the model runs starts capture over."""


class NotUniform(Exception):
    """Items that have no form in common; the text says why."""


class Joined(NotUniform):
    """An item is what paths joined: of each path's own, a form may be known."""


@dataclass(frozen=True)
class Column:
    """One leaf of an element: a number's kind, or "tensor" with dtype, device and sizes; one size may be None, which differs by item.

    Rows of one size are stacked. Others are one after another along that dimension, moved to the front, and a second tensor
    holds their sizes. A column of kind "choice" holds the place of each item's constant among the `choices`. One of kind "pointer:pool"
    holds the numbers of rows of a pool; `choices` is (None,) where an item may be None, which is -1.
    """

    kind: str
    dtype: Any
    device: str = "cpu"
    shape: tuple[Any, ...] = ()
    choices: tuple[Constant, ...] = ()

    @property
    def pool(self) -> str:
        """The pool whose rows it points to; "" for other columns."""
        return self.kind.removeprefix("pointer:") if self.kind.startswith("pointer:") else ""

    @property
    def ragged(self) -> int | None:
        return self.shape.index(None) if None in self.shape else None

    def __str__(self) -> str:
        sizes = ", ".join("?" if s is None else str(s) for s in self.shape)
        kind = " or ".join(repr(c.value) for c in self.choices) if self.choices else self.kind
        return f"{str(self.dtype).removeprefix('torch.')}[{sizes}]" if self.kind == "tensor" else kind


class Also(int):
    """A size that is one number on the path where it was seen, and there is also the size of an input that is that number there."""

    names: frozenset[Any]

    @classmethod
    def of(cls, size: int, names: frozenset[Any]) -> int:
        if not names:
            return int(size)
        made = cls(size)
        made.names = names
        return made


@dataclass(frozen=True)
class Form:
    """What all items of a list are. structure: LEAF, MAYBE, a constant, or (class, structures) for a tuple; kind: see `lists.kind_of`."""

    kind: str
    structure: Any
    columns: tuple[Column, ...]


LEAF = "leaf"
MAYBE = "maybe"
"""A tensor or number, or None: a column says which, and another has the values, zeros where there is none."""
ABSENT = object()
"""The cell of a value where there is none."""


class Constant:
    """None, a text or its template, or a member of an Enum: equal to those of its type alone."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


NOTHING = (Constant(None),)


class Alike(Exception):
    """What is compared may be equal in Python to what no column says; the text says which, as the end of a phrase."""


def is_constant(constant: Constant, x: Any) -> bool:
    """Whether a value is this constant. Raises Alike."""
    if constant == Constant(x):
        return True
    number = isinstance(constant.value, int) and isinstance(x, SYMBOLIC)
    if number or (isinstance(x, (str, enum.Enum)) or type(x) is int) and constant.value == x:
        raise Alike("of what equals a member of an Enum")
    return False


def choice(column: Column, x: Any) -> int | None:
    """Which of the constants that a column chooses from a value is; None if it is none of them. Raises Alike."""
    return next((n for n, c in enumerate(column.choices) if is_constant(c, x)), None)


def choice_of(*constants: Constant) -> Column:
    return Column("choice", torch.int64, choices=tuple(dict.fromkeys(constants)))


def taken_apart(item: Any) -> tuple[Any, list[Any]]:
    """An item's structure and its leaves. Raises NotUniform for what can be no item."""
    if isinstance(item, (torch.Tensor, *SYMBOLIC)) or type(item) in (bool, int, float) or pool_of(item):
        return LEAF, [item]
    if type(item) is SymText:
        if item.vague:
            raise NotUniform("it holds a text with a tensor in it")
        try:
            which, ints, floats = Filled.of(item)
        except AnyText:
            raise Joined("it holds a text of several paths") from None
        if not ints and not floats:
            return Constant(which), []
        return (Texts(len(ints), len(floats)), (LEAF,) * (1 + len(ints) + len(floats))), [which, *ints, *floats]
    if item is None or isinstance(item, str) or isinstance(item, enum.Enum) and "<locals>" not in type(item).__qualname__:
        return Constant(item), []
    if isinstance(item, tuple):
        parts = [taken_apart(v) for v in item]
        return (type(item), tuple(s for s, _ in parts)), [v for _, leaves in parts for v in leaves]
    if hasattr(type(item), "dync_row"):
        raise NotUniform(f"it holds a {getattr(item, 'kind', 'list')} whose length is known only at run time")
    raise NotUniform(f"it holds a {type(item).__name__}")


def differ_in_choices(a: Form, b: Form) -> bool:
    """Whether forms are the same but for which constants there are."""
    plain = [[replace(c, choices=()) for c in form.columns] for form in (a, b)]
    return a.structure == b.structure and plain[0] == plain[1]


def differ_in_constants(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether items in the same places are constants, or tuples with constants, that differ."""
    try:
        return any(x is not y and isinstance(x, (tuple, str, enum.Enum, type(None))) and taken_apart(x)[0] != taken_apart(y)[0]
                   for x, y in zip(a, b))
    except NotUniform:
        return False


def leaf_count(structure: Any) -> int:
    """How many columns hold what has a structure."""
    if isinstance(structure, tuple):
        return sum(map(leaf_count, structure[1]))
    return {LEAF: 1, MAYBE: 2}.get(structure, 0)


def holds_texts(structure: Any) -> bool:
    """Whether it is that of an item which is one of several texts, some of them made of numbers."""
    return isinstance(structure, tuple) and isinstance(structure[0], Texts)


def has_texts(structure: Any) -> bool:
    """Whether there is such an item in it."""
    return holds_texts(structure) or isinstance(structure, tuple) and any(map(has_texts, structure[1]))


def may_lack(structure: Any) -> bool:
    """Whether a tensor or number in it may be None instead."""
    return structure == MAYBE or isinstance(structure, tuple) and any(map(may_lack, structure[1]))


def cells_of(form: Form, item: Any) -> list[Any]:
    """The leaves of an item of this form, one a column."""
    columns = iter(form.columns)

    def leaves(structure: Any, x: Any) -> Iterator[Any]:
        if structure == LEAF:
            column = next(columns)
            if column.pool:
                yield -1 if x is None else row_of(x)
            else:
                yield column.choices.index(Constant(x)) if column.choices else x
        elif structure == MAYBE:
            for _ in range(2):
                next(columns)
            yield from (x is not None, ABSENT if x is None else x)
        elif not isinstance(structure, Constant):
            for s, v in zip(structure[1], structure[0].cells(x) if holds_texts(structure) else x, strict=True):
                yield from leaves(s, v)

    return list(leaves(form.structure, item))


def paired(structure: Any, item: Any, columns: Iterator[tuple[Column, Any]]) -> Iterator[tuple[Column, Any, Any]]:
    """Each column with its tensor and what it would hold of an item. Raises NotUniform where no row can be equal to this."""
    if structure == LEAF:
        yield (*next(columns), item)
    elif structure == MAYBE:
        yield (*next(columns), item is not None)
        value = next(columns)
        if item is not None:
            yield (*value, item)
    elif isinstance(structure, Constant):
        if not is_constant(structure, item):
            raise NotUniform("another constant")
    elif holds_texts(structure):
        raise Alike("among texts made of numbers")
    elif not isinstance(item, tuple) or len(item) != len(structure[1]):
        raise NotUniform("no such tuple")
    else:
        for s, v in zip(structure[1], item):
            yield from paired(s, v, columns)


def put_together(structure: Any, leaves: Iterator[Callable[[], Any]]) -> Any:
    """An item; each leaf is read only where it is there."""
    if structure == LEAF:
        return next(leaves)()
    if structure == MAYBE:
        here, value = next(leaves), next(leaves)
        return value() if here() else None
    if isinstance(structure, Constant):
        return structure.value
    cls, parts = structure
    items = [put_together(p, leaves) for p in parts]
    if holds_texts(structure):
        return cls.filled(items[0], items[1:])
    return cls(*items) if hasattr(cls, "_fields") else cls(items)


def column_of(engine: Any, leaf: Any) -> Column:
    if pool_of(leaf):
        return Column(f"pointer:{pool_of(leaf)}", torch.int64)
    if isinstance(leaf, Template):
        return choice_of(Constant(leaf))
    if not isinstance(leaf, torch.Tensor):
        kind = class_name(leaf)
        return Column(kind, NUMBERS[kind])
    entry = engine.records[0].bindings
    sizes: list[Any] = [scalar_of(s) for s in leaf.shape]
    fixed = {n: number for n, number in engine.shape_env.learnt().substitution.items() if n in entry}
    return one_ragged(Column("tensor", leaf.dtype, str(leaf.device), tuple(
        Also.of(s, frozenset(n for n in fixed if fixed[n] == s)) if isinstance(s, int) else s if s.free_symbols <= entry.keys() else None
        for s in sizes)))


def one_size(a: Any, b: Any) -> Any:
    """A size of two items as one for both, None where they differ."""
    mine, other = (getattr(s, "names", frozenset()) for s in (a, b))
    if a == b:
        return Also.of(a, mine & other) if isinstance(a, int) else a
    return b if b in mine else a if a in other else None


def one_ragged(column: Column) -> Column:
    if column.shape.count(None) > 1:
        raise NotUniform(f"it holds tensors {column}, more than one of whose sizes differ or depend on data")
    return column


def common(a: Form, b: Form) -> Form:
    """The form of lists that hold items of both. Raises NotUniform."""
    mine, other = iter(a.columns), iter(b.columns)
    columns: list[Column] = []

    def column(structure: Any, rest: Iterator[Column]) -> Column:
        return choice_of(structure) if isinstance(structure, Constant) else next(rest)

    def value(structure: Any, rest: Iterator[Column]) -> Column | None:
        """The column of a tensor or number that may be None; None for None itself. Raises NotUniform for texts and objects."""
        if structure == MAYBE:
            next(rest)
        found = column(structure, rest)
        if found.pool or found.choices and found.choices != NOTHING:
            raise NotUniform(f"its items are of several forms, {describe(a)} and {describe(b)}")
        return None if found.choices else found

    def maybe(x: Column | None, y: Column | None) -> Any:
        found = merged(x, y) if x is not None and y is not None else x or y
        assert found is not None
        columns.extend((Column("bool", torch.bool), found))
        return MAYBE

    def merged(x: Column, y: Column) -> Column:
        if (x.kind, x.dtype, x.device, len(x.shape)) != (y.kind, y.dtype, y.device, len(y.shape)):
            raise NotUniform(f"its items are of several forms, {describe(a)} and {describe(b)}")
        if len({*x.choices, *y.choices}) > MAX_CHOICES:
            raise NotUniform(f"its items are more than {MAX_CHOICES} constants")
        shape = tuple(map(one_size, x.shape, y.shape))
        return choice_of(*x.choices, *y.choices) if x.choices else one_ragged(Column(x.kind, x.dtype, x.device, shape))

    def texts(s: Any, rest: Iterator[Column]) -> tuple[Column, list[Column], list[Column]]:
        """Which texts there are, and the columns of numbers for them."""
        which, numbers = column(s, rest) if not isinstance(s, tuple) else next(rest), list[Column]()
        if isinstance(s, tuple):
            numbers = [next(rest) for _ in s[1][1:]]
        if not which.choices or not all(isinstance(c.value, (str, Template, type(None))) for c in which.choices):
            raise NotUniform(f"its items are of several forms, {describe(a)} and {describe(b)}")
        return which, [c for c in numbers if c.kind == "int"], [c for c in numbers if c.kind == "float"]

    def one_of(s: Any, t: Any) -> Any:
        (x, *numbers), (y, *others) = texts(s, mine), texts(t, other)
        ints, floats = (max(n, m, key=len) for n, m in zip(numbers, others))
        columns.extend((merged(x, y), *ints, *floats))
        return Texts(len(ints), len(floats)), (LEAF,) * (1 + len(ints) + len(floats))

    def both(s: Any, t: Any) -> Any:
        if isinstance(s, Constant) and s == t:
            return s
        if holds_texts(s) or holds_texts(t):
            return one_of(s, t)
        if MAYBE in (s, t) and not isinstance(s, tuple) and not isinstance(t, tuple):
            return maybe(value(s, mine), value(t, other))
        if isinstance(s, tuple) and isinstance(t, tuple) and s[0] is t[0] and len(s[1]) == len(t[1]):
            return s[0], tuple(map(both, s[1], t[1]))
        if isinstance(s, tuple) or isinstance(t, tuple):
            raise NotUniform(f"its items are of several forms, {describe(a)} and {describe(b)}")
        x, y = column(s, mine), column(t, other)
        if (x.pool or y.pool) and {x.pool, y.pool} <= {x.pool or y.pool, ""} and all(c.pool or c.choices == NOTHING for c in (x, y)):
            columns.append(Column(x.kind if x.pool else y.kind, torch.int64, choices=NOTHING if x.choices or y.choices else ()))
            return LEAF
        if NOTHING in (x.choices, y.choices) and () in (x.choices, y.choices) and not x.pool and not y.pool:
            return maybe(*(None if c.choices else c for c in (x, y)))
        columns.append(merged(x, y))
        return LEAF

    structure = both(a.structure, b.structure)
    return Form(a.kind, structure, tuple(columns))


def form_of(engine: Any, kind: str, items: tuple[Any, ...]) -> Form:
    """The form that all items have. Raises NotUniform."""
    found: Form | None = None
    for item in items:
        structure, leaves = taken_apart(item)
        form = Form(kind, structure, tuple(column_of(engine, v) for v in leaves))
        form = form if leaves else first_chosen(form)
        found = form if found is None else common(found, form)
    if found is None:
        raise NotUniform("it holds nothing yet")
    return found


def first_chosen(form: Form) -> Form:
    """A form of constants alone with its first one as a column: rows have something to be counted by."""
    def chosen(structure: Any) -> tuple[Any, Column | None]:
        if isinstance(structure, Constant):
            return LEAF, choice_of(structure)
        for n, part in enumerate(structure[1]):
            new, column = chosen(part)
            if column is not None:
                return (structure[0], (*structure[1][:n], new, *structure[1][n + 1:])), column
        return structure, None

    structure, column = chosen(form.structure)
    if column is None:
        raise NotUniform("it holds empty tuples")
    return Form(form.kind, structure, (column,))


def describe(form: Form) -> str:
    columns = ", ".join(map(str, form.columns))
    return columns if form.structure == LEAF else f"({columns})"
