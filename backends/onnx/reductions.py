"""ATen's reductions, scans, and orderings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from dync.backends.onnx.builder import Builder, Number, Size, Val
from dync.backends.onnx.registry import Unsupported

Dims = int | Sequence[int] | None


def dims_of(x: Val, dim: Dims) -> list[int]:
    """Dims counted from 0; None or an empty list means all."""
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return list(range(x.rank))
    return [d % max(x.rank, 1) for d in ([dim] if isinstance(dim, int) else dim)]


def simple(op: str) -> Callable[..., Val]:
    def translate(t: Builder, x: Val, dim: Dims = None, keepdim: bool = False, dtype: str | None = None) -> Val:
        return t.reduce(op, t.cast(x, t.dtype), dims_of(x, dim), keepdim)

    return translate


total = simple("ReduceSum")


def sum_all(t: Builder, x: Val, dtype: str | None = None) -> Val:
    return total(t, x)


def maybe_empty(x: Val, dims: list[int]) -> bool:
    return x.shape is None or any(x.shape[d] in (0, None) for d in dims if d < x.rank)


def mean(t: Builder, x: Val, dim: Dims = None, keepdim: bool = False, dtype: str | None = None) -> Val:
    """The mean of nothing is NaN."""
    x, dims = t.cast(x, t.dtype), dims_of(x, dim)
    if not maybe_empty(x, dims):
        return t.reduce("ReduceMean", x, dims, keepdim)
    return t.op("Div", t.reduce("ReduceSum", x, dims, keepdim), t.lift(t.count(x, dims), x.dtype))


def extreme(op: str) -> Callable[..., Val]:
    """max or min over dims; a NaN makes the result NaN, which ONNX Runtime's kernels do not promise."""

    def translate(t: Builder, x: Val, dim: Dims = None, keepdim: bool = False) -> Val:
        dims = dims_of(x, dim)
        result = t.reduce(op, x, dims, keepdim)
        if nan_safe(t, x, dims):
            return result
        nans = t.reduce("ReduceMax", nan_marks(t, x), dims, keepdim)
        return t.where(nans, t.const(math.nan, x.dtype), result)

    return translate


def nan_safe(t: Builder, x: Val, dims: list[int]) -> bool:
    """Whether a NaN cannot hide: there are none, or what is reduced is one row, which it fills."""
    filled = t.uniform.get(x.name)
    return not x.floating or not x.rank or (filled in dims and all(d == filled or x.dims[d] == 1 for d in dims))


def nan_marks(t: Builder, x: Val) -> Val:
    return Val(t.cast(t.op("IsNaN", x), "int32").name, "int32", x.shape)


def with_index(op: str, arg: str) -> Callable[..., tuple[Val, Val]]:
    def translate(t: Builder, x: Val, dim: int, keepdim: bool = False) -> tuple[Val, Val]:
        return extreme(op)(t, x, dim, keepdim), position(arg)(t, x, dim, keepdim)

    return translate


def position(op: str) -> Callable[..., Val]:
    """argmax or argmin: the first of equals, the first NaN if there is one."""

    def translate(t: Builder, x: Val, dim: int | None = None, keepdim: bool = False) -> Val:
        if not x.rank:
            return t.const(0, "int64")
        if dim is None:
            result = translate(t, t.flat(x), 0) if x.rank > 1 else translate(t, x, 0)
            return t.reshape(result, [1] * x.rank) if keepdim else result
        axis = dim % x.rank
        found = t.op(op, t.cast(x, "int32") if x.dtype == "bool" else x, axis=axis, keepdims=int(keepdim))
        if nan_safe(t, x, [axis]):
            return found
        marks = nan_marks(t, x)
        nans = t.reduce("ReduceMax", marks, [axis], keepdim)
        return t.where(nans, t.op("ArgMax", marks, axis=axis, keepdims=int(keepdim)), found)

    return translate


def any_(t: Builder, x: Val, dim: Dims = None, keepdim: bool = False) -> Val:
    hits = t.reduce("ReduceSum", t.cast(t.cast(x, "bool"), "int64"), dims_of(x, dim), keepdim)
    return t.cast(t.op("Greater", hits, t.const(0, "int64")), t.dtype)


def all_(t: Builder, x: Val, dim: Dims = None, keepdim: bool = False) -> Val:
    misses = t.reduce("ReduceSum", t.cast(t.not_(x), "int64"), dims_of(x, dim), keepdim)
    return t.cast(t.op("Equal", misses, t.const(0, "int64")), t.dtype)


def count_nonzero(t: Builder, x: Val, dim: Dims = None) -> Val:
    return t.reduce("ReduceSum", t.cast(t.cast(x, "bool"), "int64"), dims_of(x, dim))


