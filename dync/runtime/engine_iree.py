"""A whole program as one module in IREE's runtime: calls it, and makes of its outputs what the Python function gave.

members: host/module.vmfb, with the functions `main` and `traced`; what their inputs and outputs mean is reflection of `main`
(dync.host.onnx.convention). settings: "parameters", parameter → weight; "device". `traced` tells its way to two functions of here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, cast

import numpy as np

from dync.host.onnx.convention import EXIT
from dync.ir.trace import Trace
from dync.runtime.engine import Give, ending, outputs_read, read_convention, trace
from dync.runtime.loaders.iree import Module
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights

MODULE, MAIN, TRACED, TELL = "host/module.vmfb", "main", "traced", "dync"


class IreeEngine:
    """The control flow and all blocks in one module.

    Raises BackendError when IREE is missing or refuses the module, ArtifactError when the module says not what it is.
    """

    def __init__(self, entry: KernelEntry, members: Mapping[str, Any], weights: Weights, threads: int) -> None:
        parameters = {n: weights.raw(w) for n, w in entry.settings["parameters"].items()}  # type: ignore[attr-defined]
        self._way = _Way()
        threads = 1 if entry.settings.get("in_order") else threads
        self._module = Module(bytes(members[MODULE]), parameters, str(entry.settings["device"]), threads, self._way.module)
        main = self._module.module.lookup_function(MAIN)
        self.convention = said = read_convention(dict(main.reflection) if main else {})
        names = [p.name for p in said.outputs]
        at, places = {n: i for i, n in enumerate(names)}, {p.value: i for i, p in enumerate(said.inputs)}
        self._endings = [ending(e, at, places) for e in said.exits]
        self._written = [(at[output], places[value]) for output, value in said.written]
        wanted = [sorted({*outputs_read(e, at, places), *(i for i, _ in self._written)}) for e in said.exits]
        dtypes = ["" if p.name == EXIT else p.dtype for p in said.outputs]
        types = [i.value.type for i in said.signature.inputs] + [p.value.type for p in said.signature.params]
        self._main, self._traced = (self._module.function(n, types, dtypes, wanted) for n in (MAIN, TRACED))

    def run(self, values: Sequence[Any], params: Sequence[Any], give: Give) -> Any:
        """The result of a call, `give` applied to its tensors. Raises what the model raises."""
        given = [*values, *params]
        return self._result(self._call(self._main, given), given, give)

    def traced(self, values: Sequence[Any], params: Sequence[Any], give: Give) -> tuple[Callable[[], Any], Trace]:
        """What gives the result or raises, and the way to it."""
        given = [*values, *params]
        with self._way.lock:
            self._way.clear()
            found = self._call(self._traced, given)
            told = trace(self.convention, self._way.blocks, self._way.values, self._way.margins)
        return lambda: self._result(found, given, give), told

    def _call(self, function: Callable[[Sequence[Any]], list[Any]], given: list[Any]) -> list[Any]:
        found = function(given)
        for output, i in self._written:
            np.copyto(given[i], found[output])
        return found

    def _result(self, found: list[Any], given: list[Any], give: Give) -> Any:
        endings = cast("Mapping[int, Callable[..., Any]]", self._endings)
        return endings[found[0]](found, given, give)


class _Way:
    """What `traced` calls: it keeps what it is told until the next call."""

    def __init__(self) -> None:
        from threading import Lock

        self.lock = Lock()
        self.clear()

    def clear(self) -> None:
        self.blocks: list[int] = []
        self.values: list[int] = []
        self.margins: list[float] = []

    def module(self, instance: Any) -> Any:
        """The functions as a module for IREE."""
        rt: Any = import_module("iree.runtime")
        way = self

        class Told:
            def __init__(self, interface: Any) -> None: ...

            def enter(self, block: int, turn: int) -> int:
                way.blocks.append(block)
                return turn

            def decide(self, value: int, margin: float, turn: int) -> int:
                way.values.append(value)
                way.margins.append(margin)
                return turn

        made = rt.PyModuleInterface(TELL, Told)
        made.export("enter", "0II_I", Told.enter)
        made.export("decide", "0IFI_I", Told.decide)
        return made.create()
