"""Which of the user's functions the code on the stack can come to: those that it names, among all that its modules and the model hold."""

from __future__ import annotations

import collections
import functools
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from dync.capture.places import can_mark, is_users_own

ATOMS = (str, int, float, bool, bytes, type(None), torch.Tensor, nn.Parameter, torch.dtype)
HOLDERS = (dict, list, tuple, set, frozenset, collections.deque)


def names_in(code: types.CodeType) -> set[str]:
    """Names that code asks for, and the functions that it makes."""
    return {*code.co_names}.union(*(names_in(c) for c in code.co_consts if isinstance(c, types.CodeType)))


def within_reach(start: Iterable[types.CodeType], roots: Iterable[Any]) -> list[types.FunctionType]:
    """The user's functions, but for those of installed packages, that have a name for which such code asks, or code of these asks.

    roots: globals and objects that lead to them, also by way of what these functions' own modules hold.
    """
    by_name: dict[str, list[types.FunctionType]] = {}
    for f in functions_in(roots):
        by_name.setdefault(f.__code__.co_name, []).append(f)
    new = {"forward", *(n for n in by_name if n.startswith("__"))}.union(*map(names_in, start)) & by_name.keys()
    seen = new
    while new:
        new = set().union(*(names_in(f.__code__) for n in new for f in by_name[n])) & by_name.keys() - seen
        seen = seen | new
    return [f for n in sorted(seen) for f in by_name[n]]


def functions_in(roots: Iterable[Any]) -> Iterator[types.FunctionType]:
    """The user's functions that roots lead to. Objects of other classes than the user's and torch's modules lead nowhere."""
    walk, seen, stack = _Walk(), dict[int, Any](), list(roots)
    while stack:
        x = stack.pop()
        if id(x) in seen or type(x) in ATOMS:
            continue
        seen[id(x)] = x
        if isinstance(x, types.FunctionType) and is_users(x.__code__):
            yield x
        stack += walk.held_by(x)


class _Walk:
    """Says what leads where, and which classes are the user's, each asked about once."""

    def __init__(self) -> None:
        self.classes: dict[type, bool] = {}

    def held_by(self, x: Any) -> Iterable[Any]:
        """What a value leads to on the way to functions."""
        match x:
            case _ if type(x) in HOLDERS:
                return x.values() if type(x) is dict else x
            case types.FunctionType():
                home = [x.__globals__] if is_users(x.__code__) else []
                more = (*(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values(), *x.__dict__.values())
                return [*home, *map(_content, x.__closure__ or ()), *more]
            case types.MethodType():
                return x.__func__, x.__self__
            case staticmethod() | classmethod():
                return (x.__func__,)
            case property():
                return x.fget, x.fset, x.fdel
            case functools.cached_property():
                return (x.func,)
            case functools.partial() | functools.partialmethod():
                return x.func, *x.args, *x.keywords.values()
            case types.ModuleType():
                return (vars(x),) if is_users_module(x) else ()
            case type():
                return (*vars(x).values(), *x.__bases__) if self.is_users_class(x) else ()
        if not isinstance(x, nn.Module) and not self.is_users_class(type(x)):
            return ()
        own = getattr(x, "__dict__", None)
        inside = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ()
        return (type(x), *inside, *(own.values() if type(own) is dict else ()))

    def is_users_class(self, cls: type) -> bool:
        """Whether a class, or one that it is made of, is the user's."""
        if cls not in self.classes:
            module = sys.modules.get(cls.__module__)
            coded = any(isinstance(f, types.FunctionType) and is_users(f.__code__) for f in vars(cls).values())
            users = coded or module is not None and is_users_module(module)
            self.classes[cls] = users or any(map(self.is_users_class, cls.__bases__))
        return self.classes[cls]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def is_users(code: types.CodeType) -> bool:
    return is_users_own(code.co_filename) and can_mark(code)


def is_users_module(module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return module.__name__ == "__main__" or isinstance(file, str) and is_users_own(file)
