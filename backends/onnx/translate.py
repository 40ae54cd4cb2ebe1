"""A kernel's graph as an ONNX model: walks the nodes, finds each one's translation, declares the results' types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from dync.backends.base import Declined, Kernel
from dync.backends.onnx import convolution, elementwise, indexing, linear, normalisation, packed, reductions, scalars, shapes
from dync.backends.onnx.builder import Builder, Val
from dync.backends.onnx.registry import ENUM, Unsupported
from dync.ir.raising import LATE
from dync.ir.scalars import NEVER_RAISE, SCALAR_OPS
from dync.ir.types import UNKNOWN, ScalarType, Span, TensorType, Value

if TYPE_CHECKING:
    from torch.fx import Graph, Node

OPS: Mapping[str, Callable[..., Any]] = {
    **elementwise.OPS,
    **scalars.OPS,
    **shapes.OPS,
    **reductions.OPS,
    **indexing.OPS,
    **linear.OPS,
    **convolution.OPS,
    **normalisation.OPS,
    **packed.OPS,
}
FACTS = frozenset({"aten.sym_constrain_range.default", "aten.sym_constrain_range_for_size.default", "aten._assert_tensor_metadata.default"})
"""Operators that only tell the tracer something."""
ASIDE = frozenset({"device", "layout", "pin_memory", "memory_format", "non_blocking", "dtype", "copy", "generator"})
"""Arguments that the declared type of the result already tells."""
LOW = frozenset({"float16", "bfloat16"})
FIXED = frozenset({"bool", "int", "float", "Number", "Ints", "Dims", "Sequence[int]", "int | Sequence[int]"})
"""Types of a translation's arguments that are numbers, or None, when the code is made."""
KIND = {"int": "int64", "float": "float64", "bool": "bool"}


class Translation(NamedTuple):
    """model: ONNX bytes, free of weights, with so many outputs. weights: initialiser → name of the weight that fills it.

    feeds: input → weight that calls write. copies: (output, input that it is copied into after a run). origin: ONNX node name →
    fx node. errors: one more output is the number of the one that a number raises, or -1.
    """

    model: bytes
    outputs: int
    weights: dict[str, str]
    feeds: dict[str, str]
    copies: tuple[tuple[int, str], ...]
    origin: dict[str, Any]
    errors: tuple[tuple[Exception, Span], ...] = ()


def translate(kernel: Kernel, tells: bool = False) -> Translation | Declined:
    """The ONNX model of a kernel with inputs i0, i1, … and outputs o0, o1, …, or the first operator that has no ONNX form.

    A kernel that writes gives what it writes as further outputs. tells: what a number raises is an output, and does not stop the code.
    """
    return Translator(without_writes(kernel), Builder(tells)).run(kernel.functional.copies if kernel.functional else ())


def without_writes(kernel: Kernel) -> Kernel:
    """The functional form of a kernel, what it writes as further results; or the kernel itself."""
    if kernel.functional is None:
        return kernel
    types = {v.name: v.type for v in kernel.inputs} | {n: weight_type(w) for n, w in kernel.weights.items()}
    further = sorted((i, name) for name, i in kernel.functional.copies if i >= len(kernel.results))
    written = [Value(f"{name}_after", types[name]) for _, name in further]
    return replace(kernel, graph=kernel.functional.graph, results=(*kernel.results, *written))


