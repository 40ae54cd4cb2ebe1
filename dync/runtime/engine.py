"""A whole program as one model in ONNX Runtime: calls it, and makes of its outputs what the Python function gave.

members: host/model.onnx, and host/trace.onnx, the same with outputs that tell the way. What inputs and outputs mean is in the models'
metadata (dync.host.onnx.convention). settings: "initializers" of both models, external initialiser → weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, cast

import msgspec
import numpy as np

from dync.errors import ArtifactError, BackendError
from dync.host.onnx.convention import EXIT, KEY, MARGINS, PATH, VALUES, VERSION, Asked, Convention, ExitRecord, decode
from dync.ir.classes import exception
from dync.ir.flow import Leaf, ListTree, Tree, TupleTree, leaves
from dync.ir.trace import DecisionRecord, Trace
from dync.ir.trees import build
from dync.ir.types import Lit, Ref, ScalarType
from dync.runtime.loaders.onnxruntime import failed, session
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights

MODEL, TRACING = "host/model.onnx", "host/trace.onnx"
DTYPES = {"int": np.int64, "float": np.float64, "bool": np.bool_}
Give = Callable[[Any], Any]
Ending = Callable[[Sequence[Any], Sequence[Any], Give], Any]
"""Made of the outputs, the inputs, and what gives tensors out."""


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
        given = [*values, *params] if params else values
        return self._plain.result(self._plain.outputs(given), given, give)

    def traced(self, values: Sequence[Any], params: Sequence[Any], give: Give) -> tuple[Callable[[], Any], Trace]:
        """What gives the result or raises, and the way to it."""
        model = self._tracing = self._tracing or self._open(TRACING)
        given = [*values, *params]
        found = model.outputs(given)
        return lambda: model.result(found, given, give), model.trace(found)


class _Model:
    def __init__(self, model: bytes, initializers: Mapping[str, str], weights: Weights, threads: int) -> None:
        try:
            ort: Any = import_module("onnxruntime")
        except ImportError as error:
            raise BackendError("the onnx host needs onnxruntime, which is not installed: pip install onnxruntime") from error
        opened, kept = session(ort, model, {n: weights.raw(w) for n, w in initializers.items()}, threads, alone=True)
        self.convention = said = read_convention(opened.get_modelmeta().custom_metadata_map)
        self._kept, self._session, self._run = kept, opened, opened._sess.run
        self._inputs = [p.name for p in said.inputs]
        types = [i.value.type for i in said.signature.inputs] + [p.value.type for p in said.signature.params]
        self._numbers = [(i, DTYPES[t.kind]) for i, t in enumerate(types) if isinstance(t, ScalarType)]
        self._one = len(said.exits) == 1
        names = [p.name for p in said.outputs]
        self._names = [n for n in names if n != EXIT or not self._one]
        self._at = {n: i for i, n in enumerate(self._names)}
        places = {p.value: i for i, p in enumerate(said.inputs)}
        self._written = [(self._at[output], places[value]) for output, value in said.written]
        self._endings = [ending(e, self._at, places) for e in said.exits]

    def outputs(self, given: Sequence[Any]) -> list[Any]:
        """The model's outputs in its order; inputs that the call writes are written."""
        feed = dict(zip(self._inputs, given, strict=True))
        for i, dtype in self._numbers:
            feed[self._inputs[i]] = np.array(given[i], dtype)
        try:
            found = self._run(self._names, feed, None)
        except Exception as error:  # ONNX Runtime's exception classes share no root
            raise failed("in the program", True, error) from error
        for output, i in self._written:
            np.copyto(given[i], found[output])
        return found

    def result(self, found: Sequence[Any], given: Sequence[Any], give: Give) -> Any:
        """What the function gives at the exit that was taken. Raises what the model raises."""
        return self._endings[0 if self._one else found[self._at[EXIT]].item()](found, given, give)

    def trace(self, found: Sequence[Any]) -> Trace:
        """The way that a call of the tracing model took."""
        return trace(self.convention, *(found[self._at[n]].tolist() for n in (PATH, VALUES, MARGINS)))


def trace(said: Convention, taken: Sequence[int], values: Sequence[int], margins: Sequence[float]) -> Trace:
    """The way of a call: the numbers of the blocks, and the value and margin of each decision met."""
    return way(said.blocks, {a.block: a for a in said.decisions}, taken, values, margins)


def way(blocks: Sequence[str], asked: Mapping[str, Asked], taken: Sequence[int], values: Sequence[int], margins: Sequence[float]) -> Trace:
    """The same from the names of blocks and their decisions."""
    path = tuple(blocks[i] for i in taken)
    met = [asked[b] for b in path if b in asked][: len(values)]  # an error may end a block before its decision
    records: list[DecisionRecord] = []
    for one, value, margin in zip(met, values, margins, strict=True):
        told = one.decision
        gap = None if told.left is None or told.right is None else margin
        records.append(DecisionRecord(one.block, told.text, told.span, value if one.switch else bool(value), gap))
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


def ending(exit: ExitRecord, outputs: Mapping[str, int], inputs: Mapping[str, int]) -> Ending:
    """What to make of the outputs at one exit."""
    makers = [_maker(tree, frozenset(exit.scalars), outputs, inputs) for tree in exit.trees]
    if exit.kind == "return":
        return makers[0]

    def fail(found: Sequence[Any], given: Sequence[Any], give: Give) -> Any:
        values = [make(found, given, give) for make in makers]
        if exit.kind == "index":
            raise IndexError(f"index {values[0]} is out of range")
        error = exception(exit.cls, values, exit.fields)
        if exit.span.line:
            error.add_note(f"raised by the model at {exit.span.file}:{exit.span.line}")
        raise error

    return fail


def outputs_read(exit: ExitRecord, outputs: Mapping[str, int], inputs: Mapping[str, int]) -> list[int]:
    """The numbers of the outputs that an exit reads."""
    names = {o.name for t in exit.trees for o in leaves(t) if isinstance(o, Ref)}
    return [outputs[n] for n in names if n not in inputs]


def _maker(tree: Tree, scalars: frozenset[str], outputs: Mapping[str, int], inputs: Mapping[str, int]) -> Ending:
    """The structure as a function of the outputs; the usual ones without looking at the tree in each call."""
    match tree:
        case Leaf(Ref(name)):
            if name in inputs:
                place, number = inputs[name], name in scalars
                return lambda found, given, give: given[place] if number else give(given[place])
            i = outputs[name]
            return (lambda found, given, give: found[i].item()) if name in scalars else (lambda found, given, give: give(found[i]))
        case Leaf(Lit() as constant):
            return lambda found, given, give: constant.python
        case TupleTree() | ListTree():
            makers = [_maker(t, scalars, outputs, inputs) for t in tree.items]
            kind = cast("Callable[[list[Any]], Any]", tuple if isinstance(tree, TupleTree) else list)

            def together(found: Any, given: Any, give: Any) -> Any:
                return kind([make(found, given, give) for make in makers])

            return together
        case _:
            made = {o.name: _maker(Leaf(o), scalars, outputs, inputs) for o in leaves(tree) if isinstance(o, Ref)}
            return lambda found, given, give: build(tree, lambda name: made[name](found, given, give))
