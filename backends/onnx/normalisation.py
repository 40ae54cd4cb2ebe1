"""Normalisation layers in inference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dync.backends.onnx.builder import Builder, Size, Val
from dync.backends.onnx.reductions import moments
from dync.backends.onnx.registry import Unsupported


def channels(t: Builder, x: Val, value: Val | None, otherwise: float) -> Val:
    if value is not None:
        return value
    size = x.dims[1]
    if size is None:
        raise Unsupported("normalisation over a dynamic number of channels without a weight")
    return t.const(np.full(size, otherwise), x.dtype)


def batch_norm(t: Builder, x: Val, weight: Val | None, bias: Val | None, mean: Val, var: Val, eps: float) -> Val:
    scale, shift = channels(t, x, weight, 1), channels(t, x, bias, 0)
    return t.op("BatchNormalization", x, *(t.cast(v, x.dtype) for v in (scale, shift, mean, var)), epsilon=eps)


def composite_batch_norm(
    t: Builder,
    x: Val,
    weight: Val | None,
    bias: Val | None,
    mean: Val | None,
    var: Val | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> Val:
    if training or mean is None or var is None:
        if mean is not None:
            raise Unsupported("batch normalisation in training writes its running statistics")
        return by_batch(t, x, weight, bias, eps)
    return batch_norm(t, x, weight, bias, mean, var, eps)


def by_batch(t: Builder, x: Val, weight: Val | None, bias: Val | None, eps: float) -> Val:
    """Normalised by the batch's own statistics, as instance_norm does it inside."""
    spread, mean = moments(t, x, [d for d in range(x.rank) if d != 1], 0, True)
    y = t.op("Div", t.op("Sub", x, mean), t.op("Sqrt", t.op("Add", spread, t.const(eps, x.dtype))))
    return affine(t, y, x.rank, weight, bias)


def affine(t: Builder, y: Val, rank: int, weight: Val | None, bias: Val | None) -> Val:
    """y · weight + bias along the channels."""
    wide = [-1, *[1] * (rank - 2)]
    y = y if weight is None else t.op("Mul", y, t.reshape(t.cast(weight, y.dtype), wide))
    return y if bias is None else t.op("Add", y, t.reshape(t.cast(bias, y.dtype), wide))


def native_batch_norm(
    t: Builder, x: Val, weight: Val | None, bias: Val | None, mean: Val | None, var: Val | None, training: bool, momentum: float, eps: float
) -> tuple[Val | None, ...]:
    return composite_batch_norm(t, x, weight, bias, mean, var, training, momentum, eps), None, None


def no_training(
    t: Builder, x: Val, weight: Val | None, bias: Val | None, mean: Val, var: Val, momentum: float, eps: float
) -> tuple[Val | None, ...]:
    return batch_norm(t, x, weight, bias, mean, var, eps), None, None


def batch_norm_with_reserve(t: Builder, *args: Any) -> tuple[Val | None, ...]:
    return *no_training(t, *args), None


def layer_norm(
    t: Builder,
    x: Val,
    normalized_shape: Sequence[Size],
    weight: Val | None = None,
    bias: Val | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = False,
) -> tuple[Val | None, ...]:
    """y over the last dims; its mean and 1/std serve the backward pass only."""
    if any(isinstance(s, Val) for s in normalized_shape):
        raise Unsupported("layer normalisation over dynamic sizes")
    scale = weight if weight is not None else t.const(np.ones(list(normalized_shape)), x.dtype)  # type: ignore[arg-type]
    return (
        t.op(
            "LayerNormalization",
            x,
            t.cast(scale, x.dtype),
            None if bias is None else t.cast(bias, x.dtype),
            dtype=x.dtype,
            axis=-len(normalized_shape),
            epsilon=eps,
        ),
        None,
        None,
    )


def rms_norm(t: Builder, x: Val, normalized_shape: Sequence[Size], weight: Val | None = None, eps: float | None = None) -> tuple[Val, Val]:
    eps = eps if eps is not None else float(np.finfo(x.dtype if t.low is None else "float32").eps)
    axes = t.const(list(range(-len(normalized_shape), 0)), "int64")
    spread = t.op("ReduceMean", t.op("Mul", x, x), axes, keepdims=1)
    factor = t.op("Div", t.const(1, x.dtype), t.op("Sqrt", t.op("Add", spread, t.const(eps, x.dtype))))
    y = t.op("Mul", x, factor)
    return (y if weight is None else t.op("Mul", y, t.cast(weight, x.dtype))), factor


def grouped(t: Builder, x: Val, groups: int, eps: float) -> Val:
    """x normalised over each of `groups` groups of channels, as [N, groups, the rest]."""
    ones, zeros = t.const(np.ones(groups), x.dtype), t.const(np.zeros(groups), x.dtype)
    rest = x.dims[1:]
    flat = t.reshape(x, [t.size(x, 0), groups, -1 if None in rest else math.prod(s for s in rest if s is not None) // groups])
    return t.op("InstanceNormalization", flat, ones, zeros, epsilon=eps)


def group_norm(
    t: Builder, x: Val, groups: int, weight: Val | None = None, bias: Val | None = None, eps: float = 1e-5, cudnn_enabled: bool = False
) -> Val:
    return affine(t, t.reshape(grouped(t, x, groups, eps), t.sizes(x)), x.rank, weight, bias)


def native_group_norm(
    t: Builder, x: Val, weight: Val | None, bias: Val | None, n: Size, c: Size, hxw: Size, group: int, eps: float
) -> tuple[Val | None, ...]:
    return group_norm(t, x, group, weight, bias, eps), None, None


def instance_norm(
    t: Builder,
    x: Val,
    weight: Val | None,
    bias: Val | None,
    mean: Val | None,
    var: Val | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Val:
    if not use_input_stats and mean is not None and var is not None:
        return batch_norm(t, x, weight, bias, mean, var, eps)
    if mean is not None:
        raise Unsupported("instance normalisation that updates running statistics")
    return t.op("InstanceNormalization", x, channels(t, x, weight, 1), channels(t, x, bias, 0), epsilon=eps)


# fmt: off
OPS: dict[str, Callable[..., Any]] = {
    "aten.batch_norm.default": composite_batch_norm, "aten.native_batch_norm.default": native_batch_norm,
    "aten._native_batch_norm_legit.default": native_batch_norm,
    "aten._native_batch_norm_legit.no_stats": lambda t, x, weight, bias, training, momentum,
        eps: (by_batch(t, x, weight, bias, eps), None, None),
    "aten._native_batch_norm_legit_no_training.default": no_training,
    "aten._batch_norm_no_update.default": batch_norm_with_reserve,
    "aten.layer_norm.default": lambda t, *a, **k: layer_norm(t, *a, **k)[0], "aten.native_layer_norm.default": layer_norm,
    "aten.rms_norm.default": lambda t, *a, **k: rms_norm(t, *a, **k)[0], "aten._fused_rms_norm.default": rms_norm,
    "aten.group_norm.default": group_norm, "aten.native_group_norm.default": native_group_norm, "aten.instance_norm.default": instance_norm,
}
