"""IREE's bytecode on a device that is not the CPU: tensors stay in its memory between blocks. `kernel` is as `iree.load` gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dync.errors import BackendError
from dync.ir.types import ScalarType, ValueType
from dync.runtime.device import DeviceTensor, host, put, there
from dync.runtime.loaders.iree import ENTRY, NUMBERS, element_type, empty_view, first_line
from dync.runtime.package import KernelEntry
from dync.runtime.tensors import numpy_dtype, to_numpy, to_torch
from dync.runtime.weights import Array

if TYPE_CHECKING:
    from dync.runtime.loaders.iree import Module

_memories: dict[int, DeviceMemory] = {}
"""By device; a device lives as long as the process."""


def kernel(
    module: Module, entry: KernelEntry, feeds: Sequence[Any], settings: Mapping[str, Any], copied: frozenset[int]
) -> Callable[..., Any]:
    """The function "main" on DeviceTensors, arrays and numbers; what it gives stays on the device, but for numbers."""
    memory = memory_of(module)
    dtypes = [numpy_dtype(d) for d in settings["outputs"]]
    run = _caller(module, module.module.lookup_function(ENTRY), [*entry.inputs, *([None] * len(feeds))], len(dtypes), copied)
    copies = [(i, j) for i, j in settings.get("copies", ())]
    numbers = {i for i, t in enumerate(entry.results) if isinstance(t, ScalarType)}
    count = len(entry.results)

    def call(*inputs: Any) -> list[Any]:
        given = (*inputs, *feeds)
        try:
            results = run(given)
            made = [results.get_as_object(i, module.rt.HalBufferView) for i in range(len(dtypes))]
            for i, j in copies:
                put(given[j], memory, made[i])
            return [memory.download(made[i], dtypes[i]).item() if i in numbers else DeviceTensor(None, memory, made[i], dtypes[i])
                    for i in range(count)]  # fmt: skip
        except Exception as error:  # IREE's errors are Python's own, of many classes
            raise BackendError(f"IREE failed: {first_line(error)}") from error

    return call


def caller(
    module: Module, function: Any, types: Sequence[ValueType | None], outputs: Sequence[str], wanted: Sequence[Sequence[int]]
) -> Callable[[Sequence[Any]], list[Any]]:
    """A function on arrays and numbers, as Module.function says."""
    memory, view = memory_of(module), module.rt.HalBufferView
    run = _caller(module, function, types, len(outputs), frozenset(range(len(types))))
    dtypes = [numpy_dtype(d or "int64") for d in outputs]

    def call(inputs: Sequence[Any]) -> list[Any]:
        found: list[Any] = [None] * len(outputs)
        try:
            results = run(inputs)
            places: Sequence[int] = range(len(outputs))
            if wanted:
                way: int = results.get_variant(0)
                found[0], places = way, wanted[way]
            for i in places:
                found[i] = memory.download(results.get_as_object(i, view), dtypes[i])
            return found
        except Exception as error:  # IREE's errors are Python's own, of many classes
            raise BackendError(f"IREE failed: {first_line(error)}") from error

    return call


def _caller(
    module: Module, function: Any, types: Sequence[ValueType | None], count: int, copied: frozenset[int]
) -> Callable[[Sequence[Any]], Any]:
    """A function on DeviceTensors, arrays and numbers, with copies of the `copied` ones; what it gives, as IREE's list."""
    rt, memory, lock = module.rt, memory_of(module), threading.Lock()
    numbers = {i: numpy_dtype(NUMBERS[t.kind]) for i, t in enumerate(types) if isinstance(t, ScalarType)}

    def run(given: Sequence[Any]) -> Any:
        arguments, results = rt.VmVariantList(len(given)), rt.VmVariantList(count)
        for i, value in enumerate(given):
            if i in numbers:
                arguments.push_ref(memory.upload(np.array(value, numbers[i])))
            else:
                arguments.push_ref(memory.upload(host(value)) if i in copied else there(value, memory))
        with lock:
            module.context.invoke(function, arguments, results)
        return results

    return run


class DeviceMemory:
    """IREE's memory on one device; its tensors are HalBufferViews."""

    def __init__(self, rt: Any, device: Any) -> None:
        self._rt, self._device = rt, device

    def upload(self, array: Array) -> Any:
        rt = self._rt
        array = np.ascontiguousarray(array).reshape(array.shape)
        if not array.size:
            return empty_view(self._device, rt, array, rt.MemoryType.DEVICE_LOCAL)
        return self._device.allocator.allocate_buffer_copy(
            memory_type=rt.MemoryType.DEVICE_LOCAL, allowed_usage=rt.BufferUsage.DEFAULT, device=self._device, buffer=array,
            element_type=element_type(rt, array.dtype.name),
        )  # fmt: skip

    def download(self, held: Any, dtype: np.dtype[Any]) -> Array:
        rt, allocator = self._rt, self._device.allocator
        made = np.empty(held.shape, dtype)
        if not made.size:
            return made
        source = held.get_buffer()
        kinds = int(rt.MemoryType.HOST_LOCAL | rt.MemoryType.DEVICE_VISIBLE)
        usage = int(rt.BufferUsage.TRANSFER_TARGET | rt.BufferUsage.MAPPING_SCOPED)
        staging = allocator.allocate_buffer(memory_type=kinds, allowed_usage=usage, allocation_size=source.byte_length())
        semaphore = self._device.create_semaphore(0)
        before, after = rt.HalFence.create_at(semaphore, 0), rt.HalFence.create_at(semaphore, 1)
        self._device.queue_copy(source, staging, wait_semaphores=before, signal_semaphores=after)
        after.wait()
        np.copyto(made, staging.map().asarray(held.shape, dtype))
        return made

    def share(self, tensor: Any) -> Any:
        """A copy, by way of the host."""
        return self.upload(to_numpy(tensor.cpu()))

    def torch(self, held: Any, tensor: DeviceTensor, device: Any) -> Any:
        """A copy, by way of the host."""
        return to_torch(tensor.host()).to(device)


def memory_of(module: Module) -> DeviceMemory:
    """The memory of the device that a module is on."""
    return _memories.setdefault(id(module.device), DeviceMemory(module.rt, module.device))
