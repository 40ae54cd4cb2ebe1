"""What a program keeps from call to call."""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from dync.errors import GuardError
from dync.ir.flow import Slot
from dync.ir.trees import build
from dync.ir.types import ObjectType, TensorType, ValueType
from dync.runtime.guards import number
from dync.runtime.store import Weights, copied
from dync.runtime.tensors import Form, caller_form, describe, is_tensor, to_home


class State(MutableMapping[str, Any]):
    """State slots and written weights, by name. Tensors are torch's where torch is loaded, numpy's elsewhere.

    Reading gives the live value, not a copy; setting a weight writes into its memory. Names cannot be added or removed (GuardError).
    slots: the live values, which the host module reads and writes. lock: held by every call of a program that keeps state.
    """

    def __init__(self, slots: tuple[Slot, ...], weights: Weights) -> None:
        self.slots: dict[str, Any] = {}
        self.types: dict[str, ValueType] = {s.name: s.value.type for s in slots}
        self.lock: AbstractContextManager[Any] = threading.RLock() if slots or weights.written else nullcontext()
        self._declared, self._weights = slots, weights
        self._names = (*self.types, *weights.written)
        self.reset()

    def reset(self) -> None:
        """First values again."""
        with self.lock:
            self._weights.reset()
            for slot in self._declared:
                self.slots[slot.name] = build(slot.initial, self._first)

    def check(self) -> None:
        """Raises GuardError when a slot holds another type than the program was captured for, as after None became a tensor."""
        for name, wanted in self.types.items():
            if not fits(self.slots[name], wanted):
                raise GuardError(f"attribute {name!r} holds {describe(self.slots[name])} now; the program was captured for {wanted}")

    def _first(self, weight: str) -> Any:
        return to_home(copied(self._weights.raw(weight)), self._weights.form)

    def __getitem__(self, name: str) -> Any:
        value = self.slots[name] if name in self.types else self._weights.home(name)
        return in_form(value, caller_form(self._weights.form))

    def __setitem__(self, name: str, value: Any) -> None:
        with self.lock:
            if name in self.types:
                self.slots[name] = in_form(value, self._weights.form)
            elif name in self._names:
                self._weights.put(name, value)
            else:
                raise GuardError(f"no state {name!r}; there is: {', '.join(self._names) or 'none'}")

    def __delitem__(self, name: str) -> None:
        raise GuardError(f"state {name!r} cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def in_form(value: Any, form: Form) -> Any:
    """`value` with its tensors in a form, also those in the lists, tuples and dicts that a model keeps."""
    if is_tensor(value):
        return to_home(value, form)
    if type(value) in (list, tuple):
        return type(value)(in_form(v, form) for v in value)
    return {k: in_form(v, form) for k, v in value.items()} if type(value) is dict else value


def fits(value: Any, wanted: ValueType) -> bool:
    """Whether a state slot's value is of the type that the program was captured for; size symbols fit any size."""
    if isinstance(wanted, TensorType):
        if not is_tensor(value) or str(value.dtype).removeprefix("torch.") != wanted.dtype or value.ndim != len(wanted.shape):
            return False
        return all(not isinstance(want, int) or want == size for want, size in zip(wanted.shape, value.shape, strict=True))
    if isinstance(wanted, ObjectType):  # None at first: capture saw that every call writes it before reading it
        return True
    return number(value, wanted.kind) is not None
