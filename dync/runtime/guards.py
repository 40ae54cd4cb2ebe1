"""One check for each dynamic leaf of a call: type, sizes, ranges. A refusal names the argument, what came, and what is allowed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np

from dync.errors import ArtifactError, GuardError
from dync.ir.flow import DimRange, RunParam
from dync.ir.types import ScalarType, TensorType
from dync.runtime.device import on_device, resides
from dync.runtime.tensors import Form, describe, is_numpy, is_tensor, is_torch, numpy_dtype, to_home, viewable
from dync.runtime.weights import WIDTHS


class Sizes(dict[str, tuple[int, str]]):
    """Symbol → its size in this call, and where that was read. `later` are checks that wait for symbols not read yet."""

    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []

    def finish(self) -> None:
        """Runs the checks that waited; an expression over one unknown symbol then says what it is."""
        for check in self.later:
            check()


_OPERATIONS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: lambda a, b: a // b, ast.Mod: operator.mod}


def evaluate(node: ast.expr, sizes: Callable[[str], int]) -> int:
    """A size expression such as 2*N + 1. Raises ArtifactError for anything but integers, names, + - * // and %."""
    match node:
        case ast.Constant(int(value)):
            return value
        case ast.Name(name):
            return sizes(name)
        case ast.UnaryOp(ast.USub(), operand):
            return -evaluate(operand, sizes)
        case ast.BinOp(left, sign, right) if type(sign) in _OPERATIONS:
            return _OPERATIONS[type(sign)](evaluate(left, sizes), evaluate(right, sizes))
        case _:
            pass
    raise ArtifactError(f"{ast.unparse(node)!r} is no size")


def _names(expression: ast.expr) -> set[str]:
    return {n.id for n in ast.walk(expression) if isinstance(n, ast.Name)}


