"""Compiled code on disk, by content: the same kernel for the same backend, library and target is compiled once on a machine.

An entry is one file: a line of JSON (header), then the members' bytes. It is written beside its place and renamed, so two
processes at once are safe. An entry that does not read back is reported and written anew. A full disk costs the entry only.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dync.backends.base import BlockCode, Kernel, Target
from dync.backends.kernels import canonical_weights, structure_key

SCHEMA = 2
WEIGHT_MAPS = ("initializers", "feeds", "weights")
"""Settings that map the code's own weight names to those of the package."""


def default_folder() -> Path:
    """$XDG_CACHE_HOME/dync, or ~/.cache/dync."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dync"


@dataclass(frozen=True)
class Cache:
    """A folder of compiled code. An `enabled` of False finds and keeps nothing."""

    folder: Path = field(default_factory=default_folder)
    enabled: bool = True

    def path(self, key: str) -> Path:
        return self.folder / "code" / key[:2] / key

    def get(self, key: str, kernel: Kernel) -> BlockCode | None:
        """The code stored under `key`, its weights renamed to those of `kernel`; None when there is none or it is damaged."""
        if not self.enabled:
            return None
        try:
            data = self.path(key).read_bytes()
        except OSError:
            return None
        try:
            return with_weights(_decode(data), dict(enumerate(canonical_weights(kernel))))
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(f"dync: the cache entry {self.path(key)} is damaged ({error}) and is compiled anew", stacklevel=2)
            return None

    def put(self, key: str, kernel: Kernel, code: BlockCode) -> None:
        """Stores `code`; where that fails (no space, no permission) a notice says so and nothing is kept."""
        if not self.enabled:
            return
        data = _encode(with_weights(code, {name: i for i, name in enumerate(canonical_weights(kernel))}))
        path, temporary = self.path(key), None
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


def cache_key(kernel: Kernel, backend: str, version: str, target: Target, threads: int = 0) -> str:
    """The name of an entry: what the code depends on besides the weights' values and names."""
    facts = json.dumps([SCHEMA, backend, version, str(target), threads, structure_key(kernel)])
    return hashlib.sha256(facts.encode()).hexdigest()


def with_weights(code: BlockCode, names: Mapping) -> BlockCode:
    """`code` reading other weights: names replaced in `weights` and in the settings' "initializers", "feeds" and "weights"."""
    settings = {
        k: {own: names[w] for own, w in v.items()} if k in WEIGHT_MAPS and isinstance(v, dict) else v for k, v in code.settings.items()
    }
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
