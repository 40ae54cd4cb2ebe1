"""What a compilation did, block by block: data first, then one plain rendering. This file imports no torch."""

from __future__ import annotations

import msgspec

from dync.ir.types import UNKNOWN, Span


class Refusal(msgspec.Struct, frozen=True):
    """A backend that did not get the block, why, and the source line that it named, if any."""

    backend: str
    reason: str
    span: Span = UNKNOWN

    def __str__(self) -> str:
        return f"{self.backend}: {self.reason}" + (f" ({self.span})" if self.span != UNKNOWN else "")


class BlockReport(msgspec.Struct, frozen=True):
    """One block: the backend that runs it, why that one, and what it cost.

    seconds: compile time of its code, 0 where it shares the code of `same_as` or comes from the cache. size: bytes of that code.
    worst: largest relative difference from eager over the check's inputs, None where nothing was compared: not checked.
    times: backend → seconds of a call, where several were timed. needs: packages that its code needs to run.
    """

    block: str
    backend: str
    reason: str
    seconds: float = 0.0
    size: int = 0
    worst: float | None = None
    same_as: str = ""
    refused: tuple[Refusal, ...] = ()
    times: dict[str, float] = {}
    needs: tuple[str, ...] = ()


class CompileReport(msgspec.Struct, frozen=True):
    """A whole compilation. stages: seconds by stage. Blocks without a kernel (only control flow) are not in `blocks`."""

    name: str
    target: str
    host: str
    blocks: tuple[BlockReport, ...]
    stages: dict[str, float] = {}
    code_bytes: int = 0
    weight_bytes: int = 0
    host_reason: str = ""
    """Why this host."""

    def __getitem__(self, block: str) -> BlockReport:
        for one in self.blocks:
            if one.block == block:
                return one
        raise KeyError(block)

    def __str__(self) -> str:
        head = [
            f"{self.name}: {len(self.blocks)} blocks with code, {distinct(self.blocks)} distinct, target {self.target}, host {self.host}"
            + (f" ({self.host_reason})" if self.host_reason else ""),
            f"code {size(self.code_bytes)}, weights {size(self.weight_bytes)}, "
            + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.stages.items()),
        ]
        return "\n".join([*head, *table(("block", "backend", "reason", "compile s", "code"), [_row(b) for b in self.blocks])])


def _row(one: BlockReport) -> tuple[str, ...]:
    unchecked = ["numbers not checked"] * (one.worst is None)
    torch = ["needs torch at run time"] * ("torch" in one.needs)
    reason = "; ".join([one.reason, *torch, *unchecked, *(f"not {r}" for r in one.refused)])
    cost = (f"as {one.same_as}", "") if one.same_as else (f"{one.seconds:.2f}" if one.seconds else "cached", size(one.size))
    return (one.block, one.backend, reason, *cost)


def distinct(blocks: tuple[BlockReport, ...]) -> int:
    return sum(not b.same_as for b in blocks)


def size(count: int) -> str:
    """Bytes for people: "512 B", "1.2 MB"."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.2f} GB"


def microseconds(seconds: float) -> str:
    """A time for people: "9.81 µs", "12 ms"."""
    return f"{seconds * 1e6:.3g} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of a plain table, columns aligned left."""
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]]
