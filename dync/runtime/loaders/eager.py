"""Kernels as ATen graphs, run by torch itself: the backend that takes everything.

members: graph.json = {"inputs": [name], "nodes": [{"name", "target", "args", "kwargs"}], "outputs": [argument]}
target:   "aten.add.Tensor", "operator.getitem", or a scalar operation by its key in SCALAR_OPS: "operator.add", "operator.int", "math.sqrt"
argument: {"ref": name} | {"weight": name} | {"const": null, bool, int, float, str} | {"float": "inf", "-inf", "nan"}
          | {"complex": [re, im]} | {"list": [argument]} | {"tuple": [argument]} | {"slice": [argument x 3]} | {"ellipsis": true}
          | {"dtype": "float32"} | {"device": "cpu"} | {"layout": "strided"} | {"memory_format": "contiguous_format"}
settings: "weights", a graph's own weight name → the package's, where they differ (identical blocks share one graph).

The graph becomes one Python function; each intermediate is let go after its last use. Only names from tables are called. It runs
without gradients, as it was captured: torch chooses kernels by that, too, with other last bits.
"""

from __future__ import annotations

import keyword
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from dync.errors import ArtifactError, BackendError
from dync.ir.scalars import SCALAR_OPS
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights

FORM = "torch"
NAMESPACES = frozenset({"aten", "prims", "quantized_decomposed"})
FORBIDDEN = frozenset({"aten.from_file"})
"""Operators that touch files: no graph of a network holds them."""
PLAIN: dict[str, Any] = {"operator.getitem": operator.getitem} | {
    name if name.startswith("math.") else f"operator.{name}": op.function for name, op in SCALAR_OPS.items()}
"""Scalar operations by their key in SCALAR_OPS."""


class Node(msgspec.Struct, frozen=True):
    name: str
    target: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


class GraphText(msgspec.Struct, frozen=True):
    inputs: list[str]
    nodes: list[Node]
    outputs: list[Any]


def load(entry: KernelEntry, members: Mapping[str, Any], weights: Weights, settings: Mapping[str, Any], threads: int) -> Callable[..., Any]:
    """The graph as a Python function on torch tensors.

    Raises ArtifactError for a graph that does not read, BackendError for an operator that is unknown or not allowed.
    """
    try:
        graph = msgspec.json.decode(members["graph.json"], type=GraphText)
    except (msgspec.DecodeError, KeyError, RecursionError) as error:
        raise ArtifactError(f"a block's graph does not read: {error}") from error
    return _Compiler(graph, weights, settings).function()


def resolve(target: str) -> Callable[..., Any]:
    """The function that a node calls. Raises BackendError when this torch has no such operator, or it is not one that a graph may call."""
    import torch

    if target in PLAIN:
        return PLAIN[target]
    parts = target.split(".")
    if len(parts) != 3 or parts[0] not in NAMESPACES or ".".join(parts[:2]) in FORBIDDEN:
        raise BackendError(f"{target!r} is no operator that a block may call")
    try:
        overload = getattr(getattr(getattr(torch.ops, parts[0]), parts[1]), parts[2])
    except AttributeError as error:
        raise BackendError(f"torch {torch.__version__} has no operator {target}") from error
    return getattr(overload, "_op", overload)


