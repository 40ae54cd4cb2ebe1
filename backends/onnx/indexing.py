"""ATen operators that read and write by index or mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dync.backends.onnx.builder import Builder, Number, Size, Val
from dync.backends.onnx.reductions import nan_marks
from dync.backends.onnx.registry import Unsupported


def nonzero(t: Builder, x: Val) -> Val:
    """[n, rank] places, row-major."""
    if not x.rank:
        return t.full([t.cast(t.cast(x, "bool"), "int64"), 0], 0, "int64")
    return Val(t.op("Transpose", places(t, x), perm=[1, 0]).name, "int64", (None, x.rank))


def places(t: Builder, mask: Val) -> Val:
    """[rank, n] places, the same value each time: how many there are is one number that data decide, not several."""
    if mask.name not in t.places:
        t.places[mask.name] = t.op("NonZero", mask)
    return t.places[mask.name]


def columns(t: Builder, mask: Val) -> list[Val]:
    """A mask of rank r as r index vectors."""
    found = places(t, mask)
    return [Val(t.op("Gather", found, t.const(d, "int64"), axis=0).name, "int64", (None,)) for d in range(mask.rank)]


def unmask(t: Builder, indices: Sequence[Val | None]) -> list[Val | None]:
    """Boolean masks replaced with index vectors, one for each of their dims."""
    result: list[Val | None] = []
    for index in indices:
        if index is None:
            result.append(None)
        elif index.dtype in ("bool", "uint8"):
            if not index.rank:
                raise Unsupported("indexing with a 0-d mask")
            result += columns(t, index)
        else:
            result.append(t.cast(index, "int64"))
    return result


def same_shape(t: Builder, indices: list[Val]) -> list[Val]:
    """Index tensors broadcast against each other."""
    shape = indices[0].shape
    if len(indices) == 1 or None not in (shape or (None,)) and all(i.shape == shape for i in indices):
        return indices
    zero = t.const(0, "int64")
    common = t.op("Mul", indices[0], zero)
    for index in indices[1:]:
        common = t.op("Add", common, t.op("Mul", index, zero))
    rank = max(i.rank for i in indices)
    target = t.op("Shape", common)
    return [Val(t.op("Expand", i, target).name, "int64", (None,) * rank) for i in indices]


class Places:
    """How an index list picks from a tensor: `front` brings the indexed dims first, `index` is [..., k], `back` undoes it."""

    def __init__(self, t: Builder, x: Val, indices: Sequence[Val | None]) -> None:
        full = unmask(t, indices)
        full += [None] * (x.rank - len(full))
        self.dims = [d for d, i in enumerate(full) if i is not None]
        one_mask = sum(i is not None for i in indices) == 1
        picked = [i for i in full if i is not None] if one_mask else same_shape(t, [i for i in full if i is not None])
        self.picked, self.rank = picked, max(i.rank for i in picked)
        self.rest = [d for d in range(x.rank) if d not in self.dims]
        self.front = self.dims + self.rest
        adjacent = self.dims == list(range(self.dims[0], self.dims[0] + len(self.dims)))
        self.before = self.dims[0] if adjacent else 0

    def index(self, t: Builder) -> Val:
        return t.concat([t.unsqueeze(i, -1) for i in self.picked], -1)

    def linear(self, t: Builder, x: Val) -> Val:
        """The picked places as row numbers of x with its indexed dims flattened."""
        total: Val | None = None
        for dim, picked in zip(self.dims, self.picked, strict=True):
            size = t.ints([t.size(x, dim)])
            positive = t.where(t.op("Less", picked, t.const(0, "int64")), t.op("Add", picked, size), picked)
            total = positive if total is None else t.op("Add", t.op("Mul", total, size), positive)
        assert total is not None
        return t.flat(total)

    def order(self) -> list[int]:
        """The picked dims sit at self.before among the rest: where each result dim is in [picked..., rest...]."""
        rest = [self.rank + i for i in range(len(self.rest))]
        return rest[: self.before] + list(range(self.rank)) + rest[self.before :]


def index(t: Builder, x: Val, indices: Sequence[Val | None]) -> Val:
    places = Places(t, x, indices)
    if len(places.dims) == 1:
        return t.op("Gather", x, places.picked[0], axis=places.dims[0])
    moved = t.transpose(x, places.front)
    taken = t.op("GatherND", moved, places.index(t))
    return t.transpose(Val(taken.name, taken.dtype, (None,) * (places.rank + len(places.rest))), places.order())


def index_put(t: Builder, x: Val, indices: Sequence[Val | None], values: Val, accumulate: bool = False, *_: Any) -> Val:
    masks = [i for i in indices if i is not None]
    values = t.cast(values, x.dtype)
    if (
        len(masks) == 1
        and indices[0] is not None
        and masks[0].dtype == "bool"
        and masks[0].rank
        and not accumulate
        and math.prod(d if d is not None else 2 for d in values.shape or ()) == 1
    ):
        mask = masks[0]
        wide = t.reshape(mask, [*t.sizes(mask), *[1] * (x.rank - mask.rank)]) if mask.rank < x.rank else mask
        return t.where(wide, t.reshape(values, []), x)
    places = Places(t, x, indices)
    moved = t.transpose(x, places.front)
    index = places.index(t)
    picked_sizes = t.op("Shape", places.picked[0])
    rest_sizes = [t.size(x, d) for d in places.rest]
    before, after = rest_sizes[: places.before], rest_sizes[places.before :]
    parts = [*([t.ints(before)] if before else []), picked_sizes, *([t.ints(after)] if after else [])]
    wide = t.expand(values, t.concat(parts, 0))
    order = places.order()
    wide = t.transpose(Val(wide.name, wide.dtype, (None,) * len(order)), [order.index(i) for i in range(len(order))])
    if accumulate:
        rest = [t.size(x, d) for d in places.rest]
        flat = accumulated(t, t.reshape(moved, [-1, *rest]), places.linear(t, x), t.reshape(wide, [-1, *rest]), "add")
        written = t.reshape(flat, [t.size(x, d) for d in places.front])
    else:
        written = t.op("ScatterND", moved, index, wide)
    return t.transpose(Val(written.name, x.dtype, (None,) * x.rank), [places.front.index(d) for d in range(x.rank)])


def accumulated(t: Builder, x: Val, rows: Val, updates: Val, reduction: str) -> Val:
    """x with `updates` reduced into the rows that `rows` names, repeated ones included. ONNX Runtime's ScatterND splits the updates
    over threads and loses some where two name one row; its ScatterElements takes them one after another."""
    column = t.expand(t.reshape(rows, [-1, *[1] * (x.rank - 1)]), t.shape_of(updates))
    return scattered(t, x, column, updates, 0, reduction)


def scattered(t: Builder, x: Val, index: Val, updates: Val, axis: int, reduction: str | None) -> Val:
    """ScatterElements; a NaN makes a maximum or minimum NaN, which ONNX Runtime's kernel does not promise."""
    result = t.op("ScatterElements", x, index, updates, axis=axis, reduction=reduction)
    if reduction not in ("max", "min") or not x.floating:
        return result
    nans = t.op("ScatterElements", nan_marks(t, x), index, nan_marks(t, updates), axis=axis, reduction="max")
    return t.where(nans, t.const(math.nan, x.dtype), result)


