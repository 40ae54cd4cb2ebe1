"""Sizes of 1, which mean more than other sizes: they broadcast, and `squeeze` drops them.

torch's symbolic shapes assume that a size known only at run time is not 1. It may be, so where that matters the path is decided here,
before torch is asked, and a size that is 1 on this path is made a literal 1, so that every backend sees what broadcasts
(PyTorch, "Broadcasting semantics").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import sympy
import torch
from torch.utils._pytree import tree_map

from dync.capture.scalars import scalar_of
from dync.capture.tape import of_model
from dync.ir.flow import MISFIT

aten = torch.ops.aten

POINTWISE = frozenset({aten.masked_fill.Tensor, aten.masked_fill_.Scalar, aten.masked_fill_.Tensor, aten.copy_.default, aten.copy.default,
                       aten.dist.default, aten.mse_loss.default, aten.smooth_l1_loss.default, aten.huber_loss.default, aten.polar.default,
                       aten.complex.default, aten.masked_select.default, aten.rsub.Tensor, aten.isclose.default})
"""Operations whose tensors broadcast, beside those that torch tags as pointwise."""
NEVER_EMPTY = frozenset({aten.max.default, aten.min.default, aten.max.dim, aten.min.dim})
"""Reductions that raise on nothing to reduce, which torch's shape functions do not say."""
INDEXED_WRITES = frozenset({aten.index_put.default, aten.index_put_.default})
SQUEEZES = frozenset({aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims})
SQUEEZES_IN_PLACE = frozenset({aten.squeeze_.default, aten.squeeze_.dim, aten.squeeze_.dims})

Call = Callable[..., Any]
"""How an operation is asked for: (func, *args)."""


