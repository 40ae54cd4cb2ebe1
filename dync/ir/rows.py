"""A Python container of unknown length taken apart into the columns of its RowsTree: what `trees.build` puts together. No torch here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast

import numpy

from dync.errors import GuardError
from dync.ir.flow import Leaf, RowsTree
from dync.ir.trees import SEQUENCES, build, describe, match
from dync.ir.types import Ref, TensorType, ValueType


def columns_of(tree: RowsTree, value: Any, where: str, types: Mapping[str, ValueType]) -> dict[str, Any]:
    """The columns by the names of the tree's leaves. types: of these; sizes that are symbols fit any.

    Raises GuardError where `value` is another kind of container, or an item has another structure, type or shape.
    """
    kind = tree.kind.partition(":")[0]  # what a defaultdict makes is the code's own
    if type(value) is not SEQUENCES.get(kind) and not (isinstance(value, dict) and type(cast("Any", value)).__name__ == kind):
        raise GuardError(f"argument {where!r}: {describe(value)} given, captured with a {tree.kind}")
    items: Any = tuple(cast("Any", value).items() if isinstance(value, dict) else value)
    cells = [match(tree.element, item, f"{where}[{i}]") for i, item in enumerate(items)]
    leaves, found = iter(tree.items), dict[str, Any]()

    def following() -> tuple[str, TensorType]:
        name = cast("Ref", cast("Leaf", next(leaves)).operand).name
        return name, cast("TensorType", types[name])

    for n, column in enumerate(tree.columns):
        own = [c[str(n)] for c in cells]
        name, wanted = following()
        what, _, dim = column.partition(":")
        if what == "choice":
            own = [_place(v, [build(c, str) for c in tree.choices[n]], where) for v in own]
        if what in ("choice", "number"):
            found[name] = _numbers(own, wanted, where, what == "number")
        elif what in ("tensor", "ragged"):
            d = int(dim or 0)
            sizes = [wanted.shape[0], *wanted.shape[1:]] if what == "ragged" else list(wanted.shape[1:])
            for v in own:
                moved = (v.shape[d], *v.shape[:d], *v.shape[d + 1:]) if what == "ragged" else tuple(v.shape)
                if len(moved) != len(sizes) or any(isinstance(s, int) and s != m for s, m in zip(sizes, moved)):
                    raise GuardError(f"argument {where!r}: holds {describe(v)}, captured with items of {wanted}")
            found[name] = _joined(own, wanted, d if what == "ragged" else None)
            if what == "ragged":
                name, wanted = following()
                found[name] = _numbers([v.shape[d] for v in own], wanted, where, False)
        else:
            raise GuardError(f"argument {where!r}: a {tree.kind} of containers cannot be set")
    return found


def _place(value: Any, choices: list[Any], where: str) -> int:
    for n, c in enumerate(choices):
        if type(c) is type(value) and c == value:
            return n
    raise GuardError(f"argument {where!r}: holds {value!r}, captured with {', '.join(map(repr, choices))}")


def _numbers(values: list[Any], wanted: TensorType, where: str, python: bool) -> Any:
    kind = {"int64": int, "float64": float, "bool": bool}[wanted.dtype]
    for v in values:
        if python and type(v) is not kind:
            raise GuardError(f"argument {where!r}: holds {describe(v)}, captured with {kind.__name__}s")
    made, torch = numpy.asarray(values, dtype=wanted.dtype), sys.modules.get("torch")
    return made if torch is None else torch.from_numpy(made)


def _joined(values: list[Any], wanted: TensorType, dim: int | None) -> Any:
    """Tensors stacked, or one after another along `dim`, which goes to the front."""
    torch = sys.modules.get("torch")
    if not values:
        sizes = [s if isinstance(s, int) else 0 for s in wanted.shape]
        return torch.zeros([0, *sizes[1:]], dtype=getattr(torch, wanted.dtype)) if torch else numpy.zeros([0, *sizes[1:]], wanted.dtype)
    own: Any = torch if torch is not None and isinstance(values[0], torch.Tensor) else numpy
    return own.stack(values) if dim is None else own.concatenate([own.moveaxis(v, dim, 0) for v in values])
