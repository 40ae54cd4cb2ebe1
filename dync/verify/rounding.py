"""Eager's own arithmetic, rounded another way: what a network does with the errors that every operation makes.

Noise on inputs and weights does not show it where inputs saturate, or where a loop adds an error in each of hundreds of steps.

    D. S. Parker: Monte Carlo Arithmetic: exploiting randomness in floating-point arithmetic, UCLA 1997.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ROUNDING_ULP = 1.0
"""Standard deviation of the error of one operation: compilers sum in another order, and their exp and tanh are off by 1 to 4 ULP."""


class RoundedOtherwise(TorchDispatchMode):
    """While it is entered, each float number that an operation computes is off by about an ULP.

    A number that an operation only takes from its inputs (cat, max, where, relu), a whole number (a count, a flag), a constant
    and a random number stay as they are: no compiler rounds those. So do writes in place.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [v for v in tree_leaves((args, kwargs)) if isinstance(v, torch.Tensor)]
        if not given or torch.Tag.nondeterministic_seeded in func.tags or any(r.alias_info for r in func._schema.returns):
            return result
        return tree_map(self._off(given), result)

    def _off(self, given: list[torch.Tensor]) -> Callable[[Any], Any]:
        def off(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                return value
            alike = [t.flatten() for t in given if t.dtype == value.dtype]
            moved = torch.isin(value.abs(), torch.cat(alike).abs()) if alike else False
            exact = (value == value.round()) | moved
            step = torch.finfo(value.dtype).eps * ROUNDING_ULP * torch.randn(value.shape, generator=self.generator).to(value)
            return torch.where(exact, value, value * (1 + step))

        return off