def index_select(t: Builder, x: Val, dim: int, index: Val) -> Val:
    if not x.rank:
        return x
    index = t.natural(index)
    return t.op("Gather", x, index if index.rank else t.reshape(index, [1]), axis=dim % x.rank)


def along(t: Builder, x: Val, dim: int, index: Val) -> tuple[Val, Val, list[int]]:
    """x with dim in front, the index as a [n, 1] column, and the order that undoes the move."""
    front = [dim % x.rank, *(d for d in range(x.rank) if d != dim % x.rank)]
    return t.transpose(x, front), t.reshape(t.cast(index, "int64"), [-1, 1]), front


def index_add(t: Builder, x: Val, dim: int, index: Val, source: Val, alpha: Val | Number = 1) -> Val:
    if isinstance(alpha, Val) or alpha != 1:
        source = Val(t.op("Mul", t.cast(source, x.dtype), t.lift(alpha, x.dtype)).name, x.dtype, source.shape)
    return written_along(t, x, dim, index, source, "add")


def index_copy(t: Builder, x: Val, dim: int, index: Val, source: Val) -> Val:
    return written_along(t, x, dim, index, source, None)


def index_reduce(t: Builder, x: Val, dim: int, index: Val, source: Val, reduce: str, include_self: bool = True) -> Val:
    names = {"amax": "max", "amin": "min", "prod": "mul"}
    if not include_self or reduce not in names:
        raise Unsupported(f"index_reduce {reduce} with include_self={include_self}")
    return written_along(t, x, dim, index, source, names[reduce])


