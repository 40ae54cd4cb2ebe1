"""The reference: eager PyTorch runs the block's own graph, node by node. It takes everything, in-place writes and random numbers too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dync.backends.base import Available, BlockCode, Declined, Kernel, Target
from dync.backends.given import PACKED, RECURRENT
from dync.errors import BackendError
from dync.ir.types import TensorType

if TYPE_CHECKING:
    from torch.fx import Graph, Node

VIEWS = frozenset({"aten.view.default", "aten._unsafe_view.default"})
"""Views that ask for strides: another backend may hand over the same values with other strides than eager would."""
DENSE = frozenset({"aten.mm.default", "aten.addmm.default", "aten.bmm.default", "aten.baddbmm.default", "aten.embedding.default"})
"""Operators with dense results, beside those that take no tensor."""


class Eager:
    """Writes the graph as JSON; the runtime's loader calls the same ATen operators in the same order."""

    name = "eager"

    def available(self) -> Available | Declined:
        from importlib.metadata import version
        from importlib.util import find_spec

        if find_spec("torch") is None:
            return Declined("torch is not installed: pip install torch==2.13.0")
        import torch

        devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
        return Available(version("torch"), devices, devices)

    def supports(self, kernel: Kernel, target: Target) -> Declined | None:
        """Everything, on the kind of device that it was captured on."""
        types = [v.type for v in (*kernel.inputs, *kernel.results) if isinstance(v.type, TensorType)]
        devices = {t.device.partition(":")[0] for t in types} | {w.device.type for w in kernel.weights.values()}
        if not devices or target.kind in devices:
            return None
        return Declined(f"captured on {', '.join(sorted(devices))}: to run it on {target.kind}, capture it with model and inputs there")

    def compile(self, kernel: Kernel, target: Target, threads: int = 0) -> BlockCode:
        """graph.json: see `document`. Raises BackendError for a constant that JSON cannot hold."""
        import hashlib
        import json

        graph = _own(kernel)
        weights = tuple(dict.fromkeys(str(n.target) for n in graph.nodes if n.op == "get_attr"))
        text = json.dumps(document(graph), separators=(",", ":")).encode()
        learns = [f"w{i}" for i, name in enumerate(weights) if name in _learning(graph)]
        settings: dict[str, object] = {"weights": {f"w{i}": name for i, name in enumerate(weights)}}
        settings |= {"learns": learns} if learns else {}
        return BlockCode("eager", hashlib.sha256(text).hexdigest(), {"graph.json": text}, weights, settings, ("torch",))


def _own(kernel: Kernel) -> Graph:
    """The graph as captured, in which writes keep strides, by which vectorised kernels round, unless a view is asked of unknown ones."""
    if kernel.captured is None:
        return kernel.graph
    from dync.ir.rewrite import copy_graph

    graph = copy_graph(kernel.captured)
    loose, sure = _reshapable(graph), _as_captured(graph)
    views = [n for n in graph.nodes if n.op == "call_function" and str(n.target) in VIEWS and n not in loose]
    if not sure.issuperset(views):
        return kernel.graph
    if views:
        _lay_in_rows(graph, sure)
    return graph


def _as_captured(graph: Graph) -> set[Node]:
    """Tensors whose strides are those of the capture, where inputs that lay row by row do so again."""
    from dync.ir.effects import roots, written

    memory = roots(graph)
    changed = {r for n in graph.nodes for w in written(n) for r in memory[w]}
    found: set[Node] = set()
    for node in graph.nodes:
        if node.op == "call_function":
            sure = str(node.target) in DENSE or found.issuperset(node.all_input_nodes)
        else:
            value = node.meta.get("val")
            sure = not hasattr(value, "is_contiguous") or (node not in changed and (node.op == "get_attr" or value.is_contiguous()))
        found |= {node} if sure else set()
    return found


def _lay_in_rows(graph: Graph, sure: set[Node]) -> None:
    """Has the graph lay its inputs out row by row where the captured ones were; mostly there is nothing to do."""
    import torch

    inputs = list(graph.find_nodes(op="placeholder"))
    for node in inputs:
        users = [u for u in node.users if u.op != "output"]
        if users and node in sure and hasattr(node.meta.get("val"), "is_contiguous"):
            with graph.inserting_before(inputs[-1].next):
                rows = graph.call_function(torch.ops.aten.contiguous.default, (node,))
            rows.meta = dict(node.meta)
            for user in users:
                user.replace_input_with(node, rows)


