"""A picture of everything that code after a join could see: its structure as a signature, its numbers and tensors as leaves.

Two paths may join when their signatures are equal; leaves that differ become block parameters, and `substitute` writes
them back into the live frame and heap. What cannot be written back is marked fixed: paths that differ there stay apart.
"""

from __future__ import annotations

import collections
import collections.abc
import gc
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import sympy
import torch

from dync.capture.heap import MISSING, WHOLE, StaticHeap, contents, entries, holds, is_atom, own_attributes, place_name, put
from dync.capture.scalars import scalar_of
from dync.capture.text import SymText

SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)
OWN = ("dync.capture.engine", "dync.capture.session")
"""Capture's own objects that user frames may hold: not the program's state."""
LISTS = "dync.capture.lists"
NUMBERS = {torch.SymInt: "int", torch.SymFloat: "float", torch.SymBool: "bool"}


def class_name(x: object) -> str:
    """The name of the class that Python has a value for: a symbolic number for one of Python's own."""
    return NUMBERS.get(type(x)) or type(x).__name__


@dataclass
class Leaf:
    """A tensor (`value` is its Val or Weight) or a number (`value` is a scalar); `raw` is the Python object."""

    kind: str
    value: Any
    raw: Any
    fixed: bool
    where: str


@dataclass
class Image:
    signature: tuple[Any, ...]
    leaves: list[Leaf]
    lists: dict[str, tuple[str, str, tuple[Any, ...]]] = field(default_factory=dict)
    """Where lists stand whose place of birth is known: that place, "list" or "deque", and the items."""
    strays: dict[str, tuple[type, int]] = field(default_factory=dict)
    """Where the others stand that are attributes: the object's class, and the length."""
    tensors: frozenset[int] = frozenset()
    """Tensors by identity."""
    texts: dict[int, str] = field(default_factory=dict)
    """Places in the signature of texts that can be written back, and where these stand."""
    born: dict[int, tuple[str, Any]] = field(default_factory=dict)
    """Where the lists of its run were made, by identity."""


