"""Capture: the unmodified model and an example call in, a Program out. `capture` is the only door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dync.ir.program import Program


def capture(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None, *, dynamic_shapes: Any = None,
            params: Mapping[str, Any] | None = None, joins: bool = True) -> Program:
    """The Program of `model` on calls shaped like `model(*args, **kwargs)`.

    dynamic_shapes: torch.export's form. params: run-time parameters, {"threshold": (default, low, high)}, arguments or
    attributes by dotted path. joins=False gives the join-free program, a tree of all paths: slow, simple, the oracle.
    The model is left as it was. Raises CaptureError with file, line and remedy; UsageError for a bad call.
    """
    from dync.capture.session import Session

    return Session(model, tuple(args), dict(kwargs or {}), dynamic_shapes, params, joins).capture()
