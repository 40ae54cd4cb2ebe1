"""What a model asks of the world outside of it (`dync.ir.outside`), and what it says there: done at run time, in its place.

Each function is replaced where code finds it: in its module, and in modules that imported it by name.
"""

from __future__ import annotations

import builtins
import contextlib
import datetime
import functools
import gc
import io
import logging
import os
import random
import secrets
import sys
import time
import types
import uuid
import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import sympy
import torch

from dync.capture.cached import Cached, open_caches
from dync.capture.disk import open_disk, written
from dync.capture.draws import asked
from dync.capture.expressions import Expressions
from dync.capture.heap import put as put_in
from dync.capture.places import DYNC, STDLIB, TORCH, is_library, is_user, is_users_own, span_of
from dync.capture.text import SymText, formatted, percent
from dync.ir.outside import CLOCKS

Patch = Callable[[Any, str, Any], None]
STATES = ("getstate", "setstate", "get_state", "set_state")
"""What generators are asked for without a draw."""
GIVE_ON = ("os.py", "_collections_abc.py", "pathlib.py")
"""Files of Python's library whose functions ask for others: `os.getenv` and `Path.read_text`."""
LEVELS = {"log": None, "debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "exception": 40, "critical": 50, "fatal": 50}
MACHINERY = (DYNC, *(os.path.dirname(str(m.__file__)) + os.sep for m in (sympy, mpmath)))
"""Packages that capture runs on."""


def say(engine: Expressions, op: str, *args: Any, frame: Any) -> None:
    """Has the host say what comes from a line of the model."""
    span = span_of(frame)
    engine.effect(op, *args, span.file, span.line)


# ---- text -------------------------------------------------------------------------------------------------------------------------------


def _logged(engine: Expressions, logger: logging.Logger, level: int, text: Any, *values: Any, frame: Any) -> None:
    text = text if isinstance(text, (str, SymText)) else formatted(engine, text, ord("s"), "")
    if values:
        text = percent(engine, text, values[0] if len(values) == 1 and isinstance(values[0], dict) and values[0] else values)
    say(engine, "log", logger.name, level, text, frame=frame)


def _warned(engine: Expressions, message: Any, category: Any, frame: Any) -> None:
    category = type(message) if isinstance(message, Warning) else category or UserWarning
    name = getattr(category, "__name__", str(category))
    if getattr(builtins, name, None) is not category:
        engine.refuse("DY211", f"the model warns with {name}", "the class may be absent at run time", "warn with a class of Python's own")
    text = message if isinstance(message, (str, SymText)) else formatted(engine, message, ord("s"), "")
    say(engine, "warn", name, text, frame=frame)


class Output:
    """`sys.stdout` or `sys.stderr` for the model: what it writes there is written at run time."""

    def __init__(self, engine: Expressions, stream: Any, errors: bool) -> None:
        self._engine, self._stream, self._errors = engine, stream, errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: Any) -> Any:
        if not by_model(self._engine, sys._getframe(1)):
            return self._stream.write(text)
        self._engine.put_out(text, self._errors)
        return len(text) if isinstance(text, str) else 0


# ---- where it is replaced ---------------------------------------------------------------------------------------------------------------


def by_model(engine: Expressions, frame: Any, once: bool = False) -> bool:
    """Whether the model's code calls. once: also what it says once in a process, behind `functools.lru_cache`."""
    code, above = frame.f_code, frame
    if not is_user(code) or is_library(code) or code.co_filename.startswith(MACHINERY):
        return False
    while above is not None and above is not engine.root_frame:
        above = above.f_back
    if above is None:
        return False
    found: Any = frame.f_globals.get(code.co_qualname.partition(".")[0])
    for name in code.co_qualname.split(".")[1:]:
        found = getattr(found, name, None)
    return once or not isinstance(found, (functools._lru_cache_wrapper, Cached))


def open_world(engine: Expressions, patch: Patch, undo: contextlib.ExitStack) -> None:
    """Has the functions done at run time, and refuses others that would be fixed at capture. For one capture."""
    twins: dict[int, tuple[Any, Any]] = {}
    undo.callback(lambda: engine.heap.swap({id(twin): original for original, twin in twins.values()}))  # when all are put back

    def put(owner: Any, name: str, new: Any) -> None:
        twins[id(getattr(owner, name))] = getattr(owner, name), new
        patch(owner, name, new)

    for owner, names, seeded in ((random, random.__all__, random.Random(0)), (np.random, np.random.__all__, np.random.RandomState(0)),
                                 (torch, ("manual_seed", "seed"), None)):
        for name in names:
            if not isinstance(getattr(owner, name), type) and name not in STATES:
                stand_in = getattr(seeded, name, getattr(owner, name))
                put(owner, name, _draws(engine, f"{owner.__name__}.{name}", getattr(owner, name), stand_in))
    for clock in CLOCKS:
        name = clock.partition(".")[2]
        put(time, name, _tells(engine, clock, getattr(time, name)))
    for owner, name in ((builtins, "open"), (io, "open"), (uuid, "uuid1"), (uuid, "uuid4"), (os, "urandom"), (secrets, "token_hex")):
        put(owner, name, _fixed(engine, f"{owner.__name__}.{name}".removeprefix("builtins.").removeprefix("io."), getattr(owner, name)))
    for name in ("__setitem__", "__delitem__"):
        patch(os._Environ, name, _fixed(engine, "os.environ", getattr(os._Environ, name), "write it outside the model", done=False))
    patch(os._Environ, "__getitem__", _fixed(engine, "os.environ", os._Environ.__getitem__, "read it in `__init__`", is_users_own))
    open_disk(engine, by_model, put, undo)
    put(datetime, "datetime", _dates(engine))
    put(warnings, "warn", _warns(engine, warnings.warn))
    for name, level in LEVELS.items():
        patch(logging.Logger, name, _logs(engine, level, getattr(logging.Logger, name)))
    modules = [m for m in sys.modules.values() if isinstance(m, types.ModuleType) and not _is_pythons(m)]
    twins |= open_caches(engine, modules, patch)
    for module in modules:
        for name, value in list(vars(module).items()):
            if id(value) in twins and value is twins[id(value)][0]:
                patch(module, name, twins[id(value)][1])
    for x, key, value in list(engine.heap.holding(twins)):
        with contextlib.suppress(TypeError):  # a default argument stays, and is found out where it draws
            put_in(x, key, twins[id(value)][1])
            undo.callback(put_in, x, key, value)
    engine.heap.swap({n: twin for n, (_, twin) in twins.items()})
    undo.callback(gc.callbacks.extend, list(gc.callbacks))  # they run within whatever runs, and are not the model's
    gc.callbacks.clear()
    patch(sys, "stdout", Output(engine, sys.stdout, False))
    patch(sys, "stderr", Output(engine, sys.stderr, True))


