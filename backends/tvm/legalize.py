"""Legalisations in the place of TVM's own, where those do not compute what torch does. `install` puts them in, once."""

from __future__ import annotations

from functools import cache
from typing import Any

from dync.backends.tvm.door import te, tirx, tvm


@cache
def install() -> None:
    """For all later runs of LegalizeOps in this process."""
    for name, function in LEGAL.items():
        tvm.ir.register_op_attr(name, "FLegalize", function, level=11)


def relu(bb: Any, call: Any) -> Any:
    """NaN stays NaN; TVM's gives 0."""

    def compute(x: Any) -> Any:
        zero = tirx.const(0, str(x.dtype))
        return te.compute(x.shape, lambda *i: tirx.Select(x(*i) < zero, zero, x(*i)), name="relu")

    return bb.call_te(compute, call.args[0])


LEGAL = {"relax.nn.relu": relu}
