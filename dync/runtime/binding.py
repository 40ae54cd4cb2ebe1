"""From the arguments of a call to the values that the control flow starts with, all in the home form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dync.errors import GuardError
from dync.ir.binding import bind
from dync.ir.flow import DictTree, Fixed, Flow, Leaf, Return, TupleTree, leaves
from dync.ir.types import Ref, ScalarType, TensorType
from dync.runtime.guards import ScalarGuard, Sizes, TensorGuard, checked
from dync.runtime.tensors import Form, Give, caller_form, describe, giver, is_tensor, once, overlap, same, to_home

NO_SIZES = Sizes()
"""For calls without dynamic sizes: nothing is ever noted in it."""


class Binder:
    """Checks a call against the signature. Raises GuardError that names the argument, what came, and what is allowed."""

    def __init__(self, flow: Flow, form: Form, target: str = "cpu", stays: bool = False) -> None:
        self.form: Form = form
        self.signature = flow.signature
        written = {n for b in flow.blocks for n in b.mutates}
        ranges = {d.name: d for d in flow.signature.dims}
        self.paths = tuple(i.path for i in flow.signature.inputs)
        self.guards = tuple(
            TensorGuard(i.path, i.value.type, form, ranges, i.value.name in written, target, stays) if isinstance(i.value.type, TensorType)
            else ScalarGuard(i.path, i.value.type) if isinstance(i.value.type, ScalarType) else _anything
            for i in flow.signature.inputs)
        self.arguments = tuple(p for p in flow.signature.params if p.place == "argument")
        self.fixed = {f.path: f for f in flow.signature.fixed}
        self.tensors = tuple(i for i, g in enumerate(self.guards) if isinstance(g, TensorGuard))
        self.static = all(isinstance(g, TensorGuard) and g.static is not None for g in self.guards)
        self.written = tuple(i for i, g in enumerate(self.guards) if isinstance(g, TensorGuard) and g.written and len(self.guards) > 1)
        self.direct = self._direct()
        self.several = any(isinstance(b.exit, Return) and len(leaves(b.exit.tree)) > 1 for b in flow.blocks)

    def _direct(self) -> bool:
        """Whether a call without keywords gives the inputs as they are, one argument each in order."""
        args, kwargs = self.signature.args, self.signature.kwargs
        assert isinstance(args, TupleTree) and isinstance(kwargs, DictTree)
        names = [t.operand.name for t in args.items if isinstance(t, Leaf) and isinstance(t.operand, Ref)]
        return not kwargs.items and len(names) == len(args.items) and tuple(names) == self.paths

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any], params: tuple[Any, ...]) -> tuple[list[Any], tuple[Any, ...], Give]:
        """(inputs in order, run-time parameters in order, what gives tensors out in the caller's kind)."""
        if self.direct and not kwargs and len(args) == len(self.paths):
            given = args
        else:
            given, params = self._general(args, kwargs, params)
        sizes = NO_SIZES if self.static else Sizes()
        values = [guard(value, sizes) for guard, value in zip(self.guards, given, strict=True)]
        for n in self.written:
            self._alone(n, values)
        if sizes.later:
            sizes.finish()
        give = self._give(values, given)
        return values, params, once(give) if self.several and give is not same else give

    def _alone(self, n: int, values: Sequence[Any]) -> None:
        """Raises GuardError when another argument shares memory with one that is written in place: blocks take them for separate."""
        for i, other in enumerate(values):
            if i != n and is_tensor(other) and overlap(values[n], other):
                raise GuardError(f"argument {self.paths[i]!r} shares memory with {self.paths[n]!r}, which is written in place: copy one")

    def _general(self, args: Sequence[Any], kwargs: Mapping[str, Any], params: tuple[Any, ...]) -> tuple[Sequence[Any], tuple[Any, ...]]:
        settings = {p.name: v for p, v in zip(self.signature.params, params, strict=True)}
        found = bind(self.signature, args, kwargs, {p.name: settings[p.name] for p in self.arguments})
        for path, fixed in self.fixed.items():
            if path in found:
                _same(fixed, found[path])
        for param in self.arguments:
            if param.name in found:
                settings[param.name] = checked(param, found[param.name])
        return [found[p] for p in self.paths], tuple(settings.values())

    def _give(self, values: Sequence[Any], given: Sequence[Any]) -> Give:
        if not self.tensors:
            return same if caller_form(self.form) == self.form else _to_torch
        example, kept = given[self.tensors[0]], values[self.tensors[0]]
        give = same if kept is example else giver(self.form, example)
        changed = [(values[i], given[i]) for i in self.tensors if values[i] is not given[i] and not isinstance(given[i], np.generic)]
        if not changed:
            return give
        if len(changed) == 1:  # an input comes back as the caller's own object
            (mine, own), = changed
            return lambda value: own if value is mine else give(value)
        owners = {id(v): g for v, g in changed}
        return lambda value: owners[id(value)] if id(value) in owners else give(value)


def _anything(value: Any, sizes: Sizes) -> Any:
    return value


def _to_torch(value: Any) -> Any:
    return to_home(value, "torch")


def _same(fixed: Fixed, value: Any) -> None:
    expected = fixed.value.python
    if type(value) is not type(expected) or value != expected and not (value != value and expected != expected):
        given = describe(value)
        raise GuardError(f"argument {fixed.path!r}: {given} given, fixed at capture as {expected!r}; name it in params to let it vary")