def written_along(t: Builder, x: Val, dim: int, index: Val, source: Val, reduction: str | None) -> Val:
    if not x.rank:
        raise Unsupported("index_add into a 0-d tensor")
    source = t.cast(source, x.dtype)
    source = source if source.rank == x.rank else t.reshape(source, [1] * (x.rank - source.rank) + t.sizes(source))
    moved, column, front = along(t, x, dim, t.natural(index))
    updates = t.transpose(source, front)
    result = accumulated(t, moved, column, updates, reduction) if reduction else t.op("ScatterND", moved, column, updates)
    return t.transpose(Val(result.name, x.dtype, moved.shape), [front.index(d) for d in range(x.rank)])


def index_fill(t: Builder, x: Val, dim: int, index: Val, value: Val | Number) -> Val:
    moved, column, front = along(t, x, dim, index)
    sizes = t.sizes(moved)[1:]
    result = t.op("ScatterND", moved, column, t.full([t.size(t.flat(index), 0), *sizes], value, x.dtype))
    return t.transpose(Val(result.name, x.dtype, moved.shape), [front.index(d) for d in range(x.rank)])


def masked_select(t: Builder, x: Val, mask: Val) -> Val:
    shape = t.op("Shape", t.op("Or", t.op("Equal", t.cast(x, "float32"), t.const(0, "float32")), mask))
    wide_x, wide_mask = t.expand(x, shape), t.expand(mask, shape)
    flat, at = t.op("Reshape", wide_x, t.ints([-1])), t.op("NonZero", t.op("Reshape", wide_mask, t.ints([-1])))
    return t.op("Gather", flat, t.op("Squeeze", at, t.ints([0])), axis=0)


def gather(t: Builder, x: Val, dim: int, index: Val, sparse_grad: bool = False) -> Val:
    if not x.rank:
        return t.expand(x, t.shape_of(index))
    index = t.natural(index)
    column = index if index.rank else t.reshape(index, [1])
    taken = t.op("GatherElements", x, column, axis=dim % x.rank)
    return taken if index.rank else t.reshape(taken, [])


def elements(t: Builder, x: Val, dim: int, index: Val, source: Val, reduction: str | None) -> Val:
    """ScatterElements with torch's rule that the source may be larger than the index."""
    if not x.rank:
        result = elements(t, t.reshape(x, [1]), 0, t.flat(index), t.flat(source), reduction)
        return t.reshape(result, [])
    source = t.cast(source, x.dtype)
    if source.shape != index.shape or source.shape is None or None in source.shape:
        for d in range(index.rank):
            if source.shape is None or index.shape is None or source.shape[d] is None or source.shape[d] != index.shape[d]:
                source = t.slice(source, d, 0, t.size(index, d))
    return scattered(t, x, t.natural(index), source, dim % x.rank, reduction)


def scatter(t: Builder, x: Val, dim: int, index: Val, src: Val | Number, reduce: str | None = None) -> Val:
    names = {None: None, "add": "add", "multiply": "mul"}
    if not isinstance(src, Val) or src.scalar:
        src = t.full(t.shape_of(index), src, x.dtype)
        src = Val(src.name, src.dtype, index.shape)
    return elements(t, x, dim, index, src, names[reduce])


