"""Python numbers inside a graph: 0-d int64, float64 and bool tensors with exactly Python's results.

Where an operation raises in Python (division by zero, the root of a negative number, int() of NaN), the code stops, and who runs
it raises the same.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from dync.backends.onnx.builder import Builder, Number, Val
from dync.backends.onnx.elementwise import float_floordiv, float_mod, int_floordiv
from dync.backends.onnx.registry import Unsupported
from dync.ir.raising import COMPLEX, LARGE

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


def stopped(t: Builder, value: Val, wrong: Val, operation: Callable[..., Any], *sample: Any) -> Val:
    """`value`; where `wrong` holds, the error that `operation` raises for `sample`."""
    try:
        operation(*sample)
    except (ArithmeticError, ValueError, RuntimeError) as error:
        return t.raising(value, wrong, error)
    raise AssertionError(f"{operation} raises nothing on {sample}")


def divisor(t: Builder, a: Operand, b: Operand, dtype: str, operation: Callable[..., Any]) -> Val:
    """What `a` is divided by, which is not zero behind here."""
    y = t.lift(b, dtype)
    if not isinstance(b, Val) and b != 0:
        return y
    whole = common(a, b) == "int64"
    return stopped(t, y, t.op("Equal", y, t.const(0, dtype)), operation, *((1, 0) if whole else (1.0, 0.0)))


def truediv(t: Builder, a: Operand, b: Operand) -> Val:
    return t.op("Div", t.lift(a, "float64"), divisor(t, a, b, "float64", operator.truediv))


def floordiv(t: Builder, a: Operand, b: Operand) -> Val:
    x, y = t.lift(a, t.dtype), divisor(t, a, b, t.dtype, operator.floordiv)
    return float_floordiv(t, x, y) if t.dtype == "float64" else int_floordiv(t, x, y)


def mod(t: Builder, a: Operand, b: Operand) -> Val:
    x, y = t.lift(a, t.dtype), divisor(t, a, b, t.dtype, operator.mod)
    return float_mod(t, x, y) if t.dtype == "float64" else t.op("Mod", x, y)


def power(t: Builder, a: Operand, b: Operand) -> Val:
    if t.dtype == "int64" and isinstance(b, int) and b >= 0:
        return t.op("Pow", t.lift(a, "int64"), t.const(b, "int64"))
    if t.dtype != "float64":
        raise Unsupported("a whole power of a run-time number may be no number of 64 bits")
    x, y = t.lift(a, "float64"), t.lift(b, "float64")
    zero = t.const(0.0, "float64")
    below = t.op("And", t.op("Less", y, zero), finite(t, y))
    x = stopped(t, x, t.op("And", t.op("Equal", x, zero), below), operator.pow, 0.0, -1.0)
    broken = t.op("And", finite(t, x), t.op("Less", t.op("Floor", y), y))
    complex_ = t.op("And", t.op("Less", x, zero), broken)
    x = t.raising(x, complex_, COMPLEX)
    made = t.op("Pow", x, y)
    return stopped(t, made, overflown(t, made, x, y), operator.pow, 10.0, 400.0)


def finite(t: Builder, a: Val) -> Val:
    return t.op("Less", t.op("Abs", a), t.const(math.inf, "float64"))


def overflown(t: Builder, made: Val, *of: Val) -> Val:
    """Whether finite numbers made something that is not."""
    found = t.op("Equal", t.op("Abs", made), t.const(math.inf, "float64"))
    for one in of:
        found = t.op("And", found, finite(t, one))
    return found


def square_root(t: Builder, a: Operand) -> Val:
    x = t.lift(a, "float64")
    return t.op("Sqrt", stopped(t, x, t.op("Less", x, t.const(0.0, "float64")), math.sqrt, -1.0))


def logarithm(t: Builder, a: Operand) -> Val:
    x = t.lift(a, "float64")
    return t.op("Log", stopped(t, x, t.op("LessOrEqual", x, t.const(0.0, "float64")), math.log, 0.0))


def exponential(t: Builder, a: Operand) -> Val:
    x = t.lift(a, "float64")
    made = t.op("Exp", x)
    return stopped(t, made, overflown(t, made, x), math.exp, 1000.0)


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


def whole(op: str | None) -> Callable[..., Val]:
    """int() of a number, or math.floor and its kin, by the ONNX operator that rounds."""

    def translate(t: Builder, a: Operand) -> Val:
        if kind(a) != "float64":
            return t.lift(a, "int64")
        x = t.lift(a, "float64")
        x = stopped(t, x, t.op("IsNaN", x), int, math.nan)
        x = stopped(t, x, t.op("Equal", t.op("Abs", x), t.const(math.inf, "float64")), int, math.inf)
        beyond = t.op("GreaterOrEqual", t.op("Abs", x), t.const(2.0**63, "float64"))
        x = t.raising(x, beyond, LARGE)
        return t.cast(t.op(op, x) if op else x, "int64")

    return translate


def rounded(t: Builder, a: Operand, digits: Operand = 0) -> Val:
    if not isinstance(digits, int) or digits != 0:
        raise Unsupported("rounding to digits goes by the text of a number, which only eager has")
    return whole("Round")(t, a) if t.dtype == "int64" else t.op("Round", t.lift(a, "float64"))


def absolute(t: Builder, a: Operand) -> Val:
    return t.op("Abs", t.lift(a, t.dtype))


def isinf(t: Builder, a: Operand) -> Val:
    return t.op("Equal", t.op("Abs", t.lift(a, "float64")), t.const(math.inf, "float64"))


def isfinite(t: Builder, a: Operand) -> Val:
    return finite(t, t.lift(a, "float64"))


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
    "invert": lambda t, a: t.op("BitwiseNot", t.lift(a, "int64")), "int": whole(None), "float": lambda t, a: t.lift(a, "float64"),
    "bool": lambda t, a: t.lift(a, "bool"), "abs": absolute, "min": choose("Less"), "max": choose("Greater"), "select": select,
    "math.fabs": absolute, "math.isnan": lambda t, a: t.op("IsNaN", t.lift(a, "float64")), "math.isinf": isinf, "math.isfinite": isfinite,
    "math.tanh": unary("Tanh"), "math.atan": unary("Atan"), "math.sqrt": square_root, "math.exp": exponential, "math.log": logarithm,
    "math.floor": whole("Floor"), "math.ceil": whole("Ceil"), "math.trunc": whole(None), "round": whole("Round"),
    "round_digits": rounded,
}
"""Keys of dync.ir.scalars.SCALAR_OPS."""

# fmt: off
OPS: dict[str, Callable[..., Any]] = {
    "aten.sym_size.int": size, "aten.size.int": size, "aten.sym_numel.default": lambda t, x: t.lift(t.count(x, range(x.rank)), "int64"),
    "aten.numel.default": lambda t, x: t.lift(t.count(x, range(x.rank)), "int64"),
    **{f"aten.{n}": item for n in ("_local_scalar_dense.default", "item.default", "is_nonzero.default", "Bool.Tensor", "Int.Tensor",
        "Float.Tensor")},
}
