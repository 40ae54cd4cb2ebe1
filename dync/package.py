"""What was compiled, before and after a backend is chosen for each block: candidates, and the Package of a choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any

import msgspec

from dync import __version__
from dync.backends.base import BlockCode, Kernel
from dync.backends.worker import Made
from dync.options import CompileOptions
from dync.report import BlockReport, CompileReport, Refusal

if TYPE_CHECKING:
    from dync.ir.program import Program
    from dync.measure import Seen
    from dync.runtime.package import Package
    from dync.workshop import Workshop

HOST = "python"


@dataclass(frozen=True)
class Candidates:
    """One block's code by backend, right on each; the chosen one comes first. `same_as`: the block that it was compiled with."""

    kernel: Kernel
    made: Mapping[str, Made]
    reason: str
    refused: tuple[Refusal, ...] = ()
    times: Mapping[str, float] = field(default_factory=dict[str, float])
    same_as: str = ""

    @property
    def chosen(self) -> str:
        return next(iter(self.made))

    def report(self, block: str, name: str, reason: str = "") -> BlockReport:
        made = self.made[name]
        return BlockReport(
            block, name, reason or self.reason, made.seconds, sum(len(m) for m in made.code.members.values()),
            None if isnan(made.worst) else made.worst, self.same_as, self.refused, dict(self.times), made.code.needs,
        )  # fmt: skip


@dataclass(frozen=True)
class Built:
    """A compiled program before it is a package. seen: what the example showed."""

    program: Program
    blocks: Mapping[str, Candidates]
    shop: Workshop
    seen: Seen

    @property
    def options(self) -> CompileOptions:
        return self.shop.options

    @property
    def kernels(self) -> dict[str, Kernel]:
        return {b: c.kernel for b, c in self.blocks.items()}

    @property
    def summary(self) -> str:
        names = [c.chosen for c in self.blocks.values()]
        count = sum(not c.same_as for c in self.blocks.values())
        return f"{count} distinct, " + ", ".join(f"{names.count(n)} on {n}" for n in dict.fromkeys(names))

    def package(self, seconds: Mapping[str, float], instead: Mapping[str, str] | None = None, why: str = "") -> Package:
        """The package; `seconds` by stage go into its report. instead: block → backend other than the chosen one, for the reason `why`."""
        from dync.ir.aliases import written_weights
        from dync.ir.flow import leaves
        from dync.ir.types import Ref
        from dync.runtime.package import KernelEntry, Package
        from dync.runtime.tensors import duplicate

        names = {b: (instead or {}).get(b, c.chosen) for b, c in self.blocks.items()}
        codes = {b: c.made[names[b]].code for b, c in self.blocks.items()}
        members = {_member(code, name): data for code in codes.values() for name, data in code.members.items()}
        kernels = {
            b: KernelEntry(
                code.loader, tuple(_member(code, n) for n in code.members), code.settings, code.weights, self.blocks[b].kernel.mutates,
                code.needs,
            )
            for b, code in codes.items()
        }  # fmt: skip
        first = {o.name for slot in self.program.slots for o in leaves(slot.initial) if isinstance(o, Ref)}
        needed = {w for k in kernels.values() for w in (*k.weights, *k.mutates)} | first
        written = written_weights(self.program)
        weights = {n: duplicate(w) if n in written else w for n, w in self.program.weights.items() if n in needed}  # the model may run on
        blocks = tuple(c.report(b, names[b], "" if names[b] == c.chosen else why) for b, c in self.blocks.items())
        report = CompileReport(
            self.program.name, str(self.options.target), HOST, blocks, dict(seconds),
            sum(len(m) for m in members.values()), sum(w.nbytes for w in weights.values()),
        )  # fmt: skip
        meta: dict[str, Any] = {
            "dync": __version__,
            "target": str(self.options.target),
            "threads": self.options.threads,
            "host": HOST,
            "passes": self.options.passes,
            "history": list(self.program.history),
            "written": list(written),
        }
        return Package(self.program.flow, kernels, members, weights, msgspec.to_builtins(report), meta, dict(self.program.sources))


def _member(code: BlockCode, name: str) -> str:
    return f"blocks/{code.key[:32]}/{name}"
