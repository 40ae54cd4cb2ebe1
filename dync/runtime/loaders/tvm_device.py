"""TVM's libraries on a device that is not the CPU: tensors stay in its memory between blocks. `kernel` is as `tvm.load` gives it."""

from __future__ import annotations

import ctypes
import site
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dync.errors import BackendError, DeviceError
from dync.ir.types import ScalarType
from dync.runtime.device import ABSENT, DeviceTensor, present, put, there
from dync.runtime.loaders.tvm import ALIGNMENT, DTYPES, PACKER, failed, installed, runtime
from dync.runtime.package import KernelEntry
from dync.runtime.tensors import to_numpy, to_torch
from dync.runtime.weights import Array

if TYPE_CHECKING:
    from dync.runtime.loaders.tvm import Machines

COMPILE = "tvm_callback_cuda_compile"
"""TVM's name for what makes machine code of CUDA source."""
_lock = threading.Lock()
CUDART = "libcudart.so.13"


def kernel(
    machines: Machines, entry: KernelEntry, weights: Sequence[Array], feeds: Sequence[Any], settings: Mapping[str, Any]
) -> Callable[..., Any]:
    """The function "main" on DeviceTensors, arrays and numbers; what it gives stays on the device, but for numbers."""
    memory = memory_of(machines.device)
    bound = [memory.upload(w) for w in weights]
    if settings.get("packs"):
        bound = list(machines.function(PACKER)(bound))
    kinds = {i: DTYPES[t.kind] for i, t in enumerate(entry.inputs) if isinstance(t, ScalarType)}
    numbers = {i for i, t in enumerate(entry.results) if isinstance(t, ScalarType)}
    copies = [(i, place) for i, place in settings.get("copies", ())]
    checked = settings.get("checked")
    item = runtime().get_global_func("ffi.ArrayGetItem")
    count = len(entry.results)

    def call(*inputs: Any) -> list[Any]:
        given = (*inputs, *feeds)
        arguments = [memory.upload(np.array(v, kinds[i])) if i in kinds else there(v, memory) for i, v in enumerate(given)]
        try:
            made = machines.function("main")(*arguments, *bound)
            if checked is not None and (found := memory.download(item(made, len(made) - 1)).item()):
                raise failed(found, checked)
            for i, place in copies:
                put(given[place], memory, item(made, i))
            results = [item(made, i) for i in range(count)]
            return [memory.download(r).item() if i in numbers else DeviceTensor(None, memory, r, np.dtype(str(r.dtype)))
                    for i, r in enumerate(results)]  # fmt: skip
        except (BackendError, ArithmeticError, ValueError):
            raise
        except Exception as error:  # tvm_ffi's exception classes share no root
            raise BackendError(f"TVM failed on a block: {str(error).splitlines()[-1]}") from error

    return call


class DeviceMemory:
    """TVM's memory on one device; its tensors are tvm_ffi's."""

    def __init__(self, device: str) -> None:
        ffi = runtime()
        self._dtype, self._shape, self._device = ffi.dtype, ffi.Shape, ffi.device(device, 0)
        self._from_dlpack = ffi.from_dlpack
        self._allocate = ffi.get_global_func("runtime.TVMTensorAllocWithScope")
        self._write = ffi.get_global_func("runtime.TVMTensorCopyFromBytes")
        self._read = ffi.get_global_func("runtime.TVMTensorCopyToBytes")

    def upload(self, array: Array) -> Any:
        array = np.ascontiguousarray(array).reshape(array.shape)
        made = self._allocate(self._shape(array.shape), self._dtype(array.dtype.name), self._device, None)
        if array.size:
            self._write(made, ctypes.c_void_p(array.ctypes.data), array.nbytes)
        return made

    def download(self, held: Any, dtype: np.dtype[Any] | None = None) -> Array:
        made = np.empty(tuple(held.shape), dtype or np.dtype(str(held.dtype)))
        if made.size:
            self._read(held, ctypes.c_void_p(made.ctypes.data), made.nbytes)
        return made

    def share(self, tensor: Any) -> Any:
        """Over the same memory if it is on this device, dense and aligned.

        TVM's work is in the device's default stream: one of the caller's own is waited for, and the memory is no other tensor's before TVM
        is done.
        """
        if tensor.device.index or not tensor.numel():
            return self.upload(to_numpy(tensor.cpu()))
        tensor = tensor.contiguous()
        if tensor.data_ptr() % ALIGNMENT:
            tensor = tensor.clone()
        if stream := _own_stream(tensor.device):
            stream.synchronize()
            tensor.record_stream(import_module("torch").cuda.default_stream(tensor.device))
        return self._from_dlpack(tensor)

    def torch(self, held: Any, tensor: DeviceTensor, device: Any) -> Any:
        """A copy: what is held may be a state's, or be one of two results."""
        if device.index or not all(held.shape):
            return to_torch(tensor.host()).to(device)
        torch = import_module("torch")
        if stream := _own_stream(device):
            torch.cuda.default_stream(device).synchronize()
        made = torch.from_dlpack(held).clone()
        if stream:
            stream.synchronize()  # TVM may write over its memory as soon as nobody holds it
        return made


def _own_stream(device: Any) -> Any:
    """The caller's stream of torch's, None where it is the default one."""
    if device.type != "cuda":
        return None
    stream = import_module("torch").cuda.current_stream(device)
    return stream if stream.cuda_stream else None


@contextmanager
def baked(kernels: Any) -> Generator[None, None, None]:
    """While a library is loaded: its kernels are this machine code, where TVM would compile their source."""
    if kernels is None:
        yield
        return
    ffi, code = runtime(), bytes(kernels)
    with _lock:
        before = ffi.get_global_func(COMPILE, allow_missing=True)

        def compiled(source: str) -> bytes:
            return code

        ffi.register_global_func(COMPILE, compiled, override=True)
        try:
            yield
        finally:
            ffi.registry.remove_global_func(COMPILE) if before is None else ffi.register_global_func(COMPILE, before, override=True)


@cache
def memory_of(device: str) -> DeviceMemory:
    """The memory of "cpu" or "cuda". Raises DeviceError where there is no such device, BackendError where a library is missing."""
    if device == "cuda":
        open_cuda()
    return DeviceMemory(device)


@cache
def open_cuda() -> None:
    """TVM's part for CUDA, in the process. Raises as `memory_of` does."""
    found = installed()
    if isinstance(found, str):
        raise BackendError(found)
    if not present():
        raise DeviceError(ABSENT)
    runtime()
    _load_cudart()
    try:
        ctypes.CDLL(str(found.folder / "libtvm_runtime_cuda.so"), ctypes.RTLD_GLOBAL)
    except OSError as error:
        if "libcuda.so" in str(error):
            raise DeviceError(ABSENT) from error
        raise BackendError(f"TVM's part for CUDA cannot be loaded: {error}") from error


def _load_cudart() -> None:
    """CUDA's runtime, from where the loader finds it or from NVIDIA's package for Python."""
    folders = [Path(p) for p in (*site.getsitepackages(), *sys.path)]
    packaged = [p for f in folders for p in f.glob(f"nvidia/*/lib/{CUDART}")]
    for name in (CUDART, *map(str, packaged)):
        try:
            ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
            return
        except OSError:
            continue
    raise BackendError(f"TVM's code for CUDA needs {CUDART}, which is not installed: pip install nvidia-cuda-runtime")
