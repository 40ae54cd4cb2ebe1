"""Scalars known only at run time, as the user's Python sees them.

Integers are torch SymInts over sympy symbols: exact, and usable as sizes. Floats and bools are SymFloat and SymBool over
the nodes of this file: trees of Python operations, because sympy reorders float arithmetic and forgets NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Union

import sympy
import torch

if TYPE_CHECKING:
    from dync.capture.tape import Val

Number = Union[bool, int, float]


class Expr:
    """An operation of dync.ir.scalars over values, symbols and constants; equal trees are one object (hash-consed)."""

    __slots__ = ("op", "args", "kind")
    _table: dict[tuple[Any, ...], Expr] = {}

    op: str
    args: tuple[Any, ...]
    kind: str

    def __new__(cls, op: str, args: tuple[Any, ...], kind: str) -> Expr:
        key = (op, kind, *((type(a), repr(a) if isinstance(a, float) else a) for a in args))
        found = cls._table.get(key)
        if found is None:
            found = object.__new__(cls)
            found.op, found.args, found.kind = op, args, kind
            cls._table[key] = found
        return found

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.args))})"

    @classmethod
    def forget(cls) -> None:
        """Drops the table; call when a capture ends."""
        cls._table.clear()


Scalar = Union["Val", Expr, sympy.Basic, Number]
WHOLE: dict[str, Callable[[float], int]] = {
    "int": math.trunc, "round": round, "math.floor": math.floor, "math.ceil": math.ceil, "math.trunc": math.trunc}
"""Operations that make an integer of a float: none gives less for more."""


def least(scalar: Any, of_sizes: Callable[[Any], int | None]) -> float | None:
    """A number that a scalar is never below, as far as its operations tell; `of_sizes` answers for integers over sizes."""
    if isinstance(scalar, (bool, int, float)):
        return scalar if math.isfinite(scalar) else None
    if isinstance(scalar, sympy.Basic):
        return of_sizes(scalar)
    if not isinstance(scalar, Expr):
        return None
    if scalar.op in ("abs", "math.sqrt", "math.exp", "math.fabs"):
        return 0
    lows = [least(a, of_sizes) for a in scalar.args]
    if scalar.op == "max":
        return max((low for low in lows if low is not None), default=None)
    a, b = lows[0] if lows else None, lows[-1] if lows else None
    if a is None or b is None:
        return None
    if scalar.op in WHOLE:
        return WHOLE[scalar.op](a)
    if scalar.op in ("float", "pos"):
        return a
    if scalar.op == "truediv" and a >= 0 and b > 0:
        return a / scalar.args[1] if isinstance(scalar.args[1], (int, float)) else 0
    return {"add": a + b, "min": min(a, b)}.get(scalar.op, a * b if scalar.op == "mul" and a >= 0 and b >= 0 else None)


class _Node:
    """What torch's SymFloat and SymBool ask of their node. `env` is the engine's door: decide, symbol."""

    kind = ""

    def __init__(self, expr: Any, env: Any) -> None:
        self.expr = expr
        self.env = env

    hint = _hint = None
    constant = None
    fx_node = None
    shape_env = None

    def is_int(self) -> bool:
        return False

    def is_float(self) -> bool:
        return self.kind == "float"

    def is_bool(self) -> bool:
        return self.kind == "bool"

    def is_symbolic(self) -> bool:
        return True

    def is_constant(self) -> bool:
        return False

    def is_nested_int(self) -> bool:
        return False

    def nested_int(self) -> None:
        return None

    def maybe_as_int(self) -> None:
        return None

    def maybe_as_float(self) -> None:
        return None

    def maybe_as_bool(self) -> None:
        return None

    def has_hint(self) -> bool:
        return False

    def clone(self) -> _Node:
        return self

    def wrap_int(self, value: int) -> _Node:
        return FloatNode(float(value), self.env) if self.kind == "float" else BoolNode(bool(value), self.env)

    def wrap_float(self, value: float) -> FloatNode:
        return FloatNode(value, self.env)

    def wrap_bool(self, value: bool) -> BoolNode:
        return BoolNode(value, self.env)

    def __str__(self) -> str:
        return "a number"  # in messages of torch's own: the model's code is refused before

    __repr__ = str = _graph_repr = __str__

    def guard_int(self, file: str, line: int) -> int:
        return self.env.concretise(self, "int")

    def guard_float(self, file: str, line: int) -> float:
        return self.env.concretise(self, "float")

    def guard_bool(self, file: str, line: int) -> bool:
        return self.env.decide(self.expr if self.kind == "bool" else Expr("bool", (self.expr,), "bool"))

    def bool_(self) -> bool:
        return self.guard_bool("", 0)

    int_ = lambda self: self.guard_int("", 0)  # noqa: E731

    def guard_or_false(self, file: str, line: int) -> bool:
        return self.guard_bool(file, line)

    guard_or_true = guard_size_oblivious = guard_or_false

    def statically_known_true(self, file: str, line: int) -> bool:
        return False

    def expect_true(self, file: str, line: int) -> bool:
        return self.env.expect(self.expr)

    def sym_float(self) -> _Node:
        return self if self.kind == "float" else FloatNode(Expr("float", (self.expr,), "float"), self.env)


def _binary(op: str, kind: str) -> Any:
    def method(self: _Node, other: Any) -> Any:
        left, right = operand(self), operand(other)
        return (FloatNode if kind == "float" else BoolNode)(Expr(op, (left, right), kind), self.env)

    return method


def _unary(op: str, kind: str) -> Any:
    def method(self: _Node) -> Any:
        if kind == "int":
            return self.env.integer(Expr(op, (self.expr,), "int")).node
        return (FloatNode if kind == "float" else BoolNode)(Expr(op, (self.expr,), kind), self.env)

    return method


class FloatNode(_Node):
    kind = "float"


class BoolNode(_Node):
    kind = "bool"

    def wrap_int(self, value: int) -> Any:
        from torch.fx.experimental.sym_node import SymNode

        return SymNode(sympy.Integer(value), self.env.shape_env, int, value, constant=value)

    def sym_ite(self, yes: Any, no: Any) -> Any:
        return yes if self.guard_bool("", 0) else no


for _name, _op in {"add": "add", "sub": "sub", "mul": "mul", "mod": "mod", "float_pow": "pow", "float_truediv": "truediv",
                   "pow": "pow", "truediv": "truediv", "sym_min": "min", "sym_max": "max"}.items():
    setattr(FloatNode, _name, _binary(_op, "float"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(FloatNode, _name, _binary(_name, "bool"))
    setattr(BoolNode, _name, _binary(_name, "bool"))
for _name in ("neg", "pos", "abs"):
    setattr(FloatNode, _name, _unary(_name, "float"))
for _name in ("floor", "ceil", "trunc"):
    setattr(FloatNode, _name, _unary(f"math.{_name}", "int"))
for _name in ("sqrt", "cos", "sin", "tan", "cosh", "sinh", "tanh", "acos", "asin", "atan", "log2", "exp", "log"):
    setattr(FloatNode, f"sym_{_name}", _unary(f"math.{_name}", "float"))
for _name, _op in {"and_": "and_", "or_": "or_", "sym_and": "and_", "sym_or": "or_", "xor": "xor"}.items():
    setattr(BoolNode, _name, _binary(_op, "bool"))
BoolNode.sym_not = BoolNode.not_ = _unary("not_", "bool")  # type: ignore[attr-defined]


def operand(node: Any) -> Any:
    """The scalar behind a sym node of either family."""
    if isinstance(node, _Node):
        return node.expr
    return node.expr if node.is_int() or node.is_bool() else Expr("float", (node.expr,), "float")


def scalar_of(value: Any) -> Scalar:
    """The scalar behind a Python number, SymInt, SymFloat or SymBool."""
    if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        expr = operand(value.node)
        if isinstance(expr, (sympy.Integer, sympy.logic.boolalg.BooleanAtom)):
            return int(expr) if isinstance(expr, sympy.Integer) else bool(expr)
        return expr
    return value


BOOLEANS = (sympy.core.relational.Relational, sympy.logic.boolalg.BooleanFunction, sympy.logic.boolalg.BooleanAtom)
"""sympy's truth values; a Symbol is a Boolean too, but ours are integers."""


def kind_of(scalar: Any) -> str:
    """ "int", "float" or "bool"."""
    if isinstance(scalar, bool):
        return "bool"
    if isinstance(scalar, (int, float)):
        return type(scalar).__name__
    if isinstance(scalar, sympy.Basic):
        return "bool" if isinstance(scalar, BOOLEANS) else "int"
    return scalar.kind
