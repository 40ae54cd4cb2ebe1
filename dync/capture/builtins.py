"""Twins of Python's number builtins and of `math` for numbers known only at run time; anything else gets the original."""

from __future__ import annotations

import builtins
import collections
import collections.abc
import functools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils._pytree import tree_leaves

from dync.capture import comprehend, keyed, stdlib
from dync.capture.arrays import array_of, arrays_for, class_of, is_array, number_of, tensors_of
from dync.capture.container_rows import ContainerRow
from dync.capture.forms import LEAF
from dync.capture.heap import MISSING
from dync.capture.image import SYMBOLIC, class_name, pool_of
from dync.capture.lists import CLASSES, KINDS, Grown, Walked
from dync.capture.once import Once, is_walk, iterated, taken
from dync.capture.places import is_user
from dync.capture.reach import HOLDERS
from dync.capture.scalars import Expr, FloatNode, scalar_of
from dync.capture.sets import KeyedSet
from dync.capture.tape import of_model
from dync.capture.text import SymText, formatted, join
from dync.capture.views import View
from dync.capture.walks import ArrayRows, Paired, Parts, SymRange, is_grown
from dync.capture.weights import tensor_class

NUMPY = (np.ufunc, type(np.argmax))
INTEGRAL = {"floor", "ceil", "trunc"}
LIKE_LISTS = (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection, collections.abc.Sized)
LOGICAL = {"isnan", "isinf", "isfinite"}
OUTSIDE: dict[str, Callable[..., Any]] = {
    "sqrt": lambda x: x < 0, **dict.fromkeys(("log", "log2", "log10"), lambda x: x <= 0), "log1p": lambda x: x <= -1,
    **dict.fromkeys(("asin", "acos"), lambda x: abs(x) > 1), "atanh": lambda x: abs(x) >= 1, "acosh": lambda x: x < 1,
    "fmod": lambda x, y: y == 0}
"""Where functions of `math` raise ValueError."""


def twin(engine: Any, function: Any) -> Any:
    """What a marked call of `function` calls instead."""
    made = _TWINS.get(function) if isinstance(function, (type, type(len), types.FunctionType, str)) else None
    if made is not None:
        return lambda *args, **kwargs: made(engine, *args, **kwargs)
    held = getattr(function, "__self__", None)
    if isinstance(held, (torch.Tensor, Grown, keyed.Keyed)) and function.__name__ == "__len__":
        return lambda: _TWINS[len](engine, held)
    owner = type(held)
    if owner is str and function.__name__ == "join":
        return lambda items: _join(engine, function, items)
    if owner is str:
        return functools.partial(_of_text, engine, function)
    if owner is list and function.__name__ == "sort":
        return lambda **kwargs: _sort(engine, function.__self__, **kwargs)
    if owner in (list, collections.deque) and function.__name__ == "extend":
        return lambda items: function(engine.added(function.__self__, items))
    if owner is Grown and function.__name__ == "extend":
        return lambda items: function(taken(items))
    if owner is list and function.__name__ == "pop":
        return lambda *index: engine.of_model(lambda: function(*(_popped(engine, function.__self__, i) for i in index)))
    if owner in (list, collections.deque) and function.__name__ == "insert":
        return lambda index, item: function(engine.slice_end(index, len(function.__self__)), item)
    if owner is list and function.__name__ == "index":
        return lambda value, *ends: _index(engine, function, value, *ends)
    if owner in keyed.KINDS:
        return engine.method(function)
    if type(function) is types.MethodDescriptorType and function.__objclass__ in UNBOUND:
        return functools.partial(_unbound, engine, function)
    if isinstance(function, NUMPY):
        arrays = lambda a: array_of(engine, a.numbers()) if isinstance(a, Grown) else a  # noqa: E731
        return lambda *args, **kwargs: function(*arrays_for(function, tuple(map(arrays, args))), **kwargs)
    if getattr(function, "__module__", None) == "math":
        return lambda *args, **kwargs: _is_close(engine, *args, **kwargs) if function is math.isclose else _math(engine, function, *args)
    return function


