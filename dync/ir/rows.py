"""Python containers of unknown length taken apart into the columns of RowsTrees, and pools of objects both ways. No torch here.

`trees.build` puts a container together. A pool is a RowsTree whose items are objects, or lists, that containers hold by number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy

from dync.errors import GuardError
from dync.ir.classes import record_class
from dync.ir.flow import DictTree, Leaf, ListTree, RecordTree, RowsTree, Tree
from dync.ir.trees import SEQUENCES, build, describe, key_value, match, row_cells
from dync.ir.types import Ref, TensorType, ValueType

Pools = tuple[tuple[str, RowsTree], ...]
OBJECTS = "objects"
"""RowsTree.kind of a pool of objects; that of one of lists is theirs."""


def built_pools(pools: Pools, lookup: Callable[[str], Any]) -> dict[str, list[Any]]:
    """The objects and lists of each pool, which may hold one another."""
    trees = dict(pools)
    made = {name: [_empty(tree) for _ in lookup(_ref(tree.items[-1]))] for name, tree in pools if tree.kind != "tuple"}

    def held(name: str) -> Any:
        if name in trees and name not in made:  # tuples are made whole, of what is there already
            made[name] = [tuple(row) for row in rows(trees[name])]
        return made[name] if name in made else lookup(name)

    def rows(tree: RowsTree) -> Iterator[Iterator[Any]]:
        """Of each object its attributes, of each list its items."""
        for row in zip(*row_cells(tree, held)):
            if tree.kind == OBJECTS:
                yield (build(part, lambda n, row=row: row[int(n)]) for part in cast("RecordTree | DictTree | ListTree", tree.element).items)
            else:
                yield (build(tree.element, lambda n, item=item: item[int(n)]) for item in zip(*row))

    for name, tree in pools:
        for x, row in zip(held(name), rows(tree) if tree.kind != "tuple" else ()):
            if isinstance(tree.element, DictTree) and tree.kind == OBJECTS:
                x.update(zip(map(key_value, tree.element.keys), row, strict=True))
            elif isinstance(tree.element, ListTree) and tree.kind == OBJECTS:
                x.extend(row)
            elif tree.kind == OBJECTS:
                for field, value in zip(cast("RecordTree", tree.element).fields, row, strict=True):
                    object.__setattr__(x, field, value)
            else:
                x.extend(row)
    return made


def _empty(tree: RowsTree) -> Any:
    if tree.kind != OBJECTS:
        return SEQUENCES[tree.kind]()
    if isinstance(tree.element, DictTree):
        return {}
    if isinstance(tree.element, ListTree):
        return []
    record = cast("RecordTree", tree.element)
    cls: Any = record_class(record.kind, record.cls, record.fields)
    return cls.__new__(cls)


def _ref(tree: Tree) -> str:
    return cast("Ref", cast("Leaf", tree).operand).name


class Taking:
    """Takes containers apart. types: of the columns by name; sizes that are symbols fit any."""

    def __init__(self, pools: Pools, types: Mapping[str, ValueType]) -> None:
        self.pools, self.types = dict(pools), types
        self.objects: dict[str, list[Any]] = {name: [] for name in self.pools}
        self.numbers: dict[int, int] = {}
        self.where: dict[str, str] = {}

    def columns(self, tree: RowsTree, value: Any, where: str) -> dict[str, Any]:
        """The columns of a container, by the names of the tree's leaves.

        Raises GuardError where `value` is another kind of container, or an item has another structure, type or shape.
        """
        kind, _, more = tree.kind.partition(":")  # what a defaultdict makes is the code's own
        if kind == "deque" and getattr(value, "maxlen", None) != (int(more) if more else None):
            raise GuardError(f"argument {where!r}: {describe(value)} of another `maxlen` given, captured with {more or 'none'}")
        if type(value) is not SEQUENCES.get(kind) and not (isinstance(value, dict) and type(cast("Any", value)).__name__ == kind):
            raise GuardError(f"argument {where!r}: {describe(value)} given, captured with a {tree.kind}")
        items: Any = tuple(cast("Any", value).items() if isinstance(value, dict) else value)
        return self.taken(tree, [match(tree.element, item, f"{where}[{i}]") for i, item in enumerate(items)], where)

    def rest(self) -> dict[str, Any]:
        """The columns of the pools: of all that was met, and of what that holds in turn."""
        cells: dict[str, list[Any]] = {name: [] for name in self.pools}
        while fresh := next((n for n, own in self.objects.items() if len(own) > len(cells[n])), None):
            tree, x = self.pools[fresh], self.objects[fresh][len(cells[fresh])]
            if tree.kind == OBJECTS:
                row: dict[str, Any] = match(tree.element, x, self.where[fresh])
            elif type(x) is not SEQUENCES[tree.kind]:
                raise GuardError(f"argument {self.where[fresh]!r}: {describe(x)} given, captured with a {tree.kind}")
            else:
                items = [match(tree.element, item, self.where[fresh]) for item in x]
                row = {str(n): [item[str(n)] for item in items] for n in range(len(tree.columns))}
            cells[fresh].append(row)
            for n, column in enumerate(tree.columns):
                what, _, inner = column.partition(":")
                for held in (row[str(n)],) if what == "row" else row[str(n)] if inner.startswith("row:") else ():
                    self.number(inner.removeprefix("row:"), held, self.where[fresh])
        return {k: v for name, tree in self.pools.items() for k, v in self.taken(tree, cells[name], self.where.get(name, name)).items()}

    def number(self, pool: str, x: Any, where: str) -> int:
        """The number of an object, or list, in its pool; -1 for None."""
        if x is None:
            return -1
        self.where.setdefault(pool, where)
        if id(x) not in self.numbers:
            self.numbers[id(x)] = len(self.objects[pool])
            self.objects[pool].append(x)
        return self.numbers[id(x)]

    def taken(self, tree: RowsTree, cells: list[dict[str, Any]], where: str) -> dict[str, Any]:
        """Rows as columns."""
        leaves, found = iter(tree.items), dict[str, Any]()

        def following() -> tuple[str, TensorType]:
            name = _ref(next(leaves))
            return name, cast("TensorType", self.types[name])

        for n, column in enumerate(tree.columns):
            own = [c[str(n)] for c in cells]
            (name, wanted), (what, _, more) = following(), column.partition(":")
            if what == "maybe":
                found[name] = _numbers([v is not None for v in own], wanted, where)
                (name, wanted), column = following(), more
                own, (what, _, more) = _filled(own, column, wanted), column.partition(":")
            choices = tree.choices[n] if tree.choices else ()
            if what == "ragged":
                found[name] = _joined(own, wanted, where, int(more))
                sizes = [v.shape[int(more)] for v in own]
            elif what in ("lists", "tuples", "deques"):
                found[name] = self.column(more, [v for part in own for v in part], wanted, where, choices)
                sizes = [len(part) for part in own]
            else:
                found[name] = self.column(column, own, wanted, where, choices)
                continue
            name, wanted = following()
            found[name] = _numbers(sizes, wanted, where)
        return found

    def column(self, what: str, own: list[Any], wanted: TensorType, where: str, choices: tuple[Tree, ...]) -> Any:
        if what == "tensor":
            return _joined(own, wanted, where, None)
        if what == "choice":
            constants = [build(c, str) for c in choices]
            own = [_place(v, constants, where) for v in own]
        elif what.startswith("empty:"):
            if any(type(v) is not SEQUENCES[what.partition(":")[2]] or v for v in own):
                raise GuardError(f"argument {where!r}: holds what is no empty {what.partition(':')[2]}")
            own = [0 for _ in own]
        elif what.startswith("row:"):
            own = [self.number(what.removeprefix("row:"), v, where) for v in own]
        return _numbers(own, wanted, where)


def _filled(own: list[Any], column: str, wanted: TensorType) -> list[Any]:
    """Cells with zeros in place of None."""
    if column == "number":
        zero = {"int64": 0, "float64": 0.0, "bool": False}[wanted.dtype]
        return [zero if v is None else v for v in own]
    dim, torch, some = int(column.partition(":")[2] or 0), sys.modules.get("torch"), next((v for v in own if hasattr(v, "shape")), None)
    sizes = list(some.shape) if some is not None else [s if isinstance(s, int) else 0 for s in wanted.shape[1:]]
    if column != "tensor":
        sizes[dim:dim + (some is not None)] = [0]
    if torch is not None and (some is None or isinstance(some, torch.Tensor)):
        zeros = torch.zeros(sizes, dtype=getattr(torch, wanted.dtype))
    else:
        zeros = numpy.zeros(sizes, wanted.dtype)
    return [zeros if v is None else v for v in own]


def _place(value: Any, choices: list[Any], where: str) -> int:
    for n, c in enumerate(choices):
        if type(c) is type(value) and c == value:
            return n
    raise GuardError(f"argument {where!r}: holds {value!r}, captured with {', '.join(map(repr, choices))}")


def _numbers(values: list[Any], wanted: TensorType, where: str) -> Any:
    kind = {"int64": int, "float64": float, "bool": bool}[wanted.dtype]
    for v in values:
        if type(v) is not kind:
            raise GuardError(f"argument {where!r}: holds {describe(v)}, captured with {kind.__name__}s")
    made, torch = numpy.asarray(values, dtype=wanted.dtype), sys.modules.get("torch")
    return made if torch is None else torch.from_numpy(made)


def _joined(values: list[Any], wanted: TensorType, where: str, dim: int | None) -> Any:
    """Tensors stacked, or one after another along `dim`, which goes to the front."""
    torch, sizes = sys.modules.get("torch"), wanted.shape[1:]
    for v in values:
        shape = tuple(getattr(v, "shape", ()))
        moved = shape if dim is None else (*shape[:dim], *shape[dim + 1:])
        same = hasattr(v, "shape") and str(v.dtype).removeprefix("torch.") == wanted.dtype and len(shape) == len(sizes) + (dim is not None)
        if not same or any(isinstance(s, int) and s != m for s, m in zip(sizes, moved)):
            raise GuardError(f"argument {where!r}: holds {describe(v)}, captured with items of {wanted}")
    if not values:
        empty = [0, *(s if isinstance(s, int) else 0 for s in sizes)]
        return torch.zeros(empty, dtype=getattr(torch, wanted.dtype)) if torch else numpy.zeros(empty, wanted.dtype)
    own: Any = torch if torch is not None and isinstance(values[0], torch.Tensor) else numpy
    return own.stack(values) if dim is None else own.concatenate([own.moveaxis(v, dim, 0) for v in values])
