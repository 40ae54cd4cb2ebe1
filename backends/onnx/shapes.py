"""ATen operators that only move elements: views, joins, splits, pads, and tensors made from nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dync.backends.onnx.builder import INT64_MAX, Builder, Number, Size, Val
from dync.backends.onnx.registry import Unsupported


def pairs(x: Val, dims: int | Sequence[int] | None) -> list[int]:
    """Dims counted from 0; none given means all."""
    if dims is None:
        return list(range(x.rank))
    return [d % max(x.rank, 1) for d in ([dims] if isinstance(dims, int) else dims)]


def view(t: Builder, x: Val, size: Sequence[Size], *_: Any) -> Val:
    return t.reshape(x, as_declared(t, size))


def as_declared(t: Builder, size: Sequence[Size]) -> list[Size]:
    """Sizes with what is known of the result put in, so that -1 and run-time sizes are rare."""
    return [known if known is not None else asked for known, asked in zip(t.shape, size, strict=True)]


def restride(t: Builder, x: Val, *_: Any) -> Val:
    """flatten, unflatten, and the like: the declared shape says all when at most one size is dynamic."""
    return t.reshape(x, restored(t, x))


def restored(t: Builder, x: Val) -> list[Size]:
    unknown = [i for i, s in enumerate(t.shape) if s is None]
    if len(unknown) > 1:
        raise Unsupported("several dynamic sizes in one reshape")
    if unknown and 0 in t.shape:
        raise Unsupported("a dynamic size beside a size of 0")
    return [-1 if s is None else s for s in t.shape]


def flatten(t: Builder, x: Val, start_dim: int = 0, end_dim: int = -1) -> Val:
    if not x.rank:
        return t.reshape(x, [1])
    start, end = start_dim % x.rank, end_dim % x.rank
    sizes = [*(t.size(x, d) for d in range(start)), t.count(x, range(start, end + 1)), *(t.size(x, d) for d in range(end + 1, x.rank))]
    return t.reshape(x, as_declared(t, sizes))


def unflatten(t: Builder, x: Val, dim: int, sizes: Sequence[Size]) -> Val:
    dim %= x.rank
    whole = [*(t.size(x, d) for d in range(dim)), *sizes, *(t.size(x, d) for d in range(dim + 1, x.rank))]
    return t.reshape(x, as_declared(t, whole))


def unsqueeze(t: Builder, x: Val, dim: int) -> Val:
    return t.unsqueeze(x, dim % (x.rank + 1))


def squeeze(t: Builder, x: Val, dims: int | Sequence[int] | None = None) -> Val:
    """Removes dims of size 1; a dynamic size stays, as the declared rank says."""
    gone = [d for d in pairs(x, dims) if x.shape and x.shape[d] == 1]
    assert x.rank - len(gone) == len(t.shape), "squeeze of a dynamic size"
    return t.squeeze(x, *gone) if gone else x


def permute(t: Builder, x: Val, dims: Sequence[int]) -> Val:
    return t.transpose(x, [d % x.rank for d in dims])


def swap(t: Builder, x: Val, a: int = 0, b: int = 1) -> Val:
    return t.swap(x, a % x.rank, b % x.rank) if x.rank > 1 else x


def movedim(t: Builder, x: Val, source: int | Sequence[int], destination: int | Sequence[int]) -> Val:
    src, dst = pairs(x, source), pairs(x, destination)
    rest = iter(d for d in range(x.rank) if d not in src)
    return t.transpose(x, [src[dst.index(i)] if i in dst else next(rest) for i in range(x.rank)])


def expand(t: Builder, x: Val, size: Sequence[Size], *_: Any, **__: Any) -> Val:
    return t.expand(x, [known if known is not None else asked for known, asked in zip(t.shape, size, strict=True)])


def expand_as(t: Builder, x: Val, other: Val) -> Val:
    return t.expand(x, t.shape_of(other))


def slice_(t: Builder, x: Val, dim: int = 0, start: Size | None = None, end: Size | None = None, step: int = 1) -> Val:
    if (
        (start is None or (isinstance(start, int) and start == 0))
        and (end is None or (isinstance(end, int) and end >= INT64_MAX))
        and step == 1
    ):
        return x
    return t.slice(x, dim % x.rank, 0 if start is None else start, INT64_MAX if end is None else end, step)


def select(t: Builder, x: Val, dim: int, index: Size) -> Val:
    return t.op("Gather", x, t.lift(index, "int64"), axis=dim % x.rank)


def narrow(t: Builder, x: Val, dim: int, start: Size, length: Size) -> Val:
    if isinstance(start, int) and isinstance(length, int):
        return t.slice(x, dim % x.rank, start, INT64_MAX if start < 0 and start + length == 0 else start + length)
    return t.slice(x, dim % x.rank, start, t.op("Add", t.lift(start, "int64"), t.lift(length, "int64")))


def split_sizes(t: Builder, x: Val, sizes: Sequence[Size], dim: int = 0) -> tuple[Val, ...]:
    return t.ops("Split", x, t.ints(sizes), count=len(sizes), axis=dim % x.rank)


def split(t: Builder, x: Val, size: Size, dim: int = 0) -> tuple[Val, ...]:
    """Equal pieces, the last one shorter; the number of pieces is that of the declared results."""
    if isinstance(size, Val):
        raise Unsupported("split into pieces of a run-time size")
    pieces, dim = len(t.outs), dim % x.rank
    return tuple(t.slice(x, dim, i * size, (i + 1) * size) for i in range(pieces)) if pieces > 1 else (x,)


def chunk(t: Builder, x: Val, chunks: int, dim: int = 0) -> tuple[Val, ...]:
    return split_sizes(t, x, [declared(o, dim % x.rank) for o in t.outs], dim)


def declared(out: Val, dim: int) -> int:
    size = out.shape[dim] if out.shape else None
    if size is None:
        raise Unsupported("pieces of a dynamic size")
    return size


def unbind(t: Builder, x: Val, dim: int = 0) -> tuple[Val, ...]:
    return tuple(t.op("Gather", x, t.const(i, "int64"), axis=dim % x.rank) for i in range(len(t.outs)))


def cat(t: Builder, tensors: Sequence[Val], dim: int = 0) -> Val:
    """torch skips 1-d empty tensors of another rank."""
    rank = len(t.shape)
    kept = [t.cast(x, t.dtype) for x in tensors if not (x.shape == (0,) and rank != 1)]
    if any(x.rank != rank for x in kept):
        raise Unsupported("cat of a 1-d tensor that may be empty with tensors of another rank")
    return t.concat(kept, dim % rank) if kept else t.cast(tensors[0], t.dtype)


def stack(t: Builder, tensors: Sequence[Val], dim: int = 0) -> Val:
    dim %= len(t.shape)
    return t.concat([t.unsqueeze(t.cast(x, t.dtype), dim) for x in tensors], dim)


def flip(t: Builder, x: Val, dims: Sequence[int]) -> Val:
    for dim in pairs(x, dims):
        x = t.op("Slice", x, t.ints([-1]), t.ints([-INT64_MAX]), t.ints([dim]), t.ints([-1]))
    return x


def roll(t: Builder, x: Val, shifts: int | Sequence[int], dims: int | Sequence[int] = ()) -> Val:
    shifts = [shifts] if isinstance(shifts, int) else list(shifts)
    axes = [dims] if isinstance(dims, int) else list(dims)
    if not axes:
        return t.reshape(roll(t, t.flat(x), shifts, [0]), t.sizes(x))
    for shift, dim in zip(shifts, axes, strict=True):
        size = x.shape[dim % x.rank] if x.shape else None
        if size is None or not all(isinstance(s, int) for s in shifts):
            raise Unsupported("roll along a dynamic size")
        at, shape = (-shift) % size if size else 0, x.shape
        if at:
            x = t.concat([t.slice(x, dim % x.rank, at, INT64_MAX), t.slice(x, dim % x.rank, 0, at)], dim % x.rank)
            x = Val(x.name, x.dtype, shape)
    return x


def repeat(t: Builder, x: Val, repeats: Sequence[Size]) -> Val:
    wide = t.reshape(x, [1] * (len(repeats) - x.rank) + t.sizes(x)) if len(repeats) > x.rank else x
    return t.op("Tile", wide, t.ints(repeats))


def tile(t: Builder, x: Val, dims: Sequence[Size]) -> Val:
    return repeat(t, x, [1] * (x.rank - len(dims)) + list(dims))


def repeat_each(t: Builder, x: Val, repeats: Size, dim: int | None = None, *_: Any, **__: Any) -> Val:
    """repeat_interleave by one number."""
    if dim is None:
        x, dim = t.flat(x), 0
    dim %= x.rank
    sizes = t.sizes(x)
    wide = t.expand(t.unsqueeze(x, dim + 1), [*sizes[: dim + 1], repeats, *sizes[dim + 1 :]])
    return t.reshape(wide, [*sizes[:dim], t.times(sizes[dim], repeats), *sizes[dim + 1 :]])


def repeat_by(t: Builder, repeats: Val, **_: Any) -> Val:
    """aten.repeat_interleave.Tensor: i stands repeats[i] times; the place of output j counts the ends at or before j."""
    repeats, zero = t.cast(repeats, "int64"), t.const([0], "int64")
    least = t.natural(t.op("ReduceMin", t.concat([repeats, zero], 0), keepdims=0))  # 0, or no place in a list of one
    ends = t.op("CumSum", repeats, t.const(0, "int64"))
    total = t.op("Add", t.op("ReduceSum", repeats, keepdims=0), t.op("Gather", zero, least, axis=0))
    before = t.op("GreaterOrEqual", t.unsqueeze(t.counted(total), 1), t.unsqueeze(Val(ends.name, "int64", (None,)), 0))
    return t.op("ReduceSum", t.cast(before, "int64"), t.const([1], "int64"), keepdims=0)


def diagonal(t: Builder, x: Val, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Val:
    a, b = dim1 % x.rank, dim2 % x.rank
    rows, columns = x.dims[a], x.dims[b]
    if rows is None or columns is None:
        raise Unsupported("the diagonal of a dynamic size")
    order = [d for d in range(x.rank) if d not in (a, b)] + [a, b]
    y = t.transpose(x, order)
    length = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    index = (np.arange(length) + max(-offset, 0)) * columns + np.arange(length) + max(offset, 0)
    flat = t.reshape(y, [*(t.size(y, d) for d in range(y.rank - 2)), rows * columns])
    return t.op("Gather", flat, t.const(index, "int64"), axis=y.rank - 2)


def triangle(upper: bool) -> Callable[..., Val]:
    def translate(t: Builder, x: Val, diagonal: Size = 0) -> Val:
        return t.op("Trilu", x, t.lift(diagonal, "int64"), upper=int(upper))

    return translate


def unfold(t: Builder, x: Val, dimension: int, size: int, step: int) -> Val:
    dim = dimension % x.rank
    length = x.dims[dim]
    if length is None:
        raise Unsupported("unfold along a dynamic size")
    starts = np.arange(0, length - size + 1, step)
    taken = t.op("Gather", x, t.const(starts[:, None] + np.arange(size)[None, :], "int64"), axis=dim)
    wide = Val(taken.name, taken.dtype, (None,) * (x.rank + 1))
    return t.transpose(wide, [d for d in range(x.rank + 1) if d != dim + 1] + [dim + 1])


def pixel_shuffle(t: Builder, x: Val, upscale_factor: int) -> Val:
    lead, r = x.rank - 3, upscale_factor
    c, h, w = (t.size(x, lead + i) for i in range(3))
    if not isinstance(c, int):
        raise Unsupported("pixel_shuffle of a dynamic number of channels")
    y = t.reshape(x, [*t.sizes(x)[:lead], c // r**2, r, r, h, w])
    y = t.transpose(y, [*range(lead), lead, lead + 3, lead + 1, lead + 4, lead + 2])
    return t.reshape(y, [*t.sizes(x)[:lead], c // r**2, t.times(h, r), t.times(w, r)])


# -- padding -------------------------------------------------------------------------------------------------------------


def pads(rank: int, pad: Sequence[Size]) -> list[Size]:
    """torch's last-dim-first pairs → ONNX's begins then ends."""
    begin: list[Size] = [0] * rank
    end: list[Size] = [0] * rank
    for i in range(len(pad) // 2):
        begin[rank - 1 - i], end[rank - 1 - i] = pad[2 * i], pad[2 * i + 1]
    return begin + end


def pad_constant(t: Builder, x: Val, pad: Sequence[Size], value: Val | Number | None = 0) -> Val:
    return t.op("Pad", x, t.ints(pads(x.rank, pad)), t.lift(0 if value is None else value, x.dtype), mode="constant")


def pad_by(mode: str) -> Callable[..., Val]:
    return lambda t, x, pad: t.op("Pad", x, t.ints(pads(x.rank, pad)), mode=mode)


def pad_any(t: Builder, x: Val, pad: Sequence[Size], mode: str = "constant", value: float | None = None) -> Val:
    if mode == "constant":
        return pad_constant(t, x, pad, value)
    return pad_by({"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode])(t, x, pad)


# -- writing a part ------------------------------------------------------------------------------------------------------


def slice_scatter(t: Builder, x: Val, src: Val, dim: int = 0, start: Size | None = None, end: Size | None = None, step: int = 1) -> Val:
    """x with x[start:end:step] = src: the places are found by slicing their numbers, then scattered along dim."""
    dim %= x.rank
    places = slice_(t, t.counted(t.size(x, dim)), 0, start, end, step)
    front = [dim, *(d for d in range(x.rank) if d != dim)]
    back = [front.index(d) for d in range(x.rank)]
    index = t.unsqueeze(Val(places.name, "int64", (None,)), 1)
    source = t.transpose(t.cast(src, x.dtype), front) if src.rank == x.rank else t.cast(src, x.dtype)
    return t.transpose(Val(t.op("ScatterND", t.transpose(x, front), index, source).name, x.dtype, (None,) * x.rank), back)


def select_scatter(t: Builder, x: Val, src: Val, dim: int, index: Size) -> Val:
    front = [dim % x.rank, *(d for d in range(x.rank) if d != dim % x.rank)]
    place = t.reshape(t.lift(index, "int64"), [1, 1])
    written = t.op("ScatterND", t.transpose(x, front), place, t.unsqueeze(t.cast(src, x.dtype), 0))
    return t.transpose(Val(written.name, x.dtype, (None,) * x.rank), [front.index(d) for d in range(x.rank)])


def copy(t: Builder, x: Val, src: Val | Number, *_: Any) -> Val:
    return t.expand(t.lift(src, x.dtype), t.sizes(x))


# -- out of nothing ------------------------------------------------------------------------------------------------------


def full(t: Builder, size: Sequence[Size], value: Val | Number = 0, **_: Any) -> Val:
    return t.full(size, value, t.dtype)


def filled(value: Number) -> Callable[..., Val]:
    return lambda t, size, *_, **__: t.full(size, value, t.dtype)


def new_filled(value: Number) -> Callable[..., Val]:
    return lambda t, x, size, *_, **__: t.full(size, value, t.dtype)


def filled_like(value: Number) -> Callable[..., Val]:
    return lambda t, x, *_, **__: t.full(t.shape_of(x), value, t.dtype)


def full_like(t: Builder, x: Val, value: Val | Number, *_: Any, **__: Any) -> Val:
    return t.full(t.shape_of(x), value, t.dtype)


def scalar_tensor(t: Builder, value: Val | Number, **_: Any) -> Val:
    number = t.lift(value, t.dtype)
    return Val(number.name, number.dtype, ())


def arange(t: Builder, *bounds: Val | Number, **_: Any) -> Val:
    start, end, step = {1: (0, *bounds, 1), 2: (*bounds, 1), 3: bounds}[len(bounds)]
    if not any(isinstance(v, Val) for v in (start, end, step)):
        count = (
            math.ceil((end - start) / step) if any(isinstance(v, float) for v in bounds) else len(range(int(start), int(end), int(step)))
        )
        values = start + np.arange(count) * step
        return t.const(values, t.dtype)
    if any(isinstance(v, float) or (isinstance(v, Val) and v.dtype == "float64") for v in (start, end, step)) or isinstance(step, Val):
        raise Unsupported("arange by a run-time float or step")
    return t.cast(t.op("Range", *(t.lift(v, "int64") for v in (start, end, step))), t.dtype)


def linspace(t: Builder, start: Number, end: Number, steps: int, **_: Any) -> Val:
    if any(isinstance(v, Val) for v in (start, end, steps)):
        raise Unsupported("linspace by run-time numbers")
    if steps < 2 or "float" not in t.dtype:
        return (
            t.const(np.full(steps, start), t.dtype)
            if steps < 2
            else t.const((start + (end - start) / (steps - 1) * np.arange(steps)).astype(np.int64), t.dtype)
        )
    step, at = (end - start) / (steps - 1), np.arange(steps)
    return t.const(np.where(at < steps // 2, start + step * at, end - step * (steps - 1 - at)), t.dtype)


def eye(t: Builder, n: Size, m: Size | None = None, **_: Any) -> Val:
    m = n if m is None else m
    if isinstance(n, Val) or isinstance(m, Val):
        raise Unsupported("eye of a dynamic size")
    return t.const(np.eye(n, m), t.dtype)


# fmt: off
OPS: dict[str, Callable[..., Any]] = {
    **{f"aten.{n}": view for n in ("view.default", "_unsafe_view.default", "reshape.default", "_reshape_alias.default", "view_copy.default",
                                   "_reshape_copy.default", "reshape_as.default")},
    "aten.flatten.using_ints": flatten, "aten.unflatten.int": unflatten, "aten.view_as.default": restride, "aten.ravel.default": restride,
    "aten.unsqueeze.default": unsqueeze, "aten.unsqueeze_copy.default": unsqueeze,
    "aten.squeeze.default": squeeze, "aten.squeeze.dim": squeeze, "aten.squeeze.dims": squeeze, "aten.squeeze_copy.dims": squeeze,
    "aten.permute.default": permute, "aten.permute_copy.default": permute, "aten.transpose.int": swap, "aten.transpose_copy.int": swap,
    "aten.swapaxes.default": swap, "aten.swapdims.default": swap, "aten.t.default": swap, "aten.t_copy.default": swap,
        "aten.numpy_T.default": (
        lambda t, x: t.transpose(x, list(range(x.rank))[::-1])), "aten.mT.default": lambda t, x: t.swap(x, x.rank - 2, x.rank - 1),
    "aten.adjoint.default": lambda t, x: t.swap(x, x.rank - 2, x.rank - 1), "aten.movedim.int": movedim, "aten.movedim.intlist": movedim,
    "aten.expand.default": expand, "aten.expand_copy.default": expand, "aten.broadcast_to.default": expand,
        "aten.expand_as.default": expand_as,
    "aten.slice.Tensor": slice_, "aten.slice_copy.Tensor": slice_, "aten.select.int": select, "aten.select_copy.int": select,
    "aten.narrow.default": narrow, "aten.narrow_copy.default": narrow, "aten.split_with_sizes.default": split_sizes,
        "aten.split.sizes": split_sizes,
    "aten.split_with_sizes_copy.default": split_sizes, "aten.split.Tensor": split, "aten.unsafe_split.Tensor": split,
        "aten.split_copy.Tensor": split,
    "aten.unsafe_split_with_sizes.default": split_sizes, "aten.chunk.default": chunk, "aten.unsafe_chunk.default": chunk,
    "aten.unbind.int": unbind, "aten.unbind_copy.int": unbind, "aten.cat.default": cat, "aten.concat.default": cat,
        "aten.stack.default": stack,
    "aten.flip.default": flip, "aten.roll.default": roll, "aten.repeat.default": repeat, "aten.tile.default": tile,
    "aten.repeat_interleave.self_int": repeat_each, "aten.repeat_interleave.Tensor": repeat_by, "aten.diagonal.default": diagonal,
    "aten.tril.default": triangle(False), "aten.triu.default": triangle(True), "aten.unfold.default": unfold,
        "aten.pixel_shuffle.default": pixel_shuffle,
    "aten.constant_pad_nd.default": pad_constant, "aten.pad.default": pad_any,
        **{f"aten.reflection_pad{n}d.default": pad_by("reflect") for n in (1, 2, 3)},
    **{f"aten.replication_pad{n}d.default": pad_by("edge") for n in (1, 2, 3)},
    "aten.slice_scatter.default": slice_scatter, "aten.select_scatter.default": select_scatter, "aten.copy.default": copy,
    "aten.full.default": full, "aten.zeros.default": filled(0), "aten.ones.default": filled(1), "aten.empty.memory_format": filled(0),
    "aten.new_full.default": lambda t, x, size, value, **_: t.full(size, value, t.dtype), "aten.new_zeros.default": new_filled(0),
    "aten.new_ones.default": new_filled(1), "aten.new_empty.default": new_filled(0), "aten.zeros_like.default": filled_like(0),
    "aten.ones_like.default": filled_like(1), "aten.empty_like.default": filled_like(0), "aten.full_like.default": full_like,
    "aten.fill.Scalar": full_like, "aten.fill.Tensor": full_like, "aten.empty_strided.default": filled(0),
        "aten.new_empty_strided.default": new_filled(0),
    "aten.zero.default": filled_like(0), "aten.scalar_tensor.default": scalar_tensor,
    "aten.arange.default": arange, "aten.arange.start": arange, "aten.arange.start_step": arange, "aten.linspace.default": linspace,
    "aten.eye.default": eye, "aten.eye.m": eye,
}
