"""Programs as whole MLIR modules: what joins the MLIR host, which knows control flow, to the torch-mlir lowering of blocks and to IREE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dync.backends.base import Declined as Refused
from dync.backends.base import Kernel, Target
from dync.errors import BackendError
from dync.host.base import Declined
from dync.ir.aliases import memory
from dync.ir.flow import FlowBlock, Return, edges, exit_operands
from dync.ir.types import Ref
from dync.whole import block_translation, unfit_memory, values_of

if TYPE_CHECKING:
    from dync.backends.onnx.translate import Translation
    from dync.backends.torch_mlir.worker import Job
    from dync.host.mlir.module import Function, WholeModule
    from dync.ir.program import Program
    from dync.ir.types import Value
    from dync.runtime.package import Package


@dataclass(frozen=True)
class Lowering:
    """A program on its way to the compiler. globals: global → weight. origins: what the nodes of each function come from."""

    job: Job
    module: WholeModule
    weights: Mapping[str, str]
    origins: Mapping[str, Translation]


def mlir_module(
    program: Program, kernels: Mapping[str, Kernel], target: Target, traced: bool = True, inside: bool = False
) -> Lowering | Declined:
    """The program as one MLIR module with its blocks as ONNX beside it; or why not. inside: with its weights in it."""
    from dync.backends.torch_mlir import mlir
    from dync.backends.torch_mlir.flags import flags
    from dync.backends.torch_mlir.worker import Job
    from dync.host.mlir.module import export
    from dync.runtime.weights import raw

    if refused := unfit_memory(program):
        return refused
    blocks = _Blocks({v.name: v for v in values_of(program)}, kernels)
    made = export(program.flow, blocks.function, traced, _brought(program))
    if isinstance(made, Declined):
        return made
    globals_ = [mlir.weight_global(n, t, inside) for n, t in blocks.globals.items()]
    declared = [mlir.declaration(n, *types) for n, types in blocks.types.items()]
    weights = {n: w for w, n in blocks.weights.items()}
    constants = {n: bytes(raw(w, program.weights[w]).data) for n, w in weights.items()} if inside else {}
    ways = flags(blocks.operators, target, branching=True)
    return Lowering(Job("\n".join([*globals_, *declared, made.text]), blocks.models, ways, constants), made, weights, blocks.origins)


def _brought(program: Program) -> frozenset[str]:
    """Inputs that an edge brings, or one of several ends gives back, as values of their memory.

    IREE 3.13 moves such a buffer. Where it is brought twice, or other paths bring memory that the program made, it is none, or is refused.
    """
    found, inputs = memory(program), frozenset(i.value.name for i in program.signature.inputs)
    exits = [b.flow.exit for b in program.blocks]
    ends = [e for e in exits if isinstance(e, Return)]
    brought = [a for e in exits for edge in edges(e) for a in edge.args] + [o for e in ends if len(ends) > 1 for o in exit_operands(e)]
    names = {a.name for a in brought if isinstance(a, Ref)}
    if len(exits) > 1:  # every edge may bring what is written by then
        names |= {n for b in program.blocks for n in b.flow.mutates}
    return inputs & frozenset(m for n in names for m in found.get(n, ()))


class _Blocks:
    """The functions of blocks: each distinct one once, weights being arguments."""

    def __init__(self, values: Mapping[str, Value], kernels: Mapping[str, Kernel]) -> None:
        self.values, self.kernels = values, kernels
        self.models: dict[str, bytes] = {}
        self.types: dict[str, tuple[list[str], list[str]]] = {}
        self.names: dict[bytes, str] = {}
        self.weights: dict[str, str] = {}
        self.globals: dict[str, str] = {}
        self.origins: dict[str, Translation] = {}
        self.operators: set[str] = set()

    def function(self, block: FlowBlock) -> Function | Declined | None:
        import onnx

        from dync.backends.torch_mlir import bare, mlir, sizes_from_data
        from dync.backends.torch_mlir.bounds import results as results_of
        from dync.backends.torch_mlir.legal import legal, scattered
        from dync.host.mlir.module import Function

        found = block_translation(block, self.kernels.get(block.name), self.values)
        if found is None or isinstance(found, Declined):
            return found
        whole, made, written = found
        made = legal(made)
        if isinstance(made, Refused):
            return Declined(made.reason, made.span)
        if spoiled := scattered(onnx.load_model_from_string(made.model)):
            target = "a value of another block" if any(f"i{i}" in spoiled for i in range(len(whole.inputs))) else "a constant"
            return Declined(f"scatters into {target}, which IREE does in place", block.span)
        if "NonZero" in self.operators and sizes_from_data(made):
            return Declined("data decides about sizes in several blocks, which IREE confuses", block.span)
        model, initializers = bare(onnx.load_model_from_string(made.model), made.weights)
        inputs, results = mlir.onnx_types(model.graph.input), mlir.onnx_types(results_of(model))
        self.operators |= {n.op_type for n in model.graph.node}
        code = model.SerializeToString()
        name = self.names.setdefault(code, f"block{len(self.names)}")
        self.models[name], self.types[name], self.origins[name] = code, (inputs, results), made
        weights = []
        for initializer, type in zip(initializers, inputs[len(inputs) - len(initializers) :], strict=True):
            weight = self.weights.setdefault(made.weights[initializer], f"w{len(self.weights)}")
            self.globals[weight] = type
            weights.append((weight, type))
        values, outputs = tuple(v.name for v in whole.inputs), tuple(v.name for v in whole.results)
        return Function(name, values, outputs, (tuple(inputs), tuple(results)), tuple(weights), written)


def compiled(lowering: Lowering) -> bytes | Declined:
    """IREE's bytecode, or what the compiler says."""
    from dync.backends.torch_mlir import said
    from dync.backends.torch_mlir.compiler import COMPILER, CompilerError

    try:
        return COMPILER.compile(lowering.job)
    except CompilerError as error:
        origin = next(iter(lowering.origins.values()), None)
        text = str(error) if origin is None or len(lowering.origins) > 1 else said(str(error), origin)
        return Declined(f"IREE refuses the whole program: {text.strip().splitlines()[0][:300]}")


