"""Values of the program under construction: tensors, numbers, symbols of sizes, and what a path knows of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import sympy
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes

from dync.capture.arrays import trace
from dync.capture.image import SYMBOLIC, Image
from dync.capture.memory import Memory
from dync.capture.places import asks_kind, frames, is_storing, is_user
from dync.capture.plain import PlainWanted
from dync.capture.recorder import Recorder
from dync.capture.replay import Replay
from dync.capture.scalars import BoolNode, Expr, FloatNode, least, scalar_of
from dync.capture.shapes import PathShapeEnv
from dync.capture.tape import Changed, Op, Rec, Val, Weight
from dync.capture.text import SymText
from dync.capture.weights import Weights
from dync.ir.types import UNKNOWN, Span

NARROW = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.int16: (-(2**15), 2**15 - 1), torch.int32: (-(2**31), 2**31 - 1)}
"""Bounds of integers that say something about a size."""


class Values(Replay):
    """Makes and finds values."""

    weights: Weights
    recorder: Recorder
    shape_env: PathShapeEnv
    fake_mode: FakeTensorMode
    vals: dict[int, Val]
    changed: dict[int, Changed]
    """Tensors of this run that stand for another's value than their own."""
    stale: dict[int, Span]
    """Tensors of this run that a weight's `.data = ...` has cut off, by identity, and where."""
    assigned_weights: set[str]
    """Weights that are assigned so."""
    assigned: dict[tuple[Rec, int], int]
    """Where such an assignment stands → the last value made before."""
    integers: dict[Any, torch.SymInt]
    memory: Memory
    made_by: dict[Val, Op]
    constant_joins: dict[Val, Any]
    apart: set[Any]
    """Leaves of joins whose constants are kept apart: torch must know them."""
    uids: int
    arrays = False
    """Whether NumPy's doors are open to arrays over tensors."""
    traces_arrays = False
    """Whether arrays that forward makes are arrays over tensors from the start."""
    patch: Any = None
    """Sets an attribute of an object or class for as long as the capture runs."""
    finished = False
    """Set when the program is out: its fakes may be asked about their sizes, but nothing forks any more."""
    making = False
    """While a parameter's fake is made: its sizes fit by construction."""

    def facts(self) -> list[tuple[Any, bool]]:
        if self.finished:
            return []
        return [f for rec in self.rec.chain() for f in rec.facts]

    def fact(self, predicate: Any) -> bool | None:
        """The value of a predicate where the path fixes it."""
        if isinstance(predicate, bool):
            return predicate
        if isinstance(predicate, sympy.Basic):
            found = self.shape_env.known(predicate)
            return None if found is None else bool(found)
        if isinstance(predicate, Expr) and predicate.op == "not_":
            inner = self.fact(predicate.args[0])
            return None if inner is None else not inner
        if isinstance(predicate, Expr) and predicate.op == "bool":
            inner = predicate.args[0]
            if isinstance(inner, (Val, Expr)) and inner.kind == "bool":
                return self.fact(inner)
        return next((truth for p, truth in self.facts() if p is predicate), None)

    def has_symbols(self, t: torch.Tensor) -> bool:
        """Whether sizes or strides are symbols: as of a row that data select, or a column of a matrix whose width they decide."""
        steps = (*t.stride(), t.storage_offset()) if t.layout == torch.strided else ()
        return any(isinstance(s, torch.SymInt) for s in (*t.shape, *steps))

    def new_tensor(self, fake: Any, label: str = "", span: Span = UNKNOWN) -> Val:
        self.uids += 1
        val = Val(self.uids, self.rec, fake, "tensor", span, label)
        self.vals[id(fake)] = val
        self.memory.made(fake, self.rec, label in ("input", "state"))
        return val

    def new_scalar(self, kind: str, label: str = "item") -> Val:
        self.uids += 1
        return Val(self.uids, self.rec, None, kind, UNKNOWN, label)

    def symbolic(self, val: Val, dtype: Any = None) -> Any:
        """What the user's code gets for a scalar value."""
        self.mark_askers()
        self.mark_frames(f for f in frames(sys._getframe(1), self.root_frame) if asks_kind(f.f_code, val.kind))
        if val.kind == "str":
            return SymText(self, [val], {})
        if val.kind == "float":
            val.fake = torch.SymFloat(FloatNode(val, self))
        elif val.kind == "bool":
            val.fake = torch.SymBool(BoolNode(val, self))
        else:
            low, high = NARROW.get(dtype, (None, None))
            val.fake = self.shape_env.new_symbol(low, high)
            self.rec.bindings[val.fake.node.expr] = val
        return val.fake

    def integer(self, expr: Expr) -> torch.SymInt:
        """An integer symbol for an int-valued expression over floats, the same one each time."""
        found = self.integers.get(expr)
        if found is None:
            low = least(expr, self.shape_env.always_least)
            found = self.integers[expr] = self.shape_env.new_symbol(None if low is None else int(low))
        symbol = found.node.expr
        if self.binding(symbol) is None:
            self.rec.bindings[symbol] = expr
        return found

    def as_int(self, value: Any) -> Any:
        return self.integer(Expr("int", (scalar_of(value),), "int")) if isinstance(value, SYMBOLIC) else int(value)

    def binding(self, symbol: Any) -> Any:
        for rec in self.rec.chain():
            if symbol in rec.bindings:
                return rec.bindings[symbol]
        return None

    def bind_sizes(self, val: Val) -> None:
        """Defines the fresh symbols of a new tensor's sizes by reading them off the tensor."""
        for dim, size in enumerate(val.fake.shape):
            if isinstance(size, torch.SymInt):
                symbol = size.node.expr
                if isinstance(symbol, sympy.Symbol) and self.binding(symbol) is None:
                    scalar = self.new_scalar("int", "size")
                    scalar.fake = size
                    self.shape_env.bound(symbol, 0, None)
                    self.recorder.append(torch.ops.aten.sym_size.int, (val.fake, dim), {}, [scalar], True, False)
                    self.rec.bindings[symbol] = scalar

    def made(self, shape: list[Any], like: Any, dense: bool = False) -> Any:
        """A fake of its own for a parameter: `like`'s layout where sizes are fixed, contiguous where they are not."""
        self.making = True
        try:
            with torch._C.DisableTorchFunction(), _disable_current_modes(), self.fake_mode:
                if dense or any(isinstance(s, torch.SymInt) for s in shape):
                    return torch.empty(shape, dtype=like.dtype, device=like.device)
                return torch.empty_strided(shape, like.stride(), dtype=like.dtype, device=like.device)
        finally:
            self.making = False

    def value(self, t: torch.Tensor) -> Val | Weight:
        """The program's value for a tensor that the user's code holds."""
        fake = self.weights.fake(t)
        if id(fake) in self.stale:
            self.refuse("DY202", "a tensor is used whose memory `.data = ...` has given to another or taken from one before",
                        "what it shows would change with the weight", "clone it before", self.stale[id(fake)])
        weight = self.weights.by_fake.get(id(fake))
        if weight is not None:
            return weight
        val = self.vals.get(id(fake))
        if val is None or val.fake is not fake and id(fake) not in self.changed:
            self.refuse("DY901", "a tensor that capture did not see being made", "it was made behind torch's Python interface",
                        "make it with a torch function")
        if not self.rec.sees(val.rec):
            self.refuse("DY902", f"a tensor from {val.span} is used where only one of several paths defined it",
                        "it is kept in a place that capture does not watch", "return it or keep it in a local variable or attribute")
        return val

    def changed_in(self, image: Image) -> tuple[Changed, ...]:
        """Those of the tensors made others in place that a picture shows."""
        return tuple(one for one in self.changed.values() if id(one.tensor) in image.tensors)

    def check_changed(self, start: Rec, changed: Iterable[Changed]) -> None:
        """Refuses to join paths from `start` on where a tensor that was there was made another: all that hold it would have to be told."""
        for one in changed:
            if start.sees(one.val.rec) and not start.sees(one.rec):
                self.refuse("DY202", "a tensor made before a branch or a loop changes its form or memory there, in place",
                            "all that hold the tensor would have to be told which it is", "bind the name anew (`x = x.unsqueeze(0)`)",
                            one.span)

    def loose_value(self, t: torch.Tensor) -> Any:
        """`value` without the visibility check: a picture taken while entering a join still holds one branch's tensors."""
        fake = self.weights.fake(t)
        return self.weights.by_fake.get(id(fake)) or self.vals[id(fake)]

    def check_visible(self, scalar: Any) -> None:
        if isinstance(scalar, Val) and not self.rec.sees(scalar.rec):
            self.refuse("DY902", f"a number from {scalar.span} is used where only one of several paths defined it",
                        "it is kept in a place that capture does not watch", "return it or keep it in a local variable or attribute")
        if isinstance(scalar, Expr):
            for a in scalar.args:
                self.check_visible(a)
        elif isinstance(scalar, sympy.Basic):
            for symbol in scalar.free_symbols:
                bound = self.binding(symbol)
                if bound is None:
                    self.refuse("DY902", f"a size or number ({symbol}) is used where only one of several paths defined it",
                                "it is kept in a place that capture does not watch",
                                "return it or keep it in a local variable or attribute")

    def split_constants(self, scalar: Any) -> None:
        """A number that torch must know is a join of constants: such paths are kept apart, and the capture starts over."""
        if isinstance(scalar, sympy.Symbol):
            scalar = self.binding(scalar)
        if isinstance(scalar, Val) and scalar in self.constant_joins:
            self.apart.add(self.constant_joins[scalar])
            self.start_again()

    def concretise(self, node: Any, kind: str) -> Any:
        if node is not None:
            self.split_constants(node.expr)
        if self.recorder.in_event is not None:
            raise PlainWanted(f"the {kind} behind a Sym{kind.capitalize()}")
        asking = next((f for f in frames(sys._getframe(1), self.root_frame) if is_user(f.f_code)), None)
        if asking is not None and is_storing(asking):  # perhaps into an array
            trace(self)
        return self.refuse("DY208", f"Python asks for the {kind} behind a number known only at run time",
                           "C code and Python's own data types need the value now",
                           "use torch or arithmetic on it, or make it a fixed argument")

    def known_int(self, value: Any) -> int | None:
        if isinstance(value, int):
            return value
        scalar = scalar_of(value)
        found = scalar if isinstance(scalar, int) else self.shape_env.known(scalar)
        return None if found is None else int(found)

    def forget_layout(self, fake: Any) -> None:
        """Makes torch ask again whether a tensor is contiguous: it remembers the answer, which holds on one path only."""
        self.making = True
        try:
            with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():  # the kernel itself: nothing is to be found out
                torch.ops.aten.as_strided_.default(fake, fake.shape, fake.stride(), fake.storage_offset())
        finally:
            self.making = False

    def least(self, size: Any) -> int:
        """A number that a size is never below on this path."""
        return self.shape_env.least(scalar_of(size))

    def concretise_int(self, expr: Any) -> int:
        found = self.shape_env.known(expr)
        if found is not None:
            return int(found)
        self.split_constants(expr)
        return self.concretise(None, "int")