def _is_pythons(module: types.ModuleType) -> bool:
    """Whether a module is Python's own, torch's or dync's: these call the functions that are there for them."""
    file = vars(module).get("__file__")
    library = isinstance(file, str) and file.startswith(STDLIB) and "-packages" not in file
    return library or module.__name__ != "__main__" and not (isinstance(file, str) and not file.startswith((TORCH, *MACHINERY)))


def _draws(engine: Expressions, name: str, original: Any, seeded: Any) -> Any:
    """seeded: the same function of a generator whose draws do no harm, or `original` itself."""
    def draw(*args: Any, **kwargs: Any) -> Any:
        if engine.finished:  # a module that was imported meanwhile has kept this
            return original(*args, **kwargs)
        result = asked(engine, name, args, kwargs)
        if result is NotImplemented and name.endswith("default_rng") and args and type(args[0]) is int:
            return original(*args)  # the same in each call
        if result is NotImplemented:
            engine.problem("DY209", f"`{name}` is called inside forward", "its result would be fixed at capture",
                           "draw with torch.rand and friends, or one number at a time, and seed outside the model")
            return seeded(*args, **kwargs) if seeded is not original else None
        return result

    return draw


def _tells(engine: Expressions, name: str, original: Any) -> Any:
    def tell(*args: Any, **kwargs: Any) -> Any:
        result = asked(engine, name, args, kwargs) if by_model(engine, sys._getframe(1), True) else NotImplemented
        return original(*args, **kwargs) if result is NotImplemented else result

    return tell


def _fixed(engine: Expressions, name: str, original: Any, remedy: str = "do it outside the model, and give it what comes of it",
           where: Callable[[str], bool] = bool, done: bool = True) -> Any:
    """Refuses the function in files of a kind: for environment variables the user's own, for packages are configured by them.

    done: whether it is done all the same, so that capture can go on.
    """
    def refuse(*args: Any, **kwargs: Any) -> Any:
        frame: Any = sys._getframe(1)
        while frame.f_code.co_filename.startswith("<frozen") or os.path.basename(frame.f_code.co_filename) in GIVE_ON:
            frame = frame.f_back
        if by_model(engine, frame) and where(frame.f_code.co_filename):
            engine.problem("DY209", f"`{name}` is used inside forward", "its result would be fixed at capture", remedy)
            if name == "open":
                args, kwargs = written(args, kwargs)
            elif not done:
                return None
        return original(*args, **kwargs)

    return refuse


def _dates(engine: Expressions) -> type:
    """`datetime.datetime`, but for what asks for the time."""
    original = datetime.datetime

    class Kind(type):
        def __instancecheck__(cls, x: Any) -> bool:
            return isinstance(x, original)

    class Dates(original, metaclass=Kind):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return original(*args, **kwargs)

        now, utcnow, today = (staticmethod(_fixed(engine, f"datetime.datetime.{name}", getattr(original, name)))
                              for name in ("now", "utcnow", "today"))

    return Dates


def _warns(engine: Expressions, original: Any) -> Any:
    def warn(message: Any, category: Any = None, stacklevel: int = 1, source: Any = None) -> None:
        frame = sys._getframe(1)
        if by_model(engine, frame):
            _warned(engine, message, category, frame)
        else:
            original(message, category, stacklevel + 1, source)

    return warn


def _logs(engine: Expressions, level: int | None, original: Any) -> Any:
    def log(logger: logging.Logger, *args: Any, **kwargs: Any) -> None:
        frame: Any = sys._getframe(1)
        while frame.f_code.co_filename == logging.__file__:
            frame = frame.f_back
        if by_model(engine, frame):
            given: tuple[Any, ...] = args if level is None else (level, *args)
            if is_users_own(frame.f_code.co_filename) or logger.isEnabledFor(given[0]):  # how much packages say is their configuration
                _logged(engine, logger, *given, frame=frame)
        else:
            original(logger, *args, **kwargs)

    return log