def settled(engine: Any, call: Call, func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments of an ATen operation, after a decision on every run-time size that may be 1 where that makes a difference."""
    if func is aten.expand.default:
        want = [None if s == -1 else s for s in args[1]]
        return (_onto(engine, call, want, args[0]), *args[1:]), kwargs
    if func in (aten.addmm.default, aten.baddbmm.default):
        return (_onto(engine, call, [*args[1].shape[:-1], args[2].shape[-1]], args[0]), *args[1:]), kwargs
    if func in NEVER_EMPTY:
        x, d = args[0], args[1] if len(args) > 1 else None
        sizes = x.shape if d is None else (x.shape[d],) if x.dim() else ()
        for size in sizes:
            if isinstance(size, torch.SymInt):
                engine.expect(cast(Any, sympy.Ne)(scalar_of(size), 0))
    if func in SQUEEZES_IN_PLACE:
        for d in _asked(args[0], args[1:]):
            _is(engine, args[0].shape[d], 1)
    if func in INDEXED_WRITES:
        return _indexed(engine, call, args), kwargs
    if torch.Tag.pointwise in func.tags or func in POINTWISE:
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
        if func._schema.is_mutable:
            new = [tensors[0], *(_onto(engine, call, tensors[0].shape, t) for t in tensors[1:])]
        else:
            new = together(engine, call, tensors)
        twin = {id(old): n for old, n in zip(tensors, new)}
        return tree_map(lambda a: twin.get(id(a), a), (args, kwargs))
    return args, kwargs


def _indexed(engine: Any, call: Call, args: Any) -> Any:
    """`x[indices] = values`: the indices broadcast with each other, the values to what they choose (NumPy, "Advanced indexing")."""
    x, indices, values, *rest = args
    given = [i for i in indices if i is not None]
    if not given or any(i.dtype in (torch.bool, torch.uint8) for i in given):
        return args
    chosen = _common(engine, [i.shape for i in given])
    indices = [None if i is None else _plain(engine, call, i, chosen) for i in indices]
    places = [p for p, i in enumerate(indices) if i is not None]
    first = places[0] if places == list(range(places[0], places[-1] + 1)) else 0
    left = [s for p, s in enumerate(x.shape) if p not in places]
    return (x, indices, _onto(engine, call, [*left[:first], *chosen, *left[first:]], values), *rest)


def together(engine: Any, call: Call, tensors: Sequence[Any], kept: int = 0) -> list[Any]:
    """Tensors that broadcast with each other, all but their last `kept` dimensions."""
    common = _common(engine, [t.shape[:t.dim() - kept] for t in tensors])
    return [_plain(engine, call, t, common, kept) for t in tensors]


def _common(engine: Any, shapes: Sequence[Any]) -> list[Any]:
    """The shape that shapes broadcast to."""
    common: list[Any] = []
    for shape in shapes:
        for place, size in enumerate(reversed(shape)):
            if place == len(common):
                common.append(size)
            else:
                common[place] = _pair(engine, common[place], size, place)
    return common[::-1]


def squeeze(engine: Any, call: Call, x: Any, dims: Any) -> Any:
    """`x.squeeze(*dims)` as torch does it with real sizes."""
    gone = sorted({d % x.dim() for d in _asked(x, dims) if x.dim() and _is(engine, x.shape[d], 1)}, reverse=True)
    for d in gone:
        x = call(aten.select.int, x, d, 0)
    return x if gone else call(aten.alias.default, x)


def _asked(x: Any, dims: Any) -> Any:
    return range(x.dim()) if not dims else dims[0] if isinstance(dims[0], (list, tuple)) else dims


def _is(engine: Any, size: Any, number: Any) -> bool:
    return bool(engine.decide(cast(Any, sympy.Eq)(scalar_of(size), scalar_of(number))))


def _known(engine: Any, a: Any, b: Any) -> bool:
    return engine.shape_env.known(cast(Any, sympy.Eq)(scalar_of(a), scalar_of(b))) is True


def _left_to_torch(engine: Any, *sizes: Any) -> bool:
    """Whether sizes are plain, or dimensions of the inputs that every call needs to be equal: torch and the engine have a word for that."""
    symbols = {s for scalar in map(scalar_of, sizes) if isinstance(scalar, sympy.Basic) for s in scalar.free_symbols}
    return not symbols or (symbols <= set(engine.declared) and engine.certain())


def _pair(engine: Any, a: Any, b: Any, place: int) -> Any:
    """The size that a and b broadcast to."""
    if _known(engine, a, 1):
        return b
    if _known(engine, b, 1) or _known(engine, a, b) or _left_to_torch(engine, a, b) or _is(engine, a, b) or _is(engine, b, 1):
        return a
    if _is(engine, a, 1):
        return b
    raise _misfit("size of tensor a must match the size of tensor b", place)


def _onto(engine: Any, call: Call, target: Sequence[Any], x: Any) -> Any:
    """A tensor that is broadcast to sizes that stay; None stands for its own."""
    for place, (want, size) in enumerate(zip(reversed(target), reversed(x.shape))):
        if want is None or _known(engine, size, 1) or _known(engine, size, want) or _left_to_torch(engine, size, want):
            continue
        if not (_is(engine, size, want) or _is(engine, size, 1)):
            raise _misfit("expanded size of the tensor must match the existing size", place)
    return _plain(engine, call, x, target)


def _plain(engine: Any, call: Call, x: Any, target: Sequence[Any], kept: int = 0) -> Any:
    """A tensor with a literal 1 for every run-time size that is 1 on this path and is to be another."""
    shape = x.shape[:x.dim() - kept]
    for d, (size, want) in enumerate(zip(shape, target[len(target) - len(shape):])):
        differs = want is not None and scalar_of(size) != scalar_of(want)
        if isinstance(size, torch.SymInt) and differs and _known(engine, size, 1):
            x = call(aten.unsqueeze.default, call(aten.select.int, x, d, 0), d)
    return x


def _misfit(text: str, place: int) -> Exception:
    return of_model(RuntimeError(f"{MISFIT}: the {text} at dimension {-1 - place}"))


def _losses(engine: Any, call: Call, args: Any) -> Any:
    return (*together(engine, call, args[:2]), *args[2:])


def _tensors(engine: Any, call: Call, args: Any) -> Any:
    return (together(engine, call, args[0]),) if isinstance(args[0], (tuple, list)) else tuple(together(engine, call, args))


def _matmul(engine: Any, call: Call, args: Any) -> Any:
    return (*together(engine, call, args[:2], 2), *args[2:]) if min((a.dim() for a in args[:2]), default=0) > 2 else args


BROADCASTING: dict[str, Callable[[Any, Call, Any], Any]] = {
    **dict.fromkeys(("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "binary_cross_entropy_with_logits", "dist",
                     "cosine_similarity", "pairwise_distance"), _losses),
    "broadcast_tensors": _tensors,
    **dict.fromkeys(("matmul", "__matmul__", "__rmatmul__"), _matmul),
}
"""Functions of torch that look at sizes before any ATen operation is seen: what they are to be given."""
