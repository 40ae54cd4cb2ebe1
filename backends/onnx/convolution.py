"""Convolutions, pooling, and resampling over 1 to 3 spatial dims."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dync.backends.onnx.builder import Builder, Size, Val
from dync.backends.onnx.registry import Unsupported

Ints = int | Sequence[int]


def spread(value: Ints, n: int) -> list[int]:
    """One number for each spatial dim."""
    values = [value] if isinstance(value, int) else list(value)
    if any(isinstance(v, Val) for v in values):
        raise Unsupported("strides, padding or dilation known only at run time")
    return values * n if len(values) == 1 else values


def batched(f: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the batch dim that ONNX wants and torch leaves optional; f's attribute `spatial` says how many dims follow the channels."""

    def translate(t: Builder, x: Val, *args: Any, n: int, **kwargs: Any) -> Any:
        if x.rank == n + 2:
            return f(t, x, *args, n=n, **kwargs)
        result = f(t, t.unsqueeze(x, 0), *args, n=n, **kwargs)
        if isinstance(result, tuple):
            return tuple(None if r is None else t.op("Squeeze", r, t.ints([0])) for r in result)
        return t.op("Squeeze", result, t.ints([0]))

    return translate


def kernel_of(weight: Val) -> list[int]:
    sizes = weight.dims[2:]
    if any(s is None for s in sizes):
        raise Unsupported("a convolution with a kernel of dynamic size")
    return [s for s in sizes if s is not None]


