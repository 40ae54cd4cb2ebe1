"""Texts that rows of numbers hold while a program runs: each stands as its number among those of its thread's call."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class _Interned(threading.local):
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.numbers: dict[str, int] = {}


_interned = _Interned()


def intern(text: str) -> int:
    """The number of a text, the same for equal ones."""
    number = _interned.numbers.setdefault(text, len(_interned.texts))
    if number == len(_interned.texts):
        _interned.texts.append(text)
    return number


def interned(number: int) -> str:
    """The text with a number."""
    return _interned.texts[number]


@contextlib.contextmanager
def forgotten() -> Iterator[None]:
    """What is interned within is let go of at the end."""
    before = len(_interned.texts)
    try:
        yield
    finally:
        for text in _interned.texts[before:]:
            del _interned.numbers[text]
        del _interned.texts[before:]
