"""exp, erf, tanh and sigmoid of float32 as arithmetic that vectorises; LLVM would call libm once an element."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import Var
from tvm_ffi.structural import structural_map

from dync.backends.tvm.schedule import loops

Expr = Any

# Cephes expf: e^r on |r| <= ln2 / 2 as 1 + r + r^2 * p(r).
EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
LN2_HIGH, LN2_LOW, LOG2_E = 0.693359375, -2.12194440e-4, 1.44269504088896341
ABOVE = 192
"""Added before a number is cut to a whole one: TVM makes no vectors of nearbyint."""
# erf(x) / x as a polynomial in 2 * (x / MOST_ERF)^2 - 1, lowest power first, by least squares: within 1.8e-7, without a division.
MOST_ERF = 3.92
ERF = (
    0.36073681712150574, -0.18010865151882172, 0.13408444821834564, -0.10917828232049942, 0.09059883654117584, -0.07403066009283066,
    0.05838421359658241, -0.04338252171874046, 0.029732720926404, -0.020133746787905693, 0.014156476594507694, -0.007472057826817036,
    0.0019600894302129745, -0.0015242906520143151, 0.002086985856294632, -0.0008083431166596711,
)  # fmt: skip
# Eigen's rational form: x * p(x^2) / q(x^2), highest power first.
TANH = (
    (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04,
     4.89352455891786e-03),
    (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
    7.90531110763549805,
)  # fmt: skip


def expanded(body: Any) -> Any:
    """`body` with every call of these functions on float32 replaced."""

    def call(node: tvm.ir.Call) -> Expr:
        made = FORMS.get(loops.called(node))
        if made is None or str(node.args[0].ty.dtype) != "float32":
            return node
        return made(node.args[0])

    return structural_map(body, (tvm.ir.Call, call))


def _number(value: float) -> Expr:
    return tirx.const(value, "float32")


def _let(value: Expr, body: Callable[[Var], Expr], dtype: str = "float32") -> Expr:
    var = Var("f", dtype)
    return tirx.Let(var, value, body(var))


def _polynomial(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    total = _number(coefficients[0])
    for c in coefficients[1:]:
        total = total * x + _number(c)
    return total


def exponential(x: Expr) -> Expr:
    """e^x within 2 units in the last place: infinity and denormal numbers as they should be, NaN of NaN."""

    def scaled(value: Expr, clamped: Expr) -> Expr:
        def power(n: Expr) -> Expr:
            return tirx.reinterpret("float32", (n + tirx.const(127, "int32")) << tirx.const(23, "int32"))

        def result(whole: Expr) -> Expr:
            half, n = whole >> tirx.const(1, "int32"), tirx.Cast("float32", whole)

            def of_r(r: Expr) -> Expr:
                e = (_polynomial(r, EXP) * r * r + r) + _number(1)
                return or_nan(value, e * power(half) * power(whole - half))

            return _let(clamped - n * _number(LN2_HIGH) - n * _number(LN2_LOW), of_r)

        above = tirx.Cast("int32", clamped * _number(LOG2_E) + _number(ABOVE + 0.5))  # the nearest whole number, as nothing is below 0
        return _let(above - tirx.const(ABOVE, "int32"), result, "int32")

    return _let(x, lambda v: _let(_clamp(v, -105.0, 90.0), lambda c: scaled(v, c)))


def or_nan(x: Expr, value: Expr) -> Expr:
    """`value`, but x where x is NaN: by a comparison, as TVM makes no vectors of isnan, and simplifies x != x."""
    return tirx.Select(x <= tirx.infinity(x.ty.dtype), value, x)


def _clamp(x: Expr, low: float, high: float) -> Expr:
    return tirx.max(tirx.min(x, _number(high)), _number(low))


def error_function(x: Expr) -> Expr:
    def value(c: Expr) -> Expr:
        return _let(c * c * _number(2 / MOST_ERF**2) - _number(1), lambda t: c * _polynomial(t, ERF[::-1]))

    return _let(_inside(x, MOST_ERF), value)


def tangent(x: Expr) -> Expr:
    above, below, most = TANH

    def value(v: Expr) -> Expr:
        def ratio(c: Expr) -> Expr:
            return _let(c * c, lambda s: c * _polynomial(s, above) / _polynomial(s, below))

        return tirx.Select(tirx.abs(v) < _number(0.0004), v, _let(_inside(v, most), ratio))

    return _let(x, value)


def _inside(x: Expr, most: float) -> Expr:
    """x within -most and most, NaN where it is NaN: as comparisons, since a processor's minimum loses NaN."""

    def low(v: Expr) -> Expr:
        return tirx.Select(v < _number(-most), _number(-most), v)

    return _let(x, lambda v: _let(tirx.Select(v > _number(most), _number(most), v), low))


def sigmoid(x: Expr) -> Expr:
    return _number(1) / (_number(1) + exponential(_number(0) - x))


FORMS: dict[str, Callable[[Expr], Expr]] = {
    "exp": exponential,
    "erf": error_function,
    "tanh": tangent,
    "sigmoid": sigmoid,
}
