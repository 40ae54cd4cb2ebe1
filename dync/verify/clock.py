"""The time as compared calls see it: from one look at a clock to the next it goes on by one step, and a sleep is over at once.

Eager and compiled code take different times: what a model decides by them could not be compared.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

import dync
from dync.ir import outside
from dync.ir.flow import Flow

STEPS = (1_000_000, 50_000, 20_000_000, 500)
"""Nanoseconds from one look to the next, by the seed of a call."""
OWN = (os.path.dirname(dync.__file__) + os.sep, sysconfig.get_paths()["stdlib"] + os.sep, "<frozen")
_now, _step = [0], [STEPS[0]]


def restart(seed: int) -> None:
    """A call begins."""
    _now[0], _step[0] = 0, STEPS[seed % len(STEPS)]


@contextmanager
def steady(flow: Flow, model: nn.Module) -> Iterator[None]:
    """Gives the model's code and compiled code such clocks, where the program asks for the time; other code keeps Python's own."""
    if not any(op.op in outside.CLOCKS for block in flow.blocks for op in block.host):
        yield
        return
    with ExitStack() as undo:
        twins = {id(getattr(time, n)): _twin(n, getattr(time, n)) for n in (c.partition(".")[2] for c in outside.CLOCKS)}
        modules = [m for m in list(sys.modules.values()) if m is time or _is_models(getattr(m, "__file__", None) or "")]
        for owner in (*modules, *model.modules()):
            for name, value in list(vars(owner).items()):
                if id(value) in twins:
                    undo.callback(setattr, owner, name, value)
                    setattr(owner, name, twins[id(value)])
        yield


def _is_models(file: str) -> bool:
    return not file.startswith(OWN) and "-packages" not in file or file == outside.__file__


def _twin(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def look(*args: Any) -> Any:
        if not _is_models(sys._getframe(1).f_code.co_filename):
            return original(*args)
        _now[0] += round(args[0] * 1e9) if name == "sleep" else _step[0]
        return None if name == "sleep" else _now[0] if name.endswith("_ns") else _now[0] / 1e9

    return look
