"""Backends that go wrong on purpose: eager under other names, whose compiler crashes, hangs, prints, or computes another number."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from dync.backends.base import Available, BlockCode, Declined, Kernel, Target
from dync.backends.eager import Eager
from dync.errors import BackendError


class Faulty(Eager):
    """Does `fault` to kernels that hold the operator `where`; the others compile as eager does. Notes each compilation in `log`."""

    name = "faulty"
    fault = ""
    where = "aten.relu"
    log: Path | None = None

    def available(self):
        return Available("1")

    def compile(self, kernel: Kernel, target: Target, threads: int = 0) -> BlockCode:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{self.name} {kernel.name} {os.getpid()}\n")
        code = super().compile(kernel, target, threads)
        if any(self.where in str(n.target) for n in kernel.graph.nodes):
            code = getattr(self, self.fault or "works")(code)
        return code

    def works(self, code: BlockCode) -> BlockCode:
        return code

    def collects(self, code: BlockCode) -> BlockCode:
        gc.collect()
        return code

    def crashes(self, code: BlockCode) -> BlockCode:
        print("about to fall over", flush=True)
        signal.raise_signal(signal.SIGSEGV)  # to this thread, as a fault is: one sent to the process may come after the answer
        return code

    def exits(self, code: BlockCode) -> BlockCode:
        os.system("echo fatal: no such target")
        os._exit(3)

    def leaves(self, code: BlockCode) -> BlockCode:
        raise SystemExit(2)

    def hangs(self, code: BlockCode) -> BlockCode:
        subprocess.run(["sleep", "60"])
        time.sleep(60)
        return code

    def prints(self, code: BlockCode) -> BlockCode:
        print("noise from Python")
        os.write(1, b"noise from C\n")
        os.write(2, b"more noise from C\n")
        subprocess.run(["echo", "noise from a program"])
        return code

    def breaks(self, code: BlockCode) -> BlockCode:
        raise KeyError("aten.odd")

    def refuses(self, code: BlockCode) -> BlockCode:
        raise BackendError("no rule for this loop\nmore of it")

    def lies(self, code: BlockCode) -> BlockCode:
        return replace(code, members={"graph.json": code.members["graph.json"].replace(b"aten.relu", b"aten.neg")})



class Other(Faulty):
    name = "other"
    fault = ""


class Missing(Faulty):
    name = "missing"

    def available(self):
        return Declined("libmissing 0.1.15 crashes: pip install libmissing==0.1.14")


class HalfInstalled(Faulty):
    name = "half"

    def available(self):
        raise OSError("libhalf.so.1: cannot open shared object file")


BACKENDS = {c.name: c for c in (Faulty, Other, Missing, HalfInstalled)}
