"""Objects whose state no attribute shows: iterators, generators, arrays, streams, generators of random numbers.

What a call does to one cannot be seen where it is done, and so cannot be carried. Each that the model can reach is looked at before
capture and after: one that differs is refused.
"""

from __future__ import annotations

import array
import collections
import contextvars
import functools
import io
import pickle
import random
import types
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from dync.capture.heap import StaticHeap, is_atom, place_name
from dync.capture.writes import where_used
from dync.errors import Diagnostic
from dync.ir.types import Span

SEEN = (object, list, dict, set, frozenset, tuple, collections.deque, collections.OrderedDict, collections.defaultdict, types.CellType,
        types.FunctionType, types.MethodType, staticmethod, classmethod, BaseException, torch.Tensor,
        functools._lru_cache_wrapper)
"""Classes whose instances hold nothing but what `heap.entries` tells."""
PLAIN = (bool, int, float, complex, str, bytes, type(None), tuple)
WORD = 8


@functools.lru_cache(4096)
def hides(cls: type) -> bool:
    """Whether instances hold more than attributes and items: C code that made the class, or one above it, asked for more memory."""
    return any(_own_size(c) > 0 for c in cls.__mro__ if c not in SEEN and c.__base__ is not None)


def _own_size(cls: type) -> int:
    base: Any = cls.__base__
    slots = vars(cls).get("__slots__", ())
    known = len((slots,) if isinstance(slots, str) else [s for s in slots if s not in ("__dict__", "__weakref__")])
    known += sum(getattr(cls, o) > 0 and getattr(base, o) == 0 for o in ("__weakrefoffset__", "__dictoffset__"))
    return cls.__basicsize__ + cls.__itemsize__ - base.__basicsize__ - base.__itemsize__ - WORD * known


class _Pickler(pickle.Pickler):
    """Writes what hidden objects hold, and containers made to tell it; any other object by its identity."""

    def __init__(self, file: Any, kept: list[Any], heap: StaticHeap) -> None:
        super().__init__(file, 4)
        self.kept, self.heap = kept, heap

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, PLAIN) or hides(type(obj)) and not is_atom(obj) and not isinstance(obj, types.GeneratorType):
            return None
        if type(obj) in (list, dict) and obj not in self.heap:
            return None
        self.kept.append(obj)
        return id(obj)


class Look(NamedTuple):
    """what: equal as long as an object holds the same. kept: objects that it names by identity."""

    what: Any
    kept: Any = None


def look(x: Any, heap: StaticHeap) -> Look | None:
    """What an object holds; None where that cannot be told."""
    if isinstance(x, np.ndarray):
        return None if x.dtype.hasobject else Look((x.shape, x.dtype, zlib.crc32(x.tobytes())))
    if isinstance(x, contextvars.ContextVar):
        held = x.get(None)
        return Look(held if isinstance(held, PLAIN) else id(held), held)
    if isinstance(x, types.GeneratorType):
        names = dict(x.gi_frame.f_locals) if x.gi_frame is not None else {}
        return Look((x.gi_frame and x.gi_frame.f_lasti, *((k, v if isinstance(v, PLAIN) else id(v)) for k, v in names.items())), names)
    kept: list[Any] = []
    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _Pickler(file, kept, heap).dump(x)
    except Exception:  # whatever an object's own code raises that is not made for this
        return None
    return Look(file.getvalue(), kept)


def _put_back(x: Any) -> Any:
    """What puts `x` back to what it holds now, where that can be done."""
    if isinstance(x, np.ndarray) and not x.dtype.hasobject and x.flags.writeable:
        return functools.partial(np.copyto, x, x.copy())
    if isinstance(x, random.Random) and not isinstance(x, random.SystemRandom):
        return functools.partial(x.setstate, x.getstate())
    if isinstance(x, np.random.Generator):
        return functools.partial(setattr, x.bit_generator, "state", x.bit_generator.state)
    if isinstance(x, np.random.RandomState):
        return functools.partial(x.set_state, x.get_state())
    if isinstance(x, (bytearray, array.array)):
        return functools.partial(x.__setitem__, slice(None), x[:])
    return None


class Hidden:
    """The hidden objects that a model reaches, as they were before capture."""

    def __init__(self, heap: StaticHeap) -> None:
        self.heap = heap
        self.found = [(owner, name, x, seen, _put_back(x)) for owner, name, x in _objects(heap) if (seen := look(x, heap)) is not None]
        self.drawn = random.getstate(), np.random.get_state()

    def changed(self, model: Span) -> Iterator[Diagnostic]:
        """What capture must refuse; model: where its forward stands."""
        for owner, name, x, seen, _ in self.found:
            now = look(x, self.heap)
            if now is None or now.what != seen.what:
                yield Diagnostic("DY408", where_used(self.heap, owner, name.rpartition(".")[2].partition("[")[0]),
                                 f"`{name}`, which forward uses, holds a {type(x).__name__} that is another after the call",
                                 "what it holds cannot be seen, and is not carried from call to call",
                                 "keep tensors, numbers, strings, and lists, tuples, dicts, dataclasses or plain objects of them there")
        if random.getstate() != self.drawn[0] or pickle.dumps(np.random.get_state()) != pickle.dumps(self.drawn[1]):
            yield Diagnostic("DY209", model, "random numbers are drawn inside forward by a function that is kept in a variable",
                             "its result would be fixed at capture", "call it by its name in its module, as random.random()")

    def restore(self) -> None:
        for *_, put_back in self.found:
            if put_back is not None:
                put_back()
        random.setstate(self.drawn[0])
        np.random.set_state(self.drawn[1])


def _objects(heap: StaticHeap) -> Iterator[tuple[Any, str, Any]]:
    """Those that the heap's objects and its modules' globals hold: each with its first owner and its name."""
    taken: set[int] = set()
    for n, (owner, places) in enumerate(zip(heap.objects[:heap.own], heap.kept)):
        for key, x in places:
            if hides(type(x)) and not is_atom(x) and id(x) not in taken:
                taken.add(id(x))
                yield owner, place_name(heap, n, key), x
