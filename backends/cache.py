"""Compiled code on disk, by content: the same kernel for the same backend, library and target is compiled once on a machine.

An entry is one file: a line of JSON (header), then the members' bytes; beside code there are facts, what was measured, as JSON. A
file is written beside its place and renamed, so two processes at once are safe; at worst both do the work. What does not read back is
reported and written anew. A full disk costs the entry only.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from dync.backends.base import BlockCode, Kernel, Target
from dync.backends.kernels import canonical_weights

SCHEMA = 4
WEIGHTS = ("initializers", "feeds", "weights", "parameters")
"""Settings that name weights of the package: as the values of a map from the code's own names, or as a list in its order."""


def default_folder() -> Path:
    """$XDG_CACHE_HOME/dync, or ~/.cache/dync."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dync"


@dataclass(frozen=True)
class Cache:
    """A folder of compiled code. An `enabled` of False finds and keeps nothing."""

    folder: Path = field(default_factory=default_folder)
    enabled: bool = True

    def __contains__(self, key: str) -> bool:
        return self.enabled and self.path(key).exists()

    def path(self, key: str) -> Path:
        return self.folder / "code" / key[:2] / key

    def get(self, key: str, kernel: Kernel | None) -> BlockCode | None:
        """The code stored under `key`, its weights renamed to those of `kernel`, if any; None when there is none or it is damaged."""
        if not self.enabled:
            return None
        try:
            data = self.path(key).read_bytes()
        except OSError:
            return None
        try:
            code = _decode(data)
            return code if kernel is None else with_weights(code, dict(enumerate(canonical_weights(kernel))))
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(f"dync: the cache entry {self.path(key)} is damaged ({error}) and is compiled anew", stacklevel=2)
            return None

    def put(self, key: str, kernel: Kernel | None, code: BlockCode) -> None:
        """Stores `code`; where that fails (no space, no permission) a notice says so and nothing is kept."""
        if not self.enabled:
            return
        if kernel is not None:
            code = with_weights(code, {name: i for i, name in enumerate(canonical_weights(kernel))})
        self._write(self.path(key), _encode(code))

    def fact(self, key: str) -> Any:
        """What was kept under `key`; None when there is nothing, or it is damaged."""
        if not self.enabled:
            return None
        try:
            return json.loads(self._facts(key).read_bytes())
        except OSError:
            return None
        except ValueError as error:
            warnings.warn(f"dync: the cache entry {self._facts(key)} is damaged ({error}) and is made anew", stacklevel=2)
            return None

    def keep(self, key: str, fact: Any) -> None:
        """Stores what JSON can hold."""
        if self.enabled:
            self._write(self._facts(key), json.dumps(fact).encode())

    def _facts(self, key: str) -> Path:
        return self.folder / "facts" / key[:2] / key

    def _write(self, path: Path, data: bytes) -> None:
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            warnings.warn(f"dync: cannot keep compiled code in {self.folder}: {error}", stacklevel=2)


def cache_key(structure: str, backend: str, version: str, target: Target, threads: int = 0) -> str:
    """The name of an entry: what the code depends on besides the weights' values and names. structure: the kernel's structure key.

    Code for "this machine" (a target without arch) is this machine's. The source of the backends counts as their version.
    """
    return key_of(backend, version, source_digest(Path(__file__).parent), str(target), "" if target.arch else machine(), threads, structure)


def key_of(*facts: Any) -> str:
    """One name for a list of JSON-able facts."""
    return hashlib.sha256(json.dumps([SCHEMA, *facts]).encode()).hexdigest()


@lru_cache
def source_digest(folder: Path) -> str:
    """sha256 of the source in a folder: another translation gives other code."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@lru_cache
def machine() -> str:
    """The processor, as what compiles for it and what was measured on it depend on: model, features, cores that this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        cpu = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    except OSError:
        cpu = [platform.processor()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return key_of(platform.machine(), platform.system(), cpu, cores)


def with_weights(code: BlockCode, names: Mapping[Any, Any]) -> BlockCode:
    """`code` reading other weights: names replaced in `weights` and in the settings of WEIGHTS."""
    settings = dict(code.settings)
    read: set[Any] = set()
    for key in WEIGHTS:
        match settings.get(key):
            case dict() as map:
                read.update(map.values())
                settings[key] = {own: names[w] for own, w in map.items()}
            case [*order]:
                read.update(order)
                settings[key] = [names[w] for w in order]
            case _:
                pass
    if read != set(code.weights):
        raise AssertionError(f"{code.loader} reads {sorted(set(code.weights) ^ read)} by settings outside of WEIGHTS")
    return replace(code, weights=tuple(names[w] for w in code.weights), settings=settings)


def _encode(code: BlockCode) -> bytes:
    body = b"".join(bytes(m) for m in code.members.values())
    header = {
        "loader": code.loader,
        "key": code.key,
        "weights": code.weights,
        "settings": code.settings,
        "needs": code.needs,
        "members": [[name, len(data)] for name, data in code.members.items()],
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return json.dumps(header).encode() + b"\n" + body


def _decode(data: bytes) -> BlockCode:
    line, found, body = data.partition(b"\n")
    header = json.loads(line)
    if not found or hashlib.sha256(body).hexdigest() != header["sha256"]:
        raise ValueError("wrong hash")
    members, at = {}, 0
    for name, size in header["members"]:
        members[name] = body[at : at + size]
        at += size
    return BlockCode(header["loader"], header["key"], members, tuple(header["weights"]), header["settings"], tuple(header["needs"]))
