"""Loaders: each makes a callable of one backend's compiled code. Looked up by name, imported when first used.

A loader is a function `load(entry, members, weights, settings, threads) -> callable`:
    entry: KernelEntry, with the types of the kernel's inputs and results
    members: file name → bytes of the compiled code          weights: dync.runtime.store.Weights
    settings: entry.settings          threads: 0 for the library's own choice
    callable(*inputs) -> sequence of results, with Python numbers for values of ScalarType; must be safe to call from several threads
Its module's FORM says what tensors it takes and gives: "numpy" or "torch". Loaders from outside: entry points of group `dync.loaders`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from dync.errors import BackendError
from dync.ir.types import TensorType
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights
from dync.runtime.tensors import Form, to_numpy, to_torch

Kernel = Callable[..., Any]
LOADERS: dict[str, tuple[str, Form]] = {
    "eager": ("dync.runtime.loaders.eager:load", "torch"),
    "tvm": ("dync.runtime.loaders.tvm:load", "numpy"),
    "inductor": ("dync.runtime.loaders.inductor:load", "torch"),
    "onnxruntime": ("dync.runtime.loaders.onnxruntime:load", "numpy"),
    "iree": ("dync.runtime.loaders.iree:load", "numpy"),
}
"""Name → where the function is, and the tensors that it deals in."""
PACKAGES = {"iree": "iree-base-runtime", "iree.runtime": "iree-base-runtime"}
"""Modules that come in a package of another name."""


@dataclass(frozen=True)
class Loader:
    """One loader's function and form."""

    name: str
    place: str
    form: Form

    def module(self, block: str, needs: tuple[str, ...] = ()) -> ModuleType:
        """Imports the loader. Raises BackendError that says what to install."""
        try:
            for package in needs:
                import_module(package)
            return import_module(self.place.partition(":")[0])
        except ImportError as error:
            what = PACKAGES.get(error.name or "", error.name) or ", ".join(needs)
            raise BackendError(f"block {block!r} needs {what}, which is not installed: pip install {what}") from error


def find(name: str) -> Loader:
    """The loader of that name. Raises BackendError when there is none."""
    if name in LOADERS:
        return Loader(name, *LOADERS[name])
    for point in entry_points(group="dync.loaders", name=name):
        return Loader(name, point.value, getattr(import_module(point.module), "FORM", "numpy"))
    raise BackendError(f"there is no loader {name!r}; known: {', '.join(LOADERS)}")


def load(block: str, entry: KernelEntry, members: Mapping[str, Any], weights: Weights, threads: int, form: Form) -> Kernel:
    """The kernel of a block, taking and giving tensors of the home form. Raises BackendError when it cannot be loaded."""
    loader = find(entry.loader)
    function = getattr(loader.module(block, entry.needs), loader.place.partition(":")[2])
    files = {short(name): members[name] for name in entry.members}
    kernel = function(entry, files, weights, entry.settings, threads)
    return kernel if loader.form == form else _between(kernel, entry, loader.form)


def short(member: str) -> str:
    """What a loader calls a member: "blocks/<key>/model.onnx" is "model.onnx"."""
    return member.split("/", 2)[2] if member.startswith("blocks/") and member.count("/") >= 2 else member


def _between(kernel: Kernel, entry: KernelEntry, form: Form) -> Kernel:
    """`kernel`, which deals in `form`, for a program whose home is the other one."""
    inside, outside = (to_numpy, to_torch) if form == "numpy" else (to_torch, to_numpy)
    takes = tuple(isinstance(t, TensorType) for t in entry.inputs)
    gives = tuple(isinstance(t, TensorType) for t in entry.results)

    def call(*inputs: Any) -> tuple[Any, ...]:
        results = kernel(*[inside(v) if tensor else v for v, tensor in zip(inputs, takes, strict=True)])
        return tuple([outside(v) if tensor else v for v, tensor in zip(results, gives, strict=True)])

    return call
