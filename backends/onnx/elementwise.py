"""ATen's pointwise operators: arithmetic with torch's type promotion, comparisons, logic, activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dync.backends.onnx.builder import Builder, Number, Val
from dync.backends.onnx.registry import Unsupported

Operand = Val | Number
ORDER = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")


def category(dtype: str) -> int:
    return 0 if dtype == "bool" else 2 if "float" in dtype else 1


def wider(a: str | None, b: str | None) -> str | None:
    """The smallest dtype that torch gives for two of them."""
    if a is None or b is None or a == b:
        return a or b
    if {a, b} == {"uint8", "int8"}:
        return "int16"
    if {a, b} == {"float16", "bfloat16"}:
        return "float32"
    return max(a, b, key=ORDER.index)


def promote(*values: Operand) -> str:
    """torch.result_type: tensors with dims outrank 0-d tensors, which outrank Python numbers, within a category."""
    ranks: list[str | None] = [None, None, None]
    for value in values:
        if not isinstance(value, Val) or value.scalar:
            dtype = value.dtype if isinstance(value, Val) else {bool: "bool", int: "int64", float: "float32"}[type(value)]
            at, dtype = 2, "float32" if dtype == "float64" else dtype
        else:
            at, dtype = (0 if value.shape else 1), value.dtype
        ranks[at] = wider(ranks[at], dtype)
    result = ranks[2]
    for higher in (ranks[1], ranks[0]):
        if higher is not None:
            result = higher if result is None or category(higher) >= category(result) else wider(higher, result)
    assert result is not None
    return result


def unary(op: str) -> Callable[..., Val]:
    return lambda t, x, **_: t.op(op, t.lift(x, t.dtype))


def composed(formula: Callable[[Builder, Val], Val]) -> Callable[..., Val]:
    return lambda t, x, **_: formula(t, t.lift(x, t.dtype))


def k(t: Builder, value: Number) -> Val:
    """A constant of the result's dtype."""
    return t.const(value, t.dtype)


# -- arithmetic ----------------------------------------------------------------------------------------------------------


def add(t: Builder, x: Operand, y: Operand, alpha: Operand = 1) -> Val:
    a, b = t.lift(x, t.dtype), t.lift(y, t.dtype)
    if isinstance(alpha, Val) or alpha != 1:
        b = t.op("Mul", b, t.lift(alpha, t.dtype))
    return t.op("Or", a, b) if t.dtype == "bool" else t.op("Add", a, b)


def sub(t: Builder, x: Operand, y: Operand, alpha: Operand = 1) -> Val:
    a, b = t.lift(x, t.dtype), t.lift(y, t.dtype)
    if isinstance(alpha, Val) or alpha != 1:
        b = t.op("Mul", b, t.lift(alpha, t.dtype))
    return t.op("Sub", a, b)


def rsub(t: Builder, x: Operand, y: Operand, alpha: Operand = 1) -> Val:
    return sub(t, y, x, alpha)


def mul(t: Builder, x: Operand, y: Operand) -> Val:
    return t.op("And" if t.dtype == "bool" else "Mul", t.lift(x, t.dtype), t.lift(y, t.dtype))


def divisor(t: Builder, y: Operand, dtype: str) -> Val:
    """`y` as a divisor. An integer division by zero would kill the process where eager raises, so it must be a known number."""
    if category(dtype) != 2 and (isinstance(y, Val) or y == 0):
        raise Unsupported("integer division by a run-time value: eager raises on zero, compiled code crashes")
    return t.lift(y, dtype)


def div(t: Builder, x: Operand, y: Operand, rounding_mode: str | None = None) -> Val:
    if rounding_mode == "floor":
        return floor_divide(t, x, y)
    if rounding_mode == "trunc":
        quotient = t.op("Div", t.lift(x, t.dtype), divisor(t, y, t.dtype))
        return trunc(t, quotient) if quotient.floating else quotient
    return t.op("Div", t.lift(x, t.dtype), t.lift(y, t.dtype))


def floor_divide(t: Builder, x: Operand, y: Operand) -> Val:
    a, b = t.lift(x, t.dtype), divisor(t, y, t.dtype)
    return float_floordiv(t, a, b) if a.floating else int_floordiv(t, a, b)


def int_floordiv(t: Builder, a: Val, b: Val) -> Val:
    """Rounds down; ONNX Div rounds to zero. ONNX's integer Mod has the divisor's sign, so a - mod divides evenly."""
    return t.op("Div", t.op("Sub", a, t.op("Mod", a, b)), b)


