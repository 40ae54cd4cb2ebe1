"""Scalar code as Python expressions: infix, with no more parentheses than Python needs."""

from __future__ import annotations

from typing import NamedTuple

from dync.ir.scalars import SCALAR_OPS
from dync.ir.types import Lit

ATOM, POWER, UNARY, NOT = 13, 12, 11, 3
PRECEDENCE = {
    "pow": POWER, "neg": UNARY, "pos": UNARY, "invert": UNARY, "mul": 10, "truediv": 10, "floordiv": 10, "mod": 10, "add": 9, "sub": 9,
    "lshift": 8, "rshift": 8, "and_": 7, "xor": 6, "or_": 5, "lt": 4, "le": 4, "gt": 4, "ge": 4, "eq": 4, "ne": 4,
    "str.eq": 4, "str.lt": 4, "str.gt": 4, "str.contains": 4, "str.mul": 10, "not_": NOT}
"""How tightly an operation binds in Python; those left out print as calls."""


class Expression(NamedTuple):
    """text, how tightly its outermost operation binds, and the variables that it reads."""

    text: str
    binds: int = ATOM
    reads: frozenset[str] = frozenset()


def literal(value: Lit) -> Expression:
    """The constant; inf and nan are names that the host module knows."""
    python = value.python
    text = repr(python)
    negative = isinstance(python, (int, float)) and text.startswith("-")
    return Expression(text, UNARY if negative else ATOM)


def variable(name: str) -> Expression:
    return Expression(name, ATOM, frozenset({name}))


def apply(op: str, args: tuple[Expression, ...]) -> Expression:
    """The expression of `op` on printed operands."""
    binds = PRECEDENCE.get(op, ATOM)
    texts = [a.text if op not in PRECEDENCE or _fits(op, i, a.binds) else f"({a.text})" for i, a in enumerate(args)]
    return Expression(SCALAR_OPS[op].text.format(*texts), binds, frozenset().union(*(a.reads for a in args)))


def _fits(op: str, position: int, binds: int) -> bool:
    own = PRECEDENCE[op]
    if own == POWER:
        return binds > POWER
    if own == 4:  # comparisons would chain
        return binds > own
    return binds >= own if position == 0 else binds > own


def negated(condition: Expression) -> str:
    """`not condition`, without touching comparisons: they differ from their opposites on nan."""
    return f"not {condition.text}" if condition.binds >= NOT else f"not ({condition.text})"
