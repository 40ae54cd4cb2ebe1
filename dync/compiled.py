"""What `dync.compile` returns: a Runtime that still knows its Program and how it was compiled."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from dync.errors import ArtifactError, DeviceError, HostError
from dync.report import CompileReport
from dync.runtime.files import replacing
from dync.runtime.program import Runtime

if TYPE_CHECKING:
    from dync.ir.program import Program
    from dync.runtime.package import Package


BARE = {".onnx": "onnx", ".vmfb": "torch-mlir", ".mlir": "torch-mlir", ".so": "tvm"}
"""Files that hold a whole program without dync → the host that makes them."""


class Compiled(Runtime):
    """A compiled program in memory: call it, `.traced`, `.params`, `.save` as any Runtime; `.program` is what it was made from."""

    absent: DeviceError | None = None
    """Why it cannot be called here: it was compiled for a device that this machine lacks. It can be saved."""

    def __init__(self, package: Package, program: Program, device: str | None = None) -> None:
        self.program = program
        try:
            super().__init__(package, device)
        except DeviceError as error:
            self.absent, self._bound = error, self._refuse
            self._engine = self._traced = None
            self._trace = self._refuse

    def _refuse(self, *arguments: Any) -> NoReturn:
        assert self.absent is not None
        raise self.absent

    def _again(self) -> Compiled:
        return Compiled(self.package, self.program)

    def with_facts(self, **facts: Any) -> Compiled:
        """The same with other `meta` or `coverage` in its package."""
        return Compiled(replace(self.package, **facts), self.program)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the artifact; with host "onnx" and a name that ends in .onnx, or host "torch-mlir" and .vmfb or .mlir, or
        host "tvm" and .so, the bare model, for processes without dync; the .so takes memory that begins at multiples of 64 bytes.

        Raises ArtifactError when the file cannot be written, HostError when there is no such model; an old file then stays.
        """
        suffix = Path(path).suffix
        if suffix not in BARE:
            return super().save(path)
        host = self.package.meta["host"]
        if host != BARE[suffix]:
            raise HostError(f"cannot write {Path(path).name}: compiled with the {host} host; compile with host \"{BARE[suffix]}\"")
        if suffix == ".onnx":
            from dync.whole import plain_model

            return write_file(Path(path), plain_model(self.package))
        if suffix == ".so":
            from dync.whole_tvm import plain_library

            return write_file(Path(path), plain_library(self.package, self.program))
        from dync.options import parse_target
        from dync.whole_mlir import plain_module

        write_file(Path(path), plain_module(self.program, parse_target(str(self.package.meta["target"])), suffix == ".mlir"))

    @property
    def report(self) -> CompileReport:
        """Block → backend → reason, compile seconds, sizes."""
        return msgspec.convert(self.package.report, CompileReport)


def write_file(path: Path, data: bytes) -> None:
    """All of it or nothing. Raises ArtifactError."""
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error
