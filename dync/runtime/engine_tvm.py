"""A whole program as one library for TVM's virtual machine: calls it, and makes of its outputs what the Python function gave.

members: host/model.so, with the functions `main` and `traced`, which take the inputs and a tuple of groups of weights, and `dync`,
which gives the convention (dync.host.onnx.convention). settings: "groups", of each group what makes it, or "", and its weights;
"extra" as for blocks; "native" if `main` takes the addresses of all weights instead (int64), and gives the exit's number as a tensor.
`traced` tells its way to two functions of the process, which keep it for the thread that calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from dync.errors import BackendError
from dync.host.onnx.convention import KEY
from dync.host.tvm.code import DECIDE, ENTER, FAILED, MAIN, SAYS, TRACED
from dync.ir.trace import Trace, margin
from dync.runtime.engine import Give, ending, outputs_read, read_convention, trace
from dync.runtime.loaders.tvm import aligned, caller, failed, opened, packed, runtime, tensor
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights

LIBRARY = "host/model.so"


class TvmEngine:
    """The control flow and all blocks in one library.

    Raises BackendError when TVM is missing or refuses the library, ArtifactError when it says not what it is.
    """

    def __init__(self, entry: KernelEntry, members: Mapping[str, Any], weights: Weights, threads: int) -> None:
        ffi = runtime(bool(entry.settings.get("extra")))
        for name, function in ((ENTER, _way.enter), (DECIDE, _way.decide)):
            ffi.register_global_func(name, function, override=True)
        machines = opened(members[LIBRARY], bool(entry.settings.get("extra")))
        self.convention = said = read_convention({KEY: str(machines.function(SAYS)())})
        groups = packed(machines, [(packer, names) for packer, names in entry.settings["groups"]], weights)
        self._kept, native = groups, bool(entry.settings.get("native"))
        bound = {MAIN: [_addresses(ffi, groups)] if native else [ffi.convert(groups)], TRACED: [ffi.convert(groups)]}
        types = [i.value.type for i in said.signature.inputs] + [p.value.type for p in said.signature.params]
        self._main, self._traced = (caller(machines, name, types, bound[name], threads) for name in (MAIN, TRACED))
        names = [p.name for p in said.outputs]
        at, places = {n: i for i, n in enumerate(names)}, {p.value: i for i, p in enumerate(said.inputs)}
        self._endings = [ending(e, at, places) for e in said.exits]
        self._written = [(at[output], places[value]) for output, value in said.written]
        self._wanted: list[list[int]] = [sorted({*outputs_read(e, at, places), *(i for i, _ in self._written)}) for e in said.exits]
        self._count, self._item = len(names), ffi.get_global_func("ffi.ArrayGetItem")

    def run(self, values: Sequence[Any], params: Sequence[Any], give: Give) -> Any:
        """The result of a call, `give` applied to its tensors. Raises what the model raises."""
        given = [*values, *params]
        exit, found = self._call(self._main, given)
        return self._endings[exit](found, given, give)

    def traced(self, values: Sequence[Any], params: Sequence[Any], give: Give) -> tuple[Callable[[], Any], Trace]:
        """What gives the result or raises, and the way to it."""
        given = [*values, *params]
        _way.clear()
        try:
            exit, found = self._call(self._traced, given)
            result = lambda: self._endings[exit](found, given, give)  # noqa: E731
        except Exception as error:
            result = partial(raised, error)
        return result, trace(self.convention, _way.blocks, _way.values, _way.margins)

    def _call(self, function: Callable[[Sequence[Any]], Any], given: Sequence[Any]) -> tuple[int, list[Any]]:
        try:
            made = function(given)
        except Exception as error:  # tvm_ffi's exception classes share no root
            raise BackendError(f"TVM failed in the program: {str(error).splitlines()[-1]}") from error
        first = self._item(made, 0)
        exit = first if isinstance(first, int) else int(np.from_dlpack(first)[0])
        if exit <= FAILED:
            raise failed(exit - FAILED, self.convention.errors)
        found: list[Any] = [None] * self._count
        for i in self._wanted[exit]:
            found[i] = np.from_dlpack(self._item(made, i))
        for output, i in self._written:
            np.copyto(given[i], found[output])
        return exit, found


def raised(error: Exception) -> NoReturn:
    raise error


def _addresses(ffi: Any, groups: Sequence[Sequence[Any]]) -> Any:
    """Where all weights stand, one group behind the other."""
    tensors = [t for group in groups for t in group]
    return tensor(ffi, aligned(np.array([np.from_dlpack(t).ctypes.data for t in tensors] or [0], np.int64)))


class _Way(threading.local):
    """What `traced` tells in a thread, until its next call."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.blocks: list[int] = []
        self.values: list[int] = []
        self.margins: list[float] = []

    def enter(self, block: int) -> None:
        self.blocks.append(block)

    def decide(self, value: Any, *compared: Any) -> None:
        self.values.append(int(_number(value)))
        gap = margin(*map(_number, compared)) if compared else None
        self.margins.append(-1.0 if gap is None else gap)


def _number(tensor: Any) -> Any:
    return np.from_dlpack(tensor).item()


_way = _Way()
