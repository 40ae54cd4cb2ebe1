"""Checks networks in a process of its own, so that a crash, a hang or a leak ends one network and not the run.

parent → child: one JSON object a line {"path", "backends", "hosts"};    child → parent: one Finding a line
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dync.verify.fuzz.check import Finding


class Job(msgspec.Struct, frozen=True):
    """One network file to check."""

    path: str
    backends: tuple[str, ...]
    hosts: tuple[str, ...]


class Worker:
    """A child process, started when needed and again after it was lost or has done `many` jobs."""

    def __init__(self, timeout: float = 60.0, many: int = 200) -> None:
        self.timeout, self.many = timeout, many
        self.child: subprocess.Popen[bytes] | None = None
        self.done = 0
        self.stopped = False

    def check(self, path: Path, backends: Sequence[str], hosts: Sequence[str]) -> Finding:
        """As check.check, and kinds "hang" and "died"; "died" once stopped."""
        if self.child is None or self.done >= self.many:
            self._start()
        if self.stopped:
            self.close()
            return Finding("died", key="stopped")
        assert self.child is not None and self.child.stdin is not None and self.child.stdout is not None
        self.done += 1
        self.child.stdin.write(msgspec.json.encode(Job(str(path), tuple(backends), tuple(hosts))) + b"\n")
        self.child.stdin.flush()
        ready, _, _ = select.select([self.child.stdout], [], [], self.timeout)
        line = self.child.stdout.readline() if ready else b""
        if line:
            return msgspec.json.decode(line, type=Finding)
        code = self.child.poll() if ready else None
        self.close()
        return (
            Finding("died", key=f"exit {code}", detail="the process ended")
            if ready
            else Finding("hang", key="hang", detail=f"no answer in {self.timeout:g} s")
        )

    def _start(self) -> None:
        self.close()
        self.done = 0
        self.child = subprocess.Popen(
            [sys.executable, "-P", "-m", "dync.verify.fuzz.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # what interrupts the run must not look as if the network died
        )

    def stop(self) -> None:
        """Ends the network in work, which another thread waits for, and all later ones."""
        self.stopped = True
        if (child := self.child) is not None:
            child.kill()

    def close(self) -> None:
        """Ends the child."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            for pipe in (self.child.stdin, self.child.stdout):  # not read to the end: a compiler that it forked may hold them open
                if pipe is not None:
                    pipe.close()
            self.child = None


def main() -> None:
    """The child: answers jobs until its input ends. What the networks print goes to stderr."""
    import torch

    from dync.verify.fuzz.check import check

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        answers.write(msgspec.json.encode(check(Path(job.path), job.backends, job.hosts)) + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
