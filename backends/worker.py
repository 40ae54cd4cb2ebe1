"""One kernel through a backend: compiled and checked, here or in a child process that may crash, hang or print without harm.

A child is forked when it is first needed, so it has torch, the kernels and their weights already; it serves all kernels of one backend,
and one that died is replaced. What it writes goes to a file, whose end is quoted when it crashes. docs/decisions/0005 has the figures.
"""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from time import perf_counter
from typing import IO, Any, TypeVar

from dync.backends.base import Backend, BlockCode, Declined, Kernel, Target
from dync.errors import BackendError

T = TypeVar("T")


@dataclass(frozen=True)
class Made:
    """Code that works. worst: largest error against eager, NaN where it was not checked. seconds: of compiler and check."""

    code: BlockCode
    worst: float
    seconds: float = 0.0


class WrongNumber(BackendError):
    """The code compiles, and computes something else than eager."""


class Failed(BackendError):
    """The compiler said that it cannot: it would say so again. A crash, a lack of time, memory or space is no such thing."""


class Refused(BackendError):
    """The backend does not take the kernel; `declined` is its answer."""

    def __init__(self, declined: Declined) -> None:
        super().__init__(declined.reason)
        self.declined = declined


def make(
    backend: Backend, kernel: Kernel, target: Target, threads: int, runs: bool = True, code: BlockCode | None = None, ask: bool = True
) -> Made:  # fmt: skip
    """Ask and compile, unless there is `code`, and check it where it `runs`.

    Raises Refused, Failed, WrongNumber, or BackendError. ask: False where the backend took it before.
    """
    from dync.backends.check import check, open_code

    start = perf_counter()
    try:
        if code is None:
            if ask and (declined := backend.supports(kernel, target)):
                raise Refused(declined)
            code = backend.compile(kernel, target, threads)
    except Refused:
        raise
    except BackendError as error:
        raise Failed(str(error)) from error
    except Exception as error:  # a compiler's own exceptions share no root
        kind = BackendError if isinstance(error, (OSError, MemoryError)) else Failed
        raise kind(f"{kernel.name}: the {backend.name} compiler failed: {_line(error)}") from error
    if not runs:
        return Made(code, math.nan, perf_counter() - start)
    try:
        worst = check(kernel, code, run=open_code(kernel, code, threads))
    except BackendError as error:
        raise WrongNumber(str(error)) from error
    return Made(code, worst, perf_counter() - start)


def _line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__


class Worker:
    """Compiles some of `kernels` with one backend in a child process."""

    def __init__(self, backend: Backend, kernels: Sequence[Kernel], target: Target, threads: int, runs: bool = True) -> None:
        self._backend, self._kernels, self._target, self._threads, self._runs = backend, list(kernels), target, threads, runs
        self._child = Child(backend.name, lambda asked: self._made(*asked))

    def make(self, kernel: Kernel, seconds: float, code: BlockCode | None = None) -> Made:
        """As `make`. Raises BackendError too when the child crashes or takes longer than `seconds`."""
        number = next(i for i, k in enumerate(self._kernels) if k is kernel)
        return self._child.ask((number, code), seconds, kernel.name)

    def close(self) -> None:
        """Ends the child, with all that it started."""
        self._child.close()

    def _made(self, number: int, code: BlockCode | None) -> Made:
        return make(self._backend, self._kernels[number], self._target, self._threads, self._runs, code)


def apart(compiler: str, task: Callable[[], T], seconds: float, what: str) -> T:
    """What `task` gives, in a child process where one can be forked. Raises BackendError, also when it crashes or takes too long."""
    if not can_isolate():
        return task()
    child = Child(compiler, lambda _: task())
    try:
        return child.ask(None, seconds, what)
    finally:
        child.close()