def float_floordiv(t: Builder, a: Val, b: Val) -> Val:
    """Python's and ATen's float //: from the remainder, so that it is exact where a / b rounds up."""
    zero, one = t.const(0, a.dtype), t.const(1, a.dtype)
    rest = t.op("Mod", a, b, fmod=1)
    quotient = t.op("Div", t.op("Sub", a, rest), b)
    other = t.op("Xor", t.op("Less", rest, zero), t.op("Less", b, zero))
    wrong = t.op("And", t.not_(t.op("Equal", rest, zero)), other)
    quotient = t.where(wrong, t.op("Sub", quotient, one), quotient)
    down = t.op("Floor", quotient)
    down = t.where(t.op("Greater", t.op("Sub", quotient, down), t.const(0.5, a.dtype)), t.op("Add", down, one), down)
    return t.where(t.op("Equal", b, zero), t.op("Div", a, b), down)


def float_mod(t: Builder, a: Val, b: Val) -> Val:
    """Python's float %: the divisor's sign."""
    zero = t.const(0, a.dtype)
    rest = t.op("Mod", a, b, fmod=1)
    other = t.op("Xor", t.op("Less", rest, zero), t.op("Less", b, zero))
    wrong = t.op("And", t.not_(t.op("Equal", rest, zero)), other)
    return t.where(wrong, t.op("Add", rest, b), rest)


def remainder(t: Builder, x: Operand, y: Operand) -> Val:
    a, b = t.lift(x, t.dtype), divisor(t, y, t.dtype)
    return float_mod(t, a, b) if a.floating else t.op("Mod", a, b)


def fmod(t: Builder, x: Operand, y: Operand) -> Val:
    return t.op("Mod", t.lift(x, t.dtype), divisor(t, y, t.dtype), fmod=1)


def power(t: Builder, x: Operand, y: Operand) -> Val:
    a = t.lift(x, t.dtype)
    if isinstance(y, (int, float)) and not isinstance(y, bool):
        if y == 2:
            return t.op("Mul", a, a)
        if y == 3:
            return t.op("Mul", t.op("Mul", a, a), a)
        if a.floating and y == 0.5:
            return t.op("Sqrt", a)
        if a.floating and y == -1:
            return t.op("Div", k(t, 1), a)
        if a.floating and y == -0.5:
            return t.op("Div", k(t, 1), t.op("Sqrt", a))
    if not a.floating:
        a32, b32 = (t.cast(v, "int64") for v in (a, t.lift(y, t.dtype)))
        return t.cast(t.op("Pow", a32, b32), t.dtype)
    return t.op("Pow", a, t.lift(y, t.dtype))


def trunc(t: Builder, x: Val) -> Val:
    if not x.floating:
        return x
    return t.where(t.op("Less", x, t.const(0, x.dtype)), t.op("Ceil", x), t.op("Floor", x))


def round_(t: Builder, x: Val, decimals: int = 0) -> Val:
    if decimals:
        scale = t.const(10.0 ** abs(decimals), x.dtype)
        up, down = ("Mul", "Div") if decimals > 0 else ("Div", "Mul")
        return t.op(down, t.op("Round", t.op(up, x, scale)), scale)
    return t.op("Round", x) if x.floating else x


def keep_int(op: str) -> Callable[..., Val]:
    return lambda t, x: t.op(op, x) if x.floating else x


def extremum(op: str) -> Callable[..., Val]:
    """Element-wise maximum or minimum; a NaN on either side stays."""

    def translate(t: Builder, x: Operand, y: Operand) -> Val:
        a, b = t.lift(x, t.dtype), t.lift(y, t.dtype)
        if t.dtype == "bool":
            return t.op("Or" if op == "Max" else "And", a, b)
        if not a.floating:
            return t.op(op, a, b)
        first = t.op("Greater" if op == "Max" else "Less", a, b)
        return t.where(t.op("Or", first, t.op("IsNaN", a)), a, b)

    return translate


def clamp(t: Builder, x: Val, min: Operand | None = None, max: Operand | None = None) -> Val:
    a = t.cast(x, t.dtype)
    if not isinstance(min, Val) and not isinstance(max, Val) and a.floating:
        return t.op("Clip", a, k(t, -math.inf if min is None else min), k(t, math.inf if max is None else max))
    for op, bound in (("Max", min), ("Min", max)):
        if bound is not None:
            a = extremum(op)(t, a, bound)
    return a


