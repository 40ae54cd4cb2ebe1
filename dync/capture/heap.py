"""The heap that a model's code can write to: what stood there before, what differs now, and how to put it back.

The *static heap* is every mutable object reachable from the model, its arguments and its modules' globals before capture.
A shallow snapshot of each lets `changes` tell what a run wrote, and `restore` undo it.
"""

from __future__ import annotations

import collections
import copy
import functools
import random
import types
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from dync.ir.classes import HEAP_TYPE, dict_base, refill

ATOMS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), torch.dtype, torch.device, torch.layout, torch.memory_format,
         torch.Size, range, slice, type, types.BuiltinFunctionType, types.ModuleType, types.CodeType, torch.Generator, property)
ATOMIC_MODULES = ("typing", "torch._ops", "logging", "re", "abc", "weakref")
OTHERS = ("builtins", "functools", "torch", "numpy", "operator", "types")
"""Whose callable objects keep nothing from call to call."""
KINDS = (list, tuple, dict, set, frozenset, collections.deque, types.CellType, types.FunctionType, types.MethodType, type, BaseException)
"""Of which `entries` gives all parts."""
MISSING = object()
Place = tuple[int, Any]
"""The number of an object of the static heap, and which of its entries."""
WHOLE = ("*",)
"""The place that is all of a container: one that grew, shrank, or changed its keys."""


def is_atom(x: object) -> bool:
    return isinstance(x, ATOMS) or isinstance(x, torch.Tensor) or type(x).__module__ in ATOMIC_MODULES


def entries(x: Any) -> Iterator[tuple[Any, Any]]:
    """The places of a mutable object and what stands in them; keys are ("i", n), ("k", key), ("a", attribute), ("c",)."""
    if isinstance(x, (list, collections.deque, tuple)):
        yield from ((("i", i), v) for i, v in enumerate(x))
    elif isinstance(x, dict):
        yield from ((("k", k), v) for k, v in x.items())
    elif isinstance(x, (set, frozenset)):
        yield from ((("s", i), v) for i, v in enumerate(sorted(x, key=repr)))
    elif isinstance(x, types.CellType):
        try:
            yield ("c",), x.cell_contents
        except ValueError:
            return
    elif isinstance(x, types.FunctionType):
        yield from ((("f", i), c) for i, c in enumerate(x.__closure__ or ()))
        yield from ((("d", i), c) for i, c in enumerate(x.__defaults__ or ()) if not is_atom(c))
        yield from ((("a", k), v) for k, v in own_attributes(x).items())
    elif isinstance(x, types.MethodType):
        yield ("m",), x.__self__
        yield ("g",), x.__func__
    elif isinstance(x, type):
        yield from ((("a", k), v) for k, v in vars(x).items() if is_class_data(k, v))
        return
    elif isinstance(x, BaseException):
        yield ("a", "args"), x.args
    elif isinstance(x, functools.partial):
        yield from ((("p", n), v) for n, v in enumerate((x.func, x.args, x.keywords)))
    if not isinstance(x, (list, tuple, set, frozenset, types.CellType, types.FunctionType, types.MethodType)) or hasattr(x, "__dict__"):
        own = getattr(x, "__dict__", None)
        if type(own) is dict and not isinstance(x, types.FunctionType):
            yield from ((("a", k), v) for k, v in own.items())
        for cls in type(x).__mro__:
            for slot in _slots(cls):
                value = getattr(x, slot, MISSING)
                if value is not MISSING:
                    yield ("a", slot), value


def own_attributes(function: types.FunctionType) -> dict[str, Any]:
    """What the user's code has hung on a function."""
    return {k: v for k, v in vars(function).items() if not k.startswith(("__", "dync", "_torchdynamo"))}


@functools.cache
def holds(cls: type) -> bool:
    """Whether all that there is to an object of a class is in its entries: nothing is C code's own, unless those know of it."""
    return issubclass(cls, (*KINDS, functools.partial, random.Random)) or not any(
        not c.__flags__ & HEAP_TYPE or isinstance(vars(c).get("__new__"), types.BuiltinFunctionType) for c in cls.__mro__[:-1])


