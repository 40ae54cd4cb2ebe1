"""The user's code on Python's stack: where it stands, marking it, and refusing what it does."""

from __future__ import annotations

import gc
import linecache
import sys
import types
from collections.abc import Iterable
from typing import Any, NoReturn

from dync.capture.heap import StaticHeap
from dync.capture.image import SYMBOLIC
from dync.capture.markers import Markers, bind, instrument
from dync.capture.places import (
    all_codes,
    asks_class,
    can_mark,
    frames,
    function_named,
    is_caught,
    is_library,
    is_user,
    line_span,
    span_of,
)
from dync.capture.reach import within_reach
from dync.capture.text import SymText
from dync.errors import CaptureError, Diagnostic
from dync.ir.types import UNKNOWN, Span

STAND_INS = ("SymText", "SymInt", "SymFloat", "SymBool")
"""What stands for texts and numbers known only at run time, by the names that Python's messages have."""


class Restart(BaseException):
    """Ends an attempt: something was learnt that every run must know."""


class Suspended(BaseException):
    """Ends a run that waits at a marker, or that was refused."""


class Halted(BaseException):
    """Ends a capture that has met a problem which stands for all that would follow."""


MAX_PROBLEMS = 30


class Stack:
    """What an engine knows of the functions that run; Engine in engine.py is made of these layers, each on the one before."""

    heap: StaticHeap
    markers: Markers
    swapped: list[tuple[types.FunctionType, types.CodeType]]
    tried: set[types.CodeType]
    by_name: set[types.CodeType]
    """Codes of which one function is marked, found by its name."""
    split: set[str]
    """Comprehensions whose inner loops are comprehensions of their own, by their places."""
    comprehensions: dict[Any, str]
    """Code of comprehensions that may be split → their places."""
    modules_seen = 0
    """How many modules Python had when the functions that ask for a class were looked for."""
    root_frame: Any = None
    span_after: Span | None = None
    """Where what is done counts as standing, for what capture does before the model is called and when it has returned."""
    texts: list[Any] | None = None
    """What stands for the marks in a text that Python's own code is writing."""
    problems: dict[Diagnostic, None]
    dead = False
    """Whether this run is over, though user code may still run on in a `finally`."""
    doubtful = False
    """Whether this run has met a problem and went on."""
    ended: Restart | Halted | None = None
    """What ended this attempt: the user's `finally` or `except:` may have put another in its place."""

    def user_frame(self) -> Any:
        frame = sys._getframe(1)
        while frame is not None and (not is_user(frame.f_code) or is_library(frame.f_code)):
            frame = frame.f_back
        return frame

    def start_again(self) -> NoReturn:
        """Ends this attempt: something was learnt that every run must know."""
        self.end(Restart())

    def end(self, how: Restart | Halted) -> NoReturn:
        self.dead, self.ended = True, how
        raise how

    def caught(self, cleaning: bool = True) -> bool:
        """Whether the user's code may catch what is raised now: then whether it is raised is decided before. cleaning: see is_caught."""
        return is_caught(frames(sys._getframe(1), self.root_frame), cleaning)

    def span(self) -> Span:
        if self.span_after is not None:
            return self.span_after
        frame = self.user_frame()
        return span_of(frame) if frame is not None else UNKNOWN

    def loop_span(self, frame: Any, line: int) -> Span:
        """Where a loop of `frame` stands: for one that capture writes out, where the user asks for it."""
        return line_span(frame.f_code.co_filename, line) if is_user(frame.f_code) else self.span()

    def source_text(self) -> tuple[str, Span]:
        frame = self.user_frame()
        if frame is None:
            return "", UNKNOWN
        span = span_of(frame)
        line = linecache.getline(span.file, span.line)
        text = line[span.col:span.end_col] if span.end_line == span.line and span.end_col else line.strip()
        return text.strip(), span

    def refuse(self, code: str, found: str, why: str, remedy: str, span: Span | None = None) -> NoReturn:
        """Notes a problem and ends this run; other paths go on, so that all problems of a model are reported at once."""
        self.problem(code, found, why, remedy, span)
        self.dead = True
        raise Suspended

    def problem(self, code: str, found: str, why: str, remedy: str, span: Span | None = None) -> None:
        """Notes a problem; the run goes on with a stand-in, and what fails later in it is not the model's."""
        self.mark_stack()  # marked code may know what to do here
        self.split_comprehension()
        self.doubtful = True
        self.problems[Diagnostic(code, span or self.span(), found, why, remedy)] = None
        if len(self.problems) >= MAX_PROBLEMS or code in ("DY301", "DY310"):
            self.end(Halted())

    def failure(self) -> CaptureError:
        """All problems found, in the order of the source."""
        return CaptureError(*sorted(self.problems, key=lambda d: (d.span.file, d.span.line, d.span.col, d.code)))

    def handled(self) -> None:
        """At the start of the model's exception handlers: what C code says of numbers and texts known only at run time is not for them."""
        self.check_error(sys.exc_info()[1])

    def check_error(self, error: Any) -> None:
        """Refuses what C code says of them, before the model's code takes it for an error of its own."""
        text = error.args[0] if isinstance(error, (TypeError, AttributeError)) and error.args and isinstance(error.args[0], str) else ""
        if any(name in text for name in STAND_INS) and "dync_of_model" not in error.__dict__:
            said = text.splitlines()[0][:200]
            self.refuse("DY208", f"a number or text known only at run time is given where C code takes a plain one: {said}",
                        "C code needs the value now", "use torch or arithmetic on it, or make it a fixed argument")
        self.check_library(error)

    def check_library(self, error: Any, span: Span | None = None) -> None:
        """Refuses where Python's library does not know what stands for a number or text, as `json.dumps` does not."""
        last = error.__traceback__ if isinstance(error, TypeError) else None
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        if last is None or not is_library(last.tb_frame.f_code):
            return
        if any(isinstance(v, SYMBOLIC) or type(v).__module__.startswith("dync.capture.") for v in last.tb_frame.f_locals.values()):
            module = last.tb_frame.f_globals.get("__name__")
            self.refuse("DY208", f"a number or text known only at run time is given to Python's `{module}`",
                        "its code needs the value now", "use it outside the model, with what it returns", span)

    def text_of(self, node: Any) -> str:
        if isinstance(node, SymText) and not node.vague:
            self.problem("DY207", "Python asks for the characters of a text known only at run time", "it holds numbers, or hangs on a path",
                         "compare it, add to it, print or return it, or work on it outside the model")
        else:
            self.problem("DY207", "a number known only at run time is turned into text", "the text would hold a symbol's name",
                         "format it outside the model, or return the number")
        return "?"

    def split_comprehension(self) -> None:
        """Where a comprehension walks a list of unknown length behind its first `for`, or does something else that it cannot."""
        for frame in frames(sys._getframe(1), self.root_frame):
            key = self.comprehensions.get(frame.f_code)
            if key is not None and key not in self.split:
                self.split.add(key)
                self.start_again()

    def mark_stack(self) -> None:
        """Rewrites the functions on the stack at a fork that are not marked yet, and starts over."""
        self.mark_frames(frames(sys._getframe(1), self.root_frame))

    def mark_frames(self, running: Iterable[Any]) -> None:
        unmarked = [f for f in running if can_mark(f.f_code) and not self.is_marked(f.f_code)]
        fresh = {f.f_code: f.f_globals for f in unmarked if f.f_code not in self.tried}
        others = {f.f_code for f in unmarked if f.f_code in self.by_name}
        self.by_name -= others
        if fresh or others:
            named = (function_named(code, home) for code, home in fresh.items())
            self.rewrite({*fresh, *others}, [f for f in named if f is not None])
            self.mark_askers()
            self.start_again()

    def mark_askers(self, *roots: Any) -> None:
        """Marks the functions that may be given what stands for a tensor, number or list and ask for its class; once, but for new modules.

        roots: what leads to them, beside the model's objects.
        """
        if self.modules_seen == len(sys.modules):
            return
        running = [f for f in frames(sys._getframe(1), self.root_frame) if is_user(f.f_code)]
        self.modules_seen = len(sys.modules)
        held = (*roots, *(x for x in self.heap.objects if not isinstance(x, (types.FunctionType, dict, list))))
        found = within_reach((f.f_code for f in running), (f.f_globals for f in running), held)
        asking = [f for f in found if asks_class(f.__code__) and not self.is_marked(f.__code__)]
        fresh = {f.__code__ for f in asking} - self.tried
        if fresh:
            self.rewrite(fresh, asking)
            self.start_again()

    def is_marked(self, code: types.CodeType) -> bool:
        return any(k is self for k in code.co_consts)

    def rewrite(self, codes: set[types.CodeType], known: Iterable[types.FunctionType] = ()) -> None:
        """Gives functions of `codes` marked twins of them; known: some of these. To find functions by their code alone takes a look at all
        that is alive: the code of one that is known is taken for its own, until another runs. Equal code in two files is one code."""
        inner = {c for code in codes for c in all_codes(code)[1:] if can_mark(c)}
        self.tried |= codes | inner
        named: dict[types.CodeType, list[types.FunctionType]] = {}
        for f in known:
            named.setdefault(f.__code__, []).append(f)
        for filename in {c.co_filename for c in codes}:
            mine = {c for c in self.tried if c.co_filename == filename}
            lines = linecache.getlines(filename)
            if not lines:
                continue
            try:
                twins = instrument(self.markers, "".join(lines), filename, mine)
            except SyntaxError:
                continue
            bound = {code: bind(twin, self) for code, twin in twins.items()}
            every = (*self.swapped, *((f, code) for code, own in named.items() for f in own))
            found = {id(f): (f, code) for f, code in every if code in bound}
            if any(code in bound and code not in named for code in codes):
                now = {old: code for code in bound for old in (code, *(f.__code__ for f, original in self.swapped if original is code))}
                functions = [f for f in gc.get_referrers(*now) if isinstance(f, types.FunctionType) and f.__code__ in now]
                found |= {id(f): (f, now[f.__code__]) for f in functions}
            else:
                self.by_name |= named.keys() & bound.keys()
            swapped = {id(f) for f, _ in self.swapped}
            for function, code in found.values():
                if id(function) not in swapped:
                    self.swapped.append((function, code))
                function.__code__ = bound[code]

    def unmark(self) -> None:
        """Gives every function its own code back."""
        for function, code in self.swapped:
            function.__code__ = code
        self.swapped = []
