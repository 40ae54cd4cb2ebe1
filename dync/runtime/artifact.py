"""The artifact `.dync`: a Package in one file.

    manifest.json         schema, signature, parameters, kernels, report, meta; size and SHA-256 of every other member
    host/flow.json        the control flow as data: what a runtime runs
    host/main.py          the same as Python: for reading, never executed
    host/model.onnx       all of it as one model, where the control flow is in an engine (and host/trace.onnx, which tells the way)
    blocks/<key>/...      compiled code
    weights.safetensors   each weight once
    source_map.json       the user's files that lines refer to
    verify/coverage.json  what was proven
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from dync.errors import ArtifactError
from dync.host.base import check, has_kernel
from dync.host.python import generate
from dync.host.regions import collapse
from dync.ir.flow import Flow, Signature, leaves
from dync.ir.types import Ref
from dync.runtime.container import MANIFEST, Container, safe_name
from dync.runtime.container import write as write_container
from dync.runtime.package import KernelEntry, Package
from dync.runtime.weights import Layout, fits, layout, safetensors
from dync.runtime.weights import read as read_weights

SCHEMA = 1
FLOW, MAIN, WEIGHTS, SOURCES, COVERAGE = "host/flow.json", "host/main.py", "weights.safetensors", "source_map.json", "verify/coverage.json"
OWN = frozenset({FLOW, MAIN, WEIGHTS, SOURCES, COVERAGE})


class Member(msgspec.Struct, frozen=True):
    """Size in bytes and SHA-256 of one member."""

    size: int
    sha256: str


class Kernel(msgspec.Struct, frozen=True):
    """KernelEntry without what the flow says."""

    loader: str
    members: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    weights: tuple[str, ...] = ()
    mutates: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True):
    """The whole manifest. `size` is that of the file, filled in when read."""

    schema: int
    name: str
    signature: Signature
    blocks: tuple[str, ...]
    kernels: dict[str, Kernel]
    members: dict[str, Member]
    report: Any = None
    meta: dict[str, Any] = {}
    engine: Kernel | None = None
    regions: tuple[tuple[str, ...], ...] = ()
    layouts: dict[str, Layout] = {}
    size: int = 0


class _Version(msgspec.Struct):
    schema: int


def write(package: Package, path: str | PathLike[str]) -> None:
    """Writes `package` to `path`: all of it or, on failure, nothing, an old file left as it was.

    Raises ArtifactError when the package cannot be held or the file cannot be written.
    """
    target = Path(path)
    members = dict(_members(package))
    bad = [n for n in package.members if n in OWN or not n.startswith(("blocks/", "host/")) or not safe_name(n)]
    if bad:
        raise ArtifactError(f"compiled code must stand under blocks/, not at {bad[0]!r}")
    try:
        facts = {name: _facts(pieces) for name, pieces in members.items()}
        manifest = Manifest(
            SCHEMA, package.flow.name, package.flow.signature, tuple(b.name for b in package.flow.blocks),
            {n: _stored(k) for n, k in package.kernels.items()}, facts, package.report, dict(package.meta),
            package.engine and _stored(package.engine), package.regions,
            {**package.layouts, **{n: lies for n, w in package.weights.items() if (lies := layout(w))}})
        write_container(target, [(MANIFEST, [msgspec.json.format(msgspec.json.encode(manifest), indent=1)]), *members.items()])
    except OSError as error:
        raise ArtifactError(f"cannot write {target}: {error.strerror or error}") from error
    except (TypeError, msgspec.EncodeError) as error:
        raise ArtifactError(f"cannot write {target}: {error}") from error


def _members(package: Package) -> Iterator[tuple[str, list[Any]]]:
    encode = msgspec.json.encode
    yield FLOW, [encode(package.flow)]
    walked = collapse(package.flow, package.regions).flow
    yield MAIN, [generate(walked, kernels=None if package.engine else package.kernels).source.encode()]
    yield SOURCES, [encode(dict(package.sources))]
    yield COVERAGE, [encode(package.coverage)]
    for name in sorted(package.members):
        yield name, [package.members[name]]
    yield WEIGHTS, list(safetensors(package.weights))


def _stored(entry: KernelEntry) -> Kernel:
    return Kernel(entry.loader, entry.members, dict(entry.settings), entry.weights, entry.mutates, entry.needs)


def _entry(kernel: Kernel) -> KernelEntry:
    return KernelEntry(kernel.loader, kernel.members, kernel.settings, kernel.weights, kernel.mutates, kernel.needs)


def _facts(pieces: Iterable[Any]) -> Member:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += memoryview(piece).nbytes
    return Member(size, digest.hexdigest())


def inspect(path: str | PathLike[str]) -> Manifest:
    """The manifest alone, without reading the rest. Raises ArtifactError when the file is no artifact or is damaged."""
    return _open(Path(path))[1]


def read(path: str | PathLike[str]) -> Package:
    """The package in an artifact; code and weights are views into the mapped file.

    Raises ArtifactError, one line, when the file is no artifact, cut off, damaged, tampered with, or of a newer schema.
    """
    container, manifest = _open(Path(path))
    for name, member in manifest.members.items():
        if hashlib.sha256(container[name]).hexdigest() != member.sha256:
            raise ArtifactError(f"{path} is damaged: {name} is not what the manifest says")
    try:
        flow = msgspec.json.decode(container[FLOW], type=Flow)
        sources = msgspec.json.decode(container[SOURCES], type=dict[str, str])
        coverage = msgspec.json.decode(container[COVERAGE])
        check(flow)
        weights = read_weights(container[WEIGHTS])
    except (msgspec.DecodeError, ValueError, ArtifactError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error
    kernels = {n: _entry(k) for n, k in manifest.kernels.items()}
    package = Package(flow, kernels, {n: container[n] for n in container if n not in OWN and n != MANIFEST}, weights, manifest.report,
                      manifest.meta, sources, coverage, manifest.regions, manifest.engine and _entry(manifest.engine), manifest.layouts)
    problem = misfit(package)
    if problem:
        raise ArtifactError(f"{path} is damaged: {problem}")
    return package


def misfit(package: Package) -> str:
    """What does not fit together in a package, "" when all does."""
    try:
        walked = collapse(package.flow, package.regions).flow
        check(walked)
    except ValueError as error:
        return str(error)
    blocks = walked.blocks
    for block in blocks:
        if package.engine is None and has_kernel(block) and block.name not in package.kernels:
            return f"block {block.name!r} has no kernel"
    if strange := package.kernels.keys() - {b.name for b in blocks}:
        return f"kernel {min(strange)!r} belongs to no block"
    if package.engine is not None and package.kernels:
        return "it has both an engine and kernels"
    for name, kernel in (*package.kernels.items(), *([("of the engine", package.engine)] if package.engine else [])):
        for member in kernel.members:
            if member not in package.members:
                return f"kernel {name!r} wants {member!r}, which is not there"
        for weight in kernel.weights:
            if weight not in package.weights:
                return f"kernel {name!r} wants weight {weight!r}, which is not there"
    for name, lies in package.layouts.items():
        if name not in package.weights:
            return f"weight {name!r} is said to lie in memory, and is not there"
        if not fits(package.weights[name].shape, lies):
            return f"weight {name!r} cannot lie in memory as {list(lies)}"
    for slot in package.flow.slots:
        for operand in leaves(slot.initial):
            if isinstance(operand, Ref) and operand.name not in package.weights:
                return f"state {slot.name!r} begins as weight {operand.name!r}, which is not there"
    return ""


def _open(path: Path) -> tuple[Container, Manifest]:
    container = Container(path)
    if MANIFEST not in container.extents:
        raise ArtifactError(f"{path} is not a dync artifact: it has no {MANIFEST}")
    try:
        version = msgspec.json.decode(container[MANIFEST], type=_Version).schema
        if version > SCHEMA:
            raise ArtifactError(f"{path} was written by a newer dync (schema {version}); this one reads up to {SCHEMA}: upgrade dync")
        manifest = msgspec.json.decode(container[MANIFEST], type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: its manifest does not read: {error}") from error
    if version < 1:
        raise ArtifactError(f"{path} is damaged: there is no schema {version}")
    declared, there = {MANIFEST, *manifest.members}, set(container)
    if declared - there or OWN - declared:
        raise ArtifactError(f"{path} is damaged: {min(declared - there or OWN - declared)} is missing")
    if there - declared:
        raise ArtifactError(f"{path} is damaged: {min(there - declared)} is not declared in its manifest")
    for name, member in manifest.members.items():
        if len(container[name]) != member.size:
            raise ArtifactError(f"{path} is damaged: {name} has {len(container[name])} bytes, the manifest says {member.size}")
    if not container.outside_intact:
        raise ArtifactError(f"{path} is damaged or was repacked: its headers or manifest are not as dync wrote them")
    return container, msgspec.structs.replace(manifest, size=container.size)
