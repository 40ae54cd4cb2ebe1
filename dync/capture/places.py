"""Where the user's code stands: frames, spans, and the order in which marked code runs."""

from __future__ import annotations

import dis
import linecache
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

import dync
from dync.capture.tape import Rec
from dync.ir.types import Span

T = TypeVar("T")
TORCH = os.path.dirname(torch.__file__) + os.sep
NUMPY = os.path.dirname(np.__file__) + os.sep
STDLIB = sysconfig.get_paths()["stdlib"] + os.sep
CONTAINERS = os.path.join(TORCH, "nn", "modules", "container.py")
NN = os.path.join(TORCH, "nn") + os.sep
DYNC = os.path.dirname(dync.__file__) + os.sep
COMPREHEND = os.path.join(DYNC, "capture", "comprehend.py")
LAMBDA = "<lambda>"
WALKED = "dync_x"
"""The argument of the functions that marking makes of comprehensions."""
OURS = tuple(os.path.join(DYNC, part) + os.sep for part in ("capture", "ir"))


NOT_USERS = (TORCH, NUMPY, *OURS, "<frozen", "<string")


def is_user(code: types.CodeType) -> bool:
    """Whether code is the model's: not torch's, not NumPy's, not dync's, not Python's own."""
    file = code.co_filename
    found = _users.get(file)
    if found is None:
        found = _users[file] = not file.startswith(NOT_USERS)
    return found


_users: dict[str, bool] = {}
"""What `is_user`, asked a thousand times in a run, found of files."""


def as_seen(kind: Callable[[Any], type]) -> property:
    """`__class__` as the user's `isinstance` is told, whether its function is marked or not."""
    return property(lambda self: kind(self) if is_user(sys._getframe(1).f_code) else type(self))


def is_users_own(file: str) -> bool:
    """Whether a file is the user's: not that of an installed package either."""
    return "-packages" not in file and not file.startswith((TORCH, STDLIB, DYNC, "<frozen", "<string"))


def is_own(code: types.CodeType) -> bool:
    """Whether code is capture's own."""
    return code.co_filename.startswith(OURS)


def is_library(code: types.CodeType) -> bool:
    """Whether code is Python's own library: it runs as it is, for torch's log messages too."""
    return code.co_filename.startswith(STDLIB) and "-packages" not in code.co_filename


def is_helper(code: types.CodeType) -> bool:
    """Whether code is a loop of Python's own, written out."""
    return code.co_filename == COMPREHEND


def can_mark(code: types.CodeType) -> bool:
    ours = is_helper(code) or code.co_filename == CONTAINERS
    named = code.co_name == LAMBDA and code.co_varnames[:1] != (WALKED,) or not code.co_name.startswith("<")
    return named and (ours or is_user(code) and not is_library(code))


def function_named(code: types.CodeType, home: dict[str, Any]) -> types.FunctionType | None:
    """The function of a code that a module, whose globals are `home`, or a class in it holds under the code's own name."""
    found: Any = home.get(code.co_qualname.partition(".")[0])
    for name in code.co_qualname.split(".")[1:]:
        found = vars(found).get(name) if isinstance(found, type) else None
    if isinstance(found, (staticmethod, classmethod)):
        found = found.__func__
    if isinstance(found, property):
        found = next((f for f in (found.fget, found.fset, found.fdel) if getattr(f, "__code__", None) is code), None)
    while getattr(found, "__code__", code) is not code:
        found = getattr(found, "__wrapped__", None)
    return found if isinstance(found, types.FunctionType) and found.__code__ is code else None


def has_state(code: types.CodeType) -> bool:
    """Whether the locals of such code are part of the program's state."""
    return is_user(code) or code.co_filename.startswith(NN) or is_helper(code)


def of_code(function: Callable[..., T]) -> Callable[..., T]:
    """Keeps what a function finds of a code object for as long as the code lives: marked code holds the engine that marked it."""
    kept: WeakKeyDictionary[types.CodeType, dict[Any, T]] = WeakKeyDictionary()

    @wraps(function)
    def look(code: types.CodeType, *more: Any) -> T:
        found = kept.setdefault(code, {})
        if more not in found:
            found[more] = function(code, *more)
        return found[more]

    return look


ENDINGS = ("CHECK_EXC_MATCH", "CHECK_EG_MATCH", "POP_EXCEPT", "RAISE_VARARGS", "RERAISE")
"""Of these, what a handler comes to first says what it does: a `finally` that lets an error go on comes to RERAISE."""


@of_code
def _positions(code: types.CodeType) -> list[tuple[Any, ...]]:
    return list(code.co_positions())


