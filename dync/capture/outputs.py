"""Python values as trees of leaves: what a model was given, what it returned, what it raised."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import torch

from dync.capture.arrays import is_array
from dync.capture.dict_rows import Young
from dync.capture.forms import LEAF, MAYBE, Column, Constant, holds_texts
from dync.capture.image import SYMBOLIC, pool_of
from dync.capture.keyed import Keyed
from dync.capture.lists import Grown
from dync.capture.once import Once
from dync.capture.text import SymText
from dync.capture.walks import is_grown
from dync.ir.classes import is_names, plain_fields
from dync.ir.flow import DictTree, Key, Leaf, ListTree, OneOfTree, OpaqueTree, RecordTree, RowsTree, Tree, TupleTree
from dync.ir.opaque import to_opaque
from dync.ir.rows import OBJECTS
from dync.ir.trees import kind_of
from dync.ir.types import Lit, Ref, lit


class Unrepresentable(Exception):
    """A value that no tree can carry; `where` is its path."""

    def __init__(self, value: object, where: str, more: str = "") -> None:
        self.where, self.kind = where, type(value).__qualname__
        walked = is_grown(value) or isinstance(value, Once)
        named = "sequence of unknown length that is no list" if walked else f"{type(value).__module__}.{self.kind}"
        super().__init__(f"{where + ' is ' if where else ''}a {named}{more}")


def pool_tree(x: Grown, name: str) -> RowsTree:
    """The tree of a pool; its leaves are the names of its columns."""
    return _Trees(column_name, lambda x: True, lambda x: None, False, True).pool(x, name)


def column_name(x: Any, path: str) -> Any:
    """A leaf that is a column of rows."""
    return Ref(path) if isinstance(x, torch.Tensor) else None


LeafOf = Callable[[Any, str], Any]
STRUCT_NAMES = frozenset({"count", "index", "n_fields", "n_sequence_fields", "n_unnamed_fields"})
"""What every result tuple of torch has beside its fields."""


def class_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def users_fields(x: Any) -> dict[str, Any] | None:
    """The attributes of a plain object of the user's; None for any other, and for what stands for a list or dict during capture."""
    return None if type(x).__module__.startswith("dync.capture.") else plain_fields(x)


def tree_of(
    x: Any, leaf: LeafOf, where: str = "", plain: Callable[[Any], bool] = lambda x: True,
    given: Callable[[Any], str | None] = lambda x: None, last: bool = False, numbers: bool = False,
) -> Tree:  # fmt: skip
    """`leaf(value, path)` gives the operand of each tensor and symbolic number; plain: whether an object counts as its attributes; given:
    the path of a container that is the caller's own; last: whether no code of the model runs on the value, so that it may be copied;
    numbers: whether objects that are rows of a pool stand as their numbers.
    """
    return _Trees(leaf, plain, given, last, numbers).of(x, where)


