"""Differential testing: a compiled program against the eager model, on inputs that drive every decision both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dync.verify.report import Report as Report
    from dync.verify.run import verify as verify

_PLACES = {"verify": "dync.verify.run", "Report": "dync.verify.report"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)