class Child:
    """A forked process that answers questions by `answer`; one that died is replaced at the next question."""

    def __init__(self, compiler: str, answer: Callable[[Any], Any]) -> None:
        self._compiler, self._answer = compiler, answer
        self._process: Any = None
        self._pipe: Connection | None = None
        self._log: IO[bytes] | None = None

    def ask(self, question: Any, seconds: float, what: str) -> Any:
        """The answer. Raises the BackendError that answering raised, or one that says how the child ended, of `what`."""
        if self._process is None:
            self._start()
        assert self._pipe is not None and self._process is not None
        self._pipe.send((question, what))
        ready = wait([self._pipe, self._process.sentinel], seconds)
        if not ready:
            self.close()
            raise BackendError(f"{what}: the {self._compiler} compiler did not finish in {seconds:.3g} s and was stopped")
        try:
            kind, found = self._pipe.recv()
        except (EOFError, OSError):
            raise BackendError(f"{what}: the {self._compiler} compiler crashed{self._last_words()}") from None
        if kind == "made":
            return found
        raise {"wrong": WrongNumber, "refused": Refused, "failed": Failed}.get(kind, BackendError)(found)

    def close(self) -> None:
        """Ends the child, with all that it started."""
        process, self._process = self._process, None
        if process is not None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.kill()
            process.join()
        for one in (self._pipe, self._log):
            if one is not None:
                one.close()
        self._pipe = self._log = None

    def _start(self) -> None:
        self._pipe, other = multiprocessing.Pipe()
        self._log = tempfile.TemporaryFile(prefix="dync-")  # noqa: SIM115  closed with the child
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=self._serve, args=(other, self._pipe, self._log), daemon=True)
        collects = gc.isenabled()
        gc.disable()  # nothing is collected in the child before it says that the parent's objects are none of its garbage
        try:
            self._process.start()
        finally:
            if collects:
                gc.enable()
        other.close()

    def _last_words(self) -> str:
        """How a dead child ended: " (SIGSEGV): what it said last"; ends it for good."""
        process, log = self._process, self._log
        assert log is not None
        process.join(1)
        code = process.exitcode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        log.seek(0)
        said = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        self.close()
        return f" ({how})" + (f": {said[-1][:200]}" if said else "")

    # -- in the child --------------------------------------------------------------------------------------------------------

    def _serve(self, pipe: Connection, parents: Connection, log: IO[bytes]) -> None:
        import faulthandler

        parent = os.getppid()
        gc.freeze()  # destroying what the parent left, such as a session with threads, would wait for threads that are not here
        gc.enable()
        parents.close()
        os.setsid()
        faulthandler.disable()
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        sys.stdout = sys.stderr = open(log.fileno(), "w", closefd=False)  # noqa: SIM115  the child's own, to its end
        # Thread pools of the parent (OpenMP's, TVM's) have no threads here; in a new thread libraries make new ones.
        thread = threading.Thread(target=self._work, args=(pipe,), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(1)
            if os.getppid() != parent:  # a compiler does not ask whether anyone still waits
                os._exit(1)

    def _work(self, pipe: Connection) -> None:
        while True:
            try:
                question, what = pipe.recv()
            except EOFError:
                return
            try:
                answer: Any = ("made", self._answer(question))
            except Refused as error:
                answer = ("refused", error.declined)
            except WrongNumber as error:
                answer = ("wrong", str(error))
            except Failed as error:
                answer = ("failed", str(error))
            except BackendError as error:
                answer = ("broken", str(error))
            except BaseException as error:  # SystemExit of a compiler's command line too  # noqa: BLE001
                answer = ("broken", f"{what}: the {self._compiler} compiler failed: {_line(error)}")
            sys.stdout.flush()
            pipe.send(answer)


def can_isolate() -> bool:
    """Whether children can be forked: not on Windows, in a child itself, or in a process that uses a GPU, which they cannot share."""
    torch = sys.modules.get("torch")
    return hasattr(os, "fork") and not multiprocessing.current_process().daemon and not (torch and torch.cuda.is_initialized())