def span_of(frame: Any) -> Span:
    """The expression that a frame is evaluating."""
    code = frame.f_code
    line, end_line, col, end_col = _positions(code)[frame.f_lasti // 2] if frame.f_lasti >= 0 else (code.co_firstlineno, None, None, None)
    return Span(code.co_filename, line or frame.f_lineno or 0, col or 0, end_line or line or 0, end_col or 0)


def unpacked(frame: types.FrameType) -> int | None:
    """Into how many names a frame is unpacking something, `a, b = x`; None where it does something else."""
    operation, argument = frame.f_code.co_code[frame.f_lasti:frame.f_lasti + 2] if frame.f_lasti >= 0 else (0, 0)
    return argument if operation == dis.opmap["UNPACK_SEQUENCE"] else None


def is_storing(frame: types.FrameType) -> bool:
    """Whether a frame is writing an item, `x[i] = y`."""
    return frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == dis.opmap["STORE_SUBSCR"]


def all_codes(code: types.CodeType) -> list[types.CodeType]:
    """Code and what it holds: inner functions, comprehensions, generator expressions."""
    return [code] + [c for k in code.co_consts if isinstance(k, types.CodeType) for c in all_codes(k)]


ASKERS = frozenset({"type", "__class__", "id"})
"""Names by which code asks for a class, or for an identity."""


@of_code
def asks_kind(code: types.CodeType, kind: str) -> bool:
    """Whether code may tell a symbolic number from Python's own without a question: by a class, or `is True`, also in a match."""
    return any(not ASKERS.isdisjoint(c.co_names) or kind == "bool" and _asks_identity(c) for c in all_codes(code))


@of_code
def asks_class(code: types.CodeType) -> bool:
    """Whether code asks what no object answers by itself: by what tells of numbers, or a pattern of a sequence or mapping in a match."""
    steps = [i for c in all_codes(code) for i in dis.get_instructions(c)]
    named = any(i.opname in ("LOAD_GLOBAL", "LOAD_ATTR") and i.argval in ASKERS for i in steps)
    return named or any(i.opname in ("MATCH_SEQUENCE", "MATCH_MAPPING") for i in steps) or any(map(_asks_identity, all_codes(code)))


def _asks_identity(code: types.CodeType) -> bool:
    """Whether code has an `is` whose right side is no constant None."""
    steps = list(dis.get_instructions(code))
    return any(step.opname == "IS_OP" and before.argrepr != "None" for before, step in zip(steps, steps[1:]))


@of_code
def _handlers(code: types.CodeType, stopping: bool) -> list[tuple[int, int]]:
    """The stretches of code that an `except` or `finally` stands around. stopping: not where all that it does is to raise it again."""
    ops = {i.offset: i.opname for i in dis.get_instructions(code)}
    entries: Any = getattr(dis.Bytecode(code), "exception_entries")  # noqa: B009  typeshed lacks it
    caught = [e for e in entries if ops.get(e.target) == "PUSH_EXC_INFO" and ops.get(e.target + 2) != "WITH_EXCEPT_START"]
    ends = ((e, next(op for at, op in ops.items() if at > e.target and op in ENDINGS)) for e in caught)
    return [(e.start, e.end) for e, end in ends if not stopping or end != "RERAISE"]


def is_caught(running: Iterator[Any], cleaning: bool = True) -> bool:
    """Whether user code in one of the frames may see an exception that is raised now, and go on.

    cleaning: whether an installed package's `finally` counts; what its decorators do there is to put back what they had set.
    """
    users = ((f, not cleaning and "-packages" in f.f_code.co_filename) for f in running if is_user(f.f_code))
    return any(start <= f.f_lasti < end for f, stopping in users for start, end in _handlers(f.f_code, stopping))


def line_span(file: str, line: int) -> Span:
    """A whole line of a file, without its indentation."""
    text = linecache.getline(file, line).rstrip()
    return Span(file, line, len(text) - len(text.lstrip()), line, len(text))


def frames(start: Any, root: Any) -> Iterator[Any]:
    """The frames from `start` outwards, up to but not including `root`."""
    while start is not None and start is not root:
        yield start
        start = start.f_back


@dataclass(eq=False)
class Activation:
    """One run of a marked function."""

    frame: Any
    function: int
    prefix: tuple[int, ...]
    entry: Rec
    starts: dict[int, Rec] = field(default_factory=dict)
    loops: list[list[int]] = field(default_factory=list)
    last: int = 0
    calls: int = 0
    heads: dict[int, Rec] = field(default_factory=dict)
    """Loop → the record at its last head."""
    headers: dict[int, Any] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    """Loop → the step of the path at its first head."""
    walked: dict[int, Any] = field(default_factory=dict)
    """Loop → the generator that it walks, which Python keeps out of sight."""
    fixed: set[int] = field(default_factory=set)
    """Loops over what Python walks, which cannot be rolled."""
    symbolic: set[int] = field(default_factory=set)
    """Loops walked by a LoopIter."""
    pending: dict[str, Any] = field(default_factory=dict)
    """Locals that the next marker writes back."""
    own: Any = None
    """The object of a method that Python's own code calls, as `__init__`: that code holds it when no name does any more."""

    def position(self, site: int, loops: tuple[int, ...]) -> tuple[int, ...]:
        """Where a marker stands in the order of this run; sorts as the run goes."""
        kept = [pair for pair in self.loops if pair[0] in loops]
        return (*self.prefix, *(n for pair in kept for n in pair), site)