def scatter_add(t: Builder, x: Val, dim: int, index: Val, src: Val) -> Val:
    return elements(t, x, dim, index, src, "add")


def scatter_reduce(t: Builder, x: Val, dim: int, index: Val, src: Val, reduce: str, include_self: bool = True) -> Val:
    """Without the old value, the places written are first set to the identity of the reduction."""
    if reduce == "mean":
        return scatter_mean(t, x, dim, index, src, include_self)
    names = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}
    if not include_self:
        identity = {"sum": 0, "prod": 1, "amax": t.lowest(x.dtype), "amin": t.highest(x.dtype)}[reduce]
        x = Val(scatter(t, x, dim, index, identity).name, x.dtype, x.shape)
    return elements(t, x, dim, index, src, names[reduce])


def scatter_mean(t: Builder, x: Val, dim: int, index: Val, src: Val, include_self: bool) -> Val:
    """The sum of what lands on a place by its count; ONNX has no such reduction. A place that nothing lands on keeps its value."""
    if not x.floating:
        raise Unsupported("scatter_reduce mean of integers")
    base = x if include_self else Val(scatter(t, x, dim, index, 0).name, x.dtype, x.shape)
    count = Val(t.full(t.shape_of(x), int(include_self), x.dtype).name, x.dtype, x.shape)
    ones = Val(t.full(t.shape_of(index), 1, x.dtype).name, x.dtype, index.shape)
    landed = t.op("Max", elements(t, count, dim, index, ones, "add"), t.const(1, x.dtype))
    return t.op("Div", elements(t, base, dim, index, src, "add"), landed)


def embedding(t: Builder, weight: Val, indices: Val, *_: Any, **__: Any) -> Val:
    return t.op("Gather", weight, t.natural(indices), axis=0)


def take(t: Builder, x: Val, index: Val) -> Val:
    return t.op("Gather", t.flat(x), index, axis=0)


def one_hot(t: Builder, x: Val, num_classes: int = -1) -> Val:
    if num_classes < 0:
        raise Unsupported("one_hot with a number of classes taken from the data")
    classes = t.const(np.arange(num_classes), "int64")
    checked = Val(t.op("Gather", classes, t.natural(x), axis=0).name, "int64", x.shape)
    return t.cast(t.op("Equal", t.unsqueeze(checked, -1), classes), "int64")


def unique(t: Builder, x: Val, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False) -> tuple[Val, ...]:
    values, _, inverse, counts = t.ops("Unique", x, count=4, sorted=1)
    inverse = t.reshape(inverse, t.sizes(x)) if x.rank != 1 else inverse
    return values, inverse, counts


