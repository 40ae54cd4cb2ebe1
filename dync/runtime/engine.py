"""A whole program as one model in ONNX Runtime: calls it, and makes of its outputs what the Python function gave.

members: host/model.onnx, and host/trace.onnx, the same with outputs that tell the way. What inputs and outputs mean is in the models'
metadata (dync.host.onnx.convention). settings: "initializers" of both models, external initialiser → weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec
import numpy as np

from dync.errors import ArtifactError, BackendError
from dync.host.onnx.convention import EXIT, KEY, MARGINS, PATH, VALUES, VERSION, Convention, ExitRecord, decode
from dync.ir.classes import exception_class
from dync.ir.flow import Leaf, Tree
from dync.ir.trace import DecisionRecord, Trace
from dync.ir.trees import build
from dync.ir.types import Ref, ScalarType
from dync.runtime.loaders.onnxruntime import session
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights

MODEL, TRACING = "host/model.onnx", "host/trace.onnx"
DTYPES = {"int": np.int64, "float": np.float64, "bool": np.bool_}
Give = Callable[[Any], Any]
Ending = Callable[[Mapping[str, Any], Give], Any]


class Engine:
    """The control flow and all blocks in one session; a second one, for traces, is opened when it is first asked for.

    Raises BackendError when ONNX Runtime is missing or refuses a model, ArtifactError when a model says not what it is.
    """

    def __init__(self, entry: KernelEntry, members: Mapping[str, Any], weights: Weights, threads: int) -> None:
        self._open: Callable[[str], _Model] = lambda member: _Model(bytes(members[member]), entry.settings[member], weights, threads)
        self._plain = self._open(MODEL)
        self._tracing: _Model | None = None

    def run(self, values: Sequence[Any], params: Sequence[Any], give: Give) -> Any:
        """The result of a call, `give` applied to its tensors. Raises what the model raises."""
        return self._plain.call(values, params, give)

    def traced(self, values: Sequence[Any], params: Sequence[Any], give: Give) -> tuple[Callable[[], Any], Trace]:
        """What gives the result or raises, and the way to it."""
        self._tracing = self._tracing or self._open(TRACING)
        found = self._tracing.outputs(values, params)
        return lambda: self._tracing.result(found, give) if self._tracing else None, self._tracing.trace(found)


class _Model:
    def __init__(self, model: bytes, initializers: Mapping[str, str], weights: Weights, threads: int) -> None:
        try:
            ort: Any = import_module("onnxruntime")
        except ImportError as error:
            raise BackendError("the onnx host needs onnxruntime, which is not installed: pip install onnxruntime") from error
        opened, kept = session(ort, model, {n: weights.raw(w) for n, w in initializers.items()}, threads)
        self.convention = said = read_convention(opened.get_modelmeta().custom_metadata_map)
        self._kept, self._session = kept, opened
        self._run = opened._sess.run
        self._names = [p.name for p in said.outputs]
        types = [i.value.type for i in said.signature.inputs] + [p.value.type for p in said.signature.params]
        self._inputs = [p.name for p in said.inputs]
        self._numbers = [(i, DTYPES[t.kind]) for i, t in enumerate(types) if isinstance(t, ScalarType)]
        self._of_value = {p.value: p.name for p in said.inputs}
        self._endings = [_ending(e, {p.value for p in said.inputs}) for e in said.exits]
        self._asked = {a.block: a for a in said.decisions}
        self._at_exit = self._names.index(EXIT)
        self._one = len(self._endings) == 1

    def outputs(self, values: Sequence[Any], params: Sequence[Any]) -> dict[str, Any]:
        """The model's outputs by name, and the call's inputs by value."""
        given = [*values, *params]
        feed = dict(zip(self._inputs, given, strict=True))
        for i, dtype in self._numbers:
            feed[self._inputs[i]] = np.array(given[i], dtype)
        try:
            results = self._run(self._names, feed, None)
        except Exception as error:  # ONNX Runtime's exception classes share no root
            raise BackendError(f"ONNX Runtime failed in the program: {str(error).splitlines()[0]}") from error
        found = dict(zip(self._names, results, strict=True))
        for output, value in self.convention.written:
            np.copyto(feed[self._of_value[value]], found[output])
        for port, value in zip(self.convention.inputs, given, strict=True):
            found[port.value] = value
        return found

    def call(self, values: Sequence[Any], params: Sequence[Any], give: Give) -> Any:
        return self.result(self.outputs(values, params), give)

    def result(self, found: Mapping[str, Any], give: Give) -> Any:
        return self._endings[0 if self._one else int(found[EXIT])](found, give)

    def trace(self, found: Mapping[str, Any]) -> Trace:
        taken: list[int] = found[PATH].tolist()
        path = tuple(self.convention.blocks[i] for i in taken)
        asked = [self._asked[b] for b in path if b in self._asked]
        records: list[DecisionRecord] = []
        for one, value, margin in zip(asked, found[VALUES].tolist(), found[MARGINS].tolist(), strict=True):
            said = one.decision
            gap = None if said.left is None or said.right is None else margin
            records.append(DecisionRecord(one.block, said.text, said.span, value if one.switch else bool(value), gap))
        return Trace(path, tuple(records))


def read_convention(metadata: Mapping[str, str]) -> Convention:
    """The convention in a model's metadata. Raises ArtifactError when there is none that can be read."""
    if KEY not in metadata:
        raise ArtifactError("not a model that dync wrote: its metadata does not say what its outputs mean")
    try:
        said = decode(metadata[KEY])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ArtifactError(f"the model's metadata is damaged: {error}") from error
    if said.version > VERSION:
        raise ArtifactError(f"the model was written by a newer dync (convention {said.version}, this one reads {VERSION}): upgrade dync")
    return said


def _ending(exit: ExitRecord, inputs: set[str]) -> Ending:
    """What to make of the outputs at one exit."""
    scalars = frozenset(exit.scalars)

    def leaf(found: Mapping[str, Any], give: Give, name: str) -> Any:
        value = found[name]
        if name in scalars:
            return value if name in inputs else value.item()
        return give(value)

    def values(found: Mapping[str, Any], give: Give) -> list[Any]:
        return [build(tree, lambda name: leaf(found, give, name)) for tree in exit.trees]

    def fail(found: Mapping[str, Any], give: Give) -> Any:
        error = exception_class(exit.cls)(*values(found, give))
        if exit.span.line:
            error.add_note(f"raised by the model at {exit.span.file}:{exit.span.line}")
        raise error

    def miss(found: Mapping[str, Any], give: Give) -> Any:
        raise IndexError(f"index {values(found, give)[0]} is out of range")

    match exit.kind:
        case "raise":
            return fail
        case "index":
            return miss
        case "return":
            only = _only(exit.trees[0])
            if only is not None and only not in scalars:
                return lambda found, give: give(found[only])
            return lambda found, give: values(found, give)[0]


def _only(tree: Tree) -> str | None:
    return tree.operand.name if isinstance(tree, Leaf) and isinstance(tree.operand, Ref) else None
