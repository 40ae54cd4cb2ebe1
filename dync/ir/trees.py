"""Python values as trees: `match` takes a value apart, `build` puts one together. This file imports no torch."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy

from dync.errors import GuardError
from dync.ir.classes import field_names, is_sequence, plain_fields, record_class
from dync.ir.flow import DictTree, Key, Leaf, ListTree, OneOfTree, OpaqueTree, RecordTree, RowsTree, ScalarTree, Tree, TupleTree
from dync.ir.opaque import from_opaque, to_opaque
from dync.ir.scalars import SCALAR_OPS
from dync.ir.types import Lit, Ref

SEQUENCES: dict[str, Callable[..., Any]] = {c.__name__: c for c in (list, tuple, collections.deque, set, frozenset)}
_FACTORIES: dict[str, Callable[[], Any]] = {c.__name__: c for c in (list, dict, set, int, float, str, tuple, bool)}


def build(tree: Tree, lookup: Callable[[str], Any]) -> Any:
    """The value that `tree` describes; `lookup` gives the value of a name. Containers are new at every call."""
    match tree:
        case Leaf(Ref(name)):
            return lookup(name)
        case Leaf(Lit() as constant):
            return constant.python
        case ListTree():
            return [build(t, lookup) for t in tree.items]
        case TupleTree():
            return tuple(build(t, lookup) for t in tree.items)
        case DictTree():
            return _fill(tree.kind, dict(zip(map(key_value, tree.keys), (build(t, lookup) for t in tree.items), strict=True)))
        case RecordTree():
            return _record(tree, [build(t, lookup) for t in tree.items])
        case RowsTree():
            return _rows(tree, lookup)
        case OpaqueTree():
            return from_opaque(tree)
        case ScalarTree():
            return SCALAR_OPS[tree.op].function(*(build(t, lookup) for t in tree.items))
        case OneOfTree():
            return build(tree.items[1 + build(tree.items[0], lookup)], lookup)


def key_value(key: Key) -> Any:
    """What a key of a DictTree stands for."""
    return key.python if isinstance(key, Lit) else build(key, str)


def _rows(tree: RowsTree, lookup: Callable[[str], Any]) -> Any:
    items = (build(tree.element, lambda name, row=row: row[int(name)]) for row in zip(*row_cells(tree, lookup)))
    kind, _, most = tree.kind.partition(":")
    if kind == "deque":
        return collections.deque(items, int(most) if most else None)
    whole = SEQUENCES.get(kind)
    return whole(items) if whole is not None else _fill(tree.kind, dict(items))


def row_cells(tree: RowsTree, lookup: Callable[[str], Any]) -> list[list[Any]]:
    """Of each column its cells, as Python sees them. lookup: also of a pool, by its name."""
    tensors, choices = iter([build(t, lookup) for t in tree.items]), tree.choices or ((),) * len(tree.columns)
    return [_cells(column, tensors, own, lookup) for column, own in zip(tree.columns, choices, strict=True)]


def _cells(column: str, tensors: Iterator[Any], choices: tuple[Tree, ...], lookup: Callable[[str], Any]) -> list[Any]:
    rows, (what, _, more) = next(tensors), column.partition(":")
    match what:
        case "number":
            return rows.tolist()
        case "choice":
            return [build(choices[n], str) for n in rows.tolist()]
        case "maybe":
            return [v if here else None for here, v in zip(rows.tolist(), _cells(more, tensors, choices, lookup), strict=True)]
        case "row":
            return [lookup(more)[n] if n >= 0 else None for n in rows.tolist()]
        case "empty":
            return [SEQUENCES[more]() for _ in rows.tolist()]
        case "ragged":
            return [_moved(part, int(more)) for part in _parts(rows, next(tensors))]
        case "lists" | "tuples" | "deques":
            made = SEQUENCES[what.removesuffix("s")]
            inside = _cells(more, itertools.chain((rows,), tensors), choices, lookup)
            return [made(part) for part in _parts(inside, next(tensors))]
        case _:
            return list(rows)


def _parts(rows: Any, sizes: Any) -> Iterator[Any]:
    """Stretches of these sizes, one after another."""
    start = 0
    for size in sizes.tolist():
        yield rows[start:start + size]
        start += size


def _moved(rows: Any, dim: int) -> Any:
    """Dimension 0 moved to `dim`, by methods that torch and numpy share."""
    for d in range(dim):
        rows = rows.swapaxes(d, d + 1)
    return rows


def match(
    tree: Tree, value: Any, where: str = "args", found: dict[str, Any] | None = None, containers: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The values at the Ref leaves of `tree`, by name, beside those `found` already; `containers` takes what holds them, by path.

    Raises GuardError, saying where, when `value` has another structure or constant.
    """
    found = {} if found is None else found
    _match(tree, value, where, found, {} if containers is None else containers)
    return found