class Translator:
    """The walk over one kernel's graph. `ops` and the builder decide what comes out; the ONNX ones are here."""

    ops: Mapping[str, Callable[..., Any]] = OPS

    def __init__(self, kernel: Kernel, builder: Builder) -> None:
        self.kernel = kernel
        self.t = builder
        self.weights: dict[str, str] = {}
        self.feeds: dict[str, str] = {}

    def run(self, copies: tuple[tuple[str, int], ...]) -> Translation | Declined:
        kernel, t = self.kernel, self.t
        node: Node = kernel.graph.output_node()
        try:
            env: dict[Node, Any] = {}
            for i, (node, value) in enumerate(zip(kernel.graph.find_nodes(op="placeholder"), kernel.inputs, strict=True)):
                env[node] = self.input(f"i{i}", value)
            for node in live(kernel.graph):
                if node.op == "get_attr":
                    env[node] = self.weight(str(node.target))
                elif node.op == "call_function":
                    env[node] = self.call(node, env)
            node = kernel.graph.output_node()
            places = {v.name: f"i{i}" for i, v in enumerate(kernel.inputs)}
            targets = [(i, places[n] if n in places else self.weight(n).name) for n, i in copies]
            results = resolve(node.args[0], env)
            outputs = [self.output(r, v) for r, v in zip(results, kernel.results, strict=True)]
            last = t.failed()
            model = t.model(outputs if last is None else [*outputs, (last, [])])
            if targets and t.stops:
                raise Unsupported(LATE)
        except Unsupported as reason:
            return Declined(f"{label(node)}: {reason}", node.meta.get("span", UNKNOWN))
        used = {i.name: self.weights[i.name] for i in t.kept if i.name in self.weights}
        return Translation(model, len(outputs), used, self.feeds, tuple(targets), t.origin, tuple(t.errors))

    def input(self, name: str, value: Value) -> Val:
        match value.type:
            case TensorType():
                check_boundary(value.type.dtype)
                check_type(value.type.dtype, value.type.device)
                dims = [d if isinstance(d, int) or d.isidentifier() else None for d in value.type.shape]
                return self.t.input(name, value.type.dtype, dims)
            case ScalarType():
                v = self.t.input(name, KIND[value.type.kind], [])
                return Val(v.name, v.dtype, (), scalar=True)
            case _:
                raise Unsupported(f"an input of type {value.type}")

    def weight(self, name: str) -> Val:
        tensor = self.kernel.weights[name]
        check_type(dtype_name(tensor.dtype), str(tensor.device), str(tensor.layout))
        if not tensor.numel():
            return replace(self.t.full(list(tensor.shape), 0, dtype_name(tensor.dtype)), shape=tuple(tensor.shape))
        if name in self.kernel.written:
            return self.feed(name, tensor)
        initializer = f"w{len(self.weights)}"
        self.weights[initializer] = name
        return self.t.weight(initializer, dtype_name(tensor.dtype), tensor.shape)

    def feed(self, name: str, tensor: Any) -> Val:
        """A weight that some block writes, as an input of the model."""
        inputs = {w: n for n, w in self.feeds.items()}
        initializer = inputs.get(name, f"f{len(self.feeds)}")
        if initializer in self.feeds:
            return Val(initializer, dtype_name(tensor.dtype), tuple(tensor.shape))
        self.feeds[initializer] = name
        return self.t.input(initializer, dtype_name(tensor.dtype), list(tensor.shape))

    def output(self, result: Any, value: Value) -> tuple[Val, list[int | None]]:
        match value.type:
            case TensorType():
                check_boundary(value.type.dtype)
                shape = [d if isinstance(d, int) else None for d in value.type.shape]
                return self.t.lift(result, value.type.dtype), shape
            case ScalarType():
                return self.t.lift(result, KIND[value.type.kind]), []
            case _:
                raise Unsupported(f"a result of type {value.type}")

    def call(self, node: Node, env: dict[Node, Any]) -> Any:
        """The value of one node. Nested graphs of decompositions come through here as well."""
        import operator

        args, kwargs = resolve(node.args, env), {k: v for k, v in resolve(node.kwargs, env).items() if k not in ASIDE}
        if node.target is operator.getitem:
            return args[0][args[1]]
        self.t.current = node
        scalar = scalar_name(node.target)
        if scalar is not None:
            return self.scalar(scalar, node, args)
        name = target_name(node.target)
        refuse(node, name)
        function = self.ops.get(name)
        if function is None:
            return self.smaller(node, env)
        return self.tensor(function, node, args, kwargs)

    def scalar(self, name: str, node: Node, args: Any) -> Any:
        if not any(isinstance(a, Val) for a in args):
            return SCALAR_OPS[name].function(*args)
        function = scalars.SCALARS.get(name)
        if function is None:
            raise Unsupported("it can raise on a run-time number, which only eager does")
        self.t.outs, self.t.low = (Val("", KIND[scalar_kind(node.meta["val"])], ()),), None
        result = function(self.t, *args)
        return Val(result.name, result.dtype, (), scalar=True)

    def tensor(self, function: Callable[..., Any], node: Node, args: Any, kwargs: dict[str, Any]) -> Any:
        """Calls a translation with low precision widened to float32 and its results brought to their declared types."""
        t = self.t
        declared = declared_of(node.meta["val"])
        lows = {v.dtype for v in flat((args, kwargs)) if v.dtype in LOW} | {d.dtype for d in declared if d and d.dtype in LOW}
        t.low = next(iter(lows)) if lows else None
        t.outs = tuple(
            Val("", "float32" if d.dtype in LOW else d.dtype, d.shape, d.scalar) if d else Val("", "float32", ()) for d in declared
        )
        if lows:
            args, kwargs = widened(t, args), widened(t, kwargs)
        try:
            given = signature(function).bind(t, *args, **kwargs).arguments
        except TypeError:
            raise Unsupported("no translation with these arguments") from None
        for name, parameter in signature(function).parameters.items():
            if str(parameter.annotation).removesuffix(" | None") in FIXED and flat(given.get(name)):
                raise Unsupported(f"its `{name}` is known only at run time")
        result = function(t, *args, **kwargs)
        if not isinstance(node.meta["val"], (tuple, list)):
            return self.declare(result, declared[0])
        return tuple(None if r is None else self.declare(r, d) for r, d in zip(result, declared, strict=False))

    def declare(self, result: Val, declared: Val | None) -> Val:
        if declared is None:
            return result
        value = self.t.cast(result, declared.dtype)
        return Val(value.name, value.dtype, declared.shape, declared.scalar)

    def smaller(self, node: Node, env: dict[Node, Any]) -> Any:
        from dync.backends.onnx.decompose import decompose

        module, sources = decompose(node, lambda op: target_name(op) in self.ops)
        graph = module.graph
        inner: dict[Node, Any] = {p: env[s] for p, s in zip(graph.find_nodes(op="placeholder"), sources, strict=True)}
        for one in live(graph):
            if one.op == "call_function":
                inner[one] = self.call(one, inner)
            elif one.op == "get_attr":
                tensor = getattr(module, str(one.target))
                inner[one] = self.t.const(tensor.numpy(), dtype_name(tensor.dtype))
        return resolve(graph.output_node().args[0], inner)


