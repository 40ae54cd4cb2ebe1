"""What a model would do to files, processes and the network: nothing of it is done at capture, which is no call of the model."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from dync.capture.expressions import Expressions
from dync.capture.places import STDLIB

EVENTS = frozenset(
    "os.remove os.rename os.mkdir os.rmdir os.truncate os.link os.symlink os.chmod os.chown os.utime os.system os.exec os.fork"
    " os.posix_spawn os.putenv os.unsetenv os.startfile subprocess.Popen shutil.copyfile shutil.move shutil.rmtree shutil.copytree"
    " shutil.make_archive socket.connect socket.bind sqlite3.connect".split()
)
"""Of Python's audit events (https://docs.python.org/3/library/audit_events.html), told before it is done."""
WRITERS = ((torch, "save"), (np, "save"), (np, "savez"), (np, "savez_compressed"), (np, "savetxt"))
_watching: list[Callable[[str], None]] = []


def open_disk(engine: Expressions, by_model: Callable[[Expressions, Any], bool], patch: Callable[[Any, str, Any], None],
              undo: contextlib.ExitStack) -> None:
    """Refuses these, in functions of the model, before they are done. For one capture."""
    def watch(event: str) -> None:
        frame: Any = sys._getframe(2)
        while frame is not None and _is_pythons(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is not None and by_model(engine, frame):
            engine.refuse("DY209", f"`{event}` inside forward", "a compiled model only computes; nothing was done now",
                          "do it outside the model, with what it returns")

    def writer(name: str, original: Any) -> Any:
        def write(*args: Any, **kwargs: Any) -> Any:
            if by_model(engine, sys._getframe(1)):
                return engine.problem("DY209", f"`{name}` is called inside forward", "a compiled model only computes; nothing was done now",
                                      "do it outside the model, with what it returns")
            return original(*args, **kwargs)

        return write

    _hooked()
    _watching.append(watch)
    undo.callback(_watching.remove, watch)
    for owner, name in WRITERS:
        patch(owner, name, writer(f"{owner.__name__}.{name}", getattr(owner, name)))


def _is_pythons(file: str) -> bool:
    return file.startswith((STDLIB, "<frozen")) and "-packages" not in file


def written(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of `open`, with nothing as the file where it would be written."""
    mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
    if not isinstance(mode, str) or not set(mode) & set("wax+"):
        return args, kwargs
    mode = mode.replace("x", "w")
    kwargs = {k: v for k, v in kwargs.items() if k not in ("file", "mode", "opener")}
    return (os.devnull, mode, *args[2:7]), kwargs


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watching and event in EVENTS:
        for watch in _watching:
            watch(event)


@cache
def _hooked() -> None:
    """A hook stays as long as the process: it is added once."""
    sys.addaudithook(_hook)