def _match(tree: Tree, value: Any, where: str, found: dict[str, Any], containers: dict[str, Any]) -> None:
    if not isinstance(tree, (Leaf, OpaqueTree)):
        containers[where] = value
    match tree:
        case Leaf(Ref(name)):
            if name in found and found[name] is not value:
                raise GuardError(f"argument {where!r}: not the same object as {name!r}, which at capture it was")
            found[name] = value
        case Leaf(Lit() as constant):
            _same_constant(constant, value, where)
        case OpaqueTree():
            if to_opaque(value) != tree:
                raise GuardError(f"argument {where!r}: {value!r} given, captured with {tree.text or tree.kind}")
        case RecordTree(kind="deque"):
            if type(value) is not collections.deque or len(value) != len(tree.items) - 1:
                given = f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__
                raise GuardError(f"argument {where!r}: {given} given, captured with deque of {len(tree.items) - 1}")
            for i, item in enumerate(tree.items):
                _match(item, value[i - 1] if i else value.maxlen, f"{where}[{i - 1}]" if i else f"{where}.maxlen", found, containers)
        case RecordTree():
            for name, item in zip(tree.fields, tree.items, strict=True):
                _match(item, _field(tree, value, name, where), f"{where}.{name}", found, containers)
        case DictTree() if tree.kind in SEQUENCES:
            if type(value) is not SEQUENCES[tree.kind] or value != set(map(key_value, tree.keys)):
                raise GuardError(f"argument {where!r}: another {describe(value)} given, captured with {tree.kind} of {len(tree.keys)}")
        case DictTree():
            keys = tuple(map(key_value, tree.keys))
            if not isinstance(value, dict) or kind_of(value) != tree.kind or tuple(value) != keys:
                given = f"{kind_of(value)} with keys {list(value)}" if isinstance(value, dict) else type(value).__name__
                raise GuardError(f"argument {where!r}: {given} given, captured with {tree.kind} with keys {list(keys)} in this order")
            for key, item in zip(keys, tree.items, strict=True):
                _match(item, value[key], f"{where}[{key!r}]", found, containers)
        case ListTree() | TupleTree():
            kind = list if isinstance(tree, ListTree) else tuple
            if type(value) is not kind or len(value) != len(tree.items):
                given = f"{type(value).__name__} of {len(value)}" if isinstance(value, (list, tuple)) else type(value).__name__
                raise GuardError(f"argument {where!r}: {given} given, captured with {kind.__name__} of {len(tree.items)}")
            for i, item in enumerate(tree.items):
                _match(item, value[i], f"{where}[{i}]", found, containers)


def _same_constant(constant: Lit, value: Any, where: str) -> None:
    expected = constant.python
    both_nan = isinstance(value, float) and isinstance(expected, float) and math.isnan(value) and math.isnan(expected)
    if type(value) is not type(expected) or not (value == expected or both_nan):
        vary = "; name it in params to let it vary" if type(expected) in (int, float) else ""
        raise GuardError(f"argument {where!r}: {describe(value)} given, fixed at capture as {expected!r}{vary}")


def describe(value: Any) -> str:
    """A value in short: "float32[2, 3]", "list of 3", "int 3"."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{str(value.dtype).removeprefix('torch.')}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, (list, tuple, dict)):
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {value!r}" if isinstance(value, (bool, int, float, str)) else type(value).__name__


def kind_of(value: Any) -> str:
    """DictTree.kind of a dict or set: its class's name, or "defaultdict:list" with a builtin factory."""
    if isinstance(value, collections.defaultdict) and value.default_factory:
        return f"defaultdict:{getattr(value.default_factory, '__name__', '')}"
    return type(value).__name__


def _fill(kind: str, items: dict[Any, Any]) -> Any:
    name, _, factory = kind.partition(":")
    match name:
        case "OrderedDict":
            return collections.OrderedDict(items)
        case "Counter":
            return collections.Counter(items)
        case "set" | "frozenset":
            return SEQUENCES[name](items)
        case "defaultdict":
            return collections.defaultdict(_FACTORIES.get(factory), items)
        case _:
            return items


def _field(tree: RecordTree, value: Any, name: str, where: str) -> Any:
    held = plain_fields(value) if tree.kind == "object" else value if tree.kind == "dict" and isinstance(value, dict) else None
    fields = field_names(type(value)) if held is None else tuple(held)
    if type(value).__qualname__.rpartition(".")[2] != tree.cls.rpartition(":")[2].rpartition(".")[2] or fields != tree.fields:
        wanted = f"{tree.cls.rpartition(':')[2]}({', '.join(tree.fields)})"
        raise GuardError(f"argument {where!r}: {type(value).__name__} given, captured with {wanted}")
    return getattr(value, name) if held is None else held[name]


def _record(tree: RecordTree, items: list[Any]) -> Any:
    if tree.kind == "array":
        return numpy.asarray(items[0])[()]
    if tree.kind == "deque":
        return collections.deque(items[1:], items[0])
    cls: Any = record_class(tree.kind, tree.cls, tree.fields)
    if tree.kind == "namedtuple":
        return cls(items) if is_sequence(cls) else tuple.__new__(cls, items)
    if tree.kind == "mapping":
        return cls(**dict(zip(tree.fields, items, strict=True)))
    if tree.kind == "dict":
        base, made = collections.OrderedDict if issubclass(cls, collections.OrderedDict) else dict, cls.__new__(cls)
        for name, item in zip(tree.fields, items, strict=True):
            base.__setitem__(made, name, item)
        return made
    made = cls.__new__(cls)  # not __init__: it has already run on these values
    for name, item in zip(tree.fields, items, strict=True):
        object.__setattr__(made, name, item)
    return made