def live(graph: Graph) -> list[Node]:
    """The nodes that the results need, and those with an effect or that may raise, in order."""
    needed = set(graph.output_node().all_input_nodes)
    kept = []
    for node in reversed(graph.nodes):
        if node.op not in ("placeholder", "output") and (node in needed or effect(node) or may_raise(node)):
            needed.update(node.all_input_nodes)
            kept.append(node)
    return kept[::-1]


def may_raise(node: Node) -> bool:
    """Whether a node is an operation on run-time numbers that Python may refuse."""
    return scalar_name(node.target) not in (None, *NEVER_RAISE) and bool(node.all_input_nodes)


def effect(node: Node) -> str:
    """What a node does besides its results, in words; empty for nothing."""
    import torch

    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload) or target_name(target) in FACTS:
        return ""
    if target._schema.is_mutable:
        return "writes in place"
    if torch.Tag.nondeterministic_seeded in target.tags and not eval_dropout(node):
        return "draws from eager's random generator"
    if "assert" in target._schema.name:
        return "asserts at run time"
    return ""


def eval_dropout(node: Node) -> bool:
    """Dropout outside training, and attention without dropout, draw nothing."""
    import torch

    target: Any = node.target
    schema = target._schema.arguments
    given = {a.name: v for a, v in zip(schema, node.args, strict=False)} | dict(node.kwargs)
    values: dict[str, Any] = {a.name: given.get(a.name, a.default_value) for a in schema}
    if "dropout_p" in values:
        return values["dropout_p"] == 0
    if "train" in values:
        return not values["train"] or values.get("p", values.get("dropout")) == 0
    return torch.Tag.nondeterministic_seeded not in target.tags


