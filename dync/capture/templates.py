"""Texts that hold numbers known only at run time as items of rows: each is a template, and the numbers that it is filled with.

A structure (Texts(ints, floats), leaves) is an item that is one of several texts: its first leaf says which, a constant or a
`Template`, and the others are the integers and floats for it, zeros where it takes fewer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sympy
import torch

from dync.capture.scalars import Expr, FloatNode, kind_of, scalar_of
from dync.capture.tape import Val
from dync.capture.text import SymText, formatted, join
from dync.ir.flow import Leaf, ScalarTree, Tree
from dync.ir.scalars import SCALAR_OPS
from dync.ir.types import lit

MAX_TEMPLATES = 4
"""So many templates may the texts of a place have: each is a path where one is read, and one made of these would be another."""


class Texts(NamedTuple):
    """How many integers and floats the texts of a place are filled with at most."""

    ints: int
    floats: int

    def filled(self, which: Any, numbers: list[Any]) -> Any:
        return which.filled(numbers[:self.ints], numbers[self.ints:]) if isinstance(which, Template) else which

    def tree(self, which: Any, numbers: list[Tree]) -> Tree:
        """What makes the text of its columns."""
        return which.tree(numbers[:self.ints], numbers[self.ints:]) if isinstance(which, Template) else Leaf(lit(which))

    def cells(self, item: Any) -> list[Any]:
        """What the columns hold of an item."""
        found = Filled.of(item) if type(item) is SymText else Filled(item, [], [])
        ints, floats = self.ints - len(found.ints), self.floats - len(found.floats)
        return [found.which, *found.ints, *[0] * ints, *found.floats, *[0.0] * floats]


class Hole(NamedTuple):
    """A place for the n-th integer or float; a "bool" is the n-th integer."""

    kind: str
    n: int


class Fixed(NamedTuple):
    """A constant; `said` tells 1 from 1.0 and True."""

    value: Any
    said: str


class Call(NamedTuple):
    """An operation of dync.ir.scalars."""

    op: str
    args: tuple[Any, ...]


@dataclass(frozen=True, repr=False)
class Template:
    """Texts one after another: Fixed ones, and Calls over Holes and Fixed."""

    parts: tuple[Any, ...]
    engine: Any = field(compare=False, repr=False)

    def __repr__(self) -> str:
        return repr("".join(p.value if isinstance(p, Fixed) else "{}" for p in self.parts))

    def filled(self, ints: list[Any], floats: list[Any]) -> Any:
        return join(self.engine, [self._text(p, ints, floats) for p in self.parts])

    def _text(self, part: Any, ints: list[Any], floats: list[Any]) -> Any:
        if isinstance(part, Fixed):
            return part.value
        if part.op == "format" and isinstance(part.args[0], Hole) and part.args[0].kind != "bool":
            return formatted(self.engine, {"int": ints, "float": floats}[part.args[0].kind][part.args[0].n], -1, part.args[1].value)
        made = self._scalar(part, ints, floats)
        return SymText(self.engine, [made], {}) if isinstance(made, Expr) else made

    def _scalar(self, part: Any, ints: list[Any], floats: list[Any]) -> Any:
        if isinstance(part, Fixed):
            return part.value
        if isinstance(part, Hole):
            number = scalar_of(floats[part.n] if part.kind == "float" else ints[part.n])
            return _called("bool", (number,), "bool") if part.kind == "bool" else number
        return _called(part.op, tuple(self._scalar(a, ints, floats) for a in part.args), "str")

    def tree(self, ints: list[Tree], floats: list[Tree]) -> Tree:
        whole = self._tree(self.parts[0], ints, floats)
        for part in self.parts[1:]:
            whole = ScalarTree("add", (whole, self._tree(part, ints, floats)))
        return whole

    def _tree(self, part: Any, ints: list[Tree], floats: list[Tree]) -> Tree:
        if isinstance(part, Fixed):
            return Leaf(lit(part.value))
        if isinstance(part, Hole):
            number = floats[part.n] if part.kind == "float" else ints[part.n]
            return ScalarTree("bool", (number,)) if part.kind == "bool" else number
        return ScalarTree(part.op, tuple(self._tree(a, ints, floats) for a in part.args))


def _called(op: str, args: tuple[Any, ...], kind: str) -> Any:
    if any(isinstance(a, (Expr, Val, sympy.Basic)) for a in args):
        return Expr(op, args, kind)
    return SCALAR_OPS[op].function(*args)


class AnyText(Exception):
    """A part of a text is one that paths joined, or a loop made: it may be any."""


class Filled(NamedTuple):
    """A text taken apart."""

    which: Any
    ints: list[Any]
    floats: list[Any]

    @classmethod
    def of(cls, text: SymText) -> Any:
        """Which template a text is filled into, and with what. Raises AnyText: see `kept`."""
        engine = text.engine
        ints, floats = list[Any](), list[Any]()

        def number(scalar: Any) -> Hole:
            kind = kind_of(scalar)
            if kind == "float":
                floats.append(scalar.fake if isinstance(scalar, Val) else torch.SymFloat(FloatNode(scalar, engine)))
                return Hole(kind, len(floats) - 1)
            whole = isinstance(scalar, sympy.Basic) and kind == "int"
            ints.append(engine.shape_env.create_symintnode(scalar, hint=None) if whole else engine.integer(Expr("int", (scalar,), "int")))
            return Hole(kind, len(ints) - 1)

        def part(scalar: Any) -> Any:
            if not isinstance(scalar, (Expr, Val, sympy.Basic)):
                return Fixed(scalar, repr(scalar))
            if kind_of(scalar) != "str":
                return number(scalar)
            if isinstance(scalar, Expr):
                return Call(scalar.op, tuple(map(part, scalar.args)))
            raise AnyText

        template = Template(tuple(map(part, text.parts)), engine)
        return cls(template if ints or floats else template.filled([], []), ints, floats)


def kept(engine: Any, item: Any, columns: Iterable[Any]) -> Any:
    """An item, or tuple, that rows with these columns are to hold, with texts that can be held.

    Those are known on each path, or fill one of the few templates that there may be; others are kept for the call, by their number.
    """
    known = {c.value for column in columns for c in column.choices if isinstance(c.value, Template)}

    def text(item: SymText) -> Any:
        if item.vague:
            return item
        with contextlib.suppress(AnyText):
            which = Filled.of(item).which
            if which in known or len(known) < MAX_TEMPLATES:
                return item
        literal = item.known()
        if literal is not None:
            return literal
        number = engine.effect("str.intern", item, gives="int")
        engine.cut()
        return SymText(engine, [Expr("str.interned", (scalar_of(engine.at_least(number, 0)),), "str")], {})

    def part(item: Any) -> Any:
        if isinstance(item, tuple) and any(isinstance(v, tuple) or type(v) is SymText for v in item):
            parts = map(part, item)
            return type(item)(*parts) if hasattr(item, "_fields") else type(item)(parts)
        return text(item) if type(item) is SymText else item

    return part(item)
