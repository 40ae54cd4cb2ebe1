"""Kernels as shared libraries made by TVM, run by its virtual machine on numpy arrays, without copies and without its compiler.

members: kernel.so. settings: "weights", w0, w1, … → weight, the parameters of "main" after the inputs, those that calls write first;
"copies", (index of an output, index of a parameter) pairs: what the block writes in place; "checked": the last output is 0, or counts
indices that are out of range, or is -1 - the number of an error in this list; "extra": it calls into TVM's second runtime library;
"packs": "main_transform_params" makes of the tuple of weights, but those that calls write, what "main" takes in their place.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dync.errors import BackendError
from dync.ir.raising import read
from dync.ir.types import ScalarType, ValueType
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights
from dync.runtime.weights import Array

FORM = "numpy"
PACKAGES = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post0"}
"""What artifacts are made with and loaded by. tvm-ffi 0.1.15 crashes under TVM 0.27."""
INSTALL = "pip install " + " ".join(f"{name}=={one}" for name, one in PACKAGES.items())
DTYPES = {"int": np.int64, "float": np.float64, "bool": np.bool_}
ALIGNMENT = 64
"""Bytes that TVM's code takes the memory of tensors to be aligned to."""
CPU, CUDA, _POOLED = 1, 2, 2
PACKER = "main_transform_params"
OUTSIDE = "an index is out of range in a block compiled by TVM"
_pool = threading.local()


class Installed(NamedTuple):
    version: str
    folder: Path
    """Where TVM's libraries are."""


def installed() -> Installed | str:
    """TVM's version and libraries, or why they cannot be used and what to install. Imports neither TVM nor torch."""
    spec = find_spec("tvm")
    if spec is None or not spec.submodule_search_locations or find_spec("tvm_ffi") is None:
        return f"apache-tvm is not installed: {INSTALL}"
    for name, wanted in PACKAGES.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            return f"{name} is not installed: {INSTALL}"
        if found.split(".post")[0] != wanted.split(".post")[0]:
            return f"{name} {found} is installed, {wanted} is needed (others crash or read other files): {INSTALL}"
    folder = Path(next(iter(spec.submodule_search_locations))) / "lib"
    if not (folder / "libtvm_runtime.so").is_file():
        return f"{folder} holds no libtvm_runtime.so: {INSTALL}"
    return Installed(version("apache-tvm"), folder)


@cache
def runtime(extra: bool = False) -> Any:
    """The module tvm_ffi with TVM's runtime in the process. Raises BackendError that says what to install."""
    found = installed()
    if isinstance(found, str):
        raise BackendError(found)
    os.environ.setdefault("TVM_BIND_THREADS", "0")  # pinned workers are 100 times slower where other work runs on the same cores
    ffi = _import_alone()
    if "tvm" not in sys.modules:
        for name in ("libtvm_runtime.so", *(["libtvm_runtime_extra.so"] if extra else [])):
            ctypes.CDLL(str(found.folder / name), ctypes.RTLD_GLOBAL)
        ffi.registry._SKIP_UNKNOWN_OBJECTS = True  # classes that only the compiler package knows
    return ffi


def _import_alone() -> Any:
    """tvm_ffi without torch, which it imports where it finds it, unless the process has torch already."""
    if "tvm_ffi" in sys.modules or "torch" in sys.modules:
        return import_module("tvm_ffi")
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        return import_module("tvm_ffi")
    finally:
        del sys.modules["torch"]


def load(entry: KernelEntry, members: Mapping[str, Any], weights: Weights, settings: Mapping[str, Any], threads: int) -> Callable[..., Any]:
    """The library's "main" as a callable. Raises BackendError when TVM refuses it, or a call fails in it."""
    names = list(settings.get("weights", {}).values())
    feeds = [weights.numpy(name) for name in names if name in weights.written]
    if set(names[: len(feeds)]) - set(weights.written):
        raise BackendError("a weight is written by calls: the library must take it as an input")
    device = settings.get("device")
    if device is not None:
        from dync.runtime.loaders.tvm_device import baked, kernel, memory_of

        memory_of(device)
        with baked(members.get("kernels.fatbin")):
            machines = opened(members["kernel.so"], bool(settings.get("extra")), device)
        return kernel(machines, entry, [weights.numpy(n) for n in names[len(feeds) :]], feeds, settings)
    machines = opened(members["kernel.so"], bool(settings.get("extra")))
    group = (PACKER if settings.get("packs") else "", names[len(feeds) :])
    bound = packed(machines, [group], weights)[0]
    copies = [(i, place) for i, place in settings.get("copies", ())]
    shared = list(settings.get("shared", ()))
    return _caller(machines, feeds, bound, copies, shared, settings.get("checked"), entry, threads)


def failed(found: int, errors: Sequence[str]) -> Exception:
    """What to raise where a block's last output is `found`."""
    return (read(errors[-1 - found], False) if found < 0 else None) or BackendError(OUTSIDE)


def opened(code: Any, extra: bool, device: str = "cpu") -> Machines:
    """The library loaded from a file that is gone again: the process keeps its memory. Raises BackendError when TVM refuses it."""
    ffi = runtime(extra)
    with tempfile.TemporaryDirectory(prefix="dync-") as folder:
        path = Path(folder) / "kernel.so"
        path.write_bytes(code)
        try:
            machines = Machines(ffi.load_module(str(path)), device)
            machines.start()
        except Exception as error:  # tvm_ffi's exception classes share no root
            raise BackendError(f"TVM cannot load the code: {str(error).splitlines()[-1]}") from error
        return machines


