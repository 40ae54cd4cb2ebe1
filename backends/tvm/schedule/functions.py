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
# Eigen's rational forms: x * p(x^2) / q(x^2), highest power first.
ERF = (
    (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04,
     -2.95459980854025e-03, -1.60960333262415e-02),
    (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02),
    4.0,
)  # fmt: skip
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

        def result(n: Expr) -> Expr:
            def of_r(r: Expr) -> Expr:
                e = (_polynomial(r, EXP) * r * r + r) + _number(1)

                def halves(whole: Expr) -> Expr:
                    half = whole >> tirx.const(1, "int32")
                    made = e * power(half) * power(whole - half)
                    return tirx.Select(tirx.isnan(value), value, made)

                return _let(tirx.Cast("int32", n), halves, "int32")

            return _let(clamped - n * _number(LN2_HIGH) - n * _number(LN2_LOW), of_r)

        return _let(tirx.nearbyint(clamped * _number(LOG2_E)), result)

    return _let(x, lambda v: _let(_clamp(v, -105.0, 90.0), lambda c: scaled(v, c)))


def _clamp(x: Expr, low: float, high: float) -> Expr:
    return tirx.max(tirx.min(x, _number(high)), _number(low))


def _rational(x: Expr, form: tuple[tuple[float, ...], tuple[float, ...], float], small: float = 0.0) -> Expr:
    above, below, most = form

    def value(v: Expr) -> Expr:
        def clamped(c: Expr) -> Expr:
            made = _let(c * c, lambda s: c * _polynomial(s, above) / _polynomial(s, below))
            kept = tirx.any(tirx.isnan(v), tirx.abs(v) < _number(small)) if small else tirx.isnan(v)
            return tirx.Select(kept, v, made)

        return _let(_clamp(v, -most, most), clamped)

    return _let(x, value)


def sigmoid(x: Expr) -> Expr:
    return _number(1) / (_number(1) + exponential(_number(0) - x))


FORMS: dict[str, Callable[[Expr], Expr]] = {
    "exp": exponential,
    "erf": lambda x: _rational(x, ERF),
    "tanh": lambda x: _rational(x, TANH, 0.0004),
    "sigmoid": sigmoid,
}
