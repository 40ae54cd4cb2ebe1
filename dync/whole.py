"""Programs, and regions of them, as whole models: what joins the ONNX host, which knows control flow, to the ONNX translation of blocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from dync.backends.base import Declined as Refused
from dync.backends.base import Kernel
from dync.host.base import Declined
from dync.host.onnx.plan import reads
from dync.ir.flow import FlowBlock, Switch, leaves
from dync.ir.types import Ref, ScalarType, Span, Value

if TYPE_CHECKING:
    from dync.backends.onnx.translate import Translation
    from dync.host.onnx.model import WholeModel
    from dync.host.onnx.walk import BlockModel
    from dync.host.regions import Part
    from dync.ir.program import Program
    from dync.runtime.package import KernelEntry, Package

SAMPLES = {"int": 0, "float": 0.0, "bool": False}
LARGEST = 2**31 - 2**26
"""Bytes of weights in one protobuf file, with room for the graph."""


def onnx_models(program: Program, kernels: Mapping[str, Kernel]) -> tuple[WholeModel, WholeModel] | Declined:
    """The program as one ONNX model, its weights outside, and one that also tells the way; or why not. `kernels`: its blocks'."""
    from dync.host.onnx.model import export

    if refused := unfit_memory(program):
        return refused
    values = {v.name: v for v in values_of(program)}
    models: dict[str, BlockModel | Declined | None] = {}

    def translated(block: FlowBlock) -> BlockModel | Declined | None:
        if block.name not in models:
            models[block.name] = _translated(block, kernels.get(block.name), values)
        return models[block.name]

    plain = export(program.flow, translated)
    if isinstance(plain, Declined):
        return plain
    for block in program.flow.blocks:
        made = models.get(block.name)
        if made is not None and not isinstance(made, Declined) and made.stops:
            models[block.name] = _translated(block, kernels.get(block.name), values, True)
    traced = export(program.flow, translated, trace=True)
    return traced if isinstance(traced, Declined) else (plain, traced)


def unfit_memory(program: Program) -> Declined | None:
    """Writes that an engine cannot do."""
    if program.written_weights:
        name = program.written_weights[0]
        return Declined(f"calls write the weight {name}, and the engine keeps nothing from call to call", _where_written(program, name))
    return _written_and_shared(program)


def _where_written(program: Program, name: str) -> Span:
    """The line of the model that first writes a weight."""
    from dync.ir.effects import roots, written

    for block in program.blocks:
        own = roots(block.graph)
        for node in block.graph.nodes:
            behind = {r for n in written(node) for r in own[n] | {n}}
            if any(r.op == "get_attr" and r.target == name for r in behind):
                return node.meta.get("span", block.flow.span)
    return program.blocks[0].flow.span


def _written_and_shared(program: Program) -> Declined | None:
    """A write in place that shows in another value, which copies in an engine would not let it do."""
    from dync.host.onnx.plan import plan
    from dync.ir import aliases
    from dync.ir.flow import edges, exit_operands

    if not any(b.flow.mutates for b in program.blocks):
        return None
    found, live = aliases.memory(program), plan(program.flow).live
    inputs = {i.value.name for i in program.signature.inputs}
    for block in program.blocks:
        behind = {o.name for o in exit_operands(block.flow.exit) if isinstance(o, Ref)} | inputs
        behind |= {n for e in edges(block.flow.exit) for n in live.get(e.target, ())}
        for name in block.flow.mutates:
            shown = sorted(n for n in behind - {name} if found.get(n, frozenset()) & found.get(name, frozenset()))
            if shown:
                return Declined(
                    f"a write in place to {name} may show in {shown[0]}, and values of an engine share no memory", block.flow.span
                )
    return None


def values_of(program: Program) -> list[Value]:
    signature = program.signature
    found = [i.value for i in signature.inputs] + [p.value for p in signature.params] + [s.value for s in program.slots]
    for block in program.blocks:
        found += [*block.flow.params, *block.flow.results, *(o.result for o in block.flow.host)]
    return found


def _translated(
    block: FlowBlock, kernel: Kernel | None, values: Mapping[str, Value], tells: bool = False
) -> BlockModel | Declined | None:
    """A block, its host operations behind its kernel, as an ONNX model. tells: see dync.backends.onnx.translate."""
    import onnx

    from dync.host.onnx.walk import BlockModel

    found = block_translation(block, kernel, values, tells)
    if found is None or isinstance(found, Declined):
        return found
    whole, made, written = found
    model = onnx.load_model_from_string(made.model)
    inputs, results = (tuple(v.name for v in values) for values in (whole.inputs, whole.results))
    return BlockModel(model, inputs, results, made.weights, written, made.errors)


def block_translation(
    block: FlowBlock, kernel: Kernel | None, values: Mapping[str, Value], tells: bool = False
) -> tuple[Kernel, Translation, dict[str, int]] | Declined | None:
    """A block with its host operations as one kernel, its translation, and what it writes: value → index of the output that it then is."""
    from dync.backends.onnx.translate import translate

    found = block_kernel(block, kernel, values)
    if found is None or isinstance(found, Declined):
        return found
    whole, written = found
    made = translate(whole, tells)
    if isinstance(made, Refused):
        return Declined(made.reason, made.span)
    if made.feeds:
        return Declined(f"calls write the weight {next(iter(made.feeds.values()))}", block.span)
    return whole, made, written