@dataclass
class Roots:
    """What is visible at a marker."""

    own: dict[str, Any]
    """Live local names of the marked frame."""
    outer: list[dict[str, Any]]
    """Locals of the frames that called it."""
    heap: list[tuple[int, Any]]
    """Places of the static heap that any run has written."""
    generator: Callable[[types.GeneratorType[Any, Any, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
    """Where a generator stands, and the locals that it may still read."""
    pools: dict[str, Any] = field(default_factory=dict)
    """Rows that lists and objects stand in."""
    texts: frozenset[str] = frozenset()
    """Where texts are known only at run time though they are literal on some paths."""
    identities: bool = False
    """Whether it matters which names are one tensor."""


def pool_of(x: Any) -> str:
    """The pool of which an object, or a list in one, is a row; "" for any other. See pools.py."""
    found = getattr(type(x), "dync_pool", "")
    return found if isinstance(found, str) else x.dync_pool  # of lists each says it for itself


def row_of(x: Any) -> Any:
    """The number of its row."""
    return object.__getattribute__(x, "dync_row")


class _Walk:
    """One pass over the roots, in a fixed order. `visit` returns the value to stand in a place."""

    def __init__(self, heap: StaticHeap, tensor: Callable[[torch.Tensor], Any], new: list[Any] | None = None,
                 born: dict[int, tuple[str, Any]] | None = None, generator: Any = None, loose: frozenset[str] = frozenset(),
                 identities: bool = False) -> None:
        self.heap, self.tensor, self.new, self.born, self.generator, self.loose = heap, tensor, new, born or {}, generator, loose
        self.identities = identities
        self.tensors: set[int] = set()
        self.first: dict[int, int] = {}
        """The leaf at which a tensor is met first, by identity."""
        self.named: collections.Counter[str] = collections.Counter()
        self.texts: dict[int, str] = {}
        self.local = True
        """Whether what is looked at now hangs on locals."""
        self.lists: dict[str, tuple[str, str, tuple[Any, ...]]] = {}
        self.strays: dict[str, tuple[type, int]] = {}
        self.seen: dict[int, int] = {}
        self.alive: list[Any] = []
        self.rebuilt: dict[int, Any] = {}
        self.signature: list[Any] = []
        self.leaves: list[Leaf] = []

    def leaf(self, kind: str, value: Any, raw: Any, fixed: bool, where: str, sign: Any) -> Any:
        n = len(self.leaves)
        self.named[where] += 1
        if self.named[where] > 1:  # as of globals of two modules: loops tell their variables apart by their places
            where = f"{where} ({self.named[where]})"
        self.leaves.append(Leaf(kind, value, raw, fixed, where))
        self.signature.append(sign)
        if self.new is not None and n < len(self.new) and self.new[n] is not MISSING:
            return self.new[n]
        return raw

    def visit(self, x: Any, fixed: bool, where: str) -> Any:
        if isinstance(x, torch.Tensor):
            value = self.tensor(x)
            self.tensors.add(id(x))
            same = (self.first.setdefault(id(x), len(self.leaves)), getattr(value, "name", "")) if self.identities else ()
            x = getattr(value, "fake", x)  # another where x was made another in place: x is itself again in other runs
            return self.leaf("tensor", value, x, fixed, where, ("T", type(x) is torch.nn.Parameter, *tensor_signature(x), *same))
        if isinstance(x, SYMBOLIC) or type(x) in (bool, int, float):
            scalar = scalar_of(x)
            kind = class_name(x)
            return self.leaf(kind, scalar, x, fixed, where, ("N", kind))
        if id(x) in self.heap.index:
            self.signature.append(("S", self.heap.index[id(x)]))
            return x
        if isinstance(x, (str, SymText)) and not fixed and self.local:
            self.texts[len(self.signature)] = where
        if isinstance(x, SymText):
            return self.leaf("str", x.expression(), x, fixed or x.vague, where, ("N", "str", x.vague))
        if type(x) is str and where in self.loose and not fixed and self.local:
            return self.leaf("str", x, x, False, where, ("N", "str", False))
        if isinstance(x, slice):
            self.signature.append("slice")
            ends = [self.visit(v, fixed, f"{where}.{name}") for name, v in (("start", x.start), ("stop", x.stop), ("step", x.step))]
            return slice(*ends) if self.new is not None else x
        if isinstance(x, weakref.ReferenceType):  # as of handles of hooks: each run makes its own
            self.signature.append(("weak", x() is None))
            self.visit(x(), True, where)
            return x
        bound = isinstance(x, (types.BuiltinMethodType, types.MethodWrapperType))
        if bound and not isinstance(x.__self__, (types.ModuleType, type, type(None))):  # as `append` of a list
            self.signature.append(("method", x.__name__))
            owner = self.visit(x.__self__, fixed, where)
            return x if owner is x.__self__ else getattr(owner, x.__name__)
        turn = type(x).__qualname__ == "Turn" and type(x).__module__ == "dync.capture.loops"
        if is_atom(x) or turn or type(x).__module__ in OWN or (
                isinstance(x, types.FunctionType) and not x.__closure__ and not own_attributes(x)):
            if isinstance(x, types.FunctionType) and "<locals>" in x.__qualname__:  # each run makes its own
                self.signature.append(("F", x.__code__))
                for v in (*(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()):
                    self.visit(v, True, where)
                return x
            self.signature.append(("A", atom_key(x)))
            return x
        pool = pool_of(x)
        if pool:  # which row it is, is all that there is to it
            row = row_of(x)
            new = self.leaf("int", scalar_of(row), row, fixed, where, ("row", pool))
            return x if new is row else cast(Any, x).dync_at(new)
        if id(x) in self.seen:
            self.signature.append(("R", self.seen[id(x)]))
            return self.rebuilt.get(id(x), x)
        self.seen[id(x)] = len(self.seen)
        self.alive.append(x)
        return self.compound(x, fixed, where)

    def compound(self, x: Any, fixed: bool, where: str) -> Any:
        if isinstance(x, tuple) and not isinstance(x, torch.Size):
            self.signature.append(("tuple", type(x), len(x)))
            items = [self.visit(v, fixed, f"{where}[{i}]") for i, v in enumerate(x)]
            if self.new is not None and any(a is not b for a, b in zip(items, x)):
                made = type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
                self.rebuilt[id(x)] = made
                return made
            return x
        if type(x).__qualname__ == "Grown" and type(x).__module__ == LISTS:
            grown: Any = x
            self.signature.append(("grown", grown.form))
            for i, column in enumerate(grown.columns):  # the first size counts rows: any may join any
                sign = ("T", False, column.dtype, str(column.device), (None, *tensor_signature(column)[2][1:]))
                grown.columns[i] = self.leaf("tensor", self.tensor(column), column, False, f"{where}<{i}>", sign)
            return x
        self.note_born(x, where)
        if isinstance(x, types.GeneratorType):
            sign, local = self.generator(x)
            self.signature.append(("generator", x.gi_code, *sign))
            for k, v in sorted(local.items()):
                self.signature.append(k)
                self.visit(v, True, f"{where}.{k}")
            return x
        if isinstance(x, collections.abc.Iterator) and type(x).__module__ in ("builtins", "itertools", "collections"):
            return self.iterator(x, where)
        return self.places(x, fixed, where)

    def note_born(self, x: Any, where: str) -> None:
        if id(x) in self.born:
            kind = type(x).__name__ if getattr(x, "maxlen", None) is None else f"deque:{cast(Any, x).maxlen}"
            self.lists.setdefault(where, (self.born[id(x)][0], kind, tuple(x.items() if isinstance(x, dict) else x)))

    def places(self, x: Any, fixed: bool, where: str) -> Any:
        if not holds(type(x)):
            return self.opaque(x, where)
        places = list(entries(x))
        self.signature.append((type(x), *(atom_key(k) for k, _ in places)))
        if isinstance(x, types.FunctionType):
            self.signature.append(x.__code__)
            for v in (*(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()):
                self.visit(v, True, where)
        if isinstance(x, (collections.deque, collections.defaultdict)):
            made: Any = x.maxlen if isinstance(x, collections.deque) else x.default_factory
            self.signature.append(made.__code__ if isinstance(made, types.FunctionType) else made)
        for key, v in places:
            closed = isinstance(x, (set, frozenset, types.FunctionType, types.MethodType))
            place = f"{where}.{key[-1]}" if key[0] == "a" else f"{where}[{key[-1]!r}]"
            if key[0] == "a" and isinstance(v, (list, collections.deque)) and id(v) not in self.born and id(v) not in self.heap.index:
                self.strays[place] = (type(x), len(v))
            new = self.visit(v, closed and not isinstance(v, types.CellType), place)
            if new is not v and self.new is not None:
                put(x, key, new)
        return x

    def opaque(self, x: Any, where: str) -> Any:
        """An object of C code: it is what it tells who copies it, or refers to."""
        self.signature.append(("opaque", type(x), getattr(x, "dtype", None)))  # as of torch.finfo
        try:
            reduced = x.__reduce_ex__(2)
        except Exception:  # there is no copy of such, as of views of dicts: it is what it refers to
            for v in gc.get_referents(x):
                if not isinstance(v, (type, types.ModuleType)):
                    self.visit(v, False, where)
            return x
        for v in (reduced,) if isinstance(reduced, str) else (*reduced[1:3], *(list(v) for v in reduced[3:] if v is not None)):
            self.visit(v, True, where)
        return x

    def iterator(self, x: Any, where: str) -> Any:
        try:
            reduced = x.__reduce__()
        except TypeError:
            self.signature.append(("opaque", type(x)))
            return x
        self.signature.append(("iterator", type(x), *(v for v in reduced[2:] if isinstance(v, int))))
        for v in reduced[1]:
            if isinstance(v, int):
                self.signature.append(v)
            else:
                self.visit(v, True, where)
        return x


def modes() -> tuple[Any, ...]:
    """torch's own switches, which a context manager may have thrown on one path and not on another."""
    return (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cuda"), torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(), torch.get_default_dtype())


def tensor_signature(x: torch.Tensor) -> tuple[Any, ...]:
    """dtype, device, rank and static sizes; symbolic sizes count as equal to one another. Layouts may differ: a join copies."""
    return (x.dtype, str(x.device), tuple(None if isinstance(s, torch.SymInt) else int(s) for s in x.shape))


def layout(x: torch.Tensor) -> Any:
    """'dense', or the strides of the dimensions that have more than one element."""
    if is_dense(x):
        return "dense"
    return tuple(_stride(s) for s, n in zip(x.stride(), x.shape) if not (isinstance(n, int) and n == 1))


def _stride(stride: Any) -> Any:
    """A stride; where torch writes Max(1, n) for a size n that may be 0, simply n, since empty tensors have no layout."""
    found: Any = scalar_of(stride)
    if isinstance(found, int) or "Max" not in str(found):
        return found
    return found.replace(lambda e: type(e).__name__ == "Max" and len(e.args) == 2 and 1 in e.args,
                         lambda e: next(a for a in e.args if a != 1))


def is_dense(x: torch.Tensor) -> bool:
    """Whether a tensor's strides are, as expressions, those of a contiguous one. Asks torch nothing: a question could fork."""
    expected: Any = sympy.Integer(1)
    for size, stride in zip(reversed(x.shape), reversed(x.stride())):
        size, stride = sympy.sympify(scalar_of(size)), sympy.sympify(_stride(stride))
        if size == 0:
            return True
        if size != 1 and sympy.expand(stride - expected) != 0:
            return False
        expected = expected * size
    return True


def atom_key(x: Any) -> Any:
    """Something hashable that is equal for equal constants."""
    try:
        hash(x)
    except TypeError:
        return (type(x), repr(x))
    if isinstance(x, tuple):
        return tuple(atom_key(v) for v in x)
    return (type(x), x) if isinstance(x, (int, float, str, bool)) else x


def take(roots: Roots, heap: StaticHeap, tensor: Callable[[torch.Tensor], Any], born: dict[int, tuple[str, Any]] | None = None) -> Image:
    """The picture of `roots`; `born` tells of lists, by identity, where they were made."""
    walk, _ = _pass(roots, heap, tensor, None, born)
    return Image(tuple(walk.signature), walk.leaves, walk.lists, walk.strays, frozenset(walk.tensors), walk.texts, born or {})


def substitute(
    roots: Roots, heap: StaticHeap, tensor: Callable[[torch.Tensor], Any], new: list[Any],
) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Writes `new` (MISSING = leave) into the heap, leaf by leaf in the picture's order.

    Returns the marked frame's new locals, and the signature of what stood there before.
    """
    walk, own = _pass(roots, heap, tensor, new)
    return own, tuple(walk.signature)


def _pass(roots: Roots, heap: StaticHeap, tensor: Any, new: list[Any] | None,
          born: dict[int, tuple[str, Any]] | None = None) -> tuple[_Walk, dict[str, Any]]:
    walk = _Walk(heap, tensor, new, born, roots.generator, roots.texts, roots.identities)
    walk.signature.append(modes())
    own: dict[str, Any] = {}
    for name in sorted(roots.own):
        walk.signature.append(name)
        own[name] = walk.visit(roots.own[name], False, name)
    walk.local = False
    for n, key in roots.heap:
        walk.signature += [place_name(heap, n, key), (n, atom_key(key))]
        x = heap.objects[n]
        if key == WHOLE:
            walk.note_born(x, heap.names[n])
            walk.places(x, False, heap.names[n])
            continue
        value = contents(x, key)
        if value is MISSING:
            walk.signature.append("missing")
            continue
        made = walk.visit(value, False, heap.names[n] + f".{key[-1]}")
        if made is not value and new is not None:
            put(x, key, made)
    for place, rows in sorted(roots.pools.items()):
        walk.signature.append(place)
        walk.visit(rows, False, ":".join(place.rsplit(":", 2)[1:]))
    for local in roots.outer:
        for name in sorted(local):
            walk.signature.append(name)
            walk.visit(local[name], True, f"^{name}")
    return walk, own


__all__ = ["Image", "Leaf", "Roots", "layout", "substitute", "take", "tensor_signature"]
