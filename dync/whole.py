"""Programs as whole models: what joins the ONNX host, which knows control flow, to the ONNX translation of blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dync.backends.base import Declined as Refused
from dync.backends.base import Kernel
from dync.host.base import Declined
from dync.ir.flow import FlowBlock
from dync.ir.types import Ref, ScalarType, Value

if TYPE_CHECKING:
    from dync.host.onnx.model import WholeModel
    from dync.host.onnx.walk import BlockModel
    from dync.ir.program import Program
    from dync.runtime.package import Package

SAMPLES = {"int": 0, "float": 0.0, "bool": False}
LARGEST = 2**31 - 2**26
"""Bytes of weights in one protobuf file, with room for the graph."""


def onnx_model(program: Program, kernels: Mapping[str, Kernel], trace: bool = False) -> WholeModel | Declined:
    """The program as one ONNX model, its weights outside; or why not. `kernels` are those of its blocks."""
    from dync.host.onnx.model import export

    if program.written_weights:
        name = program.written_weights[0]
        return Declined(f"calls write the weight {name}, and the engine keeps nothing from call to call", program.blocks[0].flow.span)
    values = {v.name: v for v in _values(program)}
    return export(program.flow, lambda block: _translated(block, kernels.get(block.name), values), trace)


def _values(program: Program) -> list[Value]:
    signature = program.signature
    found = [i.value for i in signature.inputs] + [p.value for p in signature.params] + [s.value for s in program.slots]
    for block in program.blocks:
        found += [*block.flow.params, *block.flow.results, *(o.result for o in block.flow.host)]
    return found


def _translated(block: FlowBlock, kernel: Kernel | None, values: Mapping[str, Value]) -> BlockModel | Declined | None:
    """A block, its host operations behind its kernel, as an ONNX model."""
    import onnx

    from dync.backends.onnx.translate import translate, without_writes
    from dync.host.onnx.walk import BlockModel

    if kernel is None and not block.host:
        return None
    if kernel is not None and kernel.keeps_views:
        return Declined("its results are views of memory that another block writes", block.span)
    if kernel is not None and kernel.mutates and kernel.functional is None:
        return Declined(f"writes {', '.join(kernel.mutates)} in place", block.span)
    copies = kernel.functional.copies if kernel is not None and kernel.functional else ()
    whole = with_host_code(block, without_writes(kernel) if kernel is not None else None, values)
    made = translate(whole)
    if isinstance(made, Refused):
        return Declined(made.reason, made.span)
    if made.feeds:
        return Declined(f"calls write the weight {next(iter(made.feeds.values()))}", block.span)
    names = tuple(v.name for v in whole.results)
    model = onnx.load_model_from_string(made.model)
    return BlockModel(model, tuple(v.name for v in whole.inputs), names, made.weights, dict(copies))


def with_host_code(block: FlowBlock, kernel: Kernel | None, values: Mapping[str, Value]) -> Kernel:
    """The kernel with the block's host operations at the end of its graph, their results behind its own."""
    from torch.fx import Graph, Node

    from dync.ir.scalars import SCALAR_OPS

    graph = Graph()
    env: dict[str, Node | Any] = {}
    inputs: list[Value] = list(kernel.inputs) if kernel is not None else []
    read = [a.name for op in block.host for a in op.args if isinstance(a, Ref)]
    own = {v.name for v in kernel.results} if kernel is not None else set()
    own |= {op.result.name for op in block.host}
    more = [values[n] for n in dict.fromkeys(read) if n not in own and n not in {v.name for v in inputs}]
    mapping: dict[Node, Node] = {}
    if kernel is not None:
        for node, value in zip(kernel.graph.find_nodes(op="placeholder"), kernel.inputs, strict=True):
            mapping[node] = env[value.name] = graph.node_copy(node)
    for value in more:
        assert isinstance(value.type, ScalarType), "host operations read numbers"
        env[value.name] = graph.placeholder(value.name)
        env[value.name].meta.update(val=SAMPLES[value.type.kind], span=value.span)
    results: list[Any] = []
    if kernel is not None:
        results = list(graph.graph_copy(kernel.graph, mapping) or ())  # type: ignore[arg-type]
        env |= {v.name: r for v, r in zip(kernel.results, results, strict=True)}
    for op in block.host:
        assert isinstance(op.result.type, ScalarType), "declined before"
        node = graph.call_function(SCALAR_OPS[op.op].function, tuple(env[a.name] if isinstance(a, Ref) else a.python for a in op.args))
        node.meta.update(val=SAMPLES[op.result.type.kind], span=op.span)
        env[op.result.name] = node
        results.append(node)
    graph.output(tuple(results))
    base = kernel or Kernel(block.name, graph, (), (), {})
    host = tuple(op.result for op in block.host)
    return replace(base, graph=graph, inputs=(*inputs, *more), results=(*base.results, *host), mutates=(), functional=None)


def with_engine(package: Package, program: Program, kernels: Mapping[str, Kernel]) -> Package | Declined:
    """The package with all of its control flow and code as one ONNX model, and one that tells the way; or why not."""
    from dync.runtime.engine import MODEL, TRACING
    from dync.runtime.package import KernelEntry

    members, settings = {}, {}
    weights: dict[str, None] = {}
    for name, trace in ((MODEL, False), (TRACING, True)):
        made = onnx_model(program, kernels, trace)
        if isinstance(made, Declined):
            return made
        members[name], settings[name] = made.model.SerializeToString(), dict(made.weights)
        weights.update(dict.fromkeys(made.weights.values()))
    entry = KernelEntry("onnxruntime", tuple(members), settings, tuple(weights), needs=("onnxruntime",))
    kept = {n: program.weights[n] for n in weights}
    return replace(package, kernels={}, members=members, weights=kept, engine=entry)


def plain_model(made: WholeModel, weights: Mapping[str, Any]) -> bytes:
    """The model with its weights inside: a file for anyone. Raises UsageError when it is more than protobuf holds."""
    from dync.errors import UsageError

    total = sum(weights[n].nbytes for n in made.weights.values())
    if total > LARGEST:
        raise UsageError(f"the model has {total / 2**30:.1f} GiB of weights; one .onnx file holds less than 2: write a .dync file")
    model = type(made.model)()
    model.CopyFrom(made.model)
    for tensor in model.graph.initializer:
        if tensor.name in made.weights:
            _fill(tensor, weights[made.weights[tensor.name]])
    return model.SerializeToString()


def _fill(tensor: Any, weight: Any) -> None:
    import torch

    flat = weight.detach().cpu().contiguous().reshape(-1)
    tensor.raw_data = flat.view(torch.uint8).numpy().tobytes()
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
