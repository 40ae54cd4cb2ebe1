"""Tensors in a device's memory, between blocks: what a block leaves there is copied to the host only when somebody there reads it."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dync.ir.types import TensorType
from dync.runtime.package import KernelEntry
from dync.runtime.tensors import Give, dense, is_numpy, numpy_dtype, once, to_numpy, to_torch
from dync.runtime.weights import Array

if TYPE_CHECKING:
    from dync.runtime.binding import Binder

ABSENT = "compiled for CUDA; this machine has no CUDA device: no libcuda.so, or no GPU behind it"


class Memory(Protocol):
    """A library's memory on a device. Both functions wait until the copy is made, and give memory that nobody else has."""

    def upload(self, array: Array) -> Any:
        """The array there, as what the library calls a tensor."""
        ...

    def download(self, held: Any, dtype: np.dtype[Any]) -> Array:
        """Such a tensor as a writable array."""
        ...

    def share(self, tensor: Any) -> Any:
        """A torch tensor on the device as such a tensor, over the same memory where that is possible."""
        ...

    def torch(self, held: Any, tensor: DeviceTensor, device: Any) -> Any:
        """Such a tensor, which is held by `tensor`, as a torch tensor on the device `device`, with memory of its own."""
        ...


class DeviceTensor:
    """A tensor in the memory of a device, of the host, or of both; read-only in either but through `put` and `written_on_host`.

    Its array on the host is read through DLPack, as that of any tensor on the CPU. What it was made from, an array or a torch tensor on the
    device, is somebody's own: what is written is written there too.
    """

    __slots__ = ("_array", "_held", "_memory", "_own", "dtype", "source")

    def __init__(
        self, array: Array | None = None, memory: Memory | None = None, held: Any = None, dtype: Any = None, source: Any = None
    ) -> None:
        self._array, self._memory, self._held, self.source = array, memory, held, source
        self._own = array is None
        self.dtype: np.dtype[Any] = dtype if array is None else array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        own: Any = next(v for v in (self._array, self._held, self.source) if v is not None)
        return tuple(own.shape)

    def on(self, memory: Memory) -> Any:
        """As `memory` calls it, copied there if it is not there yet."""
        if self._memory is not memory:
            at_source = self._memory is None and self.source is not None
            self._held, self._memory = memory.share(self.source) if at_source else memory.upload(self.host()), memory
        return self._held

    def host(self) -> Array:
        """The array on the host: the one that it was made from, or a copy of what the device has."""
        if self._array is None:
            if self._memory is None:
                self._array = to_numpy(self.source.cpu())
            else:
                self._array = self._memory.download(self._held, self.dtype)
        return self._array

    def torch(self, device: Any) -> Any:
        """A torch tensor with its value on the device `device`."""
        return to_torch(self.host()).to(device) if self._memory is None else self._memory.torch(self._held, self, device)

    def put(self, memory: Memory, held: Any) -> None:
        """Another value of the same shape, which a block wrote."""
        if self.source is not None:
            made = DeviceTensor(None, memory, held, self.dtype)
            self.source.copy_(made.torch(self.source.device))
            self._array = None
        elif self._own:
            self._array = None
        else:
            np.copyto(self.host(), memory.download(held, self.dtype))
        self._memory, self._held = memory, held

    def written_on_host(self) -> None:
        """Says that the array on the host was written."""
        if self.source is not None:
            self.source.copy_(to_torch(self.host()))
        self._memory = self._held = None

    def __dlpack__(self, **options: Any) -> Any:
        return self.host().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[Any, Any]:
        return self.host().__dlpack_device__()


def there(value: Any, memory: Memory) -> Any:
    """A tensor, an array or a number on the device."""
    return value.on(memory) if isinstance(value, DeviceTensor) else memory.upload(np.asarray(value))


def put(target: Any, memory: Memory, held: Any) -> None:
    """Writes what is on the device over a tensor or an array."""
    if isinstance(target, DeviceTensor):
        target.put(memory, held)
    else:
        np.copyto(target, memory.download(held, target.dtype))


def host(value: Any) -> Any:
    """The value, as an array on the host if it is a tensor of a device."""
    return value.host() if isinstance(value, DeviceTensor) else value


def on_host(kernel: Callable[..., Sequence[Any]], entry: KernelEntry, mutated: Sequence[int]) -> Callable[..., list[Any]]:
    """A kernel that runs on the CPU, for a program on a device; mutated: places of the inputs that it writes."""
    tensors = [isinstance(t, TensorType) for t in entry.results]

    def call(*inputs: Any) -> list[Any]:
        results = kernel(*[host(v) for v in inputs])
        for i in mutated:
            if isinstance(inputs[i], DeviceTensor):
                inputs[i].written_on_host()
        return [DeviceTensor(r) if tensor and is_numpy(r) else r for r, tensor in zip(results, tensors, strict=True)]

    return call


def resides(value: Any, target: str) -> bool:
    """Whether a torch tensor is on a device of the kind `target`, such as "cuda"."""
    return value.device.type == target


def on_device(tensor: Any) -> DeviceTensor:
    """A torch tensor on a device, where it stays. Raises GuardError for a layout that is not dense."""
    plain = dense(tensor)
    return DeviceTensor(source=plain, dtype=numpy_dtype(str(plain.dtype).removeprefix("torch.")))


def binder_on_device(binder: Binder) -> Callable[..., tuple[list[Any], tuple[Any, ...], Give]]:
    """`binder` for a program on a device: tensors go in as DeviceTensors, and come out as arrays to what gives them to the caller.

    Where the first tensor of a call is torch's and on the device, results are too.
    """

    def bound(args: Sequence[Any], kwargs: Mapping[str, Any], params: tuple[Any, ...]) -> tuple[list[Any], tuple[Any, ...], Give]:
        values, params, give = binder(args, kwargs, params)
        first = values[binder.tensors[0]] if binder.tensors else None
        device = first.source.device if isinstance(first, DeviceTensor) else None
        mine = {id(v) for v in values if isinstance(v, DeviceTensor)}

        def out(value: Any) -> Any:
            if not isinstance(value, DeviceTensor) or id(value) in mine:  # the caller's own tensor
                return give(value)
            return give(value.host()) if device is None else value.torch(device)

        return [DeviceTensor(v) if is_numpy(v) else v for v in values], params, once(out) if binder.several and device is not None else out

    return bound


def present() -> bool:
    """Whether there is a CUDA device. Asks the files of the driver: asking CUDA itself would spoil it for processes forked from here."""
    return bool(glob.glob("/dev/nvidia[0-9]*"))
