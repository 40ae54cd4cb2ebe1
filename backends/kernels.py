"""A Program's blocks as Kernels, and the content keys by which equal kernels are compiled once."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dync.backends.base import Functional, Kernel
from dync.ir import aliases
from dync.ir.program import Program
from dync.ir.types import UNKNOWN, Span, TensorType, Value

if TYPE_CHECKING:
    import torch
    from torch.fx import Graph, Node


def kernels(program: Program, functionalize: Callable[[Graph], object] | None = None) -> dict[str, Kernel]:
    """Block name → Kernel, for the blocks whose graph computes something.

    functionalize: a rewrite of a graph that takes out its in-place operations (dync.passes.graph.functionalize); its answer has
    `graph` and `copies`, or is a refusal without them. Without it graphs go to the backends as captured.
    """
    values = {v.name: v for v in _defined(program)}
    ranges = {d.name: (d.low, d.high) for d in program.signature.dims}
    memory, views = aliases.memory(program), aliases.keeps_aliases(program)
    found = {}
    for block in program.blocks:
        flow = block.flow
        if not flow.inputs and not flow.results and not any(n.op == "call_function" for n in block.graph.nodes):
            continue
        inputs = tuple(values[n] if n in values else Value(n, _weight_type(program.weights[n])) for n in flow.inputs)
        weights = {n: program.weights[n] for n in block.weights}
        anew = frozenset(weights.keys() & set(program.written_weights))
        kernel = Kernel(
            flow.name, block.graph, inputs, flow.results, weights, flow.mutates, ranges, anew, keeps_views=flow.name in views
        )
        apart = not aliases.overlaps(block, memory)
        found[block.name] = _without_writes(kernel, functionalize) if functionalize and apart and not kernel.keeps_views else kernel
    return found


def _without_writes(kernel: Kernel, functionalize: Callable[[Graph], object]) -> Kernel:
    """The kernel with its functional form: in the place of its graph if it writes nothing of its callers', else beside it."""
    from dync.ir.effects import written

    made = functionalize(kernel.graph)
    graph, copies = getattr(made, "graph", None), getattr(made, "copies", ())
    if graph is None:
        return kernel
    if kernel.mutates:
        return replace(kernel, functional=Functional(graph, tuple(copies)))
    return replace(kernel, graph=graph, captured=kernel.graph if any(map(written, kernel.graph.nodes)) else None)


def _defined(program: Program) -> Iterator[Value]:
    for leaf in program.signature.inputs:
        yield leaf.value
    for one in (*program.signature.params, *program.slots):
        yield one.value
    for block in program.blocks:
        yield from block.flow.params
        yield from block.flow.results
        yield from (op.result for op in block.flow.host)


def _weight_type(tensor: torch.Tensor) -> TensorType:
    return TensorType(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), str(tensor.device))


def structure_key(kernel: Kernel) -> str:
    """sha256 of everything but the weights' values and all names: kernels with this key in common run the same code on other weights."""
    return _hash(_lines(kernel))


def content_key(kernel: Kernel, structure: str = "") -> str:
    """sha256 of structure (its key, if known) and the weights' bytes: kernels with this key in common compute the same."""
    digest = hashlib.sha256((structure or structure_key(kernel)).encode())
    for name in canonical_weights(kernel):
        digest.update(_bytes(kernel.weights[name]))
    return digest.hexdigest()


def canonical_weights(kernel: Kernel) -> tuple[str, ...]:
    """The weights in order of first use, which is their identity in `structure_key`."""
    return tuple(dict.fromkeys(str(n.target) for n in kernel.graph.nodes if n.op == "get_attr"))