def moments(t: Builder, x: Val, dim: Dims, correction: Number | None, keepdim: bool) -> tuple[Val, Val]:
    """(variance, mean) in two passes, as eager's accuracy asks."""
    dims = dims_of(x, dim)
    average = mean(t, x, dims, True)
    centred = t.op("Sub", x, average)
    squares = t.reduce("ReduceSum", Val(t.op("Mul", centred, centred).name, x.dtype, x.shape), dims, keepdim)
    count: Size = t.count(x, dims)
    by = 1 if correction is None else correction
    if isinstance(count, int):
        left = t.const(max(0.0, count - by), x.dtype)
    else:
        left = t.op("Max", t.op("Sub", t.cast(count, x.dtype), t.const(by, x.dtype)), t.const(0, x.dtype))
    shaped = average if keepdim or not x.rank else t.op("Squeeze", average, t.const(dims, "int64"))
    return t.op("Div", squares, left), shaped


def var(t: Builder, x: Val, dim: Dims = None, correction: Number | None = None, keepdim: bool = False) -> Val:
    return moments(t, x, dim, correction, keepdim)[0]


def var_mean(t: Builder, x: Val, dim: Dims = None, correction: Number | None = None, keepdim: bool = False) -> tuple[Val, Val]:
    return moments(t, x, dim, correction, keepdim)


def root(f: Callable[..., Any]) -> Callable[..., Any]:
    def translate(t: Builder, *args: Any, **kwargs: Any) -> Any:
        result = f(t, *args, **kwargs)
        return (t.op("Sqrt", result[0]), result[1]) if isinstance(result, tuple) else t.op("Sqrt", result)

    return translate


def unbiased(f: Callable[..., Any]) -> Callable[..., Any]:
    """The older overloads: a flag in the place of the correction, before or after the dims."""

    def translate(t: Builder, x: Val, *args: Any, unbiased: bool = True, keepdim: bool = False) -> Any:
        dim: Dims = None
        rest = list(args)
        if rest and not isinstance(rest[0], bool):
            dim = rest.pop(0)
        flag = rest.pop(0) if rest else unbiased
        keep = rest.pop(0) if rest else keepdim
        return f(t, x, dim, int(flag), keep)

    return translate


def norm(t: Builder, x: Val, ord: Number = 2, dim: Dims = None, keepdim: bool = False, dtype: str | None = None) -> Val:
    x, dims = t.cast(x, t.dtype), dims_of(x, dim)
    if isinstance(ord, Val):
        raise Unsupported("a norm of a run-time order")
    if ord == 2:
        return t.reduce("ReduceL2", x, dims, keepdim)
    size = Val(t.op("Abs", x).name, x.dtype, x.shape)
    if ord == 1:
        return t.reduce("ReduceSum", size, dims, keepdim)
    if math.isinf(ord):
        return extreme("ReduceMax" if ord > 0 else "ReduceMin")(t, size, dims, keepdim)
    if ord == 0:
        return t.reduce("ReduceSum", Val(t.cast(t.cast(x, "bool"), x.dtype).name, x.dtype, x.shape), dims, keepdim)
    powers = Val(t.op("Pow", size, t.const(ord, x.dtype)).name, x.dtype, x.shape)
    return t.op("Pow", t.reduce("ReduceSum", powers, dims, keepdim), t.const(1 / ord, x.dtype))


def norm_of(t: Builder, x: Val, p: Number | None = 2, dim: Dims = None, keepdim: bool = False, dtype: str | None = None) -> Val:
    return norm(t, x, 2 if p is None else p, dim, keepdim, dtype)


def logsumexp(t: Builder, x: Val, dim: Dims, keepdim: bool = False) -> Val:
    """Shifted by the maximum, which counts as 0 where it is infinite."""
    dims = dims_of(x, dim)
    top = t.reduce("ReduceMax", x, dims, True)
    finite = t.op("Less", t.op("Abs", top), t.const(math.inf, x.dtype))
    shift = t.where(finite, top, t.const(0, x.dtype))
    exps = Val(t.op("Exp", t.op("Sub", x, shift)).name, x.dtype, x.shape)
    result = t.op("Add", t.op("Log", t.reduce("ReduceSum", exps, dims, True)), shift)
    return result if keepdim or not x.rank else t.op("Squeeze", result, t.const(dims, "int64"))


def softmax(op: str) -> Callable[..., Val]:
    def translate(t: Builder, x: Val, dim: int, *_: Any, **__: Any) -> Val:
        x = t.cast(x, t.dtype)
        if not x.rank:
            return t.reshape(t.op(op, t.reshape(x, [1]), axis=0), [])
        result = t.op(op, x, axis=dim % x.rank)
        t.uniform[result.name] = dim % x.rank
        return result

    return translate