def lerp(t: Builder, x: Val, end: Val, weight: Operand) -> Val:
    return t.op("Add", x, t.op("Mul", t.lift(weight, t.dtype), t.op("Sub", end, x)))


def addc(op: str) -> Callable[..., Val]:
    def translate(t: Builder, x: Val, a: Val, b: Val, value: Operand = 1) -> Val:
        inner = t.op(op, t.cast(a, t.dtype), t.cast(b, t.dtype))
        return t.op("Add", t.cast(x, t.dtype), t.op("Mul", inner, t.lift(value, t.dtype)))

    return translate


def copysign(t: Builder, x: Operand, y: Operand) -> Val:
    a, b = t.op("Abs", t.lift(x, t.dtype)), t.lift(y, t.dtype)
    negative = t.op("Or", t.op("Less", b, k(t, 0)), t.op("Less", t.op("Div", k(t, 1), b), k(t, 0)))
    return t.where(negative, t.op("Neg", a), a)


def atan2(t: Builder, y: Val, x: Val) -> Val:
    """Through Atan of the quotient, corrected by quadrant; zeros of either sign and infinities come out as in C."""
    y, x = t.cast(y, t.dtype), t.cast(x, t.dtype)
    zero, pi = k(t, 0), k(t, math.pi)
    below, left = signbit(t, y), signbit(t, x)
    both = t.op("And", isinf(t, y), isinf(t, x))
    diagonal = t.where(t.op("Xor", below, left), k(t, -math.pi / 4), k(t, math.pi / 4))
    base = t.where(both, diagonal, t.op("Atan", t.op("Div", y, x)))
    origin = t.op("And", t.op("Equal", y, zero), t.op("Equal", x, zero))
    base = t.where(origin, t.where(t.op("Xor", below, left), k(t, -0.0), zero), base)
    return t.where(left, t.where(below, t.op("Sub", base, pi), t.op("Add", base, pi)), base)


# -- comparison and logic ------------------------------------------------------------------------------------------------


def compare(op: str, negate: bool = False) -> Callable[..., Val]:
    def translate(t: Builder, x: Operand, y: Operand) -> Val:
        dtype = promote(x, y)
        a, b = (rounded(t, v, dtype) for v in (x, y))
        if dtype == "bool" and op != "Equal":
            a, b = t.cast(a, "int32"), t.cast(b, "int32")
        if op == "Equal" and a.floating and a.name == b.name:  # which compilers take for true, but for a NaN
            unequal = isnan(t, a)
            return unequal if negate else t.not_(unequal)
        result = t.op(op, a, b)
        return t.not_(result) if negate else result

    return translate


def rounded(t: Builder, value: Operand, dtype: str) -> Val:
    """A number beside low-precision tensors is first rounded to their dtype, as in eager."""
    number = not isinstance(value, Val) or value.scalar
    if number and t.low is not None and dtype == "float32":
        return t.cast(t.lift(value, t.low), dtype)
    return t.lift(value, dtype)


def logical(op: str) -> Callable[..., Val]:
    return lambda t, x, y: t.op(op, t.lift(x, "bool"), t.lift(y, "bool"))


def bitwise(op: str, boolean: str) -> Callable[..., Val]:
    def translate(t: Builder, x: Operand, y: Operand) -> Val:
        return t.op(boolean if t.dtype == "bool" else op, t.lift(x, t.dtype), t.lift(y, t.dtype))

    return translate


def bitwise_not(t: Builder, x: Val) -> Val:
    return t.not_(x) if x.dtype == "bool" else t.op("BitwiseNot", x)


def isnan(t: Builder, x: Val) -> Val:
    return t.op("IsNaN", x) if x.floating else t.full(t.shape_of(x), False, "bool")


def isinf(t: Builder, x: Val) -> Val:
    return t.op("Equal", t.op("Abs", x), t.const(math.inf, x.dtype)) if x.floating else t.full(t.shape_of(x), False, "bool")


def isfinite(t: Builder, x: Val) -> Val:
    return t.not_(t.op("Or", isnan(t, x), isinf(t, x))) if x.floating else t.full(t.shape_of(x), True, "bool")


def signed_inf(value: float) -> Callable[..., Val]:
    return lambda t, x: t.op("Equal", x, t.const(value, x.dtype)) if x.floating else t.full(t.shape_of(x), False, "bool")


def signbit(t: Builder, x: Val) -> Val:
    if not x.floating:
        return t.op("Less", t.cast(x, "int64"), t.const(0, "int64"))
    return t.op("Less", t.where(t.op("Equal", x, t.const(0, x.dtype)), t.op("Div", t.const(1, x.dtype), x), x), t.const(0, x.dtype))