def _hash(lines: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _lines(kernel: Kernel) -> Iterator[str]:
    """The kernel as text with values, weights and size symbols numbered in order of appearance."""
    import torch

    symbols = _Numbers("s")
    weights = {name: f"w{i}" for i, name in enumerate(canonical_weights(kernel))}
    names: dict[Node, str] = {}

    def show(arg: Any) -> str:
        if isinstance(arg, torch.fx.Node):
            return names[arg]
        if isinstance(arg, (tuple, list)):
            return "[" + ",".join(map(show, arg)) + "]"
        if isinstance(arg, slice):
            return f"slice({show(arg.start)},{show(arg.stop)},{show(arg.step)})"
        return f"{type(arg).__name__}:{arg!r}"

    for value in (*kernel.inputs, *kernel.results):
        yield f"{'in' if value in kernel.inputs else 'out'} {_type_text(value, symbols)}"
    yield f"views {kernel.keeps_views} functional {kernel.functional is not None}"
    for name in sorted(kernel.mutates):
        at = [i for i, v in enumerate(kernel.inputs) if v.name == name]
        yield f"mutates {at[0] if at else weights.get(name, name)}"
    for symbol, number in symbols.items():
        yield f"range {number} {kernel.ranges.get(symbol)}"
    for node in (*kernel.graph.nodes, *(kernel.captured.nodes if kernel.captured else ())):
        names[node] = f"%{len(names)}"
        if node.op == "get_attr":
            tensor = kernel.weights[str(node.target)]
            anew = "anew " if str(node.target) in kernel.written else ""
            anew += "learns " if getattr(node.meta.get("val"), "requires_grad", False) else ""
            yield f"weight {anew}{weights[str(node.target)]} {tensor.dtype} {list(tensor.shape)} {tensor.device.type}"
        elif node.op == "call_function":
            kwargs = ",".join(f"{k}={show(v)}" for k, v in sorted(node.kwargs.items()))
            yield f"{target_text(node.target)}({','.join(map(show, node.args))};{kwargs}) {_meta_text(node.meta.get('val'), symbols)}"
        elif node.op == "output":
            yield f"return {show(node.args[0])}"


class _Numbers(dict[str, str]):
    """Names numbered in order of first sight."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def __missing__(self, key: str) -> str:
        self[key] = f"{self.prefix}{len(self)}"
        return self[key]


def _type_text(value: Value, symbols: _Numbers) -> str:
    if not isinstance(value.type, TensorType):
        return str(value.type)
    dims = ",".join(str(d) if isinstance(d, int) else symbols[d] for d in value.type.shape)
    return f"{value.type.dtype}[{dims}]{value.type.device}"


def _meta_text(value: Any, symbols: _Numbers) -> str:
    """dtype and static sizes of a node's results: translations may bake them in."""
    import torch

    if isinstance(value, torch.Tensor):
        return f"{value.dtype}[{','.join(str(s) if isinstance(s, int) else symbols['meta:' + str(s)] for s in value.shape)}]"
    if isinstance(value, (tuple, list)):
        return "(" + ",".join(_meta_text(v, symbols) for v in value) + ")"
    return type(value).__name__


def empty_size(kernel: Kernel) -> tuple[str, Span] | None:
    """What may be 0 in a call, and where: a size of an input, or of what an operator gives; None where all tensors have elements."""
    for value in kernel.inputs:
        sizes = value.type.shape if isinstance(value.type, TensorType) else ()
        names = [n for d in sizes if isinstance(d, str) for n in re.findall(r"[A-Za-z_]\w*", d)]
        if small := next((n for n in names if kernel.ranges.get(n, (0, None))[0] < 1), None):
            return f"the size {small} of an input", UNKNOWN
    for node in kernel.graph.nodes:
        for size in getattr(node.meta.get("val"), "shape", ()):
            least = size if isinstance(size, int) else size.node.shape_env.bound_sympy(size.node.expr).lower
            if least < 1:
                return f"a size of what {target_text(node.target)} gives", node.meta.get("span", UNKNOWN)
    return None


def target_text(target: Any) -> str:
    """ "aten.add.Tensor", "operator.getitem", "math.sqrt"."""
    module = getattr(target, "__module__", "") or ""
    if hasattr(target, "_schema"):
        return str(target)
    return f"{module.lstrip('_')}.{getattr(target, '__name__', target)}"


def _bytes(tensor: torch.Tensor) -> Any:
    import torch

    flat = tensor.detach().cpu().reshape(-1).clone(memory_format=torch.contiguous_format)  # of one number, a stride of 0 stays else
    return flat.view(torch.uint8).numpy() if math.prod(tensor.shape) else b""


def renamed_weights(source: Kernel, target: Kernel) -> Mapping[str, str]:
    """weight of `source` → weight of `target` in the same place; both kernels have one structure key."""
    return dict(zip(canonical_weights(source), canonical_weights(target), strict=True))
