"""What tests compile with: a Program walked by `interpret`, behind a Runtime's interface, and eager modules for hand-built Programs."""

from __future__ import annotations

from typing import Any

import torch
from support.programs import CASES
from torch import nn

from dync.ir.interpret import initial_state, run


class Walked:
    """A runtime that interprets `program`; `shown` is what it claims to have been made from."""

    def __init__(self, program: Any, shown: Any = None) -> None:
        self.walked, self.flow = program, (shown or program).flow
        if shown is not False:
            self.program = shown or program
        self.params = {p.name: p.default for p in program.signature.params}
        self.state: dict[str, Any] = {}
        initial_state(program, self.state)

    def reset_state(self) -> None:
        self.state.clear()
        initial_state(self.walked, self.state)

    def traced(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        done = run(self.walked, args, kwargs, self.params, state=self.state)
        if done.error is not None:
            done.error.trace = done.trace  # type: ignore[attr-defined]
            raise done.error
        return done.result, done.trace


class Eager(nn.Module):
    """The eager function of a case, as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *args: torch.Tensor) -> Any:
        return CASES[self.name].eager(*args)
