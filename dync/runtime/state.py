"""What a program keeps from call to call."""

from __future__ import annotations

import collections
import copy
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from dync.errors import GuardError
from dync.ir.classes import record_fields
from dync.ir.flow import Flow
from dync.ir.state import attribute_names, fits, inside, outside
from dync.ir.trees import build
from dync.ir.types import ObjectType
from dync.runtime.store import Weights
from dync.runtime.tensors import Form, caller_form, is_tensor, to_home


class State(MutableMapping[str, Any]):
    """The model's written attributes and weights, by name. Tensors are torch's where torch is loaded, numpy's elsewhere.

    Reading gives the live value, not a copy; setting a weight writes into its memory. An attribute that is absent now is not among the
    names, and setting it adds it. Other names cannot be added (GuardError).
    slots: the live values, which the host module reads and writes. lock: held by every call of a program that keeps state.
    """

    def __init__(self, flow: Flow, weights: Weights) -> None:
        self.slots: dict[str, Any] = {}
        self.lock: AbstractContextManager[Any] = threading.RLock() if flow.slots or weights.written else nullcontext()
        self._flow, self._weights = flow, weights
        self._attributes = attribute_names(flow.slots, flow.forms)
        self._given: dict[str, Any] | None = None
        """What the attributes hold after a caller has changed some, until the next call takes it over."""
        self.reset()

    def reset(self) -> None:
        """First values again."""
        with self.lock:
            self._weights.reset()
            self._given = None
            for slot in self._flow.slots:
                self.slots[slot.name] = build(slot.initial, self._first)

    def check(self) -> None:
        """Takes over what a caller has set. Raises GuardError when the program was not captured for it."""
        if self._given is not None:
            taken = inside(self._flow.slots, self._flow.forms, in_form(self._given, self._weights.form))
            self.slots.update(in_form(taken, self._weights.form))
            self._given = None

    def _first(self, weight: str) -> Any:
        return to_home(self._weights.fresh(weight), self._weights.form)

    def _held(self) -> dict[str, Any]:
        return outside(self._flow.forms, self.slots) if self._given is None else self._given

    def __getitem__(self, name: str) -> Any:
        return in_form(self._held()[name] if name in self._attributes else self._weights.home(name), caller_form(self._weights.form))

    def __setitem__(self, name: str, value: Any) -> None:
        with self.lock:
            if name in self._attributes:
                self._given = {**self._held(), name: value}
            elif name in self._weights.written:
                self._weights.put(name, value)
            else:
                raise GuardError(f"no state {name!r}; there is: {', '.join((*self._attributes, *self._weights.written)) or 'none'}")

    def __delitem__(self, name: str) -> None:
        with self.lock:
            loose = any(s.name == name and isinstance(s.value.type, ObjectType) for s in self._flow.slots)
            if name not in self._attributes or not (self._flow.forms or loose):
                raise GuardError(f"state {name!r} cannot be removed")
            self._given = {n: v for n, v in self._held().items() if n != name}

    def __iter__(self) -> Iterator[str]:
        return iter((*self._held(), *self._weights.written))

    def __len__(self) -> int:
        return len(self._held()) + len(self._weights.written)


def in_form(value: Any, form: Form, made: dict[int, Any] | None = None) -> Any:
    """`value` with its tensors in a form, also those in the lists, tuples, dicts and records that a model keeps; `made`: these, by the
    identity of what they are made of.
    """
    made = {} if made is None else made
    if is_tensor(value):
        return to_home(value, form)
    if id(value) in made:
        return made[id(value)]
    if type(value) in (list, collections.deque):
        held = made[id(value)] = copy.copy(value)
        held.clear()
        held.extend(in_form(v, form, made) for v in value)
        return held
    if type(value) is tuple:
        return tuple(in_form(v, form, made) for v in cast("tuple[Any, ...]", value))
    if type(value) in (dict, collections.OrderedDict, collections.defaultdict):
        held = made[id(value)] = copy.copy(value)
        held.update({k: in_form(v, form, made) for k, v in cast("dict[Any, Any]", held).items()})
        return held
    record: Any = value
    if hasattr(record, "_make"):
        return record._make(in_form(v, form, made) for v in record)
    fields = record_fields(record)
    if not fields or isinstance(value, dict):
        return record
    new = made[id(value)] = copy.copy(record)
    for name, v in fields.items():
        object.__setattr__(new, name, in_form(v, form, made))
    return new


__all__ = ["State", "fits"]