def packed(machines: Machines | None, groups: Iterable[tuple[str, Sequence[str]]], weights: Weights) -> list[list[Any]]:
    """Each group's weights as its code takes them; a group is the function of the library that makes them so, or "", and their names."""
    ffi = runtime()
    made: list[list[Any]] = []
    for packer, names in groups:
        tensors = [tensor(ffi, aligned(weights.numpy(n))) for n in names]
        made.append(list(machines.function(packer)(tensors)) if machines and packer else tensors)
    return made


class Machines(threading.local):
    """A virtual machine for each thread that calls: one machine is not safe to call from two."""

    def __init__(self, executable: Any, device: str = "cpu") -> None:
        self.executable, self.device = executable, device
        self.functions: dict[str, Callable[..., Any]] = {}

    def start(self) -> None:
        self.machine = self.executable.get_function("vm_load_executable")()
        devices = (CUDA, CPU) if self.device == "cuda" else (CPU,)  # sizes are computed on the last
        self.machine.get_function("vm_initialization")(*(n for kind in devices for n in (kind, 0, _POOLED)))

    def function(self, name: str) -> Callable[..., Any]:
        """This thread's function `name`."""
        found = self.functions.get(name)
        if found is None:
            if not hasattr(self, "machine"):
                self.start()
            found = self.functions[name] = self.machine.get_function(name)
        return found


def aligned(array: Array) -> Array:
    """The array itself, or a copy of it in row-major aligned memory."""
    array = np.ascontiguousarray(array).reshape(array.shape)
    return array if array.ctypes.data % ALIGNMENT == 0 else _compact(array)


def _compact(array: Any) -> Any:
    """A copy in aligned memory with the strides that its sizes ask for, also along sizes of 0 and 1, where numpy has any."""
    memory = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    strides: Any = np.cumprod([array.itemsize, *array.shape[:0:-1]])[::-1].tolist() if array.ndim else []
    copy: Any = np.ndarray(array.shape, array.dtype, memory.data, -memory.ctypes.data % ALIGNMENT, strides)
    copy[...] = array
    return copy


def tensor(ffi: Any, array: Array) -> Any:
    """tvm_ffi's tensor over the memory of an aligned array, also of one that may only be read."""
    return ffi.from_dlpack(array if array.flags.writeable else array.__dlpack__(max_version=(1, 0)))


def caller(machines: Machines, name: str, inputs: Sequence[ValueType | None], bound: Sequence[Any], threads: int) -> Callable[..., Any]:
    """A function of the library on numpy arrays, and Python numbers where `inputs` says so, with `bound` behind them; what it gives.

    Raises TVM's own exceptions.
    """
    ffi = runtime()
    from_dlpack, configure = ffi.from_dlpack, ffi.get_global_func("runtime.config_threadpool")
    dtypes = {i: DTYPES[t.kind] for i, t in enumerate(inputs) if isinstance(t, ScalarType)}

    def taken(array: Any) -> Any:
        try:
            return from_dlpack(array, require_alignment=ALIGNMENT, require_contiguous=True)
        except (RuntimeError, BufferError, ValueError):
            return tensor(ffi, aligned(array))

    def call(given: Sequence[Any]) -> Any:
        if threads != 1 and getattr(_pool, "threads", None) != threads:
            if not hasattr(_pool, "threads"):
                configure(1, *_workers(max(threads, len(_cores()))))  # a pool never grows
            configure(1, *_workers(threads or len(_cores())))
            _pool.threads = threads
        function = machines.functions.get(name) or machines.function(name)
        if dtypes:
            given = [np.array(v, dtypes[i]) if i in dtypes else v for i, v in enumerate(given)]
        try:
            return function(*[taken(v) for v in given], *bound)
        except Exception as error:  # tvm_ffi's exception classes share no root
            if "compact" not in str(error):
                raise
            return function(*[taken(_compact(v)) for v in given], *bound)

    return call


def _workers(count: int) -> tuple[int, list[str]]:
    """`count` workers, and the cores they are for. Without cores TVM takes half of all, and reads how many those are from a file at each
    parallel loop."""
    cores = _cores()
    return count, [cores[n % len(cores)] for n in range(count)]


@cache
def _cores() -> list[str]:
    given = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return [str(c) for c in sorted(given)]


def _caller(
    machines: Machines, feeds: list[Array], bound: list[Any], copies: list[tuple[int, int]], shared: list[int],
    checked: Sequence[str] | None, entry: KernelEntry, threads: int,
) -> Callable[..., Any]:
    to_numpy, item = np.from_dlpack, runtime().get_global_func("ffi.ArrayGetItem")
    run = caller(machines, "main", [*entry.inputs, *([None] * len(feeds))], bound, threads)
    items = {i for i, t in enumerate(entry.results) if isinstance(t, ScalarType)}
    count = len(entry.results)
    outputs = range(max([count, *(i + 1 for i, _ in copies)]))

    def call(*inputs: Any) -> Any:
        given = [*inputs, *feeds]
        try:
            made = run(given)
        except Exception as error:  # tvm_ffi's exception classes share no root
            raise BackendError(f"TVM failed on a block: {str(error).splitlines()[-1]}") from error
        if checked is not None and (found := int(to_numpy(item(made, len(made) - 1)))):
            raise failed(found, checked)
        results: list[Any] = [to_numpy(item(made, i)) for i in outputs]
        for i in shared:
            if i < len(results):
                results[i] = results[i].copy()  # others may write it
        for i, place in copies:
            np.copyto(given[place], results[i])
        for i in items:
            results[i] = results[i].item()
        return results[:count]

    return call
