"""Errors of Python's numbers in compiled code: which one, and where, as a text that the code gives back when it stops there."""

from __future__ import annotations

import ast
import re

from dync.errors import BackendError
from dync.ir.types import Span

MARK = " raises "
LATE = "what is written in place before a number raises would be lost"
"""Why code that gives what it writes only at its end cannot have such errors."""
COMPLEX = BackendError("the power of a negative number is complex, which compiled code does not compute")
LARGE = BackendError("a number is beyond the 64 bits that compiled code has for it")
"""Where eager goes on, and compiled code stops."""
_SAID = re.compile(MARK + r"(?P<cls>\w+)\((?P<args>.*?)\) at (?P<file>[^\n]*?):(?P<line>\d+)(?:'|$)")
_CLASSES: dict[str, type[Exception]] = {c.__name__: c for c in (ZeroDivisionError, ValueError, OverflowError, RuntimeError, BackendError)}


def limit(error: Exception) -> bool:
    """Whether it is one of the errors that eager does not raise."""
    return isinstance(error, BackendError) and error.args in (COMPLEX.args, LARGE.args)


def told(error: Exception, span: Span) -> str:
    """The text for an error that the model's line `span` raises; its arguments are constants."""
    assert type(error) is _CLASSES[type(error).__name__]
    return f"{MARK}{error!r} at {span.file}:{span.line}"


def read(text: str, placed: bool) -> Exception | None:
    """The error that a text holds, or None. placed: its note says the line."""
    found = _SAID.search(text)
    if found is None or found["cls"] not in _CLASSES:
        return None
    try:
        args = ast.literal_eval(f"({found['args']},)")
    except (ValueError, SyntaxError):
        return None
    error = _CLASSES[found["cls"]](*args)
    if placed and int(found["line"]):
        error.add_note(f"raised by the model at {found['file']}:{found['line']}")
    return error