def safe_softmax(t: Builder, x: Val, dim: int, dtype: str | None = None) -> Val:
    """Softmax that gives zeros for a row of -inf."""
    dead = t.op("Equal", t.reduce("ReduceMax", x, [dim % x.rank], True), t.const(-math.inf, x.dtype))
    return t.where(dead, t.const(0, x.dtype), t.op("Softmax", x, axis=dim % x.rank))


def cumsum(t: Builder, x: Val, dim: int, dtype: str | None = None) -> Val:
    y = t.cast(x, t.dtype)
    return t.op("CumSum", y, t.const(dim % x.rank, "int64")) if x.rank else y


def top(t: Builder, x: Val, count: Size, dim: int, largest: bool, sorted_: bool) -> tuple[Val, Val]:
    """ONNX Runtime orders equals by place, as torch's stable sort does; NaN has no place in its order."""
    return t.ops("TopK", x, t.ints([count]), count=2, axis=dim, largest=int(largest), sorted=int(sorted_))  # type: ignore[return-value]


def topk(t: Builder, x: Val, k: Size, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Val, Val]:
    if not x.rank:
        return x, t.const(0, "int64")
    return top(t, x, k, dim % x.rank, largest, sorted)


def sort(t: Builder, x: Val, dim: int = -1, descending: bool = False) -> tuple[Val, Val]:
    if not x.rank:
        return x, t.const(0, "int64")
    return top(t, x, t.size(x, dim), dim % x.rank, descending, True)


def sort_stable(t: Builder, x: Val, stable: bool | None = None, dim: int = -1, descending: bool = False) -> tuple[Val, Val]:
    return sort(t, x, dim, descending)


def argsort(t: Builder, x: Val, dim: int = -1, descending: bool = False, stable: bool = True) -> Val:
    return sort(t, x, dim, descending)[1]


def kthvalue(t: Builder, x: Val, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Val, Val]:
    if not x.rank:
        return x, t.const(0, "int64")
    if isinstance(k, Val):
        raise Unsupported("kthvalue of a run-time k")
    found = top(t, x, k, dim % x.rank, False, True)
    at = t.const([k - 1] if keepdim else k - 1, "int64")
    return t.op("Gather", found[0], at, axis=dim % x.rank), t.op("Gather", found[1], at, axis=dim % x.rank)


# fmt: off
OPS: dict[str, Callable[..., Any]] = {
    "aten.sum.default": sum_all, "aten.sum.dim_IntList": total, "aten.prod.default": lambda t, x, dtype=None: simple("ReduceProd")(t, x),
    "aten.prod.dim_int": simple("ReduceProd"), "aten.mean.default": lambda t, x, dtype=None: mean(t, x), "aten.mean.dim": mean,
    "aten.amax.default": extreme("ReduceMax"), "aten.amin.default": extreme("ReduceMin"), "aten.max.default": extreme("ReduceMax"),
    "aten.min.default": extreme("ReduceMin"), "aten.max.dim": with_index("ReduceMax", "ArgMax"),
        "aten.min.dim": with_index("ReduceMin", "ArgMin"),
    "aten.argmax.default": position("ArgMax"), "aten.argmin.default": position("ArgMin"),
    **{f"aten.any.{o}": any_ for o in ("default", "dim", "dims")}, **{f"aten.all.{o}": all_ for o in ("default", "dim", "dims")},
    "aten.count_nonzero.default": count_nonzero, "aten.count_nonzero.dim_IntList": count_nonzero,
    "aten.var.correction": var, "aten.std.correction": root(var), "aten.var_mean.correction": var_mean,
        "aten.std_mean.correction": root(var_mean),
    "aten.var.default": unbiased(var), "aten.var.dim": unbiased(var), "aten.std.default": unbiased(root(var)),
        "aten.std.dim": unbiased(root(var)),
    "aten.linalg_vector_norm.default": norm, **{f"aten.norm.{o}": norm_of for o in ("Scalar", "ScalarOpt_dim", "ScalarOpt_dim_dtype")},
    "aten.logsumexp.default": logsumexp, "prims.prod.default": simple("ReduceProd"), "prims.sum.default": total,
    "aten._softmax.default": softmax("Softmax"), "aten.softmax.int": softmax("Softmax"), "aten._safe_softmax.default": safe_softmax,
    "aten._log_softmax.default": softmax("LogSoftmax"),
    "aten.log_softmax.int": softmax("LogSoftmax"), "aten.special_softmax.int": softmax("Softmax"),
        "aten.special_log_softmax.int": softmax("LogSoftmax"),
    "aten.cumsum.default": cumsum, "aten.topk.default": topk, "aten.sort.default": sort, "aten.sort.stable": sort_stable,
    "aten.argsort.default": argsort, "aten.argsort.stable": lambda t, x, stable=True, dim=-1,
        descending=False: argsort(t, x, dim, descending),
    "aten.msort.default": lambda t, x: sort(t, x, 0)[0], "aten.kthvalue.default": kthvalue,
}
