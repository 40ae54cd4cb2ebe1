"""What is going on: a stage says so, and whoever listens shows it. Nobody listens by default."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol


class Listener(Protocol):
    """Shows stages; called in order begin, tick or say…, end."""

    def begin(self, stage: Stage) -> None: ...

    def tick(self, stage: Stage, done: int, total: int) -> None: ...

    def say(self, stage: Stage, line: str) -> None: ...

    def end(self, stage: Stage) -> None: ...


@dataclass
class Stage:
    """One stage of a long piece of work. `note` is its result in a few words; `seconds` counts up until it ends."""

    name: str
    detail: str = ""
    note: str = ""
    seconds: float = 0.0
    _listener: Listener | None = field(default=None, repr=False)

    def tick(self, done: int, total: int) -> None:
        """`done` of `total` pieces of this stage are finished."""
        if self._listener:
            self._listener.tick(self, done, total)

    def say(self, line: str) -> None:
        """Something that a reader wants to know before the stage ends."""
        if self._listener:
            self._listener.say(self, line)


_LISTENER: ContextVar[Listener | None] = ContextVar("dync_progress", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Stages inside this context are told to `listener`."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def stage(name: str, detail: str = "") -> Iterator[Stage]:
    """Time a stage and tell the listener. A stage that raises is not told to have ended."""
    one = Stage(name, detail, _listener=_LISTENER.get())
    if one._listener:
        one._listener.begin(one)
    start = time.perf_counter()
    yield one
    one.seconds = time.perf_counter() - start
    if one._listener:
        one._listener.end(one)