@batched
def conv(
    t: Builder,
    x: Val,
    weight: Val,
    bias: Val | None = None,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    n: int,
) -> Val:
    kernel, dilations = kernel_of(weight), spread(dilation, n)
    if isinstance(padding, str):
        whole = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilations, kernel, strict=True)]
        pads = [w // 2 for w in whole] + [w - w // 2 for w in whole]
    else:
        pads = spread(padding, n) * 2
    return t.op("Conv", x, weight, bias, strides=spread(stride, n), pads=pads, dilations=dilations, group=groups, kernel_shape=kernel)


@batched
def conv_transpose(
    t: Builder,
    x: Val,
    weight: Val,
    bias: Val | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    n: int,
) -> Val:
    return t.op(
        "ConvTranspose",
        x,
        weight,
        bias,
        strides=spread(stride, n),
        pads=spread(padding, n) * 2,
        output_padding=spread(output_padding, n),
        dilations=spread(dilation, n),
        group=groups,
        kernel_shape=kernel_of(weight),
    )


def convolution(
    t: Builder,
    x: Val,
    weight: Val,
    bias: Val | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    *_: Any,
) -> Val:
    n = weight.rank - 2
    if transposed:
        return conv_transpose(t, x, weight, bias, stride, padding, output_padding, groups, dilation, n=n)
    return conv(t, x, weight, bias, stride, padding, dilation, groups, n=n)


def mkldnn_convolution(t: Builder, x: Val, weight: Val, bias: Val | None, padding: Ints, stride: Ints, dilation: Ints, groups: int) -> Val:
    return conv(t, x, weight, bias, stride, padding, dilation, groups, n=weight.rank - 2)


# -- pooling -------------------------------------------------------------------------------------------------------------


def dropped_last(size: int | None, kernel: int, stride: int, pad: int, dilation: int = 1) -> bool:
    """Whether ceil_mode's extra window would start in the right padding, which torch leaves out and ONNX may not."""
    if size is None:
        return True
    out = -(-(size + 2 * pad - dilation * (kernel - 1) - 1) // stride) + 1
    return (out - 1) * stride >= size + pad


def pool_attributes(
    x: Val, kernel_size: Ints, stride: Ints | None, padding: Ints, ceil_mode: bool, n: int, dilation: Ints = 1
) -> dict[str, Any]:
    kernel = spread(kernel_size, n)
    strides = spread(stride, n) if stride not in (None, [], ()) else kernel  # type: ignore[arg-type]
    padding, dilations = spread(padding, n), spread(dilation, n)
    if ceil_mode and any(dropped_last(*a) for a in zip(x.dims[-n:], kernel, strides, padding, dilations, strict=True)):
        raise Unsupported("pooling with ceil_mode whose last window may lie in the padding")
    return {"kernel_shape": kernel, "strides": strides, "pads": padding * 2, "ceil_mode": int(ceil_mode)}


@batched
def max_pool(
    t: Builder,
    x: Val,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    *,
    n: int,
) -> Val:
    attributes = pool_attributes(x, kernel_size, stride, padding, ceil_mode, n, dilation)
    return t.op("MaxPool", x, dilations=spread(dilation, n), **attributes)


@batched
def max_pool_indices(
    t: Builder,
    x: Val,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    *,
    n: int,
) -> tuple[Val, Val]:
    """ONNX counts places through the whole tensor, torch within one channel."""
    attributes = pool_attributes(x, kernel_size, stride, padding, ceil_mode, n, dilation)
    values, places = t.ops("MaxPool", x, count=2, dilations=spread(dilation, n), **attributes)
    inside = t.op("Max", t.lift(t.count(x, range(2, 2 + n)), "int64"), t.const(1, "int64"))
    return values, t.op("Mod", places, inside)


@batched
def avg_pool(
    t: Builder,
    x: Val,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    n: int,
) -> Val:
    attributes = pool_attributes(x, kernel_size, stride, padding, ceil_mode, n)
    if ceil_mode and any(attributes["pads"]):
        raise Unsupported("average pooling with ceil_mode and padding")
    if divisor_override is not None:
        if ceil_mode:
            raise Unsupported("average pooling with ceil_mode and divisor_override")
        pooled = t.op("AveragePool", x, count_include_pad=1, **attributes)
        return t.op("Mul", pooled, t.const(math.prod(attributes["kernel_shape"]) / divisor_override, x.dtype))
    return t.op("AveragePool", x, count_include_pad=int(count_include_pad), **attributes)


def spatial(x: Val, n: int) -> list[int]:
    sizes = x.dims[-n:]
    if any(s is None for s in sizes):
        raise Unsupported("adaptive pooling or resampling of a dynamic size")
    return [s for s in sizes if s is not None]


def windows(size: int, out: int) -> list[tuple[int, int]]:
    """torch's adaptive windows: from floor(i·size/out) to ceil((i+1)·size/out)."""
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


@batched
def adaptive_avg_pool(t: Builder, x: Val, output_size: Ints, *, n: int) -> Val:
    """The mean where one value is left, plain pooling where windows are equal, else a product with an averaging matrix for each dim."""
    outs = spread(output_size, n)
    if all(o == 1 for o in outs):
        return t.op("ReduceMean", x, t.const([2 + i for i in range(n)], "int64"), keepdims=1)
    sizes = spatial(x, n)
    if all(o and s % o == 0 for s, o in zip(sizes, outs, strict=True)):
        kernel = [s // o for s, o in zip(sizes, outs, strict=True)]
        return t.op("AveragePool", x, kernel_shape=kernel, strides=kernel)
    y = x
    for i, (size, out) in enumerate(zip(sizes, outs, strict=True)):
        matrix = np.zeros((size, out))
        for j, (start, end) in enumerate(windows(size, out)):
            matrix[start:end, j] = 1 / (end - start)
        moved = t.swap(Val(y.name, y.dtype, (None,) * (n + 2)), 2 + i, n + 1)
        y = t.swap(Val(t.op("MatMul", moved, t.const(matrix, x.dtype)).name, x.dtype, (None,) * (n + 2)), 2 + i, n + 1)
    return y


@batched
def adaptive_max_pool(t: Builder, x: Val, output_size: Ints, *, n: int) -> tuple[Val, Val]:
    sizes, outs = spatial(x, n), spread(output_size, n)
    if any(not o or s % o for s, o in zip(sizes, outs, strict=True)):
        raise Unsupported("adaptive max pooling with unequal windows")
    return max_pool_indices(t, x, [s // o for s, o in zip(sizes, outs, strict=True)], n=n)


# -- resampling ----------------------------------------------------------------------------------------------------------


def ratios(t: Builder, x: Val, n: int, factors: Sequence[float | None]) -> tuple[Val | None, Val | None]:
    """(scales, sizes) for Resize: the caller's factors where there are any, else the declared result's sizes."""
    if any(isinstance(f, Val) for f in factors):
        raise Unsupported("scale factors known only at run time")
    if all(f is not None for f in factors):
        return t.const([1.0, 1.0, *(float(f) for f in factors if f is not None)], "float32"), None
    wanted = spatial(t.outs[0], n)
    return None, t.ints([*t.sizes(x)[:2], *wanted])


def factors_of(scale_factors: Any, n: int) -> list[float | None]:
    if scale_factors is None:
        return [None] * n
    return [scale_factors] * n if isinstance(scale_factors, float) else list(scale_factors)


def nearest(exact: bool, n: int) -> Callable[..., Val]:
    """By gathering rows: source index floor(i·scale) in float32 as torch computes it, which ONNX's Resize does not always hit."""

    def translate(t: Builder, x: Val, output_size: Any = None, *scales: Any, **kwargs: Any) -> Val:
        factors = scales_of(scales, kwargs, n)
        outs = spatial(t.outs[0], n)
        sizes = x.dims[-n:]
        whole = [o // s if s and o % s == 0 else None for s, o in zip(sizes, outs, strict=True)]
        if all(w is not None for w in whole) and all(f is None or f == w for f, w in zip(factors, whole, strict=True)):
            return t.op(
                "Resize",
                x,
                None,
                t.const([1, 1, *whole], "float32"),
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        for i, (size, out, factor) in enumerate(zip(spatial(x, n), outs, factors, strict=True)):
            ratio = np.float32(1 / factor) if factor is not None and factor > 0 else np.float32(np.float32(size) / np.float32(out))
            source = np.floor((np.arange(out, dtype=np.float32) + np.float32(0.5 if exact else 0)) * ratio).astype(np.int64)
            x = t.op("Gather", x, t.const(np.minimum(source, size - 1), "int64"), axis=2 + i)
        return x

    return translate


def scales_of(scales: Sequence[Any], kwargs: dict[str, Any], n: int) -> list[float | None]:
    """Scale factors from either overload: one list (.vec) or one number for each dim."""
    given = list(scales) + list(kwargs.values())
    if len(given) == 1 and (given[0] is None or not isinstance(given[0], float)):
        return factors_of(given[0], n)
    return (given + [None] * n)[:n]


def smooth(mode: str, n: int) -> Callable[..., Val]:
    def translate(t: Builder, x: Val, output_size: Any, align_corners: bool, *scales: Any, **kwargs: Any) -> Val:
        factors = scales_of(scales, kwargs, n)
        if None in (*x.dims[-n:], *t.outs[0].dims[-n:]):
            if mode == "linear":
                return interpolated(t, x, output_size, align_corners, factors)
            if any(f is not None and f != int(f) for f in factors):  # Resize counts in float32
                raise Unsupported("resampling of a dynamic size by a fraction")
        scale, size = ratios(t, x, n, [None] * n if align_corners else factors)
        extra: dict[str, Any] = {"cubic_coeff_a": -0.75} if mode == "cubic" else {}
        corner = "align_corners" if align_corners else "half_pixel"
        return t.op("Resize", x, None, scale, size, mode=mode, coordinate_transformation_mode=corner, **extra)

    return translate


def interpolated(t: Builder, x: Val, output_size: Any, corners: bool, factors: Sequence[Any]) -> Val:
    """Linear interpolation to or from sizes known only at run time: one dim after another, in float32 as torch computes the places."""
    if any(isinstance(f, Val) for f in factors):
        raise Unsupported("scale factors known only at run time")

    def number(size: Size) -> Val:
        return t.cast(t.lift(size, "int64"), "float32")

    one, half = t.const(1, "float32"), t.const(0.5, "float32")
    for i, factor in enumerate(factors):
        axis = x.rank - len(factors) + i
        size = number(t.size(x, axis))
        if factor:  # torch counts in double
            length = t.cast(t.lift(t.size(x, axis), "int64"), "float64")
            out = t.cast(t.op("Floor", t.op("Mul", length, t.const(factor, "float64"))), "int64")
        else:
            out = t.lift(output_size[i], "int64")
        step = t.cast(t.counted(t.reshape(out, [])), "float32")
        if corners:
            ratio = t.op("Div", t.op("Sub", size, one), t.op("Max", t.op("Sub", number(out), one), one))
            place = t.op("Mul", step, t.where(t.op("Greater", number(out), one), ratio, t.const(0, "float32")))
        else:
            ratio = t.const(1 / factor, "float32") if factor else t.op("Div", size, number(out))
            ratio = t.where(t.op("Equal", number(out), size), one, ratio)  # as many places as there were are those that there were
            place = t.op("Max", t.op("Sub", t.op("Mul", t.op("Add", step, half), ratio), half), t.const(0, "float32"))
        first = t.op("Min", t.op("Floor", place), t.op("Sub", size, one))
        second = t.op("Min", t.op("Add", first, one), t.op("Sub", size, one))
        share = t.cast(t.reshape(t.op("Sub", place, first), [-1, *[1] * (x.rank - 1 - axis)]), x.dtype)
        a, b = (t.op("Gather", x, t.cast(p, "int64"), axis=axis) for p in (first, second))
        moved = t.op("Add", a, t.op("Mul", t.op("Sub", b, a), share))
        x = Val(moved.name, x.dtype, tuple(None if d == axis else s for d, s in enumerate(x.dims)))
    return x


def grid_sampler(t: Builder, x: Val, grid: Val, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Val:
    mode = ("linear", "nearest", "cubic")[interpolation_mode]
    return t.op(
        "GridSample", x, grid, mode=mode, padding_mode=("zeros", "border", "reflection")[padding_mode], align_corners=int(align_corners)
    )


def of(f: Callable[..., Any], n: int) -> Callable[..., Any]:
    return lambda t, *args, **kwargs: f(t, *args, n=n, **kwargs)


def first(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: f(*args, **kwargs)[0]


# fmt: off
OPS: dict[str, Callable[..., Any]] = {
    "aten.convolution.default": convolution, "aten._convolution.default": convolution, "aten.convolution_overrideable.default": convolution,
    "aten.mkldnn_convolution.default": mkldnn_convolution,
    **{f"aten.conv{n}d.{o}": of(conv, n) for n in (1, 2, 3) for o in ("default", "padding")},
    "aten.conv_transpose1d.default": of(conv_transpose, 1), "aten.conv_transpose2d.input": of(conv_transpose, 2),
        "aten.conv_transpose3d.input": of(conv_transpose, 3),
    **{f"aten.max_pool{n}d.default": of(max_pool, n) for n in (1, 2, 3)},
    **{f"aten.max_pool{n}d_with_indices.default": of(max_pool_indices, n) for n in (1, 2, 3)},
    **{f"aten.avg_pool{n}d.default": of(avg_pool, n) for n in (1, 2, 3)},
    **{f"aten.adaptive_avg_pool{n}d.default": of(adaptive_avg_pool, n) for n in (1, 2, 3)},
    **{f"aten._adaptive_avg_pool{n}d.default": of(adaptive_avg_pool, n) for n in (2, 3)},
    **{f"aten.adaptive_max_pool{n}d.default": of(adaptive_max_pool, n) for n in (1, 2, 3)},
    **{f"aten.upsample_nearest{n}d.{o}": nearest(False, n) for n in (1, 2, 3) for o in ("default", "vec")},
    **{f"aten._upsample_nearest_exact{n}d.{o}": nearest(True, n) for n in (1, 2, 3) for o in ("default", "vec")},
    **{f"aten.upsample_linear1d.{o}": smooth("linear", 1) for o in ("default", "vec")},
    **{f"aten.upsample_bilinear2d.{o}": smooth("linear", 2) for o in ("default", "vec")},
    **{f"aten.upsample_trilinear3d.{o}": smooth("linear", 3) for o in ("default", "vec")},
    **{f"aten.upsample_bicubic2d.{o}": smooth("cubic", 2) for o in ("default", "vec")},
    "aten.grid_sampler_2d.default": grid_sampler, "aten.grid_sampler_3d.default": grid_sampler, "aten.grid_sampler.default": grid_sampler,
}
