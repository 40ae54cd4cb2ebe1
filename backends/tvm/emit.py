"""Operator of the translations → its Relax form. A form takes the builder, the inputs (None where absent) and the attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dync.backends.tvm import indexing, layers, pointwise, recurrent, reductions, structure

EMIT: Mapping[str, Callable[..., Any]] = {
    **pointwise.EMIT,
    **structure.EMIT,
    **reductions.EMIT,
    **indexing.EMIT,
    **layers.EMIT,
    **recurrent.EMIT,
}