def unique_dim(
    t: Builder, x: Val, dim: int, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> tuple[Val, ...]:
    values, _, inverse, counts = t.ops("Unique", x, count=4, sorted=1, axis=dim % x.rank)
    return values, inverse, counts


def bincount(t: Builder, x: Val, weights: Val | None = None, minlength: Size = 0) -> Val:
    ids = t.cast(x, "int64")
    needed = t.op("Add", ids, t.const(1, "int64"))
    zeros = t.full([t.op("ReduceMax", t.concat([needed, t.reshape(t.lift(minlength, "int64"), [1])], 0), keepdims=0)], 0, t.dtype)
    ones = t.cast(weights, t.dtype) if weights is not None else t.full(t.shape_of(ids), 1, t.dtype)
    return t.op("ScatterElements", zeros, t.natural(ids), ones, axis=0, reduction="add")


def histc(t: Builder, x: Val, bins: int = 100, min: Number = 0, max: Number = 0) -> Val:  # noqa: A002  ATen's names
    """Counts of the elements in each of `bins` equal parts of min..max; those outside, and NaN, are in none."""
    if min == max:
        raise Unsupported("histc over a range that the data set")
    x = t.flat(x)
    low, high = t.const(min, x.dtype), t.const(max, x.dtype)
    inside = t.op("And", t.op("GreaterOrEqual", x, low), t.op("LessOrEqual", x, high))
    place = t.op("Div", t.op("Mul", t.op("Sub", t.where(inside, x, low), low), t.const(bins, x.dtype)), t.op("Sub", high, low))
    place = t.op("Min", t.cast(place, "int64"), t.const(bins - 1, "int64"))
    hit = t.op("And", t.op("Equal", t.reshape(place, [-1, 1]), t.const(list(range(bins)), "int64")), t.reshape(inside, [-1, 1]))
    return t.reduce("ReduceSum", t.reshape(t.cast(hit, t.dtype), [-1, bins]), [0], False)


def searchsorted(
    t: Builder,
    ordered: Val,
    values: Val | Number,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Val | None = None,
) -> Val:
    """The number of entries below (right: at or below) each value, counted; NaN is above all."""
    if sorter is not None:
        raise Unsupported("searchsorted with a sorter")
    sought = values if isinstance(values, Val) else t.const(values, ordered.dtype)
    a, b = (t.unsqueeze(ordered, -2), t.unsqueeze(t.cast(sought, ordered.dtype), -1)) if sought.rank else (ordered, sought)
    below = t.op("Not", t.op("Less" if right or side == "right" else "LessOrEqual", b, a))
    return t.cast(t.op("ReduceSum", t.cast(below, "int64"), t.const([-1], "int64"), keepdims=0), t.dtype)


def bucketize(t: Builder, x: Val | Number, boundaries: Val, out_int32: bool = False, right: bool = False) -> Val:
    return searchsorted(t, boundaries, x, out_int32, right)


def masked_scatter(t: Builder, x: Val, mask: Val, source: Val) -> Val:
    """The n-th true place takes the n-th element of the source."""
    wide = t.expand(mask, t.shape_of(x))
    flat = t.op("Reshape", wide, t.ints([-1]))
    order = t.op("Sub", t.op("CumSum", t.cast(flat, "int64"), t.const(0, "int64")), t.const(1, "int64"))
    at = t.where(flat, order, t.const(0, "int64"))
    if source.shape is None or 0 in source.shape or None in source.shape:
        raise Unsupported("masked_scatter from a source that may be empty")
    taken = t.op("Gather", t.flat(source), at, axis=0)
    return t.where(wide, t.op("Reshape", taken, t.op("Shape", x)), x)


# fmt: off
OPS: dict[str, Callable[..., Any]] = {
    "aten.nonzero.default": nonzero, "aten.argwhere.default": nonzero, "aten.nonzero_numpy.default": lambda t, x: tuple(columns(t, x)),
    "aten.index.Tensor": index, "aten._unsafe_index.Tensor": index, "aten.index_put.default": index_put,
        "aten._unsafe_index_put.default": index_put,
    "aten._index_put_impl.default": index_put, "aten.index_select.default": index_select, "aten.index_add.default": index_add,
    "aten.index_copy.default": index_copy, "aten.index_reduce.default": index_reduce, "aten.index_fill.int_Scalar": index_fill,
    "aten.index_fill.int_Tensor": index_fill, "aten.masked_select.default": masked_select, "aten.gather.default": gather,
    "aten.scatter.src": scatter, "aten.scatter.value": scatter, "aten.scatter.reduce": scatter, "aten.scatter.value_reduce": scatter,
    "aten.scatter_add.default": scatter_add, "aten.scatter_reduce.two": scatter_reduce, "aten.embedding.default": embedding,
    "aten.take.default": take, "aten.one_hot.default": one_hot, "aten._unique2.default": unique, "aten._unique.default": lambda t, x,
        s=True, i=False: (
        unique(t, x, s, i)[:2]), "aten.unique_dim.default": unique_dim, "aten.bincount.default": bincount, "aten.histc.default": histc,
            "aten.searchsorted.Tensor": searchsorted,
    "aten.searchsorted.Scalar": searchsorted, "aten.bucketize.Tensor": bucketize, "aten.bucketize.Scalar": bucketize,
    "aten.masked_scatter.default": masked_scatter,
}