def is_class_data(name: str, x: Any) -> bool:
    """Whether an attribute of a class is data, not code: what code would write there."""
    if name.startswith("__") or isinstance(x, (types.FunctionType, type, types.ModuleType)) or hasattr(type(x), "__get__"):
        return False
    return not (callable(x) and is_atom(x)) and type(x).__module__ not in ("_abc", "functools", "enum", "dataclasses", "typing")


def contents(x: Any, key: Any) -> Any:
    """What stands in a place, MISSING where nothing does; for WHOLE a shallow copy."""
    if key == WHOLE:
        return list(x) if isinstance(x, list) else copy.copy(x)
    return next((v for k, v in entries(x) if k == key), MISSING)


def remove(x: Any, key: Any) -> None:
    """Empties one place: an attribute or an entry of a dict."""
    if isinstance(x, type):
        delattr(x, key[1])
    elif key[0] == "k":
        dict_base(x).pop(x, key[1], None)
    elif isinstance(getattr(x, "__dict__", None), dict):
        x.__dict__.pop(key[1], None)
    elif hasattr(x, key[1]):
        object.__delattr__(x, key[1])


def _slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    return tuple(s for s in ((slots,) if isinstance(slots, str) else slots) if s not in ("__dict__", "__weakref__"))


def put(x: Any, key: Any, value: Any) -> None:
    """Writes one place; raises TypeError where that cannot be done."""
    match key:
        case ("i", i) if not issubclass(type(x), tuple):
            x[i] = value
        case ("k", k):
            dict_base(x).__setitem__(x, k, value)
        case ("c",):
            x.cell_contents = value
        case ("*",) if isinstance(x, list):
            x[:] = value
        case ("*",) if isinstance(x, collections.deque):
            x.clear()
            x.extend(value)
        case ("*",) if isinstance(x, set):
            x.clear()
            x.update(value)
        case ("*",) if isinstance(x, dict):
            refill(x, value)
        case ("p", n):
            parts = [x.func, x.args, x.keywords, vars(x)]
            parts[n] = value
            x.__setstate__(tuple(parts))
        case ("a", name) if isinstance(x, type):
            setattr(x, name, value)
        case ("a", name):
            if isinstance(getattr(x, "__dict__", None), dict) and (name in x.__dict__ or not hasattr(type(x), name)):
                x.__dict__[name] = value
            else:
                object.__setattr__(x, name, value)
        case _:
            raise TypeError(f"cannot write place {key} of {type(x).__name__}")


Form = tuple[Any, ...] | None
"""The identities of what an object holds, quick to compare; None where only a full look tells."""


def form_of(x: Any) -> Form:
    if isinstance(x, type):
        return (tuple(map(id, vars(x).values())),)
    own = getattr(x, "__dict__", None)
    if any(_slots(cls) for cls in type(x).__mro__) or isinstance(x, (types.CellType, types.FunctionType, types.MethodType, set, frozenset)):
        return None
    parts: list[Any] = []
    if isinstance(x, dict):
        parts.append((tuple(x), tuple(map(id, x.values()))))
    elif isinstance(x, (list, tuple, collections.deque)):
        parts.append(tuple(map(id, x)))
    if type(own) is dict:
        parts.append((tuple(own), tuple(map(id, own.values()))))
    return tuple(parts)


def unchanged(x: Any, form: Form) -> bool:
    """Whether `x` holds the very objects it held when `form` was taken."""
    if form is None:
        return False
    if isinstance(x, type):
        return tuple(map(id, vars(x).values())) == form[0]
    n = 0
    if isinstance(x, dict):
        keys, values = form[0]
        if len(x) != len(keys) or tuple(map(id, x.values())) != values or tuple(x) != keys:
            return False
        n = 1
    elif isinstance(x, (list, tuple, collections.deque)):
        if tuple(map(id, x)) != form[0]:
            return False
        n = 1
    if n < len(form):
        own = x.__dict__
        keys, values = form[n]
        return len(own) == len(keys) and tuple(map(id, own.values())) == values and tuple(own) == keys
    return True


