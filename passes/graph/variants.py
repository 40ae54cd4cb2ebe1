"""The functional variant of an operation that writes in place, found by its schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node

from dync.ir.effects import arguments
from dync.passes.graph.views import Emit, sizes

aten = torch.ops.aten

_STATISTICS = {
    aten._native_batch_norm_legit.default: (aten._native_batch_norm_legit_functional.default, 3),
    aten.native_batch_norm.default: (aten._native_batch_norm_legit_functional.default, 3),
    aten._batch_norm_with_update.default: (aten._batch_norm_with_update_functional.default, 4),
}
"""Normalisations that write running statistics → functional variant, which returns these last, after so many results."""
_OTHER_NAMES = {aten.normal_.default: aten.normal_functional.default}


def functional_variant(node: Node) -> OpOverload | None:
    """The operation that computes what `node` writes, without writing; None where there is none."""
    target = node.target
    assert isinstance(target, OpOverload)
    if target in _STATISTICS:
        return _STATISTICS[target][0]
    return _OTHER_NAMES.get(target) or _variant(target)


@cache
def _variant(target: OpOverload) -> OpOverload | None:
    namespace, _, name = target._schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    given = target._schema.arguments
    writes = [a for a in given if a.alias_info is not None and a.alias_info.is_write]
    if packet is None or any(str(a.type) != "Tensor" for a in writes):
        return None
    if name.endswith("_") and writes == [given[0]]:
        wanted = [(a.name, str(a.type)) for a in given]
    elif torch.Tag.out in target.tags and all(a.is_out for a in writes):
        wanted = [(a.name, str(a.type)) for a in given if not a.is_out]
    else:
        return None
    found = [getattr(packet, o) for o in packet.overloads()]
    return next((f for f in found if not f._schema.is_mutable and [(a.name, str(a.type)) for a in f._schema.arguments] == wanted), None)


def resizes(node: Node) -> bool:
    """Whether an out= argument has another shape than what is written to it."""
    out = [v for a, v in arguments(node) if a.is_out]
    results = node.meta["val"] if len(out) > 1 else [node.meta["val"]]
    return any(len(o.meta["val"].shape) != r.dim() or not all(map(_equal, o.meta["val"].shape, r.shape)) for o, r in zip(out, results))


def new_values(
    emit: Emit,
    node: Node,
    variant: OpOverload,
    read: Callable[[Any], Any],
    old: Sequence[Node],
) -> tuple[Node | None, list[Node]]:
    """(The operation's own result where that is no written argument, the new value of each written argument)."""
    given = {a.name: read(v) for a, v in arguments(node)}
    if node.target in _STATISTICS:
        names = [a.name for a in variant._schema.arguments]
        made = emit(variant, *(given[n] for n in names), like=node)
        count = _STATISTICS[node.target][1]  # type: ignore[index]
        made.meta["val"] = (*made.meta["val"][:count], *(o.meta["val"] for o in old))
        return made, [_item(emit, made, count + i, o) for i, o in enumerate(old)]
    if torch.Tag.out in node.target.tags:  # type: ignore[union-attr]
        return _written_out(emit, node, variant, given, old)
    (self,) = old
    match variant:
        case aten.copy.default:
            made = _as_like(emit, given["src"], self, fresh=True)
        case aten.zero.default:
            made = emit(aten.zeros_like.default, self, like=self)
        case aten.fill.Scalar:
            made = emit(aten.full_like.default, self, given["value"], like=self)
        case aten.fill.Tensor:
            made = _as_like(emit, given["value"], self, fresh=True)
        case _:
            made = emit(variant, *read(node.args), like=self, **read(dict(node.kwargs)), **_defaults(node, variant, given))
            made = _as_like(emit, made, self)
    return None, [made]


def _written_out(
    emit: Emit, node: Node, variant: OpOverload, given: Mapping[str, Any], old: Sequence[Node]
) -> tuple[Node | None, list[Node]]:
    """What an operation with out= arguments writes into them; with one, it gives that one back."""
    own = [a for a in variant._schema.arguments if a.name in given]
    made = emit(
        variant, *(given[a.name] for a in own if not a.kwarg_only), like=node, **{a.name: given[a.name] for a in own if a.kwarg_only}
    )
    items = [made] if len(old) == 1 else [_item(emit, made, i, o) for i, o in enumerate(old)]
    values = [_as_like(emit, v, o) for v, o in zip(items, old, strict=True)]
    return (None if len(old) == 1 else made), values


def _defaults(node: Node, variant: OpOverload, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that `node` leaves to a default which the variant does not have."""
    own = {a.name: a.default_value for a in node.target._schema.arguments if a.has_default_value()}  # type: ignore[union-attr]
    return {a.name: own[a.name] for a in variant._schema.arguments if a.name not in given and not a.has_default_value()}


def _item(emit: Emit, made: Node, index: int, like: Node) -> Node:
    import operator

    return emit(operator.getitem, made, index, like=like)


def _as_like(emit: Emit, value: Node, like: Node, fresh: bool = False) -> Node:
    """`value` in the dtype, device and shape of `like`, as a write into it would have it; a copy of its own if `fresh`."""
    given, wanted = value.meta["val"], like.meta["val"]
    other = {k: getattr(wanted, k) for k in ("dtype", "device") if getattr(given, k) != getattr(wanted, k)}
    if other:
        value = emit(aten._to_copy.default, value, like=like, **other)
    if given.dim() != wanted.dim() or any(not _equal(a, b) for a, b in zip(given.shape, wanted.shape)):
        value = emit(aten.expand.default, value, sizes(emit, like), like=like)
    elif other or not fresh:
        return value
    return emit(aten.clone.default, value, like=like) if fresh else value


def _equal(a: Any, b: Any) -> bool:
    """Whether two sizes are known to be the same, without asking the shape environment for a guard."""
    return (
        a == b
        if isinstance(a, int) and isinstance(b, int)
        else not isinstance(a, int) and not isinstance(b, int) and a.node.expr == b.node.expr
    )
