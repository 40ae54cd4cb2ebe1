"""Which of the user's functions the code on the stack can come to: those that it names, among all that its modules and the model hold."""

from __future__ import annotations

import collections
import enum
import functools
import itertools
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dync.capture.places import can_mark, is_users_own

ATOMS = (str, int, float, bool, bytes, type(None), torch.Tensor, nn.Parameter, torch.dtype)
Named = tuple[str | None, Any]
HOME = "globals()"
"""The name under which globals are held."""
HOLDERS = (dict, list, tuple, set, frozenset, collections.deque)


def names_in(code: types.CodeType) -> set[str]:
    """Names that code asks for, and the functions that it makes."""
    return {*code.co_names}.union(*(names_in(c) for c in code.co_consts if isinstance(c, types.CodeType)))


def within_reach(start: Iterable[types.CodeType], homes: Iterable[dict[str, Any]], held: Iterable[Any]) -> list[types.FunctionType]:
    """The user's functions, but for those of installed packages, that have a name for which such code asks, or code of these asks.

    homes: globals that lead to them, and held: objects that do, also by way of what the modules of these functions hold. What is held
    without a name, as in a list or closure, counts as asked for.
    """
    every = functions_in([*((HOME, home) for home in homes), *((None, x) for x in held)])
    by_name: dict[str | None, list[types.FunctionType]] = {}
    for f, held_as in every:
        for name in {f.__code__.co_name, *held_as}:
            by_name.setdefault(name, []).append(f)
    new = {"forward", None, *(n for n in by_name if n is not None and n.startswith("__"))}.union(*map(names_in, start)) & by_name.keys()
    seen = new
    while new:
        new = set[Any]().union(*(names_in(f.__code__) for n in new for f in by_name[n])) & by_name.keys() - seen
        seen = seen | new
    return [f for f, held_as in every if not seen.isdisjoint((f.__code__.co_name, *held_as))]


def functions_in(roots: list[Named]) -> list[tuple[types.FunctionType, set[str | None]]]:
    """The user's functions that roots lead to, each with the names under which it is held; None for one without.

    Objects of other classes than the user's and torch's modules lead nowhere.
    """
    walk, seen, found = _Walk(), dict[int, Any](), dict[int, tuple[types.FunctionType, set[str | None]]]()
    stack = [*roots]
    while stack:
        name, x = stack.pop()
        if type(x) in ATOMS:
            continue
        if isinstance(x, types.FunctionType) and is_users(x.__code__):
            found.setdefault(id(x), (x, set()))[1].add(name)
        if id(x) not in seen:
            seen[id(x)] = x
            stack += walk.held_by(name, x)
    return [*found.values()]


@dataclass(frozen=True)
class Around:
    """What the model's code may write beside the model. homes: globals of modules; held: classes, and what functions hold, by name."""

    homes: list[dict[str, Any]]
    held: dict[str, Any]


def around(model: Any) -> Around:
    """All that the user's own functions and classes lead to, from a model or function; of packages the classes of the model's modules."""
    modules = {type(m) for m in model.modules()} if isinstance(model, nn.Module) else set()
    foreign = ("torch", "builtins", "typing", "abc")
    above = {cls for kind in modules for cls in kind.__mro__ if cls.__module__.partition(".")[0] not in foreign}
    walk, seen, homes = _Walk(), dict[int, Any](), dict[int, dict[str, Any]]()
    found = {f"{cls.__module__}:{cls.__qualname__}": cls for cls in sorted(above, key=lambda c: (c.__module__, c.__qualname__))}
    stack: list[Named] = [(None, model), *((None, cls) for cls in found.values())]
    while stack:
        name, x = stack.pop()
        if type(x) in ATOMS or id(x) in seen:
            continue
        seen[id(x)] = x
        if name == HOME:
            homes[id(x)] = x
        elif isinstance(x, type) and walk.is_users_class(x) and not issubclass(x, enum.Enum):
            found.setdefault(f"{x.__module__}:{x.__qualname__}", x)
        elif isinstance(x, types.FunctionType) and is_users(x.__code__):
            at = f"{x.__module__}:{x.__qualname__}"
            names = x.__code__.co_varnames[:x.__code__.co_argcount]
            given = {**dict(zip(names[::-1], (x.__defaults__ or ())[::-1])), **(x.__kwdefaults__ or {})}
            found |= {f"{at}.{n}": v for n, v in given.items() if not isinstance(v, ATOMS)}
            found |= {at: x.__dict__} if x.__dict__ else {}
        stack += walk.held_by(name, x)
    return Around([*homes.values()], found)


class _Walk:
    """Says what leads where, and which classes are the user's, each asked about once."""

    def __init__(self) -> None:
        self.classes: dict[type, bool] = {}

    def held_by(self, name: str | None, x: Any) -> Iterable[Named]:
        """What a value that is held under a name leads to on the way to functions."""
        match x:
            case dict() if name == HOME:
                return x.items()
            case _ if type(x) in HOLDERS:
                return zip(itertools.repeat(None), x.values() if type(x) is dict else x)
            case types.FunctionType():
                cells = map(_content, x.__closure__ or ())
                more = (*cells, *(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values(), *x.__dict__.values())
                home = ((HOME, x.__globals__), *((None, m) for m in imported(x))) if is_users(x.__code__) else ()
                return (*home, *((None, v) for v in more))
            case types.MethodType():
                return (name, x.__func__), (None, x.__self__)
            case staticmethod() | classmethod():
                return ((name, x.__func__),)
            case property():
                return (name, x.fget), (name, x.fset), (name, x.fdel)
            case functools.cached_property():
                return ((name, x.func),)
            case functools.partial() | functools.partialmethod():
                return (name, x.func), *((None, v) for v in (*x.args, *x.keywords.values()))
            case types.ModuleType():
                return ((HOME, vars(x)),) if is_users_module(x) else ()
            case type():
                return (*vars(x).items(), *((None, c) for c in x.__bases__)) if self.is_users_class(x) else ()
        if not isinstance(x, nn.Module) and not self.is_users_class(type(x)):
            return ()
        own = getattr(x, "__dict__", None)
        inside = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ()
        return (None, type(x)), *((None, v) for v in inside), *(own.items() if type(own) is dict else ())

    def is_users_class(self, cls: type) -> bool:
        """Whether a class, or one that it is made of, is the user's."""
        if cls not in self.classes:
            module = sys.modules.get(cls.__module__)
            coded = any(isinstance(f, types.FunctionType) and is_users(f.__code__) for f in vars(cls).values())
            users = coded or module is not None and is_users_module(module)
            self.classes[cls] = users or any(map(self.is_users_class, cls.__bases__))
        return self.classes[cls]


def imported(function: types.FunctionType) -> Iterator[types.ModuleType]:
    """Modules that bear a name in the code of a function: what it imports itself is not among its globals."""
    package = function.__globals__.get("__package__") or ""
    above = [package.rsplit(".", n)[0] + "." for n in range(package.count(".") + 1)] if package else []
    for name in names_in(function.__code__):
        for prefix in ("", *above):
            if (module := sys.modules.get(prefix + name)) is not None:
                yield module


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def is_users(code: types.CodeType) -> bool:
    return is_users_own(code.co_filename) and can_mark(code)


def is_users_module(module: types.ModuleType) -> bool:
    if type(module).__module__.startswith("torch."):  # torch.ops and what is in it
        return False
    file = getattr(module, "__file__", None)
    return module.__name__ == "__main__" or isinstance(file, str) and is_users_own(file)
