"""Programs made into Packages with the backends of dync.backends, for tests of the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dync.backends.base import Target
from dync.backends.eager import Eager
from dync.backends.kernels import kernels
from dync.backends.onnxruntime import OnnxRuntime
from dync.ir.program import Program
from dync.runtime.package import KernelEntry, Package


def package(program: Program, backend: str | Mapping[str, str] = "eager", **meta: Any) -> Package:
    """`program` compiled block by block; backend: one name, or block → name."""
    backends = {"eager": Eager(), "onnxruntime": OnnxRuntime()}
    entries, members = {}, {}
    for name, kernel in kernels(program).items():
        code = backends[backend if isinstance(backend, str) else backend[name]].compile(kernel, Target(), 1)
        stored = {f"blocks/{code.key[:16]}/{file}": data for file, data in code.members.items()}
        members |= stored
        entries[name] = KernelEntry(code.loader, tuple(stored), dict(code.settings), tuple(code.weights), kernel.mutates, code.needs)
    return Package(
        program.flow,
        entries,
        members,
        dict(program.weights),
        {"blocks": []},
        {"target": "cpu", "threads": 1, **meta},
        {"hand.py": "# by hand\n"},
    )