class _Trees:
    """One value on its way to a tree; `inside` are the containers that it is taken from."""

    def __init__(self, leaf: LeafOf, plain: Callable[[Any], bool], given: Callable[[Any], str | None], last: bool, numbers: bool) -> None:
        self.leaf, self.plain, self.given, self.last, self.numbers = leaf, plain, given, last, numbers
        self.inside: list[Any] = []

    def of(self, x: Any, where: str) -> Tree:
        if isinstance(x, (torch.Tensor, SymText, *SYMBOLIC)):
            return Leaf(self.leaf(x, where))
        if is_array(x):
            return RecordTree("array", "numpy:ndarray", (), (Leaf(self.leaf(x.tensor, where)),))
        if _is_numpys(x) and (made := self.leaf(x, where)) is not None:
            return RecordTree("array", "numpy:ndarray", (), (Leaf(made),))
        if x is None or type(x) in (bool, int, float, str):
            found = self.leaf(x, where)
            return Leaf(found if found is not None else lit(x))
        if isinstance(x, torch.Size):
            if all(isinstance(v, int) for v in x):
                return OpaqueTree("torch.Size", repr(tuple(int(v) for v in x)))
            return RecordTree("namedtuple", "torch:Size", (), tuple(self.of(v, f"{where}[{i}]") for i, v in enumerate(x)))
        if isinstance(x, slice) and any(isinstance(v, SYMBOLIC) for v in (x.start, x.stop, x.step)):
            raise Unrepresentable(x, where, " of numbers known only at run time")
        x = x.dync_held() if type(x) is Young else x
        kind = x.form.kind if isinstance(x, Grown) else ""
        if isinstance(x, Keyed):
            kind, x = kind_of(x.empty()), x.rows if x.rows is not None else x.empty()
        if pool_of(x) and not self.last:
            x.dync_give_up("it outlives the call")
        if isinstance(x, Grown):
            with x.engine.modes_on():
                return self.rows(x, kind, where)
        if pool_of(x):
            with x.dync_engine.modes_on():
                held = x.dync_held()
            cls = x.dync_engine.pooled[pool_of(x)]
            return self.object(cls, x.dync_names, tuple(self.of(v, _attr(where, n)) for n, v in held.items()))
        opaque = to_opaque(x)
        if opaque is not None:
            return opaque
        path = self.given(x)
        if path is not None:
            return OpaqueTree("given", path)
        if any(x is one for one in self.inside):
            raise Unrepresentable(x, where, " that stands in itself")
        self.inside.append(x)
        tree = self.container(x, where)
        self.inside.pop()
        return tree

    def rows(self, x: Grown, kind: str, where: str) -> Tree:
        """A list, set or dict of unknown length."""
        if not self.numbers and any(c.pool for c in x.form.columns) and kind in ("list", "tuple") and isinstance(x.length, int):
            items = tuple(self.of(x.at(i), f"{where}[{i}]") for i in range(x.length))
            return ListTree(items) if kind == "list" else TupleTree(items)
        names, tensors, constants = list[str](), list[Any](), list[tuple[Any, ...]]()

        def element(structure: Any, cells: Iterator[tuple[Column, list[Any]]]) -> Tree:
            if isinstance(structure, Constant):
                return Leaf(lit(structure.value))
            if structure == MAYBE:
                (_, here), (column, own) = next(cells), next(cells)
                return cell(f"maybe:{_column(column)}", column, [*here, *own])
            if holds_texts(structure):
                (which, own), *numbers = (next(cells) for _ in structure[1])
                index = cell("number", Column("int", which.dtype), own)
                named = [cell(_column(c), c, tensors) for c, tensors in numbers]
                return OneOfTree((index, *(structure[0].tree(c.value, named) for c in which.choices)))
            if structure != LEAF:
                return _tuple(structure[0], tuple(element(p, cells) for p in structure[1]))
            column, own = next(cells)
            if not column.pool:
                return cell(_column(column), column, own)
            inner = x.engine.grown.get(column.pool)
            if self.numbers and (inner is None or inner.columns):
                return cell(f"row:{column.pool}", column, own)
            if column.choices:
                raise Unrepresentable(x, where, " of objects and None")
            cls = x.engine.pooled.get(column.pool)
            if cls is not None:
                inside = x.engine.gathered(column.pool, own[0])
                parts = x.engine.pools[column.pool].form.structure[1]
                return self.object(cls, x.engine.attribute_names[column.pool], tuple(element(p, inside) for p in parts))
            name, own = containers(column, own[0])
            return cell(name, column, own)

        def containers(column: Column, places: Any) -> tuple[str, list[Any]]:
            """The lists in the rows of a pool, as a column's name and tensors: what is in them one after another, then their lengths."""
            inner = x.engine.grown.get(column.pool)
            if inner is None or inner.structure != LEAF or inner.columns and inner.columns[0].choices:
                raise Unrepresentable(x, where, " of lists whose items are neither numbers, tensors nor such lists")
            if not inner.columns:
                return f"empty:{inner.kind}", [places]
            held, (_, (values, sizes)) = inner.columns[0], next(x.engine.gathered(column.pool, places))
            name, own = containers(held, values) if held.pool else (_column(held), [values])
            return f"{inner.kind}s:{name}", [*own, sizes]

        def cell(name: str, column: Column, own: list[Any]) -> Tree:
            names.append(name)
            tensors.extend(own)
            constants.append(tuple(self.of(c.value, where) for c in column.choices) if not column.pool else ())
            return Leaf(Ref(str(len(names) - 1)))

        tree = element(x.form.structure, x._pairs())
        items = tuple(Leaf(self.leaf(t, f"{where}<{n}>")) for n, t in enumerate(tensors))
        return RowsTree(kind, tree, tuple(names), items, tuple(constants) if any(constants) else ())  # type: ignore[arg-type]

    def pool(self, x: Grown, name: str) -> RowsTree:
        """The rows of a pool, each an object or a list."""
        cls = x.engine.pooled.get(name)
        if cls is not None:
            tree: Any = self.rows(x, OBJECTS, name)
            return msgspec.structs.replace(tree, element=self.object(cls, x.engine.attribute_names[name], tree.element.items))
        inner = x.engine.grown[name]
        item: Any = self.rows(Grown(x.engine, name, inner, x.columns[::2]), inner.kind, name)  # of one list: no number of items beside
        items = tuple(Leaf(Ref(f"{name}<{n}>")) for n in range(len(x.columns)))
        return msgspec.structs.replace(item, columns=tuple(f"{inner.kind}s:{c}" for c in item.columns), items=items)

    @staticmethod
    def object(kind: type, names: tuple[str, ...], items: tuple[Tree, ...]) -> Tree:
        if kind is dict:
            return DictTree(tuple(map(lit, names)), items)
        if kind is list:
            return ListTree(items)
        return RecordTree("dataclass" if dataclasses.is_dataclass(kind) else "object", class_name(kind), names, items)

    def container(self, x: Any, where: str) -> Tree:
        if _is_dataclass(x):
            fields = tuple(f.name for f in dataclasses.fields(x))
            return self.record("mapping" if isinstance(x, dict) else "dataclass", x, {f: getattr(x, f) for f in fields}, where)
        if _is_namedtuple(x):
            return self.record("namedtuple", x, x._asdict(), where)
        if _is_struct(x):
            names = [n for n in dir(x) if not n.startswith("_") and n not in STRUCT_NAMES]
            order = sorted(names, key=lambda n: next(i for i, v in enumerate(x) if v is getattr(x, n)))
            items = tuple(self.of(v, f"{where}[{i}]") for i, v in enumerate(x))
            return RecordTree("namedtuple", class_name(type(x)), tuple(order), items)
        if type(x) in (tuple, list):
            items = tuple(self.of(v, f"{where}[{i}]") for i, v in enumerate(x))
            return TupleTree(items) if isinstance(x, tuple) else ListTree(items)
        if type(x) is collections.deque:
            fields = ("maxlen", *map(str, range(len(x))))
            items = tuple(self.of(v, f"{where}[{i}]") for i, v in enumerate(x))
            return RecordTree("deque", class_name(type(x)), fields, (Leaf(lit(x.maxlen)), *items))
        if type(x) in (set, frozenset):
            keys = [key_tree(k, f"an element of {where or 'the set'}") for k in x]
            if not all(isinstance(k, (bool, int, float)) for k in x):
                keys.sort(key=repr)  # hashes of texts and of torch's objects are another process's: their order means nothing
            return DictTree(tuple(keys), tuple(Leaf(lit(None)) for _ in x), type(x).__name__)
        if type(x) in (dict, collections.OrderedDict, collections.defaultdict, collections.Counter):
            keys = tuple(key_tree(k, f"a key of {where or 'the dict'}") for k in x)
            return DictTree(keys, tuple(self.of(v, f"{where}[{k!r}]") for k, v in x.items()), kind_of(x))
        if is_names(type(x)) and all(isinstance(k, str) for k in x) and not getattr(x, "__dict__", None):
            return self.record("dict", x, dict(x), where)
        plain = users_fields(x)
        if plain is not None and self.plain(x):
            return self.record("object", x, plain, where)
        raise Unrepresentable(x, where, "" if plain is None else ", which the model itself holds")

    def record(self, kind: Any, x: Any, fields: dict[str, Any], where: str) -> Tree:
        return RecordTree(kind, class_name(type(x)), tuple(fields), tuple(self.of(v, _attr(where, f)) for f, v in fields.items()))


