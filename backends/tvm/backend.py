"""TVM: a kernel becomes one Relax module, then a shared library that runs with TVM's runtime and without its compiler.

The weights are parameters of its "main", after the inputs, and stay outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dync.backends.base import Available, BlockCode, Declined, Kernel, Target, unfit
from dync.backends.kernels import empty_size
from dync.errors import BackendError
from dync.ir.raising import told
from dync.ir.types import UNKNOWN

if TYPE_CHECKING:
    from dync.backends.tvm.translate import Translation


class Tvm:
    """Compiles kernels through dync.backends.tvm. Declines what it cannot give exactly eager's meaning."""

    name = "tvm"

    def __init__(self) -> None:
        self._last: tuple[Kernel, str, Translation | Declined] | None = None

    def available(self) -> Available | Declined:
        from dync.runtime.loaders.tvm import installed

        found = installed()
        if isinstance(found, str):
            return Declined(found)
        from dync.backends.tvm.build import linker

        if linker() is None:
            return Declined("no C compiler to link with: install gcc or clang")
        from dync.backends.tvm.gpu import ARCHITECTURES, assembler
        from dync.runtime.device import present

        devices = tuple(f"cuda:{a}" for a in ARCHITECTURES) if assembler() else ()
        return Available(found.version, ("cpu", *devices), ("cpu", "cuda") if present() else ("cpu",))

    def supports(self, kernel: Kernel, target: Target) -> Declined | None:
        """None, or the first operator without a Relax form and its source line."""
        if target.kind == "cuda" and (refused := _no_cuda(target)):
            return refused
        if refused := unfit(kernel):
            return refused
        found = self._translation(kernel, target.kind)
        return found if isinstance(found, Declined) else None

    def compile(self, kernel: Kernel, target: Target, threads: int = 0) -> BlockCode:
        """A library of the kernel. Raises BackendError when TVM or the linker fails."""
        from hashlib import sha256

        from dync.backends.tvm.build import library
        from dync.backends.tvm.gpu import library_for_cuda

        refused = self.supports(kernel, target)
        found = refused or self._translation(kernel, target.kind)
        if isinstance(found, Declined):
            raise BackendError(f"{kernel.name}: {found.reason} ({found.span})")
        try:
            if target.kind == "cuda":
                made = library_for_cuda(found.module, target, empty_size(kernel) is not None)
            else:
                made = library(found.module, target, threads)
        except BackendError:
            raise
        except Exception as error:  # noqa: BLE001  TVM's exception classes share no root
            raise BackendError(f"{kernel.name}: TVM cannot compile the block: {last_line(error)}") from error
        members = {"kernel.so": made.code, **made.more}
        key = sha256(b"".join(members.values()) + repr(found.weights).encode()).hexdigest()
        weights = tuple(dict.fromkeys((*found.feeds, *found.weights)))
        return BlockCode("tvm", key, members, weights, {**_settings(kernel, found), **made.settings})

    def _translation(self, kernel: Kernel, kind: str) -> Translation | Declined:
        from dync.backends.tvm.translate import translate

        if self._last is None or self._last[0] is not kernel or self._last[1] != kind:
            self._last = (kernel, kind, translate(kernel, kind == "cuda"))
        return self._last[2]


def _no_cuda(target: Target) -> Declined | None:
    from dync.backends.tvm.gpu import ARCHITECTURES, assembler

    if target.arch and target.arch not in ARCHITECTURES:
        return Declined(f"no code for {target}: TVM makes it here for {', '.join(ARCHITECTURES)}")
    return None if assembler() else Declined("TVM's code for CUDA is made by CUDA's compiler, which is not here: install nvcc")


def _settings(kernel: Kernel, found: Translation) -> dict[str, Any]:
    """What the loader is told: see dync.runtime.loaders.tvm."""
    parameters = (*found.feeds, *found.weights)
    settings: dict[str, Any] = {"weights": {f"w{i}": name for i, name in enumerate(parameters)}}
    if found.extra:
        settings["extra"] = True
    if found.checked:
        settings["checked"] = [told(e, UNKNOWN) for e in found.errors]
    if found.copies:
        places = {v.name: i for i, v in enumerate(kernel.inputs)} | {n: len(kernel.inputs) + i for i, n in enumerate(parameters)}
        settings["copies"] = [[i, places[name]] for i, name in found.copies]
    return settings


def last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
