"""What `dync.compile` returns: a Runtime that still knows its Program and how it was compiled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from dync.report import CompileReport
from dync.runtime.program import Runtime

if TYPE_CHECKING:
    from dync.ir.program import Program
    from dync.runtime.package import Package


class Compiled(Runtime):
    """A compiled program in memory: call it, `.traced`, `.params`, `.save` as any Runtime; `.program` is what it was made from."""

    def __init__(self, package: Package, program: Program, device: str | None = None) -> None:
        super().__init__(package, device)
        self.program = program

    def with_facts(self, **facts: Any) -> Compiled:
        """The same with other `meta` or `coverage` in its package."""
        return Compiled(replace(self.package, **facts), self.program)

    @property
    def report(self) -> CompileReport:
        """Block → backend → reason, compile seconds, sizes."""
        return msgspec.convert(self.package.report, CompileReport)