def block_kernel(block: FlowBlock, kernel: Kernel | None, values: Mapping[str, Value]) -> tuple[Kernel, dict[str, int]] | Declined | None:
    """A block with its host operations as one kernel that writes nothing, and value that it wrote → index of the output that it then is."""
    from dync.backends.onnx.translate import without_writes

    if kernel is None and not block.host:
        return None
    if kernel is not None and kernel.keeps_views:
        return Declined("its results are views of memory that another block writes", block.span)
    if kernel is not None and kernel.mutates and kernel.functional is None:
        return Declined(f"writes {', '.join(kernel.mutates)} in place", block.span)
    copies = kernel.functional.copies if kernel is not None and kernel.functional else ()
    return with_host_code(block, without_writes(kernel) if kernel is not None else None, values), dict(copies)


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

    made = onnx_models(program, kernels)
    if isinstance(made, Declined):
        return made
    named = dict(zip((MODEL, TRACING), made, strict=True))
    members = {name: one.model.SerializeToString() for name, one in named.items()}
    settings = {name: dict(one.weights) for name, one in named.items()}
    weights = dict.fromkeys(w for one in made for w in one.weights.values())
    entry = KernelEntry("onnxruntime", tuple(members), settings, tuple(weights), needs=("onnxruntime",))
    kept = {n: program.weights[n] for n in weights}
    return replace(package, kernels={}, members=members, weights=kept, engine=entry)


def with_regions(package: Package, program: Program, kernels: Mapping[str, Kernel], elsewhere: Collection[str]) -> Package | Declined:
    """The package with parts of its control flow as ONNX models, each with what blocks compute there; or why that brings nothing.

    elsewhere: blocks whose code runs on another backend than ONNX Runtime.
    """
    from dync.host.onnx.model import unfit_block, unfit_value
    from dync.host.regions import choose, collapse

    values = {v.name: v for v in values_of(program)}
    inputs = {i.value.name for i in program.signature.inputs}
    models: dict[str, BlockModel | None] = {}
    for block in program.flow.blocks:
        if any(n in inputs or n not in program.weights for n in block.mutates):
            return Declined("writes in place, which may show in other values", block.span)
        read = {n for n in (*reads(block), *block.inputs)}
        refused = unfit_block(block) or next((r for n in sorted(read) if (r := unfit_value(values[n]))), None)
        if refused or block.name in elsewhere or isinstance(block.exit, Switch) and block.exit.default is None:
            continue
        made = _translated(block, kernels.get(block.name), values)
        if not isinstance(made, Declined) and not (made is not None and made.written):
            models[block.name] = made
    entries, members, regions = dict(package.kernels), dict(package.members), []
    for first, part in collapse(program.flow, choose(program.flow, models)).parts.items():
        entry = _region(part, models, members)
        if entry is not None:
            regions.append(part.blocks)
            entries = {n: k for n, k in entries.items() if n not in part.blocks} | {first: entry}
    if not regions:
        return Declined("no part of it is worth a model of its own", program.blocks[0].flow.span)
    used = {m for k in entries.values() for m in k.members}
    first_values = {o.name for slot in program.slots for o in leaves(slot.initial) if isinstance(o, Ref)}
    needed = {w for k in entries.values() for w in (*k.weights, *k.mutates)} | first_values
    weights = {n: w for n, w in program.weights.items() if n in needed}
    return replace(
        package, kernels=entries, members={n: m for n, m in members.items() if n in used}, weights=weights, regions=tuple(regions)
    )


def _region(part: Part, models: Mapping[str, BlockModel | None], members: dict[str, bytes]) -> KernelEntry | None:
    """How a region's kernel is loaded, its models added to `members`; None where control flow nests too deep for a model."""
    from dync.host.onnx.convention import EXIT
    from dync.host.onnx.model import export
    from dync.runtime.package import KernelEntry

    plain, traced = (export(part.flow, lambda b: models.get(b.name), trace, by_value=True) for trace in (False, True))
    if isinstance(plain, Declined) or isinstance(traced, Declined):
        return None
    files = [m.model.SerializeToString(deterministic=True) for m in (plain, traced)]
    names = [f"blocks/{sha256(files[0]).hexdigest()[:32]}/{n}" for n in ("model.onnx", "trace.onnx")]
    members.update(zip(names, files, strict=True))
    several = len(plain.convention.exits) > 1
    outputs = [f"{v.name}.out" for v in (part.results[:-1] if several else part.results)] + [EXIT] * several
    settings = {
        "inputs": [p.name for p in plain.convention.inputs], "outputs": outputs, "initializers": dict(plain.weights),
        "trace": {"file": "trace.onnx", "initializers": dict(traced.weights)},
    }  # fmt: skip
    return KernelEntry("onnxruntime", tuple(names), settings, tuple(dict.fromkeys(plain.weights.values())), (), ("onnxruntime",))


def plain_model(package: Package) -> bytes:
    """The model of a package whose host is onnx, with its weights inside: a file for anyone.

    Raises UsageError when it is more than a file holds, BackendError when onnx.checker finds fault with it.
    """
    import onnx

    from dync.errors import BackendError, UsageError
    from dync.runtime.engine import MODEL
    from dync.runtime.weights import raw

    assert package.engine is not None
    names: Mapping[str, str] = package.engine.settings[MODEL]
    total = sum(raw(n, package.weights[n]).data.nbytes for n in names.values())
    if total > LARGEST:
        raise UsageError(f"the model has {total / 2**30:.1f} GiB of weights; one .onnx file holds less than 2: write a .dync file")
    model = onnx.load_model_from_string(bytes(package.members[MODEL]))
    for tensor in model.graph.initializer:
        if tensor.name in names:
            tensor.raw_data = bytes(raw(names[tensor.name], package.weights[names[tensor.name]]).data)
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BackendError(f"onnx.checker refuses the model: {str(error).splitlines()[0]}") from error
    return model.SerializeToString()
