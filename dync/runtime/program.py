"""A loaded program: it walks blocks by the generated host and knows no compiler."""

from __future__ import annotations

import linecache
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from os import PathLike
from traceback import walk_tb
from typing import Any

from dync.errors import ArtifactError, BackendError
from dync.host.base import HostModule
from dync.host.python import generate
from dync.host.regions import collapse
from dync.ir.classes import exception
from dync.ir.flow import Flow, FlowBlock, Raise, Tree
from dync.ir.given import containers, give_back
from dync.ir.interned import forgotten, intern, interned
from dync.ir.outside import log, warn
from dync.ir.trace import DecisionRecord, Trace, margin
from dync.ir.trees import build
from dync.ir.types import UNKNOWN, Span, TensorType, ValueType
from dync.runtime import artifact, copies, loaders
from dync.runtime.binding import Binder
from dync.runtime.device import binder_on_device, on_host
from dync.runtime.package import KernelEntry, Package
from dync.runtime.params import Params
from dync.runtime.state import State
from dync.runtime.store import Weights
from dync.runtime.tensors import Form, numpy_dtype
from dync.runtime.weights import WIDTHS

ENGINES = {
    "onnxruntime": "dync.runtime.engine:Engine", "iree": "dync.runtime.engine_iree:IreeEngine", "tvm": "dync.runtime.engine_tvm:TvmEngine",
}  # fmt: skip
"""Loader that an engine names → what opens it."""
BUILTINS = {f.__name__: f for f in (
    int, float, bool, abs, round, min, max, str, repr, format, len, chr, slice, print, log, warn, intern, interned,
    IndexError)}
"""All that a host module may use of Python's own names."""


def load(path: str | PathLike[str], device: str | None = None) -> Runtime:
    """The artifact at `path`, ready to run.

    Raises ArtifactError for a file that is none, BackendError when something that it needs to run is missing.
    """
    return Runtime(artifact.read(path), device)


