"""Functions of torch whose C++ takes plain numbers, called with numbers known only at run time (`F.avg_pool2d(x, k)`).

They are recorded as the ATen operation that they are. What form their results have is found by trying them on zeros, with several
numbers: the rank and the dtype must be the same with all, and none may be a view. Sizes are read at run time.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, cast
from unittest import mock

import sympy
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from dync.capture.memory import storage_of
from dync.capture.scalars import scalar_of

aten = torch.ops.aten
ASKING = frozenset({"has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"})
"""By which torch's Python functions ask whether a mode is to have the call."""
NUMBERS = (1, 2, 3, 5)
"""What is tried for the numbers."""
PRIMES = (23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)
"""What is tried for sizes, others with each number."""


class PlainWanted(TypeError):
    """Torch asks for the number behind one known only at run time."""


def wants_plain(error: BaseException) -> bool:
    """Whether torch's C++ has asked for a plain number where it got a symbolic one."""
    return isinstance(error, TypeError) and "Sym" in str(error)


class PlainNumbers(TorchFunctionMode):
    """Records the calls that take plain numbers alone; others go their way."""

    def __init__(self, recorder: Any) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        try:
            return func(*args, **kwargs)
        except TypeError as error:
            if not wants_plain(error):
                raise
            bound = bind(func, args, kwargs)
            made = None if bound is None else record(self.recorder, *bound)
            if made is not None:
                return made
            asking = ASKING & func.__globals__.keys() if isinstance(func, FunctionType) else ()
            if not asking:
                raise
        with self, mock.patch.dict(func.__globals__, dict.fromkeys(asking, lambda *_: False)):  # what it calls of torch's C++
            return func(*args, **kwargs)


def bind(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any], dict[str, Any]] | None:
    """The ATen operation of a function of torch's C++, and its arguments; None where there is none for them."""
    packet = getattr(aten, getattr(func, "__name__", ""), None)
    named = {"self" if k == "input" else k: v for k, v in kwargs.items()}
    if named.get("return_indices") is False:  # only the Python side of max_pool2d and its like has it
        del named["return_indices"]
    for overload in (getattr(packet, n) for n in packet.overloads()) if packet is not None else ():
        schema = overload._schema.arguments
        places = [a for a in schema if not a.kwarg_only]
        shown = [r for r in (*schema, *overload._schema.returns) if r.alias_info is not None]
        if len(args) > len(places) or named.keys() - {a.name for a in schema} or shown and not _is_in_place(overload):
            continue
        pairs = [*zip(places, args), *((a, named[a.name]) for a in schema if a.name in named)]
        given = {a.name: _listed(a, v) for a, v in pairs if v is not None or not a.has_default_value()}
        if all(_fits(a, given[a.name]) if a.name in given else a.has_default_value() for a in schema):
            first = [a.name for a in places if a.name in given]
            whole = first == [a.name for a in places][:len(first)]
            return overload, [given[n] for n in first] if whole else [], {n: v for n, v in given.items() if not whole or n not in first}
    return None


def _is_in_place(func: Any) -> bool:
    """Whether an operation writes its first argument, and gives that."""
    written = [a for a in (*func._schema.arguments, *func._schema.returns) if a.alias_info is not None]
    return func._schema.name.endswith("_") and written[:1] == func._schema.arguments[:1] and len(written) == 2


def _listed(argument: Any, value: Any) -> Any:
    """One number for a list of a fixed length is all of it, as torch's C++ reads it."""
    one = isinstance(value, (int, torch.SymInt)) and kind_of(argument) == "List[int]" and argument.N
    return [value] * argument.N if one else value


def kind_of(argument: Any) -> str:
    kind = str(argument.type)
    return kind.removeprefix("Optional[").removesuffix("]") if kind.startswith("Optional[") else kind


def _fits(argument: Any, value: Any) -> bool:
    kind = kind_of(argument)
    if value is None:
        return "Optional" in str(argument.type)
    if kind == "Tensor":
        return isinstance(value, torch.Tensor)
    if kind == "int":
        return isinstance(value, (int, torch.SymInt))
    return isinstance(value, (list, tuple)) if kind.startswith("List") else not isinstance(value, torch.Tensor)


def record(recorder: Any, func: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The operation's result; None where its form cannot be told."""
    engine = recorder.engine
    if _is_in_place(func):
        return None if engine.caught() else recorder.plainly(func, tuple(args), kwargs, lambda: args[0])
    fakes = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    if torch.Tag.nondeterministic_seeded in func.tags:  # trying it would draw
        return None
    if engine.caught() or not all(t.is_contiguous() for t in fakes):  # what it raises comes when the block runs
        return None
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        tried = [found for number in NUMBERS if (found := _tried(func, args, kwargs, number)) is not None]
    if not tried or len({(t.dim(), t.dtype) for t in tried}) > 1 or not all(t.is_contiguous() for t in tried):
        return None
    like, device = tried[0], fakes[0].device if fakes else "cpu"
    shape = [engine.shape_env.new_symbol(0) for _ in range(like.dim())]
    return recorder.plainly(func, tuple(args), kwargs, lambda: torch.empty(shape, dtype=like.dtype, device=device))


def _tried(func: Any, args: Any, kwargs: Any, number: int) -> torch.Tensor | None:
    """What the operation gives of zeros, and this number for those known only at run time."""
    memory, given = set[int](), [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    symbols = dict.fromkeys(s for t in given for size in t.shape for s in getattr(scalar_of(size), "free_symbols", ()))
    values = {s: sympy.Integer(PRIMES[(n + number) % len(PRIMES)]) for n, s in enumerate(symbols)}

    def known(x: Any) -> int:
        whole = scalar_of(x)
        if not isinstance(whole, sympy.Basic):
            return number if isinstance(x, torch.SymInt) else int(x)
        return int(cast(Any, whole.xreplace({s: values.get(s, sympy.Integer(number)) for s in whole.free_symbols})))

    def stand_in(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            zeros = torch.zeros([known(s) for s in x.shape], dtype=x.dtype)
            memory.add(storage_of(zeros))
            return zeros
        if isinstance(x, torch.SymInt):
            return known(x)
        return float(number) if isinstance(x, torch.SymFloat) else bool(number % 2) if isinstance(x, torch.SymBool) else x

    try:
        found = func(*tree_map(stand_in, args), **tree_map(stand_in, kwargs))
    except (RuntimeError, IndexError, ValueError, TypeError):
        return None
    return found if isinstance(found, torch.Tensor) and storage_of(found) not in memory else None
