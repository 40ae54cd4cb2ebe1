"""A Program behind a Runtime's interface: what verification is tried on where nothing need be compiled."""

from __future__ import annotations

from typing import Any

from dync.ir.interpret import initial_state, run
from dync.ir.program import Program
from dync.ir.trace import Trace


class Walked:
    """A runtime that interprets `program`. shown: what it claims to have been made from, `program` itself if None."""

    def __init__(self, program: Program, shown: Program | None = None) -> None:
        self.walked, self.program = program, shown or program
        self.flow = self.program.flow
        self.params = {p.name: p.default for p in program.signature.params}
        self.state: dict[str, Any] = {}
        initial_state(program, self.state)

    def reset_state(self) -> None:
        """First values again."""
        self.state.clear()
        initial_state(self.walked, self.state)

    def traced(self, *args: Any, **kwargs: Any) -> tuple[Any, Trace]:
        """The result and the way; the model's exception carries its way as `trace`."""
        done = run(self.walked, args, kwargs, self.params, state=self.state)
        if done.error is not None:
            done.error.trace = done.trace  # type: ignore[attr-defined]
            raise done.error
        return done.result, done.trace
