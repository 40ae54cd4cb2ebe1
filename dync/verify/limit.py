"""How long a generated call may take: on numbers that no one would give it (NaN), many a model's loop never ends."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
FIRST, LEAST, TIMES = 20.0, 1.0, 50
"""Seconds for a call before any has ended; at least so many for each later one, or so many times what the slowest took."""
BEAT = 0.2
"""Seconds between two looks at the time."""


class TookTooLong(BaseException):
    """Raised inside of a call that does not end. The model's own handlers do not take it."""


class TimeLimit:
    """Ends calls in Python that take much longer than those before them; native code is not interrupted."""

    def __init__(self) -> None:
        self.slowest: float | None = None
        self._lock = threading.Lock()
        self._waits: tuple[int, float] | None = None
        self._beats = False

    def within(self, call: Callable[[], T]) -> T:
        """What the call gives. Raises TookTooLong."""
        begun = time.monotonic()
        limit = FIRST if self.slowest is None else max(LEAST, TIMES * self.slowest)
        with self._lock:
            self._waits = threading.get_ident(), begun + limit
            if not self._beats:
                self._beats = True
                threading.Thread(target=self._beat, daemon=True).start()
        try:
            try:
                found = call()
            finally:
                self._over()
        except TookTooLong:
            self._over()  # it came before the other was over
            raise
        self.slowest = max(self.slowest or 0.0, time.monotonic() - begun)
        return found

    def _over(self) -> None:
        """Nothing is raised any more: what was to be and came too late is taken back."""
        with self._lock:
            self._waits = None
        _raise_in(threading.get_ident(), None)

    def _beat(self) -> None:
        """Raises at each beat until the call is over: Python drops what is raised in a finaliser. Ends when no call waits for long."""
        idle = 0
        while idle < 10:
            time.sleep(BEAT)
            with self._lock:
                if self._waits is None:
                    idle += 1
                    self._beats = idle < 10
                    continue
                idle, (thread, until) = 0, self._waits
                if time.monotonic() > until:
                    _raise_in(thread, TookTooLong)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raises an exception in a thread at its next line of Python; None takes one back that has not come yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error))