def refuse(node: Node, name: str) -> None:
    """Raises Unsupported for what no translation can express."""
    import torch

    why = effect(node)
    if why:
        raise Unsupported(why)
    device = node.kwargs.get("device")
    if device is not None and torch.device(device).type != "cpu":  # type: ignore[arg-type]
        raise Unsupported(f"runs on {device}, this backend on the CPU")
    values = [node.meta.get("val"), *(n.meta.get("val") for n in node.all_input_nodes)]
    for value in values:
        for tensor in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(tensor, torch.Tensor):
                check_type(dtype_name(tensor.dtype), str(tensor.device), str(tensor.layout))


def check_type(dtype: str, device: str, layout: str = "torch.strided") -> None:
    if dtype not in ENUM:
        raise Unsupported(f"element type {dtype} is not compiled")
    if not device.startswith("cpu"):
        raise Unsupported(f"a tensor on {device}, this backend runs on the CPU")
    if layout not in ("torch.strided", "torch._mkldnn"):
        raise Unsupported(f"a tensor of layout {layout}")


def check_boundary(dtype: str) -> None:
    """numpy, through which values come and go, has no bfloat16."""
    if dtype == "bfloat16":
        raise Unsupported("a bfloat16 value that goes in or out of a block")


def target_name(target: Any) -> str:
    """ "aten.add.Tensor"."""
    return str(target)


def label(node: Node) -> str:
    """A node as a refusal names it: its operator, the scalar operation, or what else it is."""
    if node.op != "call_function":
        return node.op if node.op == "output" else f"{node.op} {node.target}"
    return scalar_name(node.target) or target_name(node.target)


@cache
def _scalar_names() -> dict[Any, str]:
    import torch

    own = {op.function: name for name, op in SCALAR_OPS.items()}
    sym = {"sym_float": "float", "sym_int": "int", "sym_max": "max", "sym_min": "min", "sym_not": "not_", "sym_ite": "select"}
    return own | {getattr(torch, n): name for n, name in sym.items()}


def scalar_name(target: Any) -> str | None:
    """The key of SCALAR_OPS that a node's target is, if it is one."""
    return _scalar_names().get(target)


def scalar_kind(value: Any) -> str:
    import torch

    for kind, classes in {"bool": (bool, torch.SymBool), "int": (int, torch.SymInt), "float": (float, torch.SymFloat)}.items():
        if isinstance(value, classes):
            return kind
    raise Unsupported(f"a value of type {type(value).__name__}")


def weight_type(tensor: Any) -> TensorType:
    return TensorType(dtype_name(tensor.dtype), tuple(tensor.shape), str(tensor.device))


def dtype_name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def declared_of(value: Any) -> list[Val | None]:
    """The declared types of a node's results as nameless values; None for an absent one or a list."""
    import torch

    if isinstance(value, (tuple, list)):
        return [declared_of(v)[0] if not isinstance(v, (tuple, list)) and v is not None else None for v in value]
    if isinstance(value, torch.Tensor):
        shape = tuple(s if isinstance(s, int) else s.node.maybe_as_int() for s in value.shape)
        return [Val("", dtype_name(value.dtype), shape)]
    if value is None:
        return [None]
    return [Val("", KIND[scalar_kind(value)], (), scalar=True)]


def resolve(arg: Any, env: Mapping[Node, Any]) -> Any:
    """An fx argument with nodes replaced by values and torch objects by their names."""
    import torch

    if isinstance(arg, torch.fx.Node):
        return env[arg]
    if isinstance(arg, (tuple, list)):
        return [resolve(a, env) for a in arg]
    if isinstance(arg, dict):
        return {k: resolve(v, env) for k, v in arg.items()}
    return dtype_name(arg) if isinstance(arg, (torch.dtype, torch.device, torch.layout, torch.memory_format)) else arg


def flat(tree: Any) -> list[Val]:
    if isinstance(tree, (tuple, list)):
        return [v for t in tree for v in flat(t)]
    if isinstance(tree, dict):
        return flat(list(tree.values()))
    return [tree] if isinstance(tree, Val) else []


def widened(t: Builder, tree: Any) -> Any:
    """Low-precision values in a tree as float32."""
    if isinstance(tree, (tuple, list)):
        return [widened(t, v) for v in tree]
    if isinstance(tree, dict):
        return {k: widened(t, v) for k, v in tree.items()}
    return t.cast(tree, "float32") if isinstance(tree, Val) and tree.dtype in LOW else tree


@cache
def signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)
