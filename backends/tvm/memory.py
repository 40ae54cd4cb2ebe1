"""Whose memory the results of a lowered function are: TVM gives out arguments, constants and one tensor twice where nothing is computed."""

from __future__ import annotations

from typing import Any

from dync.backends.tvm.door import relax


def borrowed(main: Any) -> list[int]:
    """Indices of the results of the lowered function whose memory is that of an argument, a constant, or a result before them."""
    values = {b.var: b.value for block in main.body.blocks for b in block.bindings}

    def origin(value: Any) -> Any:
        """The argument, the constant or the variable of the call that made the memory."""
        while True:
            bound = values.get(value, value) if isinstance(value, relax.Var) else value
            if isinstance(bound, relax.Call) and getattr(bound.op, "global_symbol", "") == "vm.builtin.reshape":
                value = bound.args[0]
            elif isinstance(bound, relax.Call) or bound is value:
                return value
            else:
                value = bound

    results = [origin(field) for field in values.get(main.body.body, main.body.body).fields]
    made = [isinstance(r, relax.Var) and r in values for r in results]
    return [i for i, r in enumerate(results) if not made[i] or r in results[:i]]
