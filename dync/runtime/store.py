"""The weights of a loaded program: one memory for all kernels, whatever form each wants; and a copy of those that calls write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dync.runtime.tensors import Form, duplicate, is_stored, placed, to_home, to_numpy, to_torch
from dync.runtime.weights import Array, Layout, Raw


class Weights:
    """Name → tensor, as numpy, torch or home form, all over the same memory.

    `written` are private copies, so that a call changes neither the model nor the file's first values, to which `reset` goes back.
    """

    def __init__(
        self, given: Mapping[str, Any], form: Form, written: Iterable[str] = (), layouts: Mapping[str, Layout] | None = None
    ) -> None:
        """layouts: how weights that are no torch tensors are to lie in memory as such, where not row by row."""
        self.form: Form = form
        self.written = tuple(written)
        self._layouts = layouts or {}
        self._given = dict(given)
        self._first = {name: self._given[name] for name in self.written}
        self._given |= {name: self.fresh(name) for name in self.written}
        self._made: dict[tuple[str, Form], Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def numpy(self, name: str) -> Array:
        """As a numpy array; bfloat16 and float8 need ml_dtypes."""
        return self._as(name, "numpy")

    def torch(self, name: str) -> Any:
        """As a torch tensor without gradient."""
        return self._as(name, "torch")

    def raw(self, name: str) -> Any:
        """As it was given: torch tensor, numpy array or Raw."""
        return self._given[name]

    def fresh(self, name: str) -> Any:
        """A copy with memory of its own, in the home form; dtypes that numpy lacks stay Raw in numpy's."""
        tensor = self._given[name]
        if self.form == "torch" and is_stored(tensor):
            return placed(tensor, self._layouts.get(name))
        if isinstance(tensor, Raw):
            return Raw(tensor.dtype, tensor.shape, bytearray(tensor.data))
        return duplicate(tensor) if hasattr(tensor, "detach") else tensor.copy()

    def home(self, name: str) -> Any:
        return self._as(name, self.form)

    def _as(self, name: str, form: Form) -> Any:
        key = (name, form)
        if key not in self._made:
            tensor = self._given[name]
            apart = form == "torch" and is_stored(tensor) and name not in self.written
            self._made[key] = placed(tensor, self._layouts.get(name)) if apart else to_home(tensor, form)
        return self._made[key]

    def put(self, name: str, value: Any) -> None:
        """Writes `value` into a written weight, in place: kernels hold on to its memory."""
        overwrite(self.home(name), value)

    def reset(self) -> None:
        """First values again in all written weights."""
        for name in self.written:
            self.put(name, self._first[name])


def overwrite(target: Any, value: Any) -> None:
    """Copies `value`, of any form, into the home tensor `target`."""
    if isinstance(target, np.ndarray):
        target[...] = to_numpy(value)
    else:
        target.copy_(to_torch(value))
