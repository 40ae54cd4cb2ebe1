"""`dync inspect ART`: imports no torch and loads no kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from dync.cli.console import emit
from dync.cli.words import Json
from dync.ir.flow import DimRange, Fixed, RunParam
from dync.report import size, table
from dync.runtime.artifact import COVERAGE, OWN, WEIGHTS, Manifest
from dync.runtime.artifact import inspect as read_manifest


class InputFacts(msgspec.Struct, frozen=True):
    """A dynamic leaf of the call and its type."""

    path: str
    type: str


class KernelFacts(msgspec.Struct, frozen=True):
    """A block with code: the runtime loader, its members, their bytes, what running needs, why this backend, and what others took."""

    block: str
    backend: str
    loader: str
    size: int
    members: tuple[str, ...]
    needs: tuple[str, ...]
    reason: str = ""
    times: dict[str, float] = {}


class Inspection(msgspec.Struct, frozen=True):
    """What an artifact holds."""

    artifact: str
    schema: int
    name: str
    size: int
    code_bytes: int
    weight_bytes: int
    inputs: tuple[InputFacts, ...]
    fixed: tuple[Fixed, ...]
    dims: tuple[DimRange, ...]
    params: tuple[RunParam, ...]
    blocks: tuple[str, ...]
    kernels: tuple[KernelFacts, ...]
    engine: KernelFacts | None
    """The whole program as one piece of code, where the control flow is in an engine; there are no `kernels` then."""
    meta: dict[str, Any]
    has_coverage: bool
    host_reason: str = ""

    def __str__(self) -> str:
        lines = [
            f"{self.artifact}: {self.name}, schema {self.schema}, {size(self.size)}",
            f"code {size(self.code_bytes)}, weights {size(self.weight_bytes)}",
            f"target {self._said('target')}, host {self._said('host')}" + f" ({self.host_reason})" * bool(self.host_reason),
            f"written by dync {self._said('dync')}",
            *(f"input {i.path}: {i.type}" for i in self.inputs),
            *(f"fixed {f.path} = {f.value}" for f in self.fixed),
            *(f"dim {d.name}: {d.low}..{'' if d.high is None else d.high}" for d in self.dims),
            *(f"param {p.name} = {p.default}, within {p.low}..{p.high}" for p in self.params),
            f"verified when compiled: {'yes, see verify/coverage.json' if self.has_coverage else 'no'}",
            f"blocks: {len(self.blocks)}, " + ("all in one piece of code" if self.engine else f"{len(self.kernels)} with code"),
        ]
        rows = [
            (k.block, k.backend, size(k.size), ", ".join(k.needs) or "-", k.reason, k.members[0][:15] if k.members else "-")
            for k in (*self.kernels, *([self.engine] if self.engine else []))
        ]
        return "\n".join([*lines, *table(("block", "backend", "code", "needs", "why", "stored in"), rows)])

    def _said(self, fact: str) -> str:
        return str(self.meta.get(fact, "unknown"))


def inspect(artifact: Path, *, json: Json = False) -> int:
    """Show an artifact's manifest: inputs, outputs, parameters, blocks, backends, sizes."""
    emit(inspection(artifact, read_manifest(artifact)), json)
    return 0


def inspection(path: Path, manifest: Manifest) -> Inspection:
    """The facts of a manifest."""
    signature, sizes = manifest.signature, {n: m.size for n, m in manifest.members.items()}
    report = manifest.report or {}
    said = {b["block"]: b for b in report.get("blocks", ())}

    def facts(name: str, kernel: Any) -> KernelFacts:
        one = said.get(name, {})
        size = sum(sizes[m] for m in kernel.members)
        backend, reason, times = one.get("backend", kernel.loader), one.get("reason", ""), one.get("times", {})
        return KernelFacts(name, backend, kernel.loader, size, kernel.members, kernel.needs, reason, times)

    kernels = tuple(facts(n, k) for n, k in manifest.kernels.items())
    engine = facts("(all)", manifest.engine) if manifest.engine else None
    return Inspection(
        str(path), manifest.schema, manifest.name, manifest.size,
        sum(s for n, s in sizes.items() if n not in OWN), sizes[WEIGHTS],
        tuple(InputFacts(i.path, str(i.value.type)) for i in signature.inputs), signature.fixed, signature.dims, signature.params,
        manifest.blocks, kernels, engine, manifest.meta, sizes[COVERAGE] > len(b"null"), str(report.get("host_reason", "")),
    )  # fmt: skip