class _Compiler:
    def __init__(self, graph: GraphText, weights: Weights, settings: Mapping[str, Any]) -> None:
        self.graph, self.weights = graph, weights
        self.renamed: Mapping[str, str] = settings.get("weights", {})
        self.learns: Sequence[str] = settings.get("learns", ())
        self.space: dict[str, Any] = {"__builtins__": {"slice": slice, "__import__": __import__}}  # torch imports in its caller's name
        self.locals: dict[str, str] = {}
        self.bound: dict[tuple[str, str], str] = {}

    def function(self) -> Callable[..., Any]:
        import torch

        self.torch = torch
        set_grad = torch._C._set_grad_enabled  # pyright: ignore[reportPrivateUsage]  torch.no_grad costs a microsecond
        self.space |= {"grad_enabled": torch.is_grad_enabled, "set_grad_enabled": set_grad}
        inputs = ", ".join(self.define(n) for n in self.graph.inputs)
        head = [f"def kernel({inputs}):", "    grad = grad_enabled()", "    set_grad_enabled(False)"]
        last = self.last_uses()
        lines: list[str] = []
        for i, node in enumerate(self.graph.nodes):
            call = self.bind("f", node.target, partial(resolve, node.target))
            args = [self.argument(a) for a in node.args] + [_keyword(k, self.argument(v)) for k, v in node.kwargs.items()]
            lines.append(f"        {self.define(node.name)} = {call}({', '.join(args)})")
            if dead := [self.locals[n] for n in last.get(i, ())]:
                lines.append(f"        del {', '.join(dead)}")
        lines.append(f"        return ({''.join(self.argument(a) + ', ' for a in self.graph.outputs)})")
        text = "\n".join([*head, "    try:", *lines, "    finally:", "        set_grad_enabled(grad)"])
        exec(compile(text, "<dync eager block>", "exec"), self.space)
        return self.space["kernel"]

    def last_uses(self) -> dict[int, list[str]]:
        """Node index → values of the graph that nothing later reads."""
        last: dict[str, int] = {}
        for i, node in enumerate(self.graph.nodes):
            last[node.name] = i
            for name in _refs([node.args, list(node.kwargs.values())]):
                last[name] = i
        kept = {*_refs(self.graph.outputs)}
        found: dict[int, list[str]] = {}
        for name, i in last.items():
            if name not in kept and name not in self.graph.inputs:
                found.setdefault(i, []).append(name)
        return found

    def define(self, name: str) -> str:
        if name in self.locals:
            raise ArtifactError(f"a block's graph defines {name!r} twice")
        self.locals[name] = f"v{len(self.locals)}"
        return self.locals[name]

    def bind(self, kind: str, key: str, make: Callable[[], Any]) -> str:
        """A global of the function for a thing that is no literal."""
        if (kind, key) not in self.bound:
            name = f"{kind}{len(self.bound)}_"
            self.space[name] = make()
            self.bound[kind, key] = name
        return self.bound[kind, key]

    def argument(self, value: Any) -> str:
        if not isinstance(value, dict):
            return _literal(value)
        entries = cast("dict[str, Any]", value)
        if len(entries) != 1:
            raise ArtifactError(f"a block's graph has an argument that does not read: {entries}")
        kind, inner = next(iter(entries.items()))
        match kind:
            case "ref" if inner in self.locals:
                return self.locals[inner]
            case "weight":
                return self.bind("w", inner, lambda: self.weight(inner))
            case "const":
                return _literal(inner)
            case "float":
                return self.bind("c", str(inner), lambda: float(inner))
            case "complex":
                return self.bind("z", str(inner), lambda: complex(*inner))
            case "list":
                return f"[{', '.join(self.argument(v) for v in inner)}]"
            case "tuple":
                return f"({''.join(self.argument(v) + ', ' for v in inner)})"
            case "slice":
                return f"slice({', '.join(self.argument(v) for v in inner)})"
            case "ellipsis":
                return "..."
            case "dtype" | "layout" | "memory_format":
                return self.bind("t", str(inner), lambda: self.torch_constant(kind, str(inner)))
            case "device":
                return self.bind("d", str(inner), lambda: self.torch.device(inner))
            case _:
                raise ArtifactError(f"a block's graph has an argument that does not read: {entries}")

    def weight(self, name: str) -> Any:
        own = self.renamed.get(name, name)
        if own not in self.weights:
            raise ArtifactError(f"a block's graph reads weight {own!r}, which is not there")
        found = self.weights.torch(own)
        if name in self.learns and own not in self.weights.written:
            found = found.detach().requires_grad_()
        return found

    def torch_constant(self, kind: str, name: str) -> Any:
        found = getattr(self.torch, name, None)
        if not isinstance(found, getattr(self.torch, kind)):
            raise BackendError(f"torch {self.torch.__version__} has no {kind} {name!r}")
        return found


def _literal(value: Any) -> str:
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise ArtifactError(f"a block's graph has a constant that does not read: {value}")
    return repr(value)


def _keyword(name: str, value: str) -> str:
    """A keyword argument; `from`, as in aten.random_.from, cannot stand plainly."""
    if not name.isascii() or not name.isidentifier():
        raise ArtifactError(f"a block's graph has a keyword that does not read: {name!r}")
    return f"**{{{name!r}: {value}}}" if keyword.iskeyword(name) else f"{name}={value}"


def _refs(value: Any) -> list[str]:
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return [entries["ref"]] if "ref" in entries else _refs(list(entries.values()))
    return [name for v in cast("list[Any]", value) for name in _refs(v)] if isinstance(value, list) else []
