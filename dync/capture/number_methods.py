"""What torch's symbolic numbers lack of Python's: exact floats, bools that are integers, texts, hashes, divisions that raise."""

from __future__ import annotations

import operator
import sys
from typing import Any

import torch
from torch.fx.experimental.sym_node import SymNode

from dync.capture.image import SYMBOLIC
from dync.capture.places import is_library, is_user
from dync.capture.scalars import BoolNode, Expr, FloatNode, scalar_of
from dync.capture.text import formatted, mark_for

PARTS = {
    "real": lambda engine, x: engine.as_int(x) if isinstance(x, torch.SymBool) else x,
    "imag": lambda engine, x: 0.0 if isinstance(x, torch.SymFloat) else 0,
    "numerator": lambda engine, x: engine.as_int(x) if isinstance(x, torch.SymBool) else x,
    "denominator": lambda engine, x: 1,
}
"""What numbers have beside their operations, where their class has it in Python."""


def open_numbers(engine: Any, patch: Any) -> None:
    """torch's integers hand float results to our exact nodes, and all three kinds do what Python's numbers do. For one capture."""

    def to_float(node: Any) -> Any:
        ours = node.shape_env is engine.shape_env and not node.is_float()
        return FloatNode(Expr("float", (node.expr,), "float"), engine) if ours else original_float(node)

    def true_divide(node: Any, other: Any) -> Any:
        return FloatNode(Expr("truediv", (node.expr, other.expr), "float"), engine)

    def power(a: Any, b: Any) -> Any:
        if not isinstance(b, (int, float, *SYMBOLIC)):
            return NotImplemented
        return torch.SymFloat(FloatNode(Expr("pow", (scalar_of(a), scalar_of(b)), "float"), engine))

    def textual(cls: type, name: str) -> Any:
        original = getattr(cls, name)

        def text(self: Any, *args: Any) -> Any:
            if not isinstance(scalar_of(self), (bool, int, float)):
                frame: Any = sys._getframe(1)
                while frame.f_code.co_filename.startswith("<string"):  # what dataclasses and the like wrote
                    frame = frame.f_back
                asking = frame.f_code
                if is_user(asking) and not (engine.texts is not None and is_library(asking)):
                    engine.text_of(self)
                elif engine.texts is not None:
                    return mark_for(engine, formatted(engine, self, ord("r") if name == "__repr__" else -1, *(args or ("",))))
            return original(self, *args)

        return text

    def floor_divide(a: Any, b: Any) -> Any:
        if not isinstance(a, (int, float, *SYMBOLIC)) or not isinstance(b, (int, float, *SYMBOLIC)):
            return NotImplemented
        return torch.SymFloat(FloatNode(Expr("floordiv", (scalar_of(a), scalar_of(b)), "float"), engine))

    def floor_divided(original: Any, turned: bool) -> Any:
        """Integers divide as they do in torch, by a float as Python divides floats."""
        def divide(self: Any, other: Any) -> Any:
            if isinstance(other, (float, torch.SymFloat)):
                return floor_divide(other, self) if turned else floor_divide(self, other)
            return original(self, other)

        return divide

    def kind_of(cls: type, kind: type) -> Any:
        """What a user's `isinstance` is told, whether its function is marked or not."""
        original: Any = cls.__getattribute__

        def get(self: Any, name: str) -> Any:
            if name == "__class__" and is_user(sys._getframe(1).f_code):
                return kind
            part = PARTS.get(name)
            return original(self, name) if part is None or not hasattr(kind, name) else part(engine, self)

        return get

    def hashed(cls: type) -> Any:
        original: Any = cls.__hash__

        def hash_(self: Any) -> int:
            if not is_user(sys._getframe(1).f_code):
                return original(self)
            number = scalar_of(self) if not isinstance(self, torch.SymInt) else engine.known_int(self)
            return hash(number) if isinstance(number, (bool, int, float)) else engine.concretise(self.node, "hash")

        return hash_

    def exclusive_or(a: Any, b: Any) -> Any:
        if not isinstance(b, (bool, torch.SymBool)):
            return NotImplemented
        return torch.SymBool(BoolNode(Expr("xor", (scalar_of(a), scalar_of(b)), "bool"), engine))

    def logical(op: Any, name: str, original: Any) -> Any:
        """torch's bools of integers take our bools of floats; with a number a bool is one."""
        def meet(a: Any, b: Any) -> Any:
            if isinstance(b, torch.SymBool) and isinstance(b.node, BoolNode) and not isinstance(a.node, BoolNode):
                return torch.SymBool(BoolNode(Expr(name, (scalar_of(a), scalar_of(b)), "bool"), engine))
            number = isinstance(b, (int, float, torch.SymInt, torch.SymFloat)) and not isinstance(b, bool)
            return op(engine.as_int(a), b) if number else original(a, b)

        return meet

    def as_number(op: Any, turned: bool) -> Any:
        """What Python does with a bool as with the integer that it is."""
        def computed(a: Any, *rest: Any) -> Any:
            if any(not isinstance(b, (int, float, *SYMBOLIC)) for b in rest):
                return NotImplemented
            given = (engine.as_int(a), *(engine.as_int(b) if isinstance(b, torch.SymBool) else b for b in rest))
            return op(*reversed(given)) if turned else op(*given)

        return computed

    def takes_bools(original: Any) -> Any:
        """A number's operation with a bool, which torch's nodes compare with nothing but bools."""
        def computed(a: Any, b: Any) -> Any:
            return original(a, engine.as_int(b) if isinstance(b, (bool, torch.SymBool)) else b)

        return computed

    for cls in SYMBOLIC:
        for method in ("__str__", "__repr__", "__format__"):
            patch(cls, method, textual(cls, method))
        patch(cls, "__hash__", hashed(cls))
        patch(cls, "__copy__", lambda self: self)
        patch(cls, "__deepcopy__", lambda self, memo: self)
    for cls, kind in zip(SYMBOLIC, (int, float, bool)):
        patch(cls, "__getattribute__", kind_of(cls, kind))
    for cls in (torch.SymInt, torch.SymFloat):
        for op in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
            patch(cls, f"__{op.__name__}__", takes_bools(getattr(cls, f"__{op.__name__}__")))
        for op in ("add", "sub", "mul"):
            for name in (f"__{op}__", f"__r{op}__"):
                patch(cls, name, takes_bools(getattr(cls, name)))
    patch(torch.SymBool, "__xor__", exclusive_or)
    for op in (operator.and_, operator.or_, operator.xor, operator.eq, operator.ne):
        name = f"__{op.__name__.strip('_')}__"
        patch(torch.SymBool, name, logical(op, op.__name__, getattr(torch.SymBool, name)))
    for op in (operator.and_, operator.or_, operator.xor):
        patch(torch.SymBool, f"__r{op.__name__.strip('_')}__", getattr(torch.SymBool, f"__{op.__name__.strip('_')}__"))
    for op in (operator.neg, operator.pos, operator.abs, operator.invert, operator.lt, operator.le, operator.gt, operator.ge):
        patch(torch.SymBool, f"__{op.__name__}__", as_number(op, False))
    for op in (operator.truediv, operator.floordiv, operator.mod, operator.pow):
        patch(torch.SymBool, f"__{op.__name__}__", as_number(op, False))
        patch(torch.SymBool, f"__r{op.__name__}__", as_number(op, True))
    rounded: Any = torch.SymInt.__round__
    patch(torch.SymInt, "__round__", lambda self, digits=None: rounded(self) if digits is None or digits >= 0 else engine.integer(
        Expr("round_digits", (scalar_of(self), digits), "int")))
    patch(torch.SymInt, "__invert__", lambda self: -self - 1)
    patch(torch.SymInt, "__floordiv__", floor_divided(torch.SymInt.__floordiv__, False))
    patch(torch.SymInt, "__rfloordiv__", floor_divided(torch.SymInt.__rfloordiv__, True))
    patch(torch.SymFloat, "__floordiv__", floor_divide)
    patch(torch.SymFloat, "__rfloordiv__", lambda a, b: floor_divide(b, a))
    patch(torch.SymFloat, "is_integer", lambda self: self == floor_divide(self, 1.0))
    patch(torch.SymFloat, "__pow__", power)
    patch(torch.SymFloat, "__rpow__", lambda a, b: torch.SymFloat(FloatNode(Expr("pow", (b, scalar_of(a)), "float"), engine)))
    for cls in (torch.SymInt, torch.SymFloat):
        for operation in (operator.truediv, operator.floordiv, operator.mod):
            for name, turned in ((f"__{operation.__name__}__", False), (f"__r{operation.__name__}__", True)):
                patch(cls, name, divided(engine, operation, getattr(cls, name), turned))
    original_float = SymNode.sym_float
    patch(SymNode, "sym_float", to_float)
    patch(SymNode, "int_truediv", true_divide)


def divided(engine: Any, operation: Any, original: Any, turned: bool) -> Any:
    """A division that raises ZeroDivisionError on a path of its own, where the user's code may catch it."""
    def divide(self: Any, other: Any) -> Any:
        below = self if turned else other
        if isinstance(below, SYMBOLIC) and isinstance(other, (int, float, *SYMBOLIC)) and engine.caught() and below == 0:
            floats = any(isinstance(n, (float, torch.SymFloat)) for n in (self, other))
            engine.of_model(lambda: operation(1.0, 0.0) if floats else operation(1, 0))
        return original(self, other)

    return divide