def nan_to_num(t: Builder, x: Val, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Val:
    if not x.floating:
        return x
    info = np.finfo(x.dtype if t.low is None else "float16" if t.low == "float16" else "float32")
    high, low = float(info.max) if posinf is None else posinf, float(info.min) if neginf is None else neginf
    if t.low == "bfloat16":
        high, low = (3.3895313892515355e38 if posinf is None else posinf), (-3.3895313892515355e38 if neginf is None else neginf)
    y = t.where(t.op("IsNaN", x), k(t, 0.0 if nan is None else nan), x)
    y = t.where(t.op("Equal", x, k(t, math.inf)), k(t, high), y)
    return t.where(t.op("Equal", x, k(t, -math.inf)), k(t, low), y)


def where(t: Builder, condition: Val, x: Operand, y: Operand) -> Val:
    return t.where(condition, t.lift(x, t.dtype), t.lift(y, t.dtype))


def masked_fill(t: Builder, x: Val, mask: Val, value: Operand) -> Val:
    return t.where(mask, t.lift(value, x.dtype), x)


def shift(left: bool) -> Callable[..., Val]:
    def translate(t: Builder, x: Operand, y: Operand) -> Val:
        if isinstance(y, Val) or not 0 <= y < 63:
            raise Unsupported("a shift by a run-time number of bits")
        a, factor = t.lift(x, "int64"), t.const(2**y, "int64")
        return t.cast(t.op("Mul", a, factor) if left else int_floordiv(t, a, factor), t.dtype)

    return translate


# -- activations ---------------------------------------------------------------------------------------------------------


def relu(t: Builder, x: Val) -> Val:
    return t.op("Relu", x)


def gelu(t: Builder, x: Val, approximate: str = "none") -> Val:
    return t.op("Gelu", x, approximate=approximate)


def silu(t: Builder, x: Val) -> Val:
    return t.op("Mul", x, t.op("Sigmoid", x))


def elu(t: Builder, x: Val, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Val:
    if input_scale == 1:
        y = t.op("Elu", x, alpha=float(alpha))
        return y if scale == 1 else t.op("Mul", y, k(t, scale))
    negative = t.op("Mul", t.op("Sub", t.op("Exp", t.op("Mul", x, k(t, input_scale))), k(t, 1)), k(t, alpha * scale))
    return t.where(t.op("Greater", x, k(t, 0)), t.op("Mul", x, k(t, scale)), negative)


def celu(t: Builder, x: Val, alpha: float = 1.0) -> Val:
    return elu(t, x, alpha, 1.0, 1.0 / alpha)


def selu(t: Builder, x: Val) -> Val:
    return elu(t, x, 1.6732632423543772, 1.0507009873554805)


def softplus(t: Builder, x: Val, beta: float = 1.0, threshold: float = 20.0) -> Val:
    scaled = x if beta == 1 else t.op("Mul", x, k(t, beta))
    soft = t.op("Softplus", scaled)
    soft = soft if beta == 1 else t.op("Div", soft, k(t, beta))
    return t.where(t.op("Greater", scaled, k(t, threshold)), x, soft)


def mish(t: Builder, x: Val) -> Val:
    return t.op("Mul", x, t.op("Tanh", softplus(t, x)))


def logsigmoid(t: Builder, x: Val) -> Val:
    return t.op("Neg", t.op("Softplus", t.op("Neg", x)))


def logsigmoid_forward(t: Builder, x: Val) -> tuple[Val | None, ...]:
    return logsigmoid(t, x), None


def hardtanh(t: Builder, x: Val, min_val: float = -1.0, max_val: float = 1.0) -> Val:
    return clamp(t, x, min_val, max_val)


def hardsigmoid(t: Builder, x: Val) -> Val:
    return t.op("Div", t.op("Clip", t.op("Add", x, k(t, 3)), k(t, 0), k(t, 6)), k(t, 6))


def hardswish(t: Builder, x: Val) -> Val:
    return t.op("Div", t.op("Mul", x, t.op("Clip", t.op("Add", x, k(t, 3)), k(t, 0), k(t, 6))), k(t, 6))


def leaky_relu(t: Builder, x: Val, negative_slope: float = 0.01) -> Val:
    return (
        t.op("LeakyRelu", x, alpha=float(negative_slope))
        if x.dtype == "float32"
        else (t.where(t.op("Greater", x, k(t, 0)), x, t.op("Mul", x, k(t, negative_slope))))
    )


def prelu(t: Builder, x: Val, weight: Val) -> Val:
    if x.rank > 2 and weight.shape != (1,) and weight.rank == 1:
        weight = t.reshape(weight, [-1] + [1] * (x.rank - 2))
    return t.op("PRelu", x, weight)


def glu(t: Builder, x: Val, dim: int = -1) -> Val:
    a, b = t.ops("Split", x, count=2, axis=dim, num_outputs=2)
    return t.op("Mul", a, t.op("Sigmoid", b))


def threshold(t: Builder, x: Val, threshold: Number, value: Number) -> Val:
    return t.where(t.op("LessOrEqual", x, k(t, threshold)), k(t, value), x)


def hardshrink(t: Builder, x: Val, lambd: float = 0.5) -> Val:
    return t.where(t.op("LessOrEqual", t.op("Abs", x), k(t, lambd)), k(t, 0), x)


def softshrink(t: Builder, x: Val, lambd: float = 0.5) -> Val:
    low = t.where(t.op("Less", x, k(t, -lambd)), t.op("Add", x, k(t, lambd)), t.op("Mul", x, k(t, 0)))
    return t.where(t.op("Greater", x, k(t, lambd)), t.op("Sub", x, k(t, lambd)), low)


def dropout(t: Builder, x: Val, p: float = 0.5, train: bool | None = False) -> Val:
    if train and p:
        raise Unsupported("dropout in training draws from eager's random generator")
    return x


def native_dropout(t: Builder, x: Val, p: float, train: bool | None = None) -> tuple[Val, ...]:
    return dropout(t, x, p, train), t.full(t.shape_of(x), True, "bool")


def identity(t: Builder, x: Val, *_: Any, **__: Any) -> Val:
    return t.cast(x, t.dtype)


# fmt: off
OPS: dict[str, Callable[..., Any]] = {
    **{f"aten.{n}.{o}": f for n, f in {"add": add, "sub": sub, "mul": mul, "div": div, "rsub": rsub, "remainder": remainder, "fmod": fmod,
                                       "subtract": sub, "multiply": mul, "divide": div, "true_divide": div}.items() for o in ("Tensor",
                                       "Scalar")},
    "aten.div.Tensor_mode": div, "aten.div.Scalar_mode": div, "aten.remainder.Scalar_Tensor": remainder,
    "aten.floor_divide.default": floor_divide, "aten.floor_divide.Scalar": floor_divide,
    **{f"aten.pow.{o}": power for o in ("Tensor_Scalar", "Tensor_Tensor", "Scalar")},
    "aten.square.default": composed(lambda t, x: t.op("Mul", x, x)),
    **{f"aten.{n}.default": unary(o) for n, o in {
        "neg": "Neg", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos",
        "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "tanh": "Tanh", "erf": "Erf",
        "sigmoid": "Sigmoid", "abs": "Abs", "reciprocal": "Reciprocal", "special_expit": "Sigmoid", "arctan": "Atan"}.items()},
    "aten.rsqrt.default": composed(lambda t, x: t.op("Div", k(t, 1), t.op("Sqrt", x))),
    "aten.exp2.default": composed(lambda t, x: t.op("Pow", k(t, 2), x)),
    "aten.expm1.default": composed(lambda t, x: t.op("Sub", t.op("Exp", x), k(t, 1))),
    "aten.log1p.default": composed(lambda t, x: t.op("Log", t.op("Add", x, k(t, 1)))),
    "aten.log2.default": composed(lambda t, x: t.op("Div", t.op("Log", x), k(t, math.log(2)))),
    "aten.log10.default": composed(lambda t, x: t.op("Div", t.op("Log", x), k(t, math.log(10)))),
    "aten.erfc.default": composed(lambda t, x: t.op("Sub", k(t, 1), t.op("Erf", x))),
    "aten.sign.default": composed(lambda t, x: x if t.dtype == "bool" else t.where(t.op("Less", x, k(t, 0)), k(t, -1), t.cast(
        t.op("Greater", x, k(t, 0)), t.dtype))),
    "aten.frac.default": composed(lambda t, x: t.op("Sub", x, trunc(t, x))),
    "aten.ceil.default": keep_int("Ceil"), "aten.floor.default": keep_int("Floor"), "aten.trunc.default": trunc, "aten.fix.default": trunc,
    "aten.round.default": round_, "aten.round.decimals": round_, "aten.positive.default": identity,
    "aten.maximum.default": extremum("Max"), "aten.minimum.default": extremum("Min"), "aten.max.other": extremum("Max"),
        "aten.min.other": extremum("Min"),
    "aten.clamp.default": clamp, "aten.clamp.Tensor": clamp, "aten.clip.default": clamp, "aten.clip.Tensor": clamp,
    **{f"aten.clamp_min.{o}": lambda t, x, b: clamp(t, x, b, None) for o in ("default", "Tensor")},
    **{f"aten.clamp_max.{o}": lambda t, x, b: clamp(t, x, None, b) for o in ("default", "Tensor")},
    "aten.lerp.Scalar": lerp, "aten.lerp.Tensor": lerp, "aten.addcmul.default": addc("Mul"), "aten.addcdiv.default": addc("Div"),
    "aten.atan2.default": atan2, "aten.copysign.Tensor": copysign, "aten.copysign.Scalar": copysign,
    **{f"aten.{n}.{o}": compare(op, negate) for n, (op, negate) in {
        "eq": ("Equal", False), "ne": ("Equal", True), "not_equal": ("Equal", True), "lt": ("Less", False), "less": ("Less", False),
        "le": ("LessOrEqual", False), "less_equal": ("LessOrEqual", False), "gt": ("Greater", False), "greater": ("Greater", False),
        "ge": ("GreaterOrEqual", False), "greater_equal": ("GreaterOrEqual", False)}.items() for o in ("Tensor", "Scalar")},
    "aten.logical_and.default": logical("And"), "aten.logical_or.default": logical("Or"), "aten.logical_xor.default": logical("Xor"),
    "aten.logical_not.default": lambda t, x: t.not_(x),
    **{f"aten.{n}.{o}": bitwise(op, boolean) for names, op, boolean in (
        (("bitwise_and", "__and__"), "BitwiseAnd", "And"), (("bitwise_or", "__or__"), "BitwiseOr", "Or"),
            (("bitwise_xor", "__xor__"), "BitwiseXor", "Xor"))
       for n in names for o in ("Tensor", "Scalar")},
    "aten.bitwise_not.default": bitwise_not,
    **{f"aten.{n}.{o}": shift(left) for n, left in {"bitwise_left_shift": True, "__lshift__": True, "bitwise_right_shift": False,
        "__rshift__": False}.items()
       for o in ("Tensor_Scalar", "Scalar")},
    "aten.isnan.default": isnan, "aten.isinf.default": isinf, "aten.isfinite.default": isfinite, "aten.signbit.default": signbit,
    "aten.isposinf.default": signed_inf(math.inf), "aten.isneginf.default": signed_inf(-math.inf), "aten.nan_to_num.default": nan_to_num,
    **{f"aten.where.{o}": where for o in ("self", "ScalarSelf", "ScalarOther", "Scalar")},
    "aten.masked_fill.Scalar": masked_fill, "aten.masked_fill.Tensor": masked_fill,
    "aten.relu.default": relu, "aten.gelu.default": gelu, "aten.silu.default": silu, "aten.elu.default": elu, "aten.celu.default": celu,
    "aten.selu.default": selu, "aten.softplus.default": softplus, "aten.mish.default": mish, "aten.log_sigmoid.default": logsigmoid,
    "aten.log_sigmoid_forward.default": logsigmoid_forward, "aten.hardtanh.default": hardtanh, "aten.hardsigmoid.default": hardsigmoid,
    "aten.relu6.default": lambda t, x: clamp(t, x, 0, 6), "aten.hardswish.default": hardswish, "aten.leaky_relu.default": leaky_relu,
    "aten.prelu.default": prelu, "aten._prelu_kernel.default": prelu, "aten.glu.default": glu, "aten.threshold.default": threshold,
    "aten.hardshrink.default": hardshrink, "aten.softshrink.default": softshrink, "aten.softsign.default": unary("Softsign"),
    "aten.dropout.default": dropout, "aten.feature_dropout.default": dropout, "aten.alpha_dropout.default": dropout,
    "aten.native_dropout.default": native_dropout,
    **{f"aten.{n}": identity for n in (
        "clone.default", "alias.default", "detach.default", "contiguous.default", "lift.default", "lift_fresh.default",
            "lift_fresh_copy.default",
        "alias_copy.default", "detach_copy.default", "_to_copy.default", "to.dtype", "to.dtype_layout", "to.device", "to.other",
            "type_as.default",
        "_conj.default", "resolve_conj.default", "resolve_neg.default", "conj.default", "real.default", "float.default",
            "_to_cpu.default")},
}
