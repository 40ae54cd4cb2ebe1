"""Python numbers inside a graph: 0-d int64, float64 and bool tensors with exactly Python's results.

An operation that can raise in Python (division by a run-time number, sqrt, int() of a float that may be NaN) has no ONNX
form: eager must raise, so such a graph is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dync.backends.onnx.builder import Builder, Number, Val
from dync.backends.onnx.elementwise import float_floordiv, float_mod, int_floordiv
from dync.backends.onnx.registry import Unsupported

Operand = Val | Number


def kind(value: Operand) -> str:
    return value.dtype if isinstance(value, Val) else {bool: "bool", int: "int64", float: "float64"}[type(value)]


def common(*values: Operand) -> str:
    """The type in which Python compares numbers."""
    return "float64" if "float64" in map(kind, values) else "int64"


def infix(op: str) -> Callable[..., Val]:
    return lambda t, a, b: t.op(op, t.lift(a, t.dtype), t.lift(b, t.dtype))


def compare(op: str, negate: bool = False) -> Callable[..., Val]:
    def translate(t: Builder, a: Operand, b: Operand) -> Val:
        dtype = common(a, b)
        result = t.op(op, t.lift(a, dtype), t.lift(b, dtype))
        return t.not_(result) if negate else result

    return translate


def bits(op: str, boolean: str) -> Callable[..., Val]:
    return lambda t, a, b: t.op(boolean if t.dtype == "bool" else op, t.lift(a, t.dtype), t.lift(b, t.dtype))


def unary(op: str) -> Callable[..., Val]:
    return lambda t, a: t.op(op, t.lift(a, t.dtype))


def nonzero(b: Operand) -> Number:
    if isinstance(b, Val) or b == 0:
        raise Unsupported("division by a run-time number can raise ZeroDivisionError, which only eager does")
    return b


def truediv(t: Builder, a: Operand, b: Operand) -> Val:
    return t.op("Div", t.lift(a, "float64"), t.lift(nonzero(b), "float64"))


def floordiv(t: Builder, a: Operand, b: Operand) -> Val:
    x, y = t.lift(a, t.dtype), t.lift(nonzero(b), t.dtype)
    return float_floordiv(t, x, y) if t.dtype == "float64" else int_floordiv(t, x, y)


def mod(t: Builder, a: Operand, b: Operand) -> Val:
    x, y = t.lift(a, t.dtype), t.lift(nonzero(b), t.dtype)
    return float_mod(t, x, y) if t.dtype == "float64" else t.op("Mod", x, y)


def power(t: Builder, a: Operand, b: Operand) -> Val:
    if t.dtype == "int64" and isinstance(b, int) and b >= 0:
        return t.op("Pow", t.lift(a, "int64"), t.const(b, "int64"))
    raise Unsupported("a power of a run-time number can raise OverflowError or ZeroDivisionError, which only eager does")


def lshift(t: Builder, a: Operand, b: Operand) -> Val:
    if isinstance(b, Val) or not 0 <= b < 63:
        raise Unsupported("a shift by a run-time number can raise ValueError, which only eager does")
    return t.op("Mul", t.lift(a, "int64"), t.const(2**b, "int64"))


def rshift(t: Builder, a: Operand, b: Operand) -> Val:
    if isinstance(b, Val) or not 0 <= b < 63:
        raise Unsupported("a shift by a run-time number can raise ValueError, which only eager does")
    return int_floordiv(t, t.lift(a, "int64"), t.const(2**b, "int64"))


def choose(op: str) -> Callable[..., Val]:
    """min and max as Python's: the second number only where it compares strictly better."""

    def translate(t: Builder, a: Operand, b: Operand) -> Val:
        dtype = common(a, b)
        x, y = t.lift(a, dtype), t.lift(b, dtype)
        return t.where(t.op(op, y, x), t.lift(b, t.dtype), t.lift(a, t.dtype))

    return translate


def select(t: Builder, condition: Operand, a: Operand, b: Operand) -> Val:
    return t.where(t.lift(condition, "bool"), t.lift(a, t.dtype), t.lift(b, t.dtype))


def integer(t: Builder, a: Operand) -> Val:
    if kind(a) == "float64":
        raise Unsupported("int() of a run-time float can raise on NaN and infinity, which only eager does")
    return t.lift(a, "int64")


def absolute(t: Builder, a: Operand) -> Val:
    return t.op("Abs", t.lift(a, t.dtype))


def isinf(t: Builder, a: Operand) -> Val:
    return t.op("Equal", t.op("Abs", t.lift(a, "float64")), t.const(math.inf, "float64"))


def isfinite(t: Builder, a: Operand) -> Val:
    return t.op("Less", t.op("Abs", t.lift(a, "float64")), t.const(math.inf, "float64"))


def size(t: Builder, x: Val, dim: int) -> Val:
    return t.lift(t.size(x, dim), "int64")


def item(t: Builder, x: Val) -> Val:
    """The number in a tensor of one element."""
    one = x if x.shape == () else t.reshape(x, [])
    return t.cast(one, t.dtype)


# fmt: off
SCALARS: dict[str, Callable[..., Any]] = {
    "add": infix("Add"), "sub": infix("Sub"), "mul": infix("Mul"), "truediv": truediv, "floordiv": floordiv, "mod": mod, "pow": power,
    "lshift": lshift, "rshift": rshift, "lt": compare("Less"), "le": compare("LessOrEqual"), "gt": compare("Greater"),
    "ge": compare("GreaterOrEqual"), "eq": compare("Equal"), "ne": compare("Equal", negate=True),
    "and_": bits("BitwiseAnd", "And"), "or_": bits("BitwiseOr", "Or"), "xor": bits("BitwiseXor", "Xor"),
    "not_": lambda t, a: t.not_(t.lift(a, "bool")), "neg": unary("Neg"), "pos": lambda t, a: t.lift(a, t.dtype),
    "invert": lambda t, a: t.op("BitwiseNot", t.lift(a, "int64")), "int": integer, "float": lambda t, a: t.lift(a, "float64"),
    "bool": lambda t, a: t.lift(a, "bool"), "abs": absolute, "min": choose("Less"), "max": choose("Greater"), "select": select,
    "math.fabs": absolute, "math.isnan": lambda t, a: t.op("IsNaN", t.lift(a, "float64")), "math.isinf": isinf, "math.isfinite": isfinite,
    "math.tanh": unary("Tanh"), "math.atan": unary("Atan"),
}
"""Keys of dync.ir.scalars.SCALAR_OPS whose result cannot be an exception."""

# fmt: off
OPS: dict[str, Callable[..., Any]] = {
    "aten.sym_size.int": size, "aten.size.int": size, "aten.sym_numel.default": lambda t, x: t.lift(t.count(x, range(x.rank)), "int64"),
    "aten.numel.default": lambda t, x: t.lift(t.count(x, range(x.rank)), "int64"),
    **{f"aten.{n}": item for n in ("_local_scalar_dense.default", "item.default", "is_nonzero.default", "Bool.Tensor", "Int.Tensor",
        "Float.Tensor")},
}
