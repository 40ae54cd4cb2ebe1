"""Views as data: how each view operation is undone, so that what is written into a view comes back into what it shows."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch._ops import OpOverload
from torch.fx import Node

aten = torch.ops.aten

SAME = frozenset({aten.alias.default, aten.detach.default, aten.lift_fresh.default, aten.view_as.default})
"""Views that show everything as it is."""

MAYBE = frozenset({"reshape", "contiguous", "flatten", "ravel", "to", "type_as", "reshape_as", "resolve_conj", "resolve_neg"})
"""Operations that give a view or a copy, as the layout will have it."""

RESHAPES = frozenset({aten.view.default, aten._unsafe_view.default, aten._reshape_alias.default})
"""Views that need a certain layout; anew on other memory they are reshapes."""


@dataclass(frozen=True, eq=False)
class Step:
    """One view operation, equal only to itself: `args` follow the viewed tensor. `like`: the original node, for its type."""

    target: OpOverload
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    like: Node


class Emit(Protocol):
    """Adds a call to the new graph."""

    def __call__(self, target: Callable[..., Any], *args: Any, like: Node, **kwargs: Any) -> Node: ...


def item_of(node: Node) -> tuple[Node, OpOverload, tuple[Any, ...]] | None:
    """For item i of unbind, split or split_with_sizes: the tensor that was split, and the view that gives the item."""
    source, index = node.args
    assert isinstance(source, Node) and isinstance(index, int)
    given: dict[str, Any] = dict(zip((a.name for a in source.target._schema.arguments), source.args)) | dict(source.kwargs)  # type: ignore[union-attr]
    tensor, dim = given["self"], given.get("dim", 0)
    count = len(source.meta["val"])
    index %= count
    match source.target:
        case aten.unbind.int:
            return tensor, aten.select.int, (dim, index)
        case aten.split.Tensor | aten.unsafe_split.Tensor:
            sizes = [given["split_size"]] * count
        case aten.split_with_sizes.default | aten.unsafe_split_with_sizes.default:
            sizes = given["split_sizes"]
        case _:
            return None
    if not all(isinstance(s, int) for s in sizes[: index + 1]):
        return None
    start = sum(sizes[:index])
    return tensor, aten.slice.Tensor, (dim, start, start + sizes[index])


def sizes(emit: Emit, node: Node) -> list[Any]:
    """The shape of a node as arguments: numbers, and sym_size nodes where it is dynamic."""
    fake = node.meta["val"]
    return [s if isinstance(s, int) else emit(aten.sym_size.int, node, i, like=node) for i, s in enumerate(fake.shape)]


Undo = Callable[[Emit, Node, Node, Step], Node]
"""(emit, viewed tensor, new value of the view, the view) → new value of the viewed tensor"""


def _scatter(target: OpOverload) -> Undo:
    return lambda emit, base, new, step: emit(target, base, new, *step.args, like=base, **step.kwargs)


def _reshape(emit: Emit, base: Node, new: Node, step: Step) -> Node:
    return emit(aten.reshape.default, new, sizes(emit, base), like=base)


def _again(emit: Emit, base: Node, new: Node, step: Step) -> Node:
    return emit(step.target, new, *step.args, like=base, **step.kwargs)


def _permute(emit: Emit, base: Node, new: Node, step: Step) -> Node:
    order = [d % len(step.args[0]) for d in step.args[0]]
    return emit(aten.permute.default, new, [order.index(i) for i in range(len(order))], like=base)


def _retype(emit: Emit, base: Node, new: Node, step: Step) -> Node:
    return emit(aten.view.dtype, new, base.meta["val"].dtype, like=base)


def _paired(target: OpOverload) -> Undo:
    return lambda emit, base, new, step: emit(target, new, like=base)


UNDO: Mapping[OpOverload, Undo] = {
    aten.select.int: _scatter(aten.select_scatter.default),
    aten.slice.Tensor: _scatter(aten.slice_scatter.default),
    aten.diagonal.default: _scatter(aten.diagonal_scatter.default),
    **dict.fromkeys(
        (*RESHAPES, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default, aten.reshape.default), _reshape
    ),
    aten.t.default: _again,
    aten.transpose.int: _again,
    aten.permute.default: _permute,
    aten.view.dtype: _retype,
    aten.view_as_real.default: _paired(aten.view_as_complex.default),
    aten.view_as_complex.default: _paired(aten.view_as_real.default),
}
"""The views that may be written through. Not here: expand, which eager refuses to write, and strided ones."""


def is_item(node: Node) -> bool:
    return node.target is operator.getitem
