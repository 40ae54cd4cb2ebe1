"""Copies of a loaded program, in this process or through pickle: state and parameters as they are now, code and constants the same."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dync.runtime import artifact

if TYPE_CHECKING:
    from dync.runtime.package import Package
    from dync.runtime.program import Runtime


class Packed:
    """A package as the bytes of an artifact."""

    def __init__(self, package: Package) -> None:
        with tempfile.TemporaryDirectory(prefix="dync-") as folder:
            path = Path(folder) / "model.dync"
            artifact.write(package, path)
            self.data = path.read_bytes()

    def package(self) -> Package:
        """Raises ArtifactError where the bytes are damaged."""
        with tempfile.TemporaryDirectory(prefix="dync-") as folder:
            path = Path(folder) / "model.dync"
            path.write_bytes(self.data)
            return artifact.read(path)  # mapped: its memory outlives the file


def kept(program: Runtime, memo: dict[int, Any] | None = None) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """A copy of the state, and the parameters' values."""
    with program.state.lock:
        return copy.deepcopy(dict(program.state), memo), program.params.values_in_order


def restored(program: Runtime, state: dict[str, Any], params: tuple[Any, ...]) -> Runtime:
    """`program`, with that state and those values."""
    for name in set(program.state) - set(state):
        del program.state[name]
    program.state.update(state)
    program.params.values_in_order = params
    return program


def unpacked(packed: Packed, state: dict[str, Any], params: tuple[Any, ...]) -> Runtime:
    from dync.runtime.program import Runtime

    return restored(Runtime(packed.package()), state, params)
