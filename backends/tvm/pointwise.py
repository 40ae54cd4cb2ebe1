"""Pointwise operators. Relax's own where layout and fusion passes know them and their meaning is the wanted one, else TE."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dync.backends.onnx.builder import Val
from dync.backends.onnx.registry import Unsupported
from dync.backends.tvm.builder import RelaxBuilder, known, negation
from dync.backends.tvm.door import relax, tirx

const = tirx.const


def dtype_of(x: Any) -> str:
    return str(x.ty.dtype)


def like(x: Any, value: float) -> Any:
    return const(value, dtype_of(x))


def infix(relaxed: Callable[..., Any], scalar: Callable[..., Any]) -> Callable[..., Val]:
    """A binary operator: Relax's on float values whose sizes provably broadcast, else TE."""

    def emit(t: RelaxBuilder, a: Val, b: Val) -> Val:
        if a.dtype in ("float32", "float64") and broadcasts(t, a, b):
            return t.give(relaxed(t.expr(a), t.expr(b)))
        return t.pointwise(scalar, a, b)

    return emit


def broadcasts(t: RelaxBuilder, a: Val, b: Val) -> bool:
    """Whether the sizes of a and b are seen to be equal or 1."""
    pairs = zip(reversed(t.dims_of(a)), reversed(t.dims_of(b)), strict=False)
    return all(1 in (known(x), known(y)) or t.analyzer.can_prove_equal(x, y) for x, y in pairs)


def unary(relaxed: Callable[..., Any], scalar: Callable[..., Any] | None = None) -> Callable[..., Val]:
    def emit(t: RelaxBuilder, x: Val) -> Val:
        return t.give(relaxed(t.expr(x))) if x.floating or scalar is None else t.pointwise(scalar, x)

    return emit


def te(scalar: Callable[..., Any], dtype: str | None = None) -> Callable[..., Val]:
    return lambda t, *values: t.pointwise(scalar, *values, dtype=dtype)


def times(t: RelaxBuilder, a: Val, b: Val) -> Val:
    """Nothing times infinity or NaN is NaN; TVM simplifies what it sees is multiplied by 0 to 0."""
    if a.floating and 0 in (t.number(a), t.number(b)):
        first = t.number(a) == 0

        def none(x: Any, y: Any) -> Any:
            other = y if first else x
            dtype = dtype_of(other)
            return tirx.Select(tirx.abs(other) <= tirx.max_value(dtype), tirx.const(0, dtype), tirx.const(math.nan, dtype))

        return t.pointwise(none, a, b)
    return infix(relax.op.multiply, lambda x, y: x * y)(t, a, b)


def div(t: RelaxBuilder, a: Val, b: Val) -> Val:
    if a.floating and t.number(b) == 0:
        return t.pointwise(lambda x, y: x / y, a, b)
    if a.floating:
        return infix(relax.op.divide, lambda x, y: x / y)(t, a, b)
    return t.pointwise(tirx.truncdiv, a, b)


def mod(t: RelaxBuilder, a: Val, b: Val, fmod: int = 0) -> Val:
    """The divisor's sign, or with fmod the dividend's."""
    if a.floating:
        assert fmod
        name = "fmod" if a.dtype == "float64" else "fmodf"
        return t.pointwise(lambda x, y: tirx.call_pure_extern(a.dtype, name, x, y), a, b)
    return t.pointwise(tirx.truncmod if fmod else tirx.floormod, a, b)


def power(t: RelaxBuilder, a: Val, b: Val) -> Val:
    if a.floating:
        return t.pointwise(tirx.pow, a, b)
    exponent = t.number(b)
    if exponent is None or not 0 <= exponent <= 64:
        raise Unsupported("an integer power with a run-time exponent")

    def raised(x: Any) -> Any:
        result, base, left = like(x, 1), x, int(exponent)
        while left:
            result, base, left = (result * base if left & 1 else result), base * base, left >> 1
        return result

    return t.pointwise(raised, a)


def compare(scalar: Callable[..., Any]) -> Callable[..., Val]:
    """A comparison; of bools as of numbers, which LLVM's are not."""

    def wide(x: Any) -> Any:
        return x.astype("int32") if dtype_of(x) == "bool" else x

    return te(lambda a, b: scalar(wide(a), wide(b)), "bool")


def logic(scalar: Callable[..., Any]) -> Callable[..., Val]:
    return te(scalar, "bool")