class Runtime:
    """A compiled program to call as the model: same arguments, same structure of results, tensors of the caller's kind.

    Calls may come from several threads; where the program keeps state they run one at a time. device: "cpu" or "cuda", as compiled.
    A program for a device takes tensors on the CPU or there, keeps them there between blocks, and reads back what decisions ask for.
    Raises BackendError when a block's code cannot be loaded here.
    """

    def __init__(self, package: Package, device: str | None = None) -> None:
        self.package = package
        target = str(package.meta.get("target", "cpu")).partition(":")[0]
        if device is not None and device.partition(":")[0] != target:
            raise BackendError(f"compiled for {target}, cannot run on {device}: compile it with --target {device.partition(':')[0]}")
        if problem := artifact.misfit(package):
            raise ArtifactError(problem)
        self._form: Form = home_form(package)
        self._walked = collapse(package.flow, package.regions)
        self._types = _types(self._walked.flow)
        self._lines: dict[str, Mapping[int, Span]] = {}
        self._weights = Weights(package.weights, self._form, _written(package), package.layouts)
        self.params = Params(package.flow.signature.params)
        self.state = State(package.flow, self._weights)
        self._on_device = target != "cpu" and package.engine is None
        self._binder = Binder(package.flow, self._form, target, self._on_device)
        self._bound = binder_on_device(self._binder) if self._on_device else self._binder
        self._kernels = self._load_kernels()
        self._engine = self._open_engine()
        self._run = self._bind(generate(self._walked.flow, kernels=package.kernels), self._kernels) if self._engine is None else _never
        self._traced: tuple[HostModule, Callable[..., Any]] | None = None
        self._stateful = bool(package.flow.slots or self._weights.written)
        self._slots = (self.state.slots,) if package.flow.slots else ()
        self._writes = bool(package.flow.signature.written)

    @property
    def flow(self) -> Flow:
        """The control flow that runs."""
        return self.package.flow

    @property
    def report(self) -> Any:
        """What the compilation did, block by block."""
        return self.package.report

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the program. Raises GuardError for a call that does not fit, and what the model itself raises."""
        values, params, give = self._bound(args, kwargs, self.params.values_in_order)
        if not self._writes:
            return self._result(values, params, give)
        held = containers(self.flow.signature, args, kwargs, self.params)
        return give_back(self.flow.signature, held, self._result(values, params, give))

    def _result(self, values: list[Any], params: tuple[Any, ...], give: Callable[[Any], Any]) -> Any:
        try:
            if self._engine is not None:
                return self._engine.run(values, params, give)
            if not self._stateful:
                return self._run(*values, *params, give)
            with self.state.lock:
                self.state.check()
                return self._run(*values, *params, *self._slots, give)
        except Exception as error:
            self._place(error)
            raise

    def traced(self, *args: Any, **kwargs: Any) -> tuple[Any, Trace]:
        """(result, Trace) of a call. What the model raises carries its Trace as the attribute `trace`."""
        values, params, give = self._bound(args, kwargs, self.params.values_in_order)
        held = containers(self.flow.signature, args, kwargs, self.params)
        walk = self._traced_in_python if self._engine is None else self._traced_in_engine
        result, trace = walk(values, params, give)
        return give_back(self.flow.signature, held, result), trace

    def _traced_in_python(self, values: list[Any], params: tuple[Any, ...], give: Callable[[Any], Any]) -> tuple[Any, Trace]:
        module, run = self._traced or self._trace()
        path: list[str] = []
        decisions: list[DecisionRecord] = []

        def decide(number: int, value: Any, left: Any, right: Any) -> None:
            block, asked = module.decisions[number]
            gap = None if asked.left is None or asked.right is None else margin(left, right)
            decisions.append(DecisionRecord(block, asked.text, asked.span, value, gap))

        def note(blocks: Iterable[str], asked: Iterable[DecisionRecord]) -> None:
            path.extend(blocks)
            decisions.extend(asked)

        notes = (note,) if self._walked.quiet else ()
        try:
            with self.state.lock:
                self.state.check()
                result = run(*values, *params, *self._slots, give, path.append, decide, *notes)
        except Exception as error:  # raised on, with the way that led to it
            error.__dict__["trace"] = Trace(tuple(path), tuple(decisions))
            self._place(error)
            raise
        return result, Trace(tuple(path), tuple(decisions))

    def _traced_in_engine(self, values: list[Any], params: tuple[Any, ...], give: Callable[[Any], Any]) -> tuple[Any, Trace]:
        assert self._engine is not None
        result, trace = self._engine.traced(values, params, give)
        try:
            return result(), trace
        except Exception as error:  # raised on, with the way that led to it
            error.__dict__["trace"] = trace
            self._place(error)
            raise

    def reset_state(self) -> None:
        """State slots and weights that calls write, as they were at first."""
        self.state.reset()

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the artifact, with the first state and default parameters. Raises ArtifactError on failure; an old file then stays."""
        artifact.write(self.package, path)

    def __copy__(self) -> Runtime:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Runtime:
        return copies.restored(self._again(), *copies.kept(self, memo))

    def _again(self) -> Runtime:
        return Runtime(self.package)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as an artifact, which is loaded as a Runtime. Raises ArtifactError where there can be none."""
        return copies.unpacked, (copies.Packed(self.package), *copies.kept(self))

    def _trace(self) -> tuple[HostModule, Callable[..., Any]]:
        module = generate(self._walked.flow, True, self.package.kernels, self._walked.quiet)
        self._traced = (module, self._bind(module, self._kernels | self._tracing_regions()))
        return self._traced

    def _tracing_regions(self) -> dict[str, Callable[..., Any]]:
        if not self._walked.parts:
            return {}
        from dync.runtime.region import tracing

        parts, blocks = self._walked.parts, {b.name: b for b in self._walked.flow.blocks}
        return {n: tracing(n, self._entry(blocks[n]), p, self.package.members, self._weights, self._threads, self._form)
                for n, p in parts.items()}  # fmt: skip

    def _entry(self, block: FlowBlock) -> KernelEntry:
        """How a block's kernel is loaded, with the types that the flow says."""
        return replace(self.package.kernels[block.name], inputs=tuple(self._types[n] for n in block.inputs),
                       results=tuple(r.type for r in block.results))  # fmt: skip

    @property
    def _threads(self) -> int:
        return int(self.package.meta.get("threads", 0))

    def _load_kernels(self) -> dict[str, Callable[..., Any]]:
        made: dict[Any, Callable[..., Any]] = {}
        found: dict[str, Callable[..., Any]] = {}
        for block in self._walked.flow.blocks:
            if block.name not in self.package.kernels:
                continue
            entry = self._entry(block)
            key: Any = (entry.loader, entry.members, repr(entry.settings), _kinds(entry.inputs), _kinds(entry.results))
            if key not in made or not entry.members:
                kernel = loaders.load(block.name, entry, self.package.members, self._weights, self._threads, self._form)
                written = [i for i, n in enumerate(block.inputs) if n in entry.mutates]
                made[key] = on_host(kernel, entry, written) if self._on_device and entry.settings.get("device", "cpu") == "cpu" else kernel
            found[block.name] = made[key]
        return found

    def _open_engine(self) -> Any:
        entry = self.package.engine
        if entry is None:
            return None
        if entry.loader not in ENGINES:
            raise BackendError(f"there is no engine {entry.loader!r}; known: {', '.join(ENGINES)}")
        module, _, name = ENGINES[entry.loader].partition(":")
        return getattr(import_module(module), name)(entry, self.package.members, self._weights, self._threads)

    def _place(self, error: Exception) -> None:
        """Notes the user's line at an exception that came out of a host module, where it does not say so itself."""
        if getattr(error, "__notes__", None):
            return
        spans = {b.name: b.span for b in self.flow.blocks}
        named = re.findall(r"Name:'([^'/]+)/", str(error.__cause__))  # ONNX Runtime names the node, which is named after its block
        found = [spans[n] for n in named if n in spans]
        found = found or [self._lines.get(f.f_code.co_filename, {}).get(n, UNKNOWN) for f, n in walk_tb(error.__traceback__)]
        for span in found[:1] if named else found:
            if span.line:
                error.add_note(f"in code of the model at {span.file}:{span.line}")

    def _bind(self, module: HostModule, kernels: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
        """Executes the host module, made here from the flow, with its names bound."""
        space: dict[str, Any] = {"__builtins__": BUILTINS, "inf": math.inf, "nan": math.nan}
        asked = (op.op.partition(".") for block in self.flow.blocks for op in block.host)
        space |= {name: import_module(name) for name in sorted({head for head, dot, _ in asked if dot and head != "str"})}
        space |= {name: kernels[block] for block, name in module.kernels.items()}
        space |= {name: _builder(tree) for name, tree in module.builders.items()}
        space |= {name: _raiser(exit) for name, exit in module.raises.items()}
        tracing = ", tracing" if module.decisions else ""
        file = f"<dync host of {self.flow.name}{tracing}, {id(module):x}>"
        exec(compile(module.source, file, "exec"), space)
        self._lines[file] = module.lines
        linecache.cache[file] = (len(module.source), None, module.source.splitlines(True), file)
        interns = any(op.op == "str.intern" for block in self.flow.blocks for op in block.host)
        return forgotten()(space["run"]) if interns else space["run"]


def _never(*args: Any) -> Any:
    raise AssertionError("the engine has the control flow")


def home_form(package: Package) -> Form:
    """Numpy where no kernel needs torch and numpy has all dtypes, else torch. Of a program on a device, numpy: what it has on the host."""
    if str(package.meta.get("target", "cpu")).partition(":")[0] != "cpu":
        return "numpy"
    if package.engine is None and any(loaders.find(k.loader).form == "torch" for k in package.kernels.values()):
        return "torch"
    lacking = sorted({t.dtype for t in _types(package.flow).values() if isinstance(t, TensorType) and t.dtype in WIDTHS})
    try:
        for dtype in lacking:
            numpy_dtype(dtype)
    except ArtifactError:
        return "torch"
    return "numpy"


def _types(flow: Flow) -> dict[str, ValueType]:
    values = [*(i.value for i in flow.signature.inputs), *(p.value for p in flow.signature.params), *(s.value for s in flow.slots)]
    for block in flow.blocks:
        values += [*block.params, *block.results, *(o.result for o in block.host)]
    return {v.name: v.type for v in values}


def _kinds(types: tuple[ValueType, ...]) -> tuple[str, ...]:
    """What a loader may tell apart: scalars by kind, tensors as such."""
    return tuple("tensor" if isinstance(t, TensorType) else str(t) for t in types)


def _written(package: Package) -> list[str]:
    names = [n for b in package.flow.blocks for n in b.mutates] + [n for k in package.kernels.values() for n in k.mutates]
    names += package.meta.get("written", ())  # also through views that other blocks made
    return [n for n in dict.fromkeys(names) if n in package.weights]


def _builder(tree: Tree) -> Callable[..., Any]:
    def make(*leaves: Any) -> Any:
        return build(tree, lambda name: leaves[int(name)])

    return make


def _raiser(exit: Raise) -> Callable[..., BaseException]:
    def make(*args: Any) -> BaseException:
        error = exception(exit.cls, args, exit.fields)
        if exit.span.line:
            error.add_note(f"raised by the model at {exit.span.file}:{exit.span.line}")
        return error

    return make


