"""The scalar operations that a host does itself, with exactly Python's meaning. One table: name → function, text."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from dync.ir.interned import intern, interned
from dync.ir.outside import CLOCKS, DRAWS, SEEDS, log, outside, warn


class ScalarOp(NamedTuple):
    """`text` is a format string over the printed operands, e.g. "{0} > {1}"."""

    function: Callable[..., Any]
    text: str

    @property
    def arity(self) -> int:
        return len(set(re.findall(r"\{\d\}", self.text)))


def _infix(function: Callable[..., Any], sign: str) -> ScalarOp:
    return ScalarOp(function, f"{{0}} {sign} {{1}}")


def _call(function: Callable[..., Any], name: str, arity: int = 1) -> ScalarOp:
    return ScalarOp(function, f"{name}({', '.join(f'{{{i}}}' for i in range(arity))})")


TEXTS: dict[str, ScalarOp] = {
    "str.eq": _infix(lambda a, b: a == b, "=="), "str.contains": ScalarOp(operator.contains, "{1} in {0}"), "str.len": _call(len, "len"),
    "str.intern": _call(intern, "intern"), "str.interned": _call(interned, "interned"),
    "str.chr": _call(chr, "chr"), "str.mul": _infix(lambda a, b: a * b, "*"),
    "str.lt": _infix(lambda a, b: a < b, "<"), "str.gt": _infix(lambda a, b: a > b, ">"),
    **{f"str.{n}": _call(getattr(str, n), f"str.{n}") for n in (
        "lower", "upper", "strip", "lstrip", "rstrip", "title", "capitalize", "isdigit", "isalpha", "isalnum", "isspace",
        "isupper", "islower")},
    **{f"str.{n}": _call(getattr(str, n), f"str.{n}", 2) for n in (
        "startswith", "endswith", "removeprefix", "removesuffix", "zfill", "ljust", "rjust", "center")},
    **{f"str.{n}_of": _call(getattr(str, n), f"str.{n}", 2) for n in ("strip", "lstrip", "rstrip")},
    "str.at": ScalarOp(str.__getitem__, "str.__getitem__({0}, {1})"),
    "str.slice": ScalarOp(lambda text, start, stop: text[start:stop], "str.__getitem__({0}, slice({1}, {2}))"),
    "str.replace": _call(str.replace, "str.replace", 3)}
"""Questions about a text known only at run time, and texts made of it."""
SCALAR_OPS: dict[str, ScalarOp] = {
    **{n: _infix(getattr(operator, n), s) for n, s in {
        "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**",
        "lshift": "<<", "rshift": ">>",
        "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items()},
    "and_": _infix(operator.and_, "&"), "or_": _infix(operator.or_, "|"), "xor": _infix(operator.xor, "^"),
    "not_": ScalarOp(operator.not_, "not {0}"), "neg": ScalarOp(operator.neg, "-{0}"), "pos": ScalarOp(operator.pos, "+{0}"),
    "invert": ScalarOp(operator.invert, "~{0}"),
    "int": _call(int, "int"), "float": _call(float, "float"), "bool": _call(bool, "bool"), "abs": _call(abs, "abs"),
    "round": _call(round, "round"), "round_digits": _call(round, "round", 2), "min": _call(min, "min", 2), "max": _call(max, "max", 2),
    "format": _call(format, "format", 2), "str": _call(str, "str"), "repr": _call(repr, "repr"),
    "print": ScalarOp(lambda text, end: print(text, end=end), "print({0}, end={1})"),
    "select": ScalarOp(lambda c, a, b: a if c else b, "({1} if {0} else {2})"),
    **{f"math.{n}": _call(getattr(math, n), f"math.{n}") for n in (
        "sqrt", "exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
        "tanh", "asinh", "acosh", "atanh", "floor", "ceil", "trunc", "fabs", "isnan", "isinf", "isfinite", "erf", "erfc", "gamma", "lgamma",
        "degrees", "radians")},
    **{f"math.{n}": _call(getattr(math, n), f"math.{n}", 2) for n in ("pow", "atan2", "fmod", "hypot", "copysign", "remainder")},
    **TEXTS,
    "log": _call(log, "log", 5), "warn": _call(warn, "warn", 4),
    **{n: _call(outside(n), n, arity) for n, arity in (DRAWS | SEEDS | CLOCKS | {"sys.stderr.write": 1}).items()},
}
"""Comparisons whose margin |a - b| says how near a decision was to flipping."""
COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
NEVER_RAISE = COMPARISONS | frozenset(
    {"add", "sub", "mul", "and_", "or_", "xor", "not_", "neg", "pos", "invert", "bool", "abs", "min", "max", "select"}
) | {n for n in CLOCKS if n != "time.sleep"}
"""Operations that cannot fail on numbers, and that nothing shows of where their result is not read.

The others (division, math functions, int of nan) may raise."""
EFFECTS: dict[str, str] = {
    "print": "prints", "str.len": "measures a text", "str.intern": "keeps a text", "sys.stderr.write": "writes", "log": "logs",
    "warn": "warns", "time.sleep": "waits",
    **dict.fromkeys(DRAWS, "draws a random number"), **dict.fromkeys(SEEDS, "seeds a generator"),
    **{n: "asks for the time" for n in CLOCKS if n != "time.sleep"}}
"""Operations that do something, and what: they run where they stand and in their order, also where every operand is a constant."""
