"""Kernels as IREE bytecode, run by IREE's runtime on numpy arrays. Needs iree-base-runtime alone.

members: module.vmfb, whose function `main` takes the block's inputs, then the weights that calls write. settings: "device", "cpu" or
"cuda" (see iree_device.py); "parameters", the module's parameter → weight, read where it lies; "outputs", the dtypes of what `main`
gives; "feeds", weights that calls write; "copies", (index of an output, index of an argument) pairs: what the block writes in place;
"copied", arguments that the code is given copies of, as it writes into them; "in_order", that one thread does its steps one by one.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from dync.errors import BackendError, DeviceError
from dync.ir.types import ScalarType, ValueType
from dync.runtime.device import ABSENT
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights
from dync.runtime.tensors import numpy_dtype
from dync.runtime.weights import Array, raw

FORM = "numpy"
MODULE, ENTRY, SCOPE = "module.vmfb", "main", "dync"
ALIGNED = 64
"""IREE takes no memory that begins elsewhere."""
NUMBERS = {"int": "int64", "float": "float64", "bool": "bool"}
_lock = threading.Lock()
_opened: dict[tuple[int, str, int], tuple[Any, Any]] = {}


def load(entry: KernelEntry, members: Mapping[str, Any], weights: Weights, settings: Mapping[str, Any], threads: int) -> Callable[..., Any]:
    """The function as a callable. Raises BackendError when IREE refuses the module, or a call fails in it."""
    parameters: Mapping[str, str] = settings["parameters"]
    written = sorted(set(parameters.values()) & set(weights.written))
    if written:
        raise BackendError(f"weight {written[0]!r} is written by calls: the module must take it as an input")
    threads = 1 if settings.get("in_order") else threads
    module = Module(bytes(members[MODULE]), {n: weights.raw(w) for n, w in parameters.items()}, settings["device"], threads)
    feeds = [weights.numpy(w) for w in settings.get("feeds", ())]
    copied = frozenset(settings.get("copied", ()))
    if settings["device"] != "cpu":
        from dync.runtime.loaders.iree_device import kernel

        return kernel(module, entry, feeds, settings, copied)
    run = module.function(ENTRY, [*entry.inputs, *([None] * len(feeds))], settings["outputs"], copied=copied)
    copies = [(i, j) for i, j in settings.get("copies", ())]
    items = [i for i, t in enumerate(entry.results) if isinstance(t, ScalarType)]
    count = len(entry.results)

    def call(*inputs: Any) -> Any:
        given = (*inputs, *feeds)
        results = run(given)
        for i, j in copies:
            np.copyto(given[j], results[i])
        for i in items:
            results[i] = results[i].item()
        return results[:count]

    return call if feeds or copies or items else lambda *inputs: run(inputs)


class Module:
    """A loaded module and its device. Raises BackendError when IREE is missing or refuses it."""

    def __init__(
        self, code: bytes, parameters: Mapping[str, Any], device: str, threads: int, more: Callable[[Any], Any] | None = None
    ) -> None:
        try:
            rt = self.rt = import_module("iree.runtime")
        except ImportError as error:
            raise BackendError("the code needs IREE's runtime, which is not installed: pip install iree-base-runtime") from error
        rt._binding.disable_leak_checker()  # devices live as long as the process, which it would report at the end
        self.kind = device
        self.instance, self.device = _device(rt, device, threads)
        index = rt.ParameterIndex()
        self.kept = [raw(name, tensor).data for name, tensor in parameters.items()]
        for name, data in zip(parameters, self.kept, strict=True):
            index.add_buffer(name, data)
        self.sizes: dict[int, list[Array]] = {}
        for data in self.kept:
            self.sizes.setdefault(len(data), []).append(np.frombuffer(data, np.uint8))
        try:
            modules = [rt.create_hal_module(self.instance, self.device)]
            if parameters:
                modules.append(rt.create_io_parameters_module(self.instance, index.create_provider(scope=SCOPE)))
            self.module = rt.VmModule.copy_buffer(self.instance, code)
            if more is not None:
                modules.append(more(self.instance))
            self.context = rt.VmContext(self.instance, [*modules, self.module])
        except Exception as error:  # IREE's errors are Python's own, of many classes
            raise BackendError(f"IREE cannot load the code: {first_line(error)}") from error

    def function(
        self, name: str, inputs: Sequence[ValueType | None], outputs: Sequence[str], wanted: Sequence[Sequence[int]] = (),
        copied: frozenset[int] = frozenset(),
    ) -> Callable[[Sequence[Any]], list[Any]]:
        """A function on arrays, with Python numbers where an input is one; outputs: their dtypes. Calls wait for each other.

        wanted: where the first output is a plain number, the other outputs that are read by it; the rest come as None.
        """
        function = self.module.lookup_function(name)
        if function is None:
            raise BackendError(f"the code has no function {name!r}")
        if self.kind != "cpu":
            from dync.runtime.loaders.iree_device import caller

            return caller(self, function, inputs, outputs, wanted)
        return _caller(self, function, inputs, outputs, wanted, copied)

    def apart(self, made: Array, others: Sequence[Array]) -> Array:
        """A result in memory of its own: IREE gives back an input or a weight where nothing is computed, and equal results once."""
        for value in (*others, *self.sizes.get(made.nbytes, ())):
            if np.may_share_memory(made, value):
                return made.copy()
        return made


def _caller(
    module: Module, function: Any, types: Sequence[ValueType | None], outputs: Sequence[str], wanted: Sequence[Sequence[int]],
    copied: frozenset[int],
) -> Callable[[Sequence[Any]], list[Any]]:
    rt, take = module.rt, module.device.from_dlpack_capsule
    kinds = rt.MemoryType.DEVICE_LOCAL | rt.MemoryType.HOST_VISIBLE
    lists, view, invoke = rt.VmVariantList, rt.HalBufferView, module.context.invoke
    lock = threading.Lock()
    cells = {i: aligned((), numpy_dtype(NUMBERS[t.kind])) for i, t in enumerate(types) if isinstance(t, ScalarType)}
    ready = {i: take(cell.__dlpack__()) for i, cell in cells.items()}
    dtypes, count = [numpy_dtype(d) if d else None for d in outputs], len(outputs)
    everything = range(count)

    def push(arguments: Any, value: Array, copy: bool) -> Array:
        try:
            if copy:
                raise BufferError
            arguments.push_ref(take(value.__dlpack__()))
        except (BufferError, IndexError, ValueError):
            made = aligned(value.shape, value.dtype)
            np.copyto(made, value)
            arguments.push_ref(take(made.__dlpack__()) if made.size else empty_view(module.device, rt, made, kinds))
            return made
        return value

    def run(inputs: Sequence[Any]) -> list[Any]:
        arguments, results = lists(len(types)), lists(count)
        try:
            with lock:
                kept: list[Array] = []
                for i, value in enumerate(inputs):
                    if i in cells:
                        cells[i][()] = value
                        arguments.push_ref(ready[i])
                        kept.append(cells[i])
                    else:
                        kept.append(push(arguments, value, i in copied))
                invoke(function, arguments, results)
                found: list[Any] = [None] * count
                places: Sequence[int] = everything
                if wanted:
                    way: int = results.get_variant(0)
                    found[0], places = way, wanted[way]
                for i in places:
                    buffer = results.get_as_object(i, view)
                    found[i] = made = module.apart(buffer.map().asarray(buffer.shape, dtypes[i]), kept)
                    kept.append(made)
                return found
        except Exception as error:  # IREE's errors are Python's own, of many classes
            raise BackendError(f"IREE failed: {first_line(error)}") from error

    return run


def aligned(shape: Sequence[int], dtype: Any) -> Array:
    """New memory that begins where IREE wants it."""
    size = prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    start = -memory.ctypes.data % ALIGNED
    return memory[start : start + size].view(dtype).reshape(shape)


def empty_view(device: Any, rt: Any, value: Array, kinds: Any) -> Any:
    """An empty array, which DLPack does not carry."""
    buffer = device.allocator.allocate_buffer(kinds, rt.BufferUsage.DEFAULT | rt.BufferUsage.MAPPING, 1)
    return rt.HalBufferView(buffer, value.shape, element_type(rt, value.dtype.name))


def element_type(rt: Any, name: str) -> Any:
    """IREE's name of a dtype."""
    kind = {"bool": "BOOL_8", "bfloat16": "BFLOAT_16"}.get(name)
    kind = kind or name.upper().replace("UINT", "UINT_").replace("INT", "INT_", 1 - name.startswith("u")).replace("FLOAT", "FLOAT_")
    return getattr(rt.HalElementType, kind)


