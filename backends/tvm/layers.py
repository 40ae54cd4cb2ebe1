"""Matrix products, convolutions, pooling, resampling, normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dync.backends.onnx.builder import Val
from dync.backends.onnx.registry import Unsupported
from dync.backends.tvm.builder import Prim, RelaxBuilder, known, whole
from dync.backends.tvm.door import relax, te, tirx
from dync.backends.tvm.reductions import lowest

# -- products ------------------------------------------------------------------------------------------------------------


def matmul(t: RelaxBuilder, a: Val, b: Val) -> Val:
    """Sizes that must be equal and are not seen to be are asserted at run time."""
    dims = t.dims_of(b)
    inner, at = t.dims_of(a)[-1], max(0, b.rank - 2)
    if not t.analyzer.can_prove_equal(inner, dims[at]):
        b = t.match(b, [*dims[:at], inner, *dims[at + 1 :]])
    dims, lead = t.dims_of(b), t.dims_of(a)[:-2]
    for i in range(1, min(len(lead), b.rank - 2) + 1):
        mine, its = lead[-i], dims[-2 - i]
        if 1 not in (known(mine), known(its)) and not t.analyzer.can_prove_equal(mine, its):
            dims[-2 - i] = mine
            b = t.match(b, dims)
    y = t.give(relax.op.matmul(t.expr(a), t.expr(b)))
    if t.analyzer.can_prove(inner > whole(0)):
        return y
    return t.te(lambda v, n: te.compute(v.shape, lambda *i: tirx.if_then_else(n > 0, v(*i), tirx.const(0, str(v.dtype)))), y, inner)


def gemm(
    t: RelaxBuilder, a: Val, b: Val, c: Val | None = None, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Val:
    a, b = (t.swap(v, 0, 1) if flip else v for v, flip in ((a, transA), (b, transB)))
    y = matmul(t, a, b)
    y = y if alpha == 1 else t.op("Mul", y, t.const(alpha, y.dtype))
    if c is None:
        return y
    return t.op("Add", y, c if beta == 1 else t.op("Mul", c, t.const(beta, y.dtype)))


# -- convolution ---------------------------------------------------------------------------------------------------------

CONV = {1: relax.op.nn.conv1d, 2: relax.op.nn.conv2d, 3: relax.op.nn.conv3d}


def biased(t: RelaxBuilder, y: Val, bias: Val | None, n: int) -> Val:
    return y if bias is None else t.op("Add", y, t.reshape(bias, [1, -1, *[1] * n]))


def conv(
    t: RelaxBuilder, x: Val, weight: Val, bias: Val | None = None, *, strides: list[int], pads: list[int], dilations: list[int],
    group: int, kernel_shape: list[int],
) -> Val:  # fmt: skip
    n = len(kernel_shape)
    y = CONV[n](t.expr(x), t.expr(weight), strides=strides, padding=pads, dilation=dilations, groups=group)
    return biased(t, t.give(y), bias, n)


def conv_transpose(
    t: RelaxBuilder, x: Val, weight: Val, bias: Val | None = None, *, strides: list[int], pads: list[int], output_padding: list[int],
    dilations: list[int], group: int, kernel_shape: list[int],
) -> Val:  # fmt: skip
    """Output element y takes x[(y + pad - k·dilation) / stride] where that is a whole place."""
    n, dims = len(kernel_shape), t.dims_of(x)
    each = known(t.dims_of(weight)[1]) or 0
    inner = (known(dims[1]) or 0) // group
    more = [dilations[i] * (kernel_shape[i] - 1) + 1 + output_padding[i] - 2 * pads[i] for i in range(n)]
    sizes = [t.analyzer.simplify((dims[2 + i] - whole(1)) * strides[i] + more[i]) for i in range(n)]

    def compute(v: Any, w: Any, wanted: Any) -> Any:
        c = te.reduce_axis((whole(0), whole(inner)), name="c")
        taps = [te.reduce_axis((whole(0), whole(k)), name=f"k{i}") for i, k in enumerate(kernel_shape)]

        def one(b: Any, o: Any, *out: Any) -> Any:
            g = o // each
            places, whole_places = [], []
            for i in range(n):
                at = out[i] + pads[i] - taps[i] * dilations[i]
                place = tirx.floordiv(at, strides[i])
                places.append(place)
                whole_places += [at >= 0, place < v.shape[2 + i], tirx.EQ(tirx.floormod(at, strides[i]), whole(0))]
            taken = tirx.if_then_else(tirx.all(*whole_places), v(b, g * inner + c, *places), tirx.const(0, str(v.dtype)))
            return te.sum(taken * w(g * inner + c, tirx.floormod(o, each), *taps), axis=[c, *taps])

        return te.compute((v.shape[0], whole(each * group), *wanted), one, name="conv_transpose")

    return biased(t, t.te(compute, x, weight, sizes), bias, n)


# -- pooling -------------------------------------------------------------------------------------------------------------


def pooled_sizes(
    t: RelaxBuilder, x: Val, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int], ceil: int
) -> list[Prim]:
    n, sizes = len(kernel), []
    for i, size in enumerate(t.dims_of(x)[2:]):
        room = size + (pads[i] + pads[n + i] - dilations[i] * (kernel[i] - 1) - 1)
        sizes.append(t.analyzer.simplify(tirx.floordiv(room + (strides[i] - 1 if ceil else 0), whole(strides[i])) + whole(1)))
    return sizes


def window(
    v: Any, out: Sequence[Any], taps: Sequence[Any], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> tuple[list[Any], Any]:
    """(places that a window's tap reads, whether they lie inside)."""
    places = [o * s + k * d - p for o, k, s, d, p in zip(out, taps, strides, dilations, pads[: len(taps)], strict=True)]
    within = [c for p, s in zip(places, v.shape[2:], strict=True) for c in (p >= 0, p < s)]
    return places, tirx.all(*within)


def max_pool(
    t: RelaxBuilder, x: Val, kernel_shape: list[int], strides: list[int], pads: list[int], dilations: list[int], ceil_mode: int = 0,
    count: int = 1,
) -> Val | tuple[Val, ...]:  # fmt: skip
    """The greatest of each window, NaN above all; with count 2 also the first place of it, counted through the whole tensor."""
    sizes = pooled_sizes(t, x, kernel_shape, strides, pads, dilations, ceil_mode)

    def combine(a: Any, b: Any) -> Any:
        nan = tirx.And(tirx.isnan(b[1]), tirx.Not(tirx.isnan(a[1]))) if "float" in str(b[1].ty.dtype) else tirx.const(False, "bool")
        chosen = tirx.Or(tirx.Or(b[1] > a[1], nan), tirx.And(tirx.EQ(a[1], b[1]), b[0] < a[0]))
        return tirx.Select(chosen, b[0], a[0]), tirx.Select(chosen, b[1], a[1])

    def compute(v: Any, wanted: Any) -> Any:
        taps = [te.reduce_axis((whole(0), whole(k)), name=f"k{i}") for i, k in enumerate(kernel_shape)]
        low = lowest(str(v.dtype))
        shape = (*list(v.shape)[:2], *wanted)
        if count == 1:
            from dync.backends.tvm.reductions import REDUCERS

            reducer = te.comm_reducer(*REDUCERS["max"], name="max")

            def greatest(b: Any, c: Any, *out: Any) -> Any:
                places, within = window(v, out, taps, strides, pads, dilations)
                return reducer(tirx.if_then_else(within, v(b, c, *places), low), axis=taps)

            return te.compute(shape, greatest, name="max_pool")
        reducer = te.comm_reducer(combine, lambda i, d: (tirx.const(np.iinfo("int64").max, i), lowest(d)), name="max_place")

        def place(b: Any, c: Any, *out: Any) -> Any:
            places, within = window(v, out, taps, strides, pads, dilations)
            at = b * v.shape[1] + c
            for p, s in zip(places, v.shape[2:], strict=True):
                at = at * s + p
            none = tirx.const(np.iinfo("int64").max, "int64")
            return reducer((tirx.if_then_else(within, at, none), tirx.if_then_else(within, v(b, c, *places), low)), axis=taps)

        at, best = te.compute(shape, place, name="max_pool")
        return [best, at]

    return t.tes(compute, x, sizes) if count == 2 else t.te(compute, x, sizes)


def avg_pool(
    t: RelaxBuilder, x: Val, kernel_shape: list[int], strides: list[int], pads: list[int] | None = None, ceil_mode: int = 0,
    count_include_pad: int = 0,
) -> Val:  # fmt: skip
    pads, ones, area = pads or [0] * (2 * len(kernel_shape)), [1] * len(kernel_shape), math.prod(kernel_shape)
    sizes = pooled_sizes(t, x, kernel_shape, strides, pads, ones, ceil_mode)
    whole_area = not ceil_mode and (count_include_pad or not any(pads))

    def compute(v: Any, wanted: Any) -> Any:
        taps = [te.reduce_axis((whole(0), whole(k)), name=f"k{i}") for i, k in enumerate(kernel_shape)]

        def total(b: Any, c: Any, *out: Any) -> Any:
            places, within = window(v, out, taps, strides, pads, ones)
            value = v(b, c, *places)
            if any(pads) or ceil_mode:
                value = tirx.if_then_else(within, value, tirx.const(0, str(v.dtype)))
            return te.sum(value, axis=taps)

        sums = te.compute((*list(v.shape)[:2], *wanted), total, name="window_sum")

        def mean(b: Any, c: Any, *out: Any) -> Any:
            if whole_area:
                return sums(b, c, *out) * tirx.const(1 / area, str(v.dtype))
            covered = whole(1)
            for i, o in enumerate(out):
                start = o * strides[i] - pads[i]
                covered = covered * (tirx.min(start + kernel_shape[i], v.shape[2 + i]) - tirx.max(start, whole(0)))
            return sums(b, c, *out) / covered.astype(str(v.dtype))

        return te.compute(sums.shape, mean, name="avg_pool")

    return t.te(compute, x, sizes)


# -- resampling ----------------------------------------------------------------------------------------------------------


def taps_of(size: int, out: int, scale: float, mode: str, corners: str, a: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(places, weights), each [taps, out]: what each output element reads along one dim, as torch computes it in float32."""
    o = np.arange(out, dtype=np.float32)
    if corners == "align_corners":
        source = o * np.float32((size - 1) / (out - 1) if out > 1 else 0)
    elif corners == "asymmetric":
        source = o * np.float32(1 / scale)
    else:
        source = (o + np.float32(0.5)) * np.float32(1 / scale) - np.float32(0.5)
    if mode == "nearest":
        return np.clip(np.floor(source), 0, size - 1).astype(np.int64)[None], np.ones((1, out), np.float32)
    if mode == "linear":
        source = np.maximum(source, np.float32(0))
        low = np.minimum(np.floor(source), size - 1).astype(np.int64)
        part = np.clip(source - low, 0, 1).astype(np.float32)
        return np.stack([low, np.minimum(low + 1, size - 1)]), np.stack([1 - part, part])
    base = np.floor(source)
    part = (source - base).astype(np.float32)
    reach = np.stack([part + 1, part, 1 - part, 2 - part])
    near = ((a + 2) * reach - (a + 3)) * reach * reach + 1
    far = ((a * reach - 5 * a) * reach + 8 * a) * reach - 4 * a
    weights = np.stack([far[0], near[1], near[2], far[3]]).astype(np.float32)
    return np.clip(base.astype(np.int64)[None] + np.arange(-1, 3)[:, None], 0, size - 1), weights


def resize(
    t: RelaxBuilder, x: Val, roi: Val | None = None, scales: Val | None = None, sizes: Val | None = None, mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel", cubic_coeff_a: float = -0.75, nearest_mode: str = "floor",
) -> Val:  # fmt: skip
    """One dim after another: each output element is a weighted sum of a few places that are known now."""
    outs = t.outs[0].dims[2:]
    factors = t.array(scales) if scales is not None else None
    for i, out in enumerate(outs):
        size = known(t.dims_of(x)[2 + i])
        if size is None or out is None:
            raise Unsupported("resampling of a dynamic size")
        scale = float(factors[2 + i]) if factors is not None else out / size
        if size == out and scale == 1:
            continue
        places, weights = taps_of(size, out, scale, mode, coordinate_transformation_mode, cubic_coeff_a)
        x = t.te(resampled, x, t.const(places, "int64"), t.const(weights, x.dtype), 2 + i)
    return x


def resampled(v: Any, places: Any, weights: Any, axis: int) -> Any:
    def one(*index: Any) -> Any:
        total = None
        for tap in range(known(places.shape[0]) or 0):
            at = [places(whole(tap), i) if d == axis else i for d, i in enumerate(index)]
            part = v(*at) * weights(whole(tap), index[axis])
            total = part if total is None else total + part
        return total

    shape = [places.shape[1] if d == axis else s for d, s in enumerate(v.shape)]
    return te.compute(tuple(shape), one, name="resize")


# -- normalisation -------------------------------------------------------------------------------------------------------


def batch_norm(t: RelaxBuilder, x: Val, scale: Val, bias: Val, mean: Val, var: Val, epsilon: float) -> Val:
    call = relax.op.nn.batch_norm(t.expr(x), *(t.expr(v) for v in (scale, bias, mean, var)), axis=1, epsilon=epsilon, training=False)
    return t.give(relax.TupleGetItem(t.bb.emit(call), 0))


def layer_norm(t: RelaxBuilder, x: Val, scale: Val, bias: Val | None = None, axis: int = -1, epsilon: float = 1e-5) -> Val:
    beta = bias if bias is not None else t.const(np.zeros([d or 0 for d in scale.dims]), x.dtype)
    return t.give(relax.op.nn.layer_norm(t.expr(x), t.expr(scale), t.expr(beta), list(range(axis, 0)), epsilon))


def instance_norm(t: RelaxBuilder, x: Val, scale: Val, bias: Val, epsilon: float) -> Val:
    axes, n = t.const(list(range(2, x.rank)), "int64"), x.rank - 2
    centred = t.op("Sub", x, t.op("ReduceMean", x, axes, keepdims=1))
    spread = t.op("ReduceMean", t.op("Mul", centred, centred), axes, keepdims=1)
    y = t.op("Div", centred, t.op("Sqrt", t.op("Add", spread, t.const(epsilon, x.dtype))))
    return biased(t, t.op("Mul", y, t.reshape(scale, [1, -1, *[1] * n])), bias, n)


EMIT: dict[str, Callable[..., Any]] = {
    "MatMul": matmul,
    "Gemm": gemm,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": avg_pool,
    "Resize": resize,
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "InstanceNormalization": instance_norm,
}