UNBOUND = (list, collections.deque, str, *keyed.KINDS)
"""Classes that have stand-ins: a method that is asked of one of them may be given such."""


def _unbound(engine: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
    """A method that is asked of its class, as in `set.union(*sets)`: of the object's own, but where its class may have another."""
    cls = function.__objclass__
    own = args and (type(args[0]) is cls or isinstance(args[0], (Grown, SymText, keyed.Keyed)) and _isinstance(engine, args[0], cls))
    return twin(engine, getattr(args[0], function.__name__))(*args[1:], **kwargs) if own else function(*args, **kwargs)


def is_number(x: Any) -> bool:
    return isinstance(x, SYMBOLIC)


def as_float(engine: Any, x: Any) -> Any:
    return torch.SymFloat(FloatNode(Expr("float", (scalar_of(x),), "float"), engine)) if not isinstance(x, torch.SymFloat) else x


def _one(x: Any, kind: type) -> Any:
    """What `int` or `float` is given, arrays as their tensors. An array with dimensions is what NumPy makes of it."""
    if is_array(x) and x.tensor.dim():
        try:
            kind(np.ones([1] * x.tensor.dim()))
        except TypeError as error:
            raise of_model(error) from None
    return tensors_of(x)


def _only_number(engine: Any, x: torch.Tensor) -> Any:
    with torch._C.DisableTorchFunction():
        return engine.recorder.item(x, ValueError)


def _int(engine: Any, *args: Any) -> Any:
    if args and type(args[0]) is SymText:
        return int(args[0].refuse())
    x = _one(args[0], int) if len(args) == 1 else None
    if isinstance(x, torch.Tensor):
        x = _only_number(engine, x)
    if isinstance(x, torch.SymInt):
        return x
    return engine.as_int(x) if is_number(x) else int(*args)


def _float(engine: Any, *args: Any) -> Any:
    if args and type(args[0]) is SymText:
        return float(args[0].refuse())
    x = _one(args[0], float) if args else None
    if isinstance(x, torch.Tensor):
        x = _only_number(engine, x)
    return as_float(engine, x) if is_number(x) else float(*args)


def _round(engine: Any, x: Any, ndigits: Any = None) -> Any:
    if isinstance(x, torch.SymInt) and (ndigits is None or ndigits >= 0):
        return x
    if isinstance(x, torch.SymInt):
        return engine.integer(Expr("round_digits", (scalar_of(x), ndigits), "int"))
    if not is_number(x):
        return round(x, ndigits) if ndigits is not None else round(x)
    if ndigits is None:
        return engine.integer(Expr("round", (scalar_of(x),), "int"))
    return torch.SymFloat(FloatNode(Expr("round_digits", (scalar_of(x), ndigits), "float"), engine))


def _len(engine: Any, x: Any) -> Any:
    x = tensors_of(x) if is_array(x) else x
    if is_grown(x):
        return engine.length(x)
    if isinstance(x, torch.Tensor) and x.dim() > 0:
        return x.shape[0]
    if isinstance(x, SymText):
        return x.length()
    own = getattr(type(x), "__len__", None)
    return _own_length(x) if isinstance(own, types.FunctionType) and is_user(own.__code__) else len(x)


def _own_length(x: Any) -> Any:
    """`len` of an object of the user's, whose `__len__` may give a number known only at run time."""
    n = type(x).__len__(x)
    if not isinstance(n, torch.SymInt):
        return len(x)
    if n < 0:
        raise of_model(ValueError("__len__() should return >= 0"))
    return n


def _range(engine: Any, *args: Any) -> Any:
    args = tuple(map(number_of, args))
    args = tuple(engine.as_int(a) if isinstance(a, torch.SymBool) else a for a in args)
    known = tuple(engine.known_int(a) if isinstance(a, torch.SymInt) else a for a in args)
    if not any(k is None for k in known):
        return range(*known)
    start, stop, step = (0, args[0], 1) if len(args) == 1 else (*args, 1)[:3]
    if not isinstance(step, int):
        engine.refuse("DY210", "a range whose step is known only at run time", "its direction must be fixed",
                      "walk upwards and compute the value")
    return SymRange(start, stop, step)


def _typed(made: Any, kind: torch.dtype | None) -> Callable[..., Any]:
    """torch.LongTensor and the like, of a list of numbers, or of an array, in whose memory they stay where the dtype is the same."""
    def make(engine: Any, *args: Any) -> Any:
        dtype = kind or torch.get_default_dtype()
        if len(args) == 1 and is_grown(args[0]) and not isinstance(args[0], Parts):
            return torch.tensor(args[0], dtype=dtype)
        if len(args) == 1 and is_array(args[0]) and args[0].tensor.dim():
            return args[0].tensor.detach().to(dtype)
        nested = tree_leaves(args[0]) if len(args) == 1 and isinstance(args[0], (list, tuple)) else ()
        symbolic = any(isinstance(v, (*SYMBOLIC, torch.Tensor)) or is_grown(v) or is_array(v) for v in nested)
        return torch.tensor(args[0], dtype=dtype) if symbolic else made(*args)

    return make


_OLD: dict[Any, torch.dtype | None] = {
    torch.Tensor: None, torch.LongTensor: torch.int64, torch.IntTensor: torch.int32, torch.FloatTensor: torch.float32,
    torch.DoubleTensor: torch.float64, torch.BoolTensor: torch.bool}
"""The classes by which tensors were made before torch.tensor; `markers.OLD` has their names."""


def _divmod(engine: Any, a: Any, b: Any) -> Any:
    return (a // b, a % b) if is_number(a) or is_number(b) else divmod(a, b)


def _text_in(engine: Any, item: Any, container: Any) -> Any:
    """`in` with a text known only at run time."""
    if isinstance(container, str):
        return item in SymText(engine, [container], {})
    if isinstance(container, (set, frozenset, dict)):
        return engine.method(container.__contains__)(item)
    return engine.entry_of(container, item) is not MISSING if isinstance(container, torch.nn.ModuleDict) else item in container


def _in(engine: Any, item: Any, container: Any) -> Any:
    """`item in container`: one decision for a number known only at run time, which has no hash."""
    container = taken(container, False)
    if isinstance(container, keyed.Keyed):
        return container.has(item)
    if type(item) is SymText or type(container) is SymText:
        return _text_in(engine, item, container)
    if isinstance(item, torch.SymBool) and isinstance(container, (set, frozenset, dict)):
        return bool(item) in container
    if not is_number(item) and isinstance(container, (set, frozenset, dict)) and keyed.is_running(item):
        return engine.method(container.__contains__)(item)
    if not is_number(item) or isinstance(item, torch.SymBool):
        return item in container
    if isinstance(container, range):
        inside = (item >= container[0]) & (item <= container[-1]) if container.step > 0 else (
            item <= container[0]) & (item >= container[-1])
        return bool(inside) and bool((item - container.start) % container.step == 0) if len(container) else False
    if not isinstance(container, (list, tuple, set, frozenset, dict, type({}.keys()), type({}.values()))):
        return item in container
    return any(bool(item == v) for v in container if isinstance(v, (int, float, *SYMBOLIC)))


def _str(engine: Any, *args: Any, **kwargs: Any) -> Any:
    return formatted(engine, args[0], ord("s"), "") if len(args) == 1 and not kwargs else str(*args, **kwargs)


def _chr(engine: Any, number: Any) -> Any:
    number = number_of(number)
    if not is_number(number):
        return chr(number)
    if engine.caught() and not (number >= 0 and number < 0x110000):
        raise of_model(ValueError("chr() arg not in range(0x110000)"))
    return SymText(engine, [Expr("str.chr", (scalar_of(number),), "str")], {})


def _repr(engine: Any, x: Any) -> Any:
    return formatted(engine, x, ord("r"), "")


def _format(engine: Any, x: Any, spec: Any = "") -> Any:
    return formatted(engine, x, -1, spec)


def _isinstance(engine: Any, x: Any, kinds: Any) -> bool:
    if isinstance(x, Grown):
        own = {k for cls, name in KINDS.items() if name == x.kind for k in (cls, *cls.__mro__, *LIKE_LISTS)}
        return isinstance(x, kinds) or any(k in own for k in (kinds if isinstance(kinds, tuple) else (kinds,)))
    if isinstance(x, keyed.Keyed):
        return issubclass(keyed.CLASSES[x.kind], kinds) or isinstance(x, kinds)
    if type(x) is SymText:
        return isinstance("", kinds)
    if isinstance(x, (SymRange, Parts)):
        return issubclass(range if isinstance(x, SymRange) else tuple, kinds) or isinstance(x, kinds)
    if is_number(x):
        stand_in = 0 if isinstance(x, torch.SymInt) else 0.0 if isinstance(x, torch.SymFloat) else False
        return isinstance(x, kinds) or isinstance(stand_in, kinds)
    if is_array(x):
        return isinstance(x, kinds) or issubclass(class_of(x), kinds)
    return isinstance(x, kinds) or isinstance(x, ContainerRow) and issubclass(x.dync_kind, kinds)


def _type(engine: Any, *args: Any) -> Any:
    kinds = {torch.SymInt: int, torch.SymFloat: float, torch.SymBool: bool, SymText: str}
    if len(args) == 1 and isinstance(args[0], FakeTensor):
        return tensor_class(args[0])
    if len(args) == 1 and is_array(args[0]):
        return class_of(args[0])
    if len(args) == 1 and isinstance(args[0], keyed.Keyed):
        return keyed.CLASSES[args[0].kind]
    if len(args) == 1 and isinstance(args[0], Grown):
        return CLASSES[args[0].kind]
    if len(args) == 1 and isinstance(args[0], (SymRange, Parts)):
        return range if isinstance(args[0], SymRange) else tuple
    if len(args) == 1 and isinstance(args[0], ContainerRow):
        return args[0].dync_kind
    if len(args) == 1 and pool_of(args[0]):
        return engine.pooled[pool_of(args[0])]
    return kinds.get(type(args[0]), type(args[0])) if len(args) == 1 else type(*args)


def _id(engine: Any, x: Any) -> int:
    """The address of what is there before each call."""
    static = isinstance(x, types.FunctionType) or isinstance(x, torch.Tensor) and not isinstance(x, FakeTensor)
    own = pool_of(x) or isinstance(x, (*HOLDERS, SymText, Grown, Walked, keyed.Keyed, ContainerRow)) \
        or not static and isinstance(getattr(x, "__dict__", None), dict)
    if own and engine.heap.index.get(id(x), engine.heap.own) >= engine.heap.own:
        engine.refuse("DY209", "`id` of what this call is given or makes", "its result would be fixed at capture",
                      "compare with `is`, or use the object itself or its place as the key")
    return id(x)


def _extreme(name: str) -> Callable[..., Any]:
    function = getattr(builtins, name)

    def pick(engine: Any, *args: Any, **kwargs: Any) -> Any:
        args = (_drained(engine, args[0]),) if len(args) == 1 else args
        kwargs = {**kwargs, "key": twin(engine, kwargs["key"])} if kwargs.get("key") is not None else kwargs
        if args and isinstance(args[0], Walked):
            return _of_walked(args[0], name, kwargs)
        if args and is_grown(args[0]):
            otherwise = (kwargs["default"],) if "default" in kwargs else ()
            return comprehend.extreme(args[0], name, kwargs.get("key") or (lambda x: x), otherwise)
        items = args if len(args) > 1 else _peek(args[0] if args else ())
        if kwargs or not any(map(is_number, items)) or not all(isinstance(i, (int, float, *SYMBOLIC)) for i in items):
            return function(*args, **kwargs)
        if any(isinstance(i, (float, torch.SymFloat)) for i in items) and not all(isinstance(i, (float, torch.SymFloat)) for i in items):
            return function(*args)
        best = items[0]
        for item in items[1:]:
            best = _pair(engine, name, best, item)
        return best

    return pick


def _of_walked(items: Any, name: str, kwargs: Any) -> Any:
    """The greatest or least of what a set or dict holds."""
    otherwise = (kwargs["default"],) if "default" in kwargs else ()
    if not items:
        return comprehend.extreme((), name, None, otherwise)
    rows = items.sequence()
    if kwargs.get("key") is None and rows.form.structure == LEAF and rows.form.columns[0].kind == "int":
        engine = rows.engine
        return engine.do(torch.Tensor.item, engine.do(getattr(torch, f"a{name}"), rows.columns[0]))
    key = kwargs.get("key")
    return comprehend.extreme(rows, name, lambda x: x, otherwise) if key is None else comprehend.extreme_by(items.walk(), name, key)


def _peek(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (list, tuple)) else ()


def _pair(engine: Any, name: str, a: Any, b: Any) -> Any:
    if any(isinstance(x, (bool, torch.SymBool)) for x in (a, b)):  # which of two equal ones is given, shows
        return (b if b > a else a) if name == "max" else b if b < a else a
    if isinstance(a, (float, torch.SymFloat)):
        if not is_number(a) and not is_number(b):
            return getattr(builtins, name)(a, b)
        return torch.SymFloat(FloatNode(Expr(name, (scalar_of(a), scalar_of(b)), "float"), engine))
    return (torch.sym_max if name == "max" else torch.sym_min)(a, b)


def _math(engine: Any, function: Any, *args: Any) -> Any:
    args = tuple(map(number_of, args))
    if not any(map(is_number, args)):
        return function(*args)
    name = function.__name__
    if name == "log" and len(args) == 2:  # as CPython's math.log computes it
        return _math(engine, function, args[0]) / _math(engine, function, args[1])
    if name in OUTSIDE and engine.caught() and OUTSIDE[name](*args):
        raise of_model(ValueError("math domain error"))
    scalars = tuple(scalar_of(a) for a in args)
    if name in INTEGRAL:
        return args[0] if isinstance(args[0], torch.SymInt) else engine.integer(Expr(f"math.{name}", scalars, "int"))
    from dync.ir.scalars import SCALAR_OPS

    if f"math.{name}" not in SCALAR_OPS:
        return function(*args)
    if name in LOGICAL:
        from dync.capture.scalars import BoolNode

        return torch.SymBool(BoolNode(Expr(f"math.{name}", scalars, "bool"), engine))
    return torch.SymFloat(FloatNode(Expr(f"math.{name}", scalars, "float"), engine))


def _is_close(engine: Any, a: Any, b: Any, *, rel_tol: Any = 1e-09, abs_tol: Any = 0.0) -> Any:
    """`math.isclose`, as CPython computes it."""
    a, b, rel_tol, abs_tol = map(number_of, (a, b, rel_tol, abs_tol))
    if not any(map(is_number, (a, b, rel_tol, abs_tol))):
        return math.isclose(a, b, rel_tol=rel_tol, abs_tol=abs_tol)
    if rel_tol < 0 or abs_tol < 0:
        raise of_model(ValueError("tolerances must be non-negative"))
    a, b, rel_tol, abs_tol = (as_float(engine, x) if is_number(x) else float(x) for x in (a, b, rel_tol, abs_tol))
    apart = _math(engine, math.fabs, b - a)
    near = (apart <= _math(engine, math.fabs, rel_tol * b)) | (apart <= _math(engine, math.fabs, rel_tol * a)) | (apart <= abs_tol)
    return (a == b) | (near & _math(engine, math.isfinite, a) & _math(engine, math.isfinite, b))


def _walked(engine: Any, items: Any) -> bool:
    """Whether Python's own loop over `items` is to be one that is marked: over a list of unknown length, or a generator that forks."""
    return is_grown(items) or isinstance(items, types.GeneratorType) and engine.is_marked(items.gi_code)


def _drained(engine: Any, items: Any) -> Any:
    """The list of what a generator that forks gives; anything else as it is."""
    items = taken(items)
    if is_grown(items) or not _walked(engine, items):
        return items
    return engine.collected(items)


def _sum(engine: Any, items: Any, start: Any = 0) -> Any:
    items = taken(items)
    if isinstance(items, Walked):
        rows = items.sequence()
        if rows.form.structure == LEAF and rows.form.columns[0].kind in ("int", "bool"):
            return start + engine.item_of_sum(rows)
        items = rows
    return comprehend.total(items, start) if _walked(engine, items) else sum(items, start)


def _popped(engine: Any, items: list[Any], index: Any) -> Any:
    """Which place of Python's list `pop` takes out."""
    index = engine.place_of(index)
    return index if not isinstance(index, torch.SymInt) else engine.place_in(items, index) if items else 0


def _index(engine: Any, function: Any, value: Any, start: Any = 0, stop: Any = None) -> int:
    """`list.index`, which writes a value that is not there into its message."""
    items = function.__self__
    if not is_number(value) and not any(map(is_number, items)):
        return function(value, start, len(items) if stop is None else stop)
    for n in range(len(items))[start:stop]:
        if items[n] is value or items[n] == value:
            return n
    raise of_model(ValueError(join(engine, [formatted(engine, value, ord("r"), ""), " is not in list"])))


def _of_text(engine: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
    """A method of a literal text, which may be given others."""
    if not any(type(a) is SymText for a in args):
        return function(*args, **kwargs)
    return getattr(SymText(engine, [function.__self__], {}), function.__name__)(*args, **kwargs)


def _text(engine: Any, item: Any, place: Any) -> Any:
    """An item that `str.join` is given."""
    if isinstance(item, str) or type(item) is SymText:
        return item
    said = ["sequence item ", formatted(engine, place, -1, ""), f": expected str instance, {class_name(item)} found"]
    raise of_model(TypeError(join(engine, said)))


def _join(engine: Any, function: Any, items: Any) -> Any:
    """`str.join`, of texts some of which hold numbers of the run."""
    pending: Any = items.pending if isinstance(items, Once) else ()
    if pending and pending[0] is type(engine).comprehend:  # the texts of a generator expression make no list
        _, _, walk, _, one = pending
        items.pending = ()
        return comprehend.joined(function.__self__, taken(walk), one, functools.partial(_text, engine))
    texts = _drained(engine, items)
    if is_grown(texts):
        return comprehend.joined(function.__self__, texts, lambda text: (text,), functools.partial(_text, engine))
    texts = list(texts)
    if not any(isinstance(t, SymText) for t in texts):
        return function(texts)
    return join(engine, [p for n, t in enumerate(texts) for p in ([function.__self__] * (n > 0) + [_text(engine, t, n)])])


def _map(engine: Any, function: Any, *items: Any) -> Any:
    function, items = twin(engine, function), tuple(map(iterated, items))
    if not any(is_walk(engine, i) for i in items):
        return map(function, *items)
    walk = taken(items[0]) if len(items) == 1 else Paired(tuple(map(taken, items)))
    apply = function if len(items) == 1 else lambda item: function(*item)
    place = f"the list of the map at {engine.span()}"
    return Once(engine, [], (type(engine).comprehend, place, walk, lambda them: map(apply, them), lambda item: (apply(item),)))


def _sorted(engine: Any, items: Any, *, key: Any = None, reverse: Any = False) -> Any:
    items = taken(items)
    key, reverse = key and twin(engine, key), bool(reverse) if isinstance(reverse, torch.SymBool) else reverse
    if _walked(engine, items):
        return engine.sort(items, key, reverse)
    items = items if type(items) is list else list(items)
    keys = items if key is None else [key(item) for item in items]
    engine.many_to_compare(items, keys)
    return [items[n] for n in sorted(range(len(items)), key=keys.__getitem__, reverse=reverse)]


def _sort(engine: Any, items: list[Any], *, key: Any = None, reverse: Any = False) -> None:
    items[:] = _sorted(engine, items, key=key, reverse=reverse)


def _holds(name: str) -> Callable[..., Any]:
    function = getattr(builtins, name)

    def holds(engine: Any, items: Any) -> Any:
        items = items.sequence() if isinstance(items, Walked) else taken(items, False)
        return comprehend.holds(items, name == "any") if _walked(engine, items) else function(items)

    return holds


def _copied(kind: type) -> Callable[..., Any]:
    def copy(engine: Any, *args: Any, **kwargs: Any) -> Any:
        most = args[1] if len(args) == 2 else kwargs.get("maxlen")
        bounded = kind is collections.deque and most is not None
        items = _drained(engine, args[0]) if args and len(args) + len(kwargs) == 1 + bounded else None
        if isinstance(items, Walked):
            items = items.in_order("making a list of") if isinstance(items, KeyedSet) else items.sequence()
        if isinstance(items, (SymRange, Parts, Paired, ArrayRows)) or isinstance(items, torch.Tensor) and is_walk(engine, items):
            items = engine.collected(items)
        if isinstance(items, Grown):
            made = items.converted(f"deque:{most}" if bounded else KINDS[kind])
            return made._like(made.within(made.columns))
        return kind(*args, **kwargs) if items is None else kind(items, most) if bounded else kind(items)

    return copy


def _enumerate(engine: Any, items: Any, start: Any = 0) -> Any:
    items = items.walk() if isinstance(items, (keyed.Keyed, View)) else taken(items)
    return Once(engine, Paired((items,), start)) if is_walk(engine, items) else enumerate(items, start)


def _zip(engine: Any, *parts: Any, **kwargs: Any) -> Any:
    parts = tuple(p.walk() if isinstance(p, (keyed.Keyed, View)) else taken(p, False) for p in parts)
    fit = not kwargs and all(is_grown(p) or isinstance(p, (list, tuple, torch.Tensor)) for p in parts)
    if fit and any(is_walk(engine, p) for p in parts):
        return Once(engine, Paired(parts))
    return zip(*parts, **kwargs)


def _iter(engine: Any, items: Any, *stop: Any) -> Any:
    if isinstance(items, Once):
        return items
    parts = isinstance(items, (Grown, Parts, torch.Tensor)) and is_walk(engine, items)
    walked = items if parts else items.walk() if isinstance(items, (keyed.Keyed, View)) else None
    given: Any = (items, *stop)
    return iter(*given) if walked is None else Once(engine, walked)


def _reversed(engine: Any, items: Any) -> Any:
    turned: Any = items
    if isinstance(items, SymRange) and items.step in (1, -1):
        return Once(engine, SymRange(items.stop - items.step, items.start - items.step, -items.step))
    turned = turned.sequence() if isinstance(turned, Walked) else turned
    return Once(engine, turned.reversed()) if isinstance(turned, Grown) else reversed(turned)


def _pad_sequence(engine: Any, sequences: Any, *how: Any, **kwargs: Any) -> Any:
    padded = sequences.padded if isinstance(sequences, Grown) else functools.partial(pad_sequence, sequences)
    return padded(*how, **kwargs)


_TWINS: dict[Any, Callable[..., Any]] = {
    sum: _sum, any: _holds("any"), all: _holds("all"), list: _copied(list), tuple: _copied(tuple), enumerate: _enumerate, zip: _zip,
    collections.deque: _copied(collections.deque), reversed: _reversed, iter: _iter,
    int: _int, float: _float, round: _round, len: _len, str: _str, range: _range, isinstance: _isinstance, type: _type,
    divmod: _divmod, map: _map, sorted: _sorted, "in": _in, repr: _repr, format: _format, chr: _chr, id: _id,
    **{made: _typed(made, dtype) for made, dtype in _OLD.items()}, **stdlib.TWINS,
    min: _extreme("min"), max: _extreme("max"), pad_sequence: _pad_sequence}