def _device(rt: Any, kind: str, threads: int) -> tuple[Any, Any]:
    """(instance, device), one for the process. One thread: work is done in the call; more: by that many workers, 0 for IREE's choice."""
    key = (os.getpid(), kind, 0 if kind != "cpu" else threads)  # a fork has none of its parent's workers
    with _lock:
        if key not in _opened:
            instance = next((i for k, (i, _) in _opened.items() if k[0] == key[0]), None) or rt.VmInstance()
            try:
                _opened[key] = (instance, _open(rt, kind, threads))
                for one in _opened[key]:  # results that are freed while Python ends still call the device
                    ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))
            except Exception as error:  # IREE's errors are Python's own, of many classes
                if kind == "cuda":
                    raise DeviceError(ABSENT) from error
                raise BackendError(f"IREE opens no device for {kind}: {first_line(error)}") from error
        return _opened[key]


def _open(rt: Any, kind: str, threads: int) -> Any:
    if kind != "cpu":
        return rt.get_driver(kind).create_default_device()
    if threads == 1:
        return rt.get_driver("local-sync").create_default_device()
    rt.flags.parse_flags(f"--task_topology_group_count={threads or len(os.sched_getaffinity(0))}")
    return rt._binding.create_hal_driver("local-task").create_default_device()  # get_driver's is one for all numbers of threads


def first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
