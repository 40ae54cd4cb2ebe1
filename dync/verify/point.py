"""Where a search stands: a call, taken apart into what can move."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from dync.ir.program import Program
from dync.verify.calls import Call
from dync.verify.inputs import call_of, leaf_values

BROKEN = (RuntimeError, IndexError, ValueError, ArithmeticError, TypeError)
"""What torch raises where a block cannot run, or not backwards, on values that would not have come to it."""


class Point:
    """Where a descent stands: inputs, and run-time parameters as 0-d tensors, those that can move as leaves of autograd."""

    def __init__(self, program: Program, start: Call) -> None:
        self.signature, self.seed = program.signature, start.seed
        self.values = leaf_values(self.signature, start)
        self.leaves: dict[str, torch.Tensor] = {}
        self.handles: dict[str, torch.Tensor] = {}
        self.whole: dict[str, str] = {}
        """Paths of inputs of whole numbers, by value name."""
        self.variables: list[tuple[torch.Tensor, float]] = []
        for one in self.signature.inputs:
            value = self.values[one.path]
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
                self.leaves[one.path] = value.detach().clone().requires_grad_()
                self.variables.append((self.leaves[one.path], spread(value)))
            if isinstance(value, torch.Tensor) and value.dtype in (torch.int64, torch.int32) and value.numel():
                self.whole[one.value.name] = one.path
        for p in self.signature.params:
            if isinstance(p.default, float):
                self.handles[p.name] = torch.tensor(float(self.values[p.name]), dtype=torch.float64, requires_grad=True)
                self.variables.append((self.handles[p.name], (p.high - p.low) / 4 if math.isfinite(p.high - p.low) else 1.0))

    def entry(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Entry values by value name, and handles; inputs are copies, so that blocks may write them."""
        inputs = {
            i.value.name: self.leaves[i.path].clone() if i.path in self.leaves else _copy(self.values[i.path])
            for i in self.signature.inputs
        }
        params = {
            p.value.name: float(self.handles[p.name].detach()) if p.name in self.handles else self.values[p.name]
            for p in self.signature.params
        }
        return inputs | params, {p.value.name: self.handles[p.name] for p in self.signature.params if p.name in self.handles}

    def with_numbers(self, exchanges: tuple[tuple[str, int, int], ...]) -> Point:
        """Another point, with other whole numbers at some places of inputs (value name, place, number)."""
        other = copy.copy(self)
        other.values = dict(self.values)
        other.set_numbers(exchanges)
        return other

    def set_numbers(self, exchanges: tuple[tuple[str, int, int], ...]) -> None:
        """Writes whole numbers into copies of inputs."""
        for name, place, number in exchanges:
            path = self.whole[name]
            self.values[path] = self.values[path].clone().contiguous()
            self.values[path].view(-1)[place] = number

    def moves(self) -> bool:
        """Whether some variable has a usable gradient; unusable ones are dropped for this step."""
        for v, _ in self.variables:
            if v.grad is not None and not bool(v.grad.isfinite().all()):
                v.grad = torch.nan_to_num(v.grad, 0.0, 0.0, 0.0)
        return any(v.grad is not None and bool((v.grad != 0).any()) for v, _ in self.variables)

    def clamp(self) -> None:
        """Keeps run-time parameters in their ranges."""
        with torch.no_grad():
            for p in self.signature.params:
                if p.name in self.handles:
                    self.handles[p.name].clamp_(p.low, p.high)

    def call(self, origin: str) -> Call:
        """The call at this point."""
        moved = {n: v.detach().clone() for n, v in self.leaves.items()} | {n: float(v.detach()) for n, v in self.handles.items()}
        return call_of(self.signature, self.values | moved, origin, self.seed)


def spread(value: torch.Tensor) -> float:
    found = float(value.detach().double().std()) if value.numel() > 1 else abs(float(value.detach()))
    return found if math.isfinite(found) and found > 1e-3 else 0.3


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