class TensorGuard:
    """Admits one tensor argument in the home form. Call with the value and the sizes known so far, which it adds to."""

    def __init__(
        self, path: str, type: TensorType, form: Form, ranges: dict[str, DimRange], written: bool, target: str = "cpu", stays: bool = False
    ) -> None:
        self.path, self.type, self.ranges, self.written, self.target, self.stays = path, type, ranges, written, target, stays
        self.form: Form = form
        self.rank, self.plain = len(type.shape), type.dtype not in WIDTHS
        self.static = tuple(type.shape) if all(isinstance(d, int) for d in type.shape) else None
        self.expressions = {i: ast.parse(d, mode="eval").body for i, d in enumerate(type.shape) if isinstance(d, str)}
        self.symbols = {i: _names(e) for i, e in self.expressions.items()}
        if form == "numpy":
            self.home: Any = np.ndarray
            self.dtype: Any = numpy_dtype(type.dtype)
        else:
            import torch

            self.home, self.dtype, self.device = torch.Tensor, getattr(torch, type.dtype), torch.device(type.device).type
        if form == "torch" and self.device != "cpu":
            self.admit = self._admit_on_device

    def __call__(self, value: Any, sizes: Sizes) -> Any:
        tensor = value if type(value) is np.ndarray and self.form == "numpy" else self.admit(value)
        if tensor.dtype is not self.dtype and tensor.dtype != self.dtype:
            raise self.refusal(describe(tensor))
        shape = tensor.shape
        if shape == self.static:
            return tensor
        if self.static is not None or len(shape) != self.rank:
            raise self.refusal(describe(tensor))
        self._match(shape, sizes)
        return tensor

    def admit(self, value: Any) -> Any:
        """`value` in the home form."""
        if self.form == "torch":
            if type(value) is self.home and not value.requires_grad and value.is_cpu and not value.is_sparse:
                return value
        elif self.target != "cpu" and is_torch(value) and resides(value, self.target):
            if self.stays:
                return self._on_device(value)
            if self.written:
                raise GuardError(f"argument {self.path!r} is written in place: {describe(value)} given, tensors on the CPU are allowed")
            value = value.detach().cpu()
        elif self.plain and is_torch(value):
            try:
                return value.numpy()
            except (RuntimeError, TypeError):  # with gradient, lazily negated, on another device, ...: sorted out below
                pass
        if not is_tensor(value):
            raise self.refusal(describe(value))
        try:
            made = to_home(value, self.form)
        except GuardError as error:
            raise GuardError(f"argument {self.path!r}: {error}") from error
        if self.form == "torch" and (made.is_sparse or not made.is_cpu):
            raise self.refusal(describe(made))
        if self.written and is_numpy(value) and self.form == "torch" and not viewable(value):
            raise GuardError(f"argument {self.path!r} is written in place: a read-only array, or one with negative strides, cannot be")
        return made

    def _on_device(self, value: Any) -> Any:
        try:
            return on_device(value)
        except GuardError as error:
            raise GuardError(f"argument {self.path!r}: {error}") from error

    def _admit_on_device(self, value: Any) -> Any:
        if not is_tensor(value):
            raise self.refusal(describe(value))
        made = to_home(value, self.form)
        if made.device.type != self.device:
            raise self.refusal(f"{describe(value)} on {made.device}")
        return made

    def _match(self, shape: tuple[int, ...], sizes: Sizes) -> None:
        for i, (size, allowed) in enumerate(zip(shape, self.type.shape, strict=True)):
            if isinstance(allowed, int):
                if size != allowed:
                    raise self.refusal(f"size {size} in dimension {i}")
            elif isinstance(expression := self.expressions[i], ast.Name):
                self._bind(allowed, size, i, sizes)
            elif self.symbols[i] <= sizes.keys():
                self._match_expression(allowed, expression, size, i, sizes)
            else:
                sizes.later.append(partial(self._match_expression, allowed, expression, size, i, sizes))

    def _bind(self, symbol: str, size: int, dim: int, sizes: Sizes) -> None:
        known = sizes.get(symbol)
        if known is None:
            allowed = self.ranges.get(symbol)
            if allowed and (size < allowed.low or allowed.high is not None and size > allowed.high):
                raise self.refusal(f"size {size} in dimension {dim}")
            sizes[symbol] = (size, f"dimension {dim} of {self.path!r}")
        elif known[0] != size:
            raise GuardError(f"argument {self.path!r}: size {size} in dimension {dim} given, but {symbol} is {known[0]} by {known[1]}")

    def _match_expression(self, text: str, expression: ast.expr, size: int, dim: int, sizes: Sizes) -> None:
        """Checks, or solves for, a size such as 2*N. One unknown symbol is found by taking the expression as linear in it."""
        unknown = sorted(_names(expression) - sizes.keys())
        if len(unknown) == 1:
            at = [evaluate(expression, lambda n, v=v: v if n == unknown[0] else sizes[n][0]) for v in (0, 1)]
            slope = at[1] - at[0]
            if not slope or (size - at[0]) % slope:
                raise self.refusal(f"size {size} in dimension {dim}")
            self._bind(unknown[0], (size - at[0]) // slope, dim, sizes)
        elif unknown:
            raise self.refusal(f"size {size} in dimension {dim}, which does not say what {' and '.join(unknown)} are")
        if evaluate(expression, lambda n: sizes[n][0]) != size:
            where = ", ".join(f"{n} is {sizes[n][0]} by {sizes[n][1]}" for n in sorted(sizes) if n in text)
            raise GuardError(f"argument {self.path!r}: size {size} in dimension {dim} given, where {text} is allowed and {where}")

    def refusal(self, given: str) -> GuardError:
        used = sorted({n for e in self.expressions.values() for n in _names(e)} & self.ranges.keys())
        ranges = ", ".join(f"{n}={self.ranges[n].low}..{'' if self.ranges[n].high is None else self.ranges[n].high}" for n in used)
        return GuardError(f"argument {self.path!r}: {given} given, {self.type} allowed" + f" with {ranges}" * bool(ranges))


class ScalarGuard:
    """Admits one number: bool for bool, int for int, int or float for float; numpy's numbers count as Python's."""

    def __init__(self, path: str, type: ScalarType) -> None:
        self.path, self.kind = path, type.kind

    def __call__(self, value: Any, sizes: Sizes) -> Any:
        found = number(plain(value), self.kind)
        if found is None:
            raise GuardError(f"argument {self.path!r}: {describe(value)} given, {self.kind} allowed")
        return found


def plain(value: Any) -> Any:
    """numpy's numbers as Python's."""
    return cast(Any, value).item() if isinstance(value, np.generic) else value


def number(value: Any, kind: str) -> bool | int | float | None:
    """`value` as a number of `kind`, or None when it is none."""
    if kind == "bool" or isinstance(value, bool):
        return value if kind == "bool" and isinstance(value, bool) else None
    if kind == "int":
        return value if isinstance(value, int) else None
    return float(value) if isinstance(value, (int, float)) else None


def checked(param: RunParam, value: Any) -> bool | int | float:
    """`value` as the run-time parameter. Raises GuardError when it is of another kind or out of range."""
    assert isinstance(param.value.type, ScalarType)
    kind = param.value.type.kind
    found = number(plain(value), kind)
    if found is None:
        raise GuardError(f"parameter {param.name!r}: {describe(value)} given, {kind} allowed")
    if not param.low <= found <= param.high:
        raise GuardError(f"parameter {param.name!r}: {value!r} given, {param.low}..{param.high} allowed")
    return found