def key_tree(x: Any, where: str) -> Key:
    """A key of a dict, or an element of a set."""
    if x is None or type(x) in (bool, int, float, str):
        return lit(x)
    if type(x) is tuple:
        parts = (key_tree(v, where) for v in x)
        return TupleTree(tuple(Leaf(part) if isinstance(part, Lit) else part for part in parts))
    opaque = to_opaque(x)
    if opaque is None:
        raise Unrepresentable(x, where)
    return opaque


def _column(column: Any) -> str:
    if column.kind != "tensor":
        return "choice" if column.choices else "number"
    return "tensor" if column.ragged is None else f"ragged:{column.ragged}"


def _tuple(cls: Any, items: tuple[Tree, ...]) -> Tree:
    if cls is torch.Size:
        return RecordTree("namedtuple", "torch:Size", (), items)
    return RecordTree("namedtuple", class_name(cls), tuple(cls._fields), items) if hasattr(cls, "_fields") else TupleTree(items)


def _is_numpys(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic))


def _is_dataclass(x: Any) -> bool:
    return dataclasses.is_dataclass(x) and not isinstance(x, type)


def _is_namedtuple(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def _is_struct(x: Any) -> bool:
    return isinstance(x, tuple) and type(x).__module__ == "torch.return_types"


def _attr(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
