"""Functions behind `functools.lru_cache`: for one capture each run has a cache of its own, so that no tensor of capture's is kept."""

from __future__ import annotations

import functools
import types
from typing import Any

from torch.utils._pytree import tree_leaves

from dync.capture.expressions import Expressions
from dync.capture.image import SYMBOLIC

Wrapper = functools._lru_cache_wrapper


class Cached:
    """Stands for a wrapped function: what it does beside giving its result is refused, for it would do that once only."""

    def __init__(self, engine: Expressions, original: Any) -> None:
        functools.update_wrapper(self, original)
        self.engine, self.original, self.run, self.kept = engine, original, -1, original

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        engine = self.engine
        if engine.finished:
            return self.original(*args, **kwargs)
        if self.run != engine.runs:  # another run has other stand-ins
            self.run, self.kept = engine.runs, functools.lru_cache(**self.original.cache_parameters())(self.original.__wrapped__)
        call = self.kept if not any(isinstance(a, SYMBOLIC) for a in tree_leaves((args, kwargs))) else self.original.__wrapped__
        outer, engine.caching = engine.caching, self.original.__qualname__
        before = _written(engine)
        try:
            result = call(*args, **kwargs)
            if _written(engine) != before:
                engine.once("writes state")
            return result
        finally:
            engine.caching = outer

    def __get__(self, x: Any, owner: Any = None) -> Any:
        return self if x is None else types.MethodType(self, x)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


def _written(engine: Expressions) -> list[tuple[int, Any, int]]:
    return [(n, key, id(new)) for n, key, _, new in engine.heap.changes()]


def open_caches(engine: Expressions, owners: list[Any], patch: Any) -> dict[int, tuple[Any, Any]]:
    """Puts a stand-in for each that modules, or classes that they define, hold; original and stand-in, by the original's id."""
    made: dict[int, tuple[Any, Any]] = {}

    def stand_in(x: Any) -> Any:
        return made.setdefault(id(x), (x, Cached(engine, x)))[1]

    for module in owners:
        for name, value in list(vars(module).items()):
            if isinstance(value, Wrapper):
                patch(module, name, stand_in(value))
            elif isinstance(value, type) and value.__module__ == module.__name__:
                for inner, x in list(vars(value).items()):
                    held = x.__func__ if isinstance(x, (staticmethod, classmethod)) else x
                    if isinstance(held, Wrapper):
                        patch(value, inner, stand_in(held) if held is x else type(x)(stand_in(held)))
    return made