def with_iree(package: Package, program: Program, kernels: Mapping[str, Kernel]) -> Package | Declined:
    """The package with all of its control flow and code as one module for IREE; or why not."""
    from dync.backends.torch_mlir import sizes_from_data
    from dync.options import parse_target
    from dync.runtime.engine_iree import MODULE
    from dync.runtime.package import KernelEntry

    target = parse_target(str(package.meta["target"]))
    lowering = mlir_module(program, kernels, target)
    if isinstance(lowering, Declined):
        return lowering
    code = compiled(lowering)
    if isinstance(code, Declined):
        return code
    settings: dict[str, Any] = {"parameters": dict(lowering.weights), "device": target.kind}
    if any(map(sizes_from_data, lowering.origins.values())):
        settings["in_order"] = True
    entry = KernelEntry("iree", (MODULE,), settings, tuple(lowering.weights.values()), needs=("iree.runtime",))
    kept = {n: program.weights[n] for n in lowering.weights.values()}
    return replace(package, kernels={}, members={MODULE: code}, weights=kept, engine=entry)


def plain_module(program: Program, target: Target, text: bool = False) -> bytes:
    """The program as one file for anyone, with its weights inside: IREE's bytecode, or MLIR. Raises BackendError."""
    from dync.backends.torch_mlir.compiler import COMPILER, CompilerError
    from dync.build import kernels_of

    lowering = mlir_module(program, kernels_of(program), target, traced=False, inside=True)
    assert not isinstance(lowering, Declined), "it was compiled before"
    try:
        return COMPILER.compile(replace_text(lowering.job, text))
    except CompilerError as error:
        raise BackendError(f"IREE refuses the whole program: {str(error).strip().splitlines()[0]}") from error


def replace_text(job: Job, text: bool) -> Job:
    import msgspec

    return msgspec.structs.replace(job, text=text)
