"""The compiler as a child of this process: started when first needed, kept, and started anew when a job has killed it."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
from hashlib import sha256
from typing import IO

import msgspec

from dync.backends.torch_mlir.worker import Answer, Job

SECONDS = 600.0
"""After this long a job is given up."""


KEPT = 32 << 20
"""Bytes of code that are remembered, for jobs that come again: other graphs often have the same ONNX form."""


class CompilerError(Exception):
    """What the compiler said, died of, or took too long for; the callers make a BackendError of it."""


class Died(CompilerError):
    """The compiler's process ended on a job."""


class Compiler:
    """One child process. Several threads may ask; they wait for each other."""

    def __init__(self) -> None:
        self._made: dict[bytes, bytes] = {}
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def compile(self, job: Job, seconds: float = SECONDS) -> bytes:
        """Bytecode, made with the first of the job's flags that the compiler neither refuses nor dies on. Raises CompilerError."""
        data = msgspec.msgpack.encode(job)
        key = sha256(data).digest()
        with self._lock:
            if key in self._made:
                return self._made[key]
            try:
                code = self._compiled(data, seconds)
            except Died:
                if len(job.flags) < 2:
                    raise
                code = self._compiled(msgspec.msgpack.encode(msgspec.structs.replace(job, flags=job.flags[1:])), seconds)
            while self._made and sum(map(len, self._made.values())) + len(code) > KEPT:
                self._made.pop(next(iter(self._made)))
            self._made[key] = code
            return code

    def _compiled(self, data: bytes, seconds: float) -> bytes:
        child = self._running()
        assert child.stdin and child.stdout
        try:
            child.stdin.write(len(data).to_bytes(8, "big") + data)
            child.stdin.flush()
            head = _read(child.stdout, 8, seconds)
            answer = msgspec.msgpack.decode(_read(child.stdout, int.from_bytes(head, "big"), seconds), type=Answer)
        except TimeoutError as error:
            self._stop()
            raise CompilerError(f"the compiler took longer than {seconds:.0f} s") from error
        except (OSError, EOFError) as error:
            death = _death(child)
            self._stop()
            raise Died(f"the compiler died ({death})") from error
        except BaseException:
            self._stop()  # an answer may still come, and would be taken for the next job's
            raise
        if answer.error:
            raise CompilerError(answer.error)
        return answer.code

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._owner != os.getpid() or self._child.poll() is not None:
            self._owner = os.getpid()
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "dync.backends.torch_mlir.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return self._child

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


COMPILER = Compiler()


def _read(stream: IO[bytes], count: int, seconds: float) -> bytes:
    """`count` bytes. Raises EOFError at the end of the stream, TimeoutError."""
    found = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while len(found) < count:
            if not selector.select(seconds):
                raise TimeoutError
            piece = os.read(stream.fileno(), count - len(found))
            if not piece:
                raise EOFError
            found += piece
    return bytes(found)


def _death(child: subprocess.Popen[bytes]) -> str:
    try:
        code = child.wait(5)
    except subprocess.TimeoutExpired:
        return "it no longer answers"
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
