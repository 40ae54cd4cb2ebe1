"""Random dynamic networks, run by dync and by eager PyTorch, and compared. `run` is what `dync fuzz` calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dync.verify.fuzz.generate import generate as generate
    from dync.verify.fuzz.report import FuzzReport as FuzzReport
    from dync.verify.fuzz.runner import run as run

_PLACES = {"run": "dync.verify.fuzz.runner", "FuzzReport": "dync.verify.fuzz.report", "generate": "dync.verify.fuzz.generate"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)