def clip(t: RelaxBuilder, x: Val, low: Val, high: Val) -> Val:
    """A NaN stays."""
    lo, hi = t.number(low), t.number(high)
    assert lo is not None and hi is not None

    def clamped(v: Any) -> Any:
        v = v if lo == -math.inf else tirx.Select(v < like(v, lo), like(v, lo), v)
        return v if hi == math.inf else tirx.Select(v > like(v, hi), like(v, hi), v)

    return t.pointwise(clamped, x)


def gelu(t: RelaxBuilder, x: Val, approximate: str = "none") -> Val:
    return t.give((relax.op.nn.gelu_tanh if approximate == "tanh" else relax.op.nn.gelu)(t.expr(x)))


def elu(t: RelaxBuilder, x: Val, alpha: float = 1.0) -> Val:
    """A NaN stays."""

    def curved(v: Any) -> Any:
        below = tirx.Select(v > like(v, 0), like(v, 0), v)
        return tirx.Select(v > like(v, 0), v, like(v, alpha) * (tirx.exp(below) - like(v, 1)))

    return t.pointwise(curved, x)


def softplus(t: RelaxBuilder, x: Val) -> Val:
    """log(1 + exp(x)) without overflow; NaN stays."""

    def soft(v: Any) -> Any:
        return tirx.Select(v > like(v, 0), v, like(v, 0)) + tirx.log1p(tirx.exp(-tirx.abs(v)))

    return t.pointwise(soft, x)


def shrink(t: RelaxBuilder, x: Val, alpha: float = 0.01) -> Val:
    return t.pointwise(lambda v: tirx.Select(v < like(v, 0), v * like(v, alpha), v), x)


def where(t: RelaxBuilder, condition: Val, a: Val, b: Val) -> Val:
    return t.pointwise(lambda c, x, y: tirx.Select(c, x, y), condition, a, b)


def erf(t: RelaxBuilder, x: Val) -> Val:
    if x.dtype != "float64":
        return t.give(relax.op.erf(t.expr(x)))
    return t.pointwise(lambda v: tirx.call_pure_extern("float64", "erf", v), x)


def libm(name: str) -> Callable[..., Val]:
    """A function of the C library, exact where TVM's own lowering is not."""

    def scalar(v: Any) -> Any:
        dtype = dtype_of(v)
        return tirx.call_pure_extern(dtype, name if dtype == "float64" else name + "f", v)

    return te(scalar)


def select_abs(v: Any) -> Any:
    return v if dtype_of(v).startswith("uint") else tirx.abs(v)


EMIT: dict[str, Callable[..., Any]] = {
    "Add": infix(relax.op.add, lambda a, b: a + b),
    "Sub": infix(relax.op.subtract, lambda a, b: a - b),
    "Mul": times,
    "Div": div,
    "Mod": mod,
    "Pow": power,
    "Max": te(tirx.max),
    "Min": te(tirx.min),
    "And": logic(tirx.And),
    "Or": logic(tirx.Or),
    "Xor": compare(tirx.NE),
    "Not": logic(negation),
    "Equal": compare(tirx.EQ),
    "Less": compare(tirx.LT),
    "LessOrEqual": compare(tirx.LE),
    "Greater": compare(tirx.GT),
    "GreaterOrEqual": compare(tirx.GE),
    "BitwiseAnd": te(tirx.bitwise_and),
    "BitwiseOr": te(tirx.bitwise_or),
    "BitwiseXor": te(tirx.bitwise_xor),
    "BitwiseNot": te(tirx.bitwise_not),
    "Neg": unary(relax.op.negative, lambda v: like(v, 0) - v),
    "Abs": unary(relax.op.abs, select_abs),
    "Exp": unary(relax.op.exp),
    "Log": unary(relax.op.log),
    "Sqrt": unary(relax.op.sqrt),
    "Sigmoid": unary(relax.op.sigmoid),
    "Tanh": unary(relax.op.tanh),
    "Sin": unary(relax.op.sin),
    "Cos": unary(relax.op.cos),
    "Floor": unary(relax.op.floor),
    "Ceil": unary(relax.op.ceil),
    "Round": te(tirx.nearbyint),
    "Relu": unary(relax.op.nn.relu, lambda v: tirx.max(v, like(v, 0))),
    "Erf": erf,
    "IsNaN": logic(tirx.isnan),
    **{n: libm(n.lower()) for n in ("Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh")},
    "Reciprocal": te(lambda v: like(v, 1) / v),
    "Clip": clip,
    "Gelu": gelu,
    "Elu": elu,
    "LeakyRelu": shrink,
    "PRelu": te(lambda v, a: tirx.Select(v < like(v, 0), v * a, v)),
    "Softplus": softplus,
    "Softsign": te(lambda v: v / (like(v, 1) + tirx.abs(v))),
    "Where": where,
    "Identity": lambda t, x: x,
}
