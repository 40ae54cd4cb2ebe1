"""What the verbs share: data to stdout, progress and errors to stderr, words of the command line into values."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from ast import literal_eval
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dync.errors import DyncError, UsageError
from dync.progress import Stage, listening

if TYPE_CHECKING:
    from rich.progress import Progress

INTERNAL = 70
"""Exit code of an error that is dync's own fault (EX_SOFTWARE)."""
EXTRAS = {"torch": "capture", "networkx": "capture", "onnx": "onnx", "onnxruntime": "onnx"}
"""Libraries that a verb may need → the extra that brings them."""


def emit(data: Any, as_json: bool) -> None:
    """Print a result on stdout: as JSON, or as its own text."""
    import msgspec

    if as_json:
        print(msgspec.json.format(msgspec.json.encode(data, enc_hook=str), indent=2).decode())
    else:
        print(near(str(data)))


def complain(error: Exception) -> int:
    """Say on stderr what went wrong, class name in plain words, and return the exit code."""
    if isinstance(error, DyncError):
        print(near(f"{plain_name(error)}: {error}"), file=sys.stderr)
        return error.exit_code
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        print(f"usage error: this needs {error.name}, which is not installed: pip install 'dync[{EXTRAS[error.name]}]'", file=sys.stderr)
        return UsageError.exit_code
    if isinstance(error, OSError) and error.strerror:
        print(f"file error: {error.filename or ''}: {error.strerror}".replace(" : ", " "), file=sys.stderr)
        return UsageError.exit_code
    text = str(error).strip().splitlines()
    print(f"internal error: {type(error).__name__}: {text[0] if text else ''} (a bug in dync; --debug shows where)", file=sys.stderr)
    return INTERNAL


def near(text: str) -> str:
    """`text` with files below the current directory named from here: model.py:41:9."""
    return text.replace(f"{Path.cwd()}{os.sep}", "")


def plain_name(error: Exception) -> str:
    """ "backend error" for BackendError."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()


class Steps:
    """Numbered stages on stderr: plain lines, with a progress bar on a terminal."""

    def __init__(self, total: int) -> None:
        self.total, self.number = total, 0
        self.bar: Progress | None = None

    def begin(self, stage: Stage) -> None:
        self.number += 1
        print(f"[{self.number}/{self.total}] {stage.name} {stage.detail}".rstrip() + " ...", file=sys.stderr, flush=True)

    def tick(self, stage: Stage, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        if self.bar is None:
            self.bar = _bar()
            self.bar.add_task(stage.name, total=total)
            self.bar.start()
        self.bar.update(self.bar.task_ids[0], completed=done, total=total)

    def say(self, stage: Stage, line: str) -> None:
        if self.bar is None:
            print(f"      {line}", file=sys.stderr, flush=True)
        else:
            self.bar.console.print(f"      {line}", markup=False, highlight=False, soft_wrap=True)

    def end(self, stage: Stage) -> None:
        self.close()
        note = f"{stage.note}, " if stage.note else ""
        print(f"      {note}{stage.seconds:.2f} s", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("      {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def steps(total: int) -> Iterator[None]:
    """Show the stages inside as [1/total], [2/total], ..."""
    shown = Steps(total)
    try:
        with listening(shown):
            yield
    finally:
        shown.close()


@contextmanager
def ended_by_signal() -> Iterator[Callable[[], int]]:
    """SIGTERM is raised as KeyboardInterrupt inside, as SIGINT is; gives the exit code after the one that came."""
    came = [signal.SIGINT]

    def terminate(number: int, _: object) -> None:
        came.append(signal.Signals(number))
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # signals can be caught nowhere else
        yield lambda: 128 + came[-1]
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield lambda: 128 + came[-1]
    finally:
        signal.signal(signal.SIGTERM, before)


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """["a=1", "b=x"] as a dict. Raises UsageError for a text without "=" and for a name given twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"cannot read {option} {text!r}; write it as {option} name=value")
        if name.strip() in found:
            raise UsageError(f"{option} {name.strip()} is given twice")
        found[name.strip()] = value.strip()
    return found


def constant(text: str) -> object:
    """A Python constant from its text (`true` and `false` too); anything else is a string."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def number(text: str, what: str) -> int | float:
    """An int or a finite float from its text. Raises UsageError."""
    import math

    value = constant(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UsageError(f"{what}: {text!r} is no number")
    return value


def run_params(texts: Sequence[str]) -> dict[str, tuple[float, float, float]] | None:
    """["threshold=0.9:0..1"] as {"threshold": (0.9, 0, 1)}: default, low, high. None when there are none."""
    found: dict[str, tuple[float, float, float]] = {}
    for name, text in pairs(texts, "--param").items():
        default, _, span = text.partition(":")
        low, dots, high = span.partition("..")
        if not dots:
            raise UsageError(f"--param {name} needs a range: write --param {name}={default}:0..1")
        value, bottom, top = (number(t.strip(), f"--param {name}") for t in (default, low, high))
        if not bottom <= value <= top:
            raise UsageError(f"--param {name}: the default {value} is outside {bottom}..{top}")
        found[name] = (value, bottom, top)
    return found or None