class StaticHeap:
    """Snapshot of the objects that were there before capture."""

    def __init__(self, roots: list[Any], module_globals: list[dict[str, Any]], more: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.index: dict[int, int] = {}
        self.objects: list[Any] = []
        self.kept: list[list[tuple[Any, Any]]] = []
        self.forms: list[Form] = []
        self.empty: list[Any] | None = None
        self.full: list[int] = []
        self.names: dict[int, str] = {}
        self.held: collections.Counter[int] | None = None
        self.births: dict[str, Place] = {}
        """The places of which `birth` was asked, by what it said."""
        queue: collections.deque[tuple[Any, str]] = collections.deque((r, "") for r in roots)
        for g in module_globals:
            self._add_globals(g)
            queue.extend((v, k) for k, v in g.items() if not k.startswith("__") and _is_data(v))
        queue.extend((x, name) for name, x in more.items())
        while queue:
            x, name = queue.popleft()
            if (is_atom(x) and name not in more) or id(x) in self.index:
                continue
            if isinstance(x, types.FunctionType) and not x.__closure__:
                continue
            self._add(x, name)
            queue.extend((v, _join(name, k)) for k, v in self.kept[-1])
        self.own = len(self.objects)
        """How many there are without those of `give`, which come behind."""

    def give(self, containers: Mapping[str, Any]) -> None:
        """Adds the caller's containers, as they were built for an attempt, by path, in place of the last attempt's."""
        for x in self.objects[self.own:]:
            del self.index[id(x)]
        del self.objects[self.own:], self.kept[self.own:], self.forms[self.own:]
        for path, x in containers.items():
            self._add(x, path)
        self.empty = self.held = None

    def _add(self, x: Any, name: str) -> None:
        self.index[id(x)] = len(self.objects)
        self.names[len(self.objects)] = name
        self.objects.append(x)
        self.kept.append(list(entries(x)))
        self.forms.append(form_of(x))

    def _add_globals(self, g: dict[str, Any]) -> None:
        if id(g) not in self.index:
            self.index[id(g)] = len(self.objects)
            self.names[len(self.objects)] = f"{g.get('__name__', 'globals')}:"
            self.objects.append(g)
            self.kept.append([(("k", k), v) for k, v in g.items() if not k.startswith("__")])
            self.forms.append(form_of(g))

    def holding(self, ids: Collection[int]) -> Iterator[tuple[Any, Any, Any]]:
        """The places that hold objects of these ids: who holds them, where, and what stands there."""
        yield from ((x, key, v) for x, places in zip(self.objects, self.kept) for key, v in places if id(v) in ids)

    def swap(self, others: Mapping[int, Any]) -> None:
        """Takes others for some objects that places held, by their ids, where the others stand there now or stood there before."""
        for n, places in enumerate(self.kept):
            if any(id(v) in others for _, v in places):
                now = dict(entries(self.objects[n]))
                taken = [(key, others.get(id(v), v) if now.get(key) is not v else v) for key, v in places]
                self.kept[n], self.forms[n] = taken, None

    def __contains__(self, x: object) -> bool:
        return id(x) in self.index

    def holders(self, x: Any) -> int:
        """How many places of the static heap hold the object `x`."""
        if self.held is None:
            self.held = collections.Counter(id(v) for places in self.kept for _, v in places)
        return self.held[id(x)]

    def holder(self, x: Any) -> Place | None:
        """The one place of the static heap that holds an object of it."""
        if self.index.get(id(x), self.own) >= self.own or self.holders(x) != 1:
            return None
        return next((n, key) for n, places in enumerate(self.kept) for key, v in places if v is x)

    def held_at(self, place: Place) -> Any:
        """What stood in a place before capture."""
        return next((v for key, v in self.kept[place[0]] if key == place[1]), MISSING)

    def birth(self, place: Place) -> str:
        """A name for the place of birth of what stands in a place when a call begins."""
        name = f"state {place_name(self, *place)}"
        while self.births.setdefault(name, place) != place:
            name += "'"
        return name

    def places_of(self, changed: list[tuple[int, Any, Any, Any]]) -> list[tuple[int, Any]]:
        """The places to carry for what `changes` found: a container whose keys or length differ is one place."""
        own = {id(d) for m in self.objects if isinstance(m, nn.Module) for d in (m._buffers, m._parameters, m._modules)}
        unseen = {id(m._non_persistent_buffers_set) for m in self.objects if isinstance(m, nn.Module)}
        found: dict[tuple[int, Any], None] = {}
        for n, key, old, new in changed:
            x = self.objects[n]
            if id(x) in unseen:
                continue
            grown = key[0] == "s" or (old is MISSING or new is MISSING) and key[0] in ("i", "k")
            apart = isinstance(x, dict) and (id(x) in own or "__builtins__" in x)
            found[(n, WHOLE) if grown and not apart else (n, key)] = None
        return list(found)

    def changes(self) -> list[tuple[int, Any, Any, Any]]:
        """(object number, key, old, new) for each place that differs from the snapshot, MISSING for absent ones."""
        found: list[tuple[int, Any, Any, Any]] = []
        if self.empty is None:
            empty = [n for n, (x, form) in enumerate(zip(self.objects, self.forms)) if isinstance(x, dict) and not x and form is not None]
            self.empty = [self.objects[n] for n in empty]
            self.full = sorted(set(range(len(self.objects))) - set(empty))
        # Most objects are a module's empty dicts of hooks: one look at all of them.
        for n in range(len(self.objects)) if any(map(len, self.empty)) else self.full:
            x, old = self.objects[n], self.kept[n]
            if unchanged(x, self.forms[n]):
                continue
            if type(x) is dict and "__builtins__" in x:
                new = [(("k", k), v) for k, v in x.items() if not k.startswith("__")]
            else:
                new = list(entries(x))
            before, after = dict(old), dict(new)
            for key in {**before, **after}:
                a, b = before.get(key, MISSING), after.get(key, MISSING)
                if a is not b and not _same_atom(a, b):
                    found.append((n, key, a, b))
            if isinstance(x, dict) and "__builtins__" not in x and before.keys() == after.keys():
                found += [(n, key, MISSING, after[key]) for key, was in zip(after, before) if key != was and key[0] == "k"][:1]
        return found

    def restore(self) -> None:
        """Puts every object back to its snapshot."""
        for n in {c[0] for c in self.changes()}:
            x, old = self.objects[n], self.kept[n]
            if isinstance(x, list):
                x[:] = [v for _, v in old]
            elif isinstance(x, collections.deque):
                x.clear()
                x.extend(v for _, v in old)
            elif isinstance(x, set):
                x.clear()
                x.update(v for _, v in old)
            elif isinstance(x, dict) and "__builtins__" in x:
                known = {k[1] for k, _ in old}
                for k in [k for k in x if not k.startswith("__") and k not in known]:
                    del x[k]
                x.update({k[1]: v for k, v in old})
            elif isinstance(x, type):
                known = {k[1] for k, _ in old}
                for name in [k[1] for k, _ in entries(x) if k[1] not in known]:
                    delattr(x, name)
                for k, v in old:
                    if vars(x).get(k[1], MISSING) is not v:
                        setattr(x, k[1], v)
            else:
                if isinstance(x, dict):
                    attributes = [(k, v) for k, v in old if k[0] == "k"]
                    refill(x, {k[1]: v for k, v in attributes})
                own = getattr(x, "__dict__", None)
                if type(own) is dict:
                    known = {k[1] for k, _ in old if k[0] == "a"}
                    for name in [k for k in own if k not in known]:
                        del own[name]
                for k, v in old:
                    if k[0] in ("a", "c"):
                        put(x, k, v)
                names = [k[1] for k, _ in old if k[0] == "a"]
                if type(own) is dict and list(own) != names and own.keys() == set(names):
                    refill(own, {name: own[name] for name in names})


def _same_atom(a: Any, b: Any) -> bool:
    return type(a) is type(b) and isinstance(a, (int, float, str, bool, bytes)) and (a == b or a != a)


def _is_data(x: Any) -> bool:
    return isinstance(x, (list, dict, set, collections.deque, nn.Module)) or (
        not is_atom(x) and not (callable(x) and type(x).__module__.partition(".")[0] in OTHERS)
        and type(x).__module__ != "builtins" and hasattr(x, "__dict__"))


def _join(name: str, key: Any) -> str:
    match key:
        case ("a", ("_parameters" | "_buffers" | "_modules")):
            return name
        case ("a", k) | ("k", k):
            return f"{name}.{k}" if name else str(k)
        case ("i", i):
            return f"{name}[{i}]"
        case _:
            return name


def place_name(heap: StaticHeap, n: int, key: Any) -> str:
    """A dotted name for people and for state slots, e.g. "memory.count"."""
    return _join(heap.names[n], key)