def _learning(graph: Graph) -> set[str]:
    """Weights with a gradient of an RNN: its kernels pick matrix products by that, which round in other ways."""
    nodes = (w for n in graph.nodes if str(n.target) in (*RECURRENT, *PACKED) for w in n.all_input_nodes)
    return {str(w.target) for w in nodes if w.op == "get_attr" and getattr(w.meta.get("val"), "requires_grad", False)}


def document(graph: Graph) -> dict[str, Any]:
    """The graph as plain data: {"inputs": [name], "nodes": [{"name", "target", "args", "kwargs"}], "outputs": [argument]}.

    An argument is {"ref": name}, {"weight": name}, {"const": None, bool, int, str or float}, {"float": "inf"}, {"list": [...]},
    {"dtype"|"device"|"layout"|"memory_format": text}.
    """
    names = _names(graph)
    loose = _reshapable(graph)
    nodes = []
    for node in graph.nodes:
        if node.op == "call_function":
            target = target_text(node.target)
            nodes.append(
                {
                    "name": names[node],
                    "target": "aten.reshape.default" if node in loose else target,
                    "args": [_argument(a, names) for a in node.args],
                    "kwargs": {k: _argument(v, names) for k, v in node.kwargs.items()},
                }
            )
    inputs = [names[n] for n in graph.find_nodes(op="placeholder")]
    results: Any = graph.output_node().args[0]
    return {"inputs": inputs, "nodes": nodes, "outputs": [_argument(a, names) for a in results]}


def _names(graph: Graph) -> dict[Node, str]:
    """Numbered names of values, "v0", and of weights in order of first use, "w0", so that equal graphs give equal text."""
    names: dict[Node, str] = {}
    weights: dict[str, str] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            names[node] = weights.setdefault(str(node.target), f"w{len(weights)}")
        elif node.op != "output":
            names[node] = f"v{len(names)}"
    return names


def target_text(target: Any) -> str:
    """ "aten.add.Tensor" for an ATen overload, "operator.add" or "math.sqrt" for a Python function.

    Scalar operations are named by their key in dync.ir.scalars.SCALAR_OPS. Raises BackendError for any other callable.
    """
    import operator

    import torch

    from dync.ir.scalars import SCALAR_OPS

    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    if target is operator.getitem:
        return "operator.getitem"
    sym = {
        torch.sym_float: "float",
        torch.sym_int: "int",
        torch.sym_max: "max",
        torch.sym_min: "min",
        torch.sym_not: "not_",
        torch.sym_ite: "select",
    }
    name = sym.get(target) or next((n for n, op in SCALAR_OPS.items() if op.function is target), None)
    if name is None:
        raise BackendError(f"{target} is neither an ATen operator nor a scalar operation")
    return name if name.startswith("math.") else f"operator.{name}"


def _argument(arg: Any, names: dict[Node, str]) -> dict[str, Any]:
    import torch

    match arg:
        case torch.fx.Node():
            return {"weight" if arg.op == "get_attr" else "ref": names[arg]}
        case tuple() | list():
            return {"list": [_argument(a, names) for a in arg]}
        case torch.dtype() | torch.layout() | torch.memory_format():
            return {type(arg).__name__: str(arg).removeprefix("torch.")}
        case torch.device():
            return {"device": str(arg)}
        case float() if not math.isfinite(arg):
            return {"float": repr(arg)}
        case None | bool() | int() | float() | str():
            return {"const": arg}
    raise BackendError(f"an argument of type {type(arg).__name__} cannot be stored")


def _reshapable(graph: Graph) -> set[Node]:
    """Views that may become reshapes: nothing reachable through them is written in place.

    What comes in may have other strides than in eager, and operators hand them on: elementwise ones, attention.
    """
    from dync.ir.effects import roots, written

    memory = roots(graph)
    changed = {r for n in graph.nodes for w in written(n) for r in memory[w]}
    return {n for n in graph.nodes if n.op == "call_function" and str(n.target) in VIEWS and not memory[n] & changed}
