"""A kernel's graph as a Relax module: main(inputs, fed weights, weights) -> (results, what it writes)."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dync.backends.base import Declined, Kernel
from dync.backends.onnx import indexing
from dync.backends.onnx.builder import Val
from dync.backends.onnx.registry import Unsupported
from dync.backends.onnx.translate import KIND, OPS, Translator, check_boundary, check_type, label, live, resolve, without_writes
from dync.backends.tvm.builder import Prim, RelaxBuilder, known, same, whole
from dync.backends.tvm.door import relax, tirx, tvm
from dync.ir.raising import LATE
from dync.ir.types import UNKNOWN, ScalarType, TensorType, Value

if TYPE_CHECKING:
    from torch.fx import Node


class Translation(NamedTuple):
    """module: with the function "main", whose first `num_input` parameters are inputs and fed weights, the others weights.

    weights: names of the weights in the order of the parameters. feeds: names of weights that calls write. copies: (output, input
    or weight that it is copied into after a run). extra: whether it calls into TVM's extra runtime library. checked: whether the last
    output says whether eager raises: how many indices are out of range, or -1 - the number of an error in `errors`.
    """

    module: Any
    weights: tuple[str, ...]
    feeds: tuple[str, ...]
    copies: tuple[tuple[int, str], ...]
    extra: bool
    checked: bool
    errors: tuple[Exception, ...]


def translate(kernel: Kernel, gpu: bool = False) -> Translation | Declined:
    """The Relax module of a kernel, or the first operator that has no form in it."""
    return _Relax(without_writes(kernel), gpu).translation(kernel.functional.copies if kernel.functional else ())


def unique(t: RelaxBuilder, x: Val, sorted: bool = True, inverse: bool = False, counts: bool = False) -> tuple[Val | None, ...]:
    """What is not asked for is a tensor without elements, which nobody reads."""
    values, places, numbers = indexing.unique(t, x)
    return values, places if inverse else None, numbers if counts else None


class _Relax(Translator):
    """The walk of the ONNX translation with a Relax builder; sizes that torch's tracer proved equal become one expression."""

    ops: Mapping[str, Callable[..., Any]] = {
        **{n: f for n, f in OPS.items() if not n.startswith("aten.grid_sampler")},  # torch's decomposition says it in gathers
        "aten._unique2.default": unique,
    }
    t: RelaxBuilder

    def __init__(self, kernel: Kernel, gpu: bool) -> None:
        super().__init__(kernel, RelaxBuilder(gpu))
        self.symbols: dict[str, Prim] = {}
        self.params: dict[str, Val] = {}
        self.own: set[str] = set()
        self.node: Node = kernel.graph.output_node()

    def translation(self, copies: tuple[tuple[str, int], ...]) -> Translation | Declined:
        t = self.t
        try:
            with t.bb.function("main"):
                with t.bb.dataflow():
                    inputs, outputs = self.walk()
                    for name in {n for n, _ in copies} - {v.name for v in self.kernel.inputs}:
                        self.weight(name)
                    if copies and t.errors:
                        raise Unsupported(LATE)
                    outputs += self.outside()
                    made = t.bb.emit_output(relax.Tuple([t.expr(v) for v in outputs]))
                feeds = [n for n in self.params if n in self.kernel.written]
                weights = [n for n in self.params if n not in self.kernel.written]
                t.bb.emit_func_output(made, [t.expr(v) for v in (*inputs, *(self.params[n] for n in (*feeds, *weights)))])
        except Unsupported as reason:
            return Declined(f"{label(self.node)}: {reason}", self.node.meta.get("span", UNKNOWN))
        module = t.bb.finalize()
        module["main"] = module["main"].with_attr("num_input", len(inputs) + len(feeds))
        back = tuple((i, n) for n, i in copies)
        return Translation(module, tuple(weights), tuple(feeds), back, t.extra, bool(t.outside), tuple(e for e, _ in t.errors))

    def walk(self) -> tuple[list[Val], list[Val]]:
        """Translates all nodes; the inputs and the results. `node` is the one that an Unsupported is about."""
        kernel, env = self.kernel, dict[Any, Any]()
        inputs: list[Val] = []
        for self.node, value in zip(kernel.graph.find_nodes(op="placeholder"), kernel.inputs, strict=True):
            env[self.node] = self.input(f"i{len(inputs)}", value)
            self.learn(env[self.node], self.node.meta.get("val"))
            inputs.append(env[self.node])
        self.sizes_given(env)
        for self.node in live(kernel.graph):
            env[self.node] = self.weight(str(self.node.target)) if self.node.op == "get_attr" else self.call(self.node, env)
        self.node = kernel.graph.output_node()
        results = resolve(self.node.args[0], env)
        return inputs, [self.result(r, v) for r, v in zip(results, kernel.results, strict=True)]

    def outside(self) -> list[Val]:
        """The first thing that makes a call fail, if any could."""
        t = self.t
        counts = t.outside[::-1]
        first = counts[:1]
        for one in counts[1:]:
            first = [t.where(t.op("Equal", one, t.const(0, "int64")), first[0], one)]
        return first

    # -- the boundary ----------------------------------------------------------------------------------------------------

    def input(self, name: str, value: Value) -> Val:
        match value.type:
            case TensorType():
                check_boundary(value.type.dtype)
                check_type(value.type.dtype, value.type.device)
                return self.parameter(name, value.type.dtype, [self.size(d) for d in value.type.shape])
            case ScalarType():
                made = self.parameter(name, KIND[value.type.kind], [])
                return Val(made.name, made.dtype, (), scalar=True)
            case _:
                raise Unsupported(f"an input of type {value.type}")

    def parameter(self, name: str, dtype: str, shape: Sequence[Prim]) -> Val:
        made = self.t.named(relax.Var(name, relax.TensorType(relax.ShapeExpr(list(shape)), dtype)))
        self.t.anchor = self.t.anchor or made
        self.own.add(made.name)
        return made

    def weight(self, name: str) -> Val:
        tensor = self.kernel.weights[name]
        dtype = str(tensor.dtype).removeprefix("torch.")
        check_type(dtype, str(tensor.device), str(tensor.layout))
        if name not in self.params:
            if not tensor.numel() and name not in self.kernel.written:
                return self.t.full(list(tensor.shape), 0, dtype)
            self.params[name] = self.parameter(f"w{len(self.params)}", dtype, [whole(s) for s in tensor.shape])
        return self.params[name]

    def result(self, value: Any, declared: Value) -> Val:
        """What comes out; a parameter is copied, so that no result is the caller's own memory."""
        match declared.type:
            case TensorType():
                check_boundary(declared.type.dtype)
                made = self.t.lift(value, declared.type.dtype)
                return self.t.pointwise(lambda v: v, made) if made.name in self.own else made
            case ScalarType():
                return self.t.lift(value, KIND[declared.type.kind])
            case _:
                raise Unsupported(f"a result of type {declared.type}")

    # -- sizes -----------------------------------------------------------------------------------------------------------

    def size(self, dim: int | str) -> Prim:
        """A size of an input: a symbol of its own for each name; a formula over names that other inputs define."""
        if isinstance(dim, int):
            return whole(dim)
        if dim not in self.symbols:
            names = {n for v in self.kernel.inputs if isinstance(v.type, TensorType) for n in v.type.shape if isinstance(n, str)}
            made = formula(dim, lambda n: self.size(n) if n in names else None)
            self.symbols[dim] = made if made is not None else self.symbol(dim)
        return self.symbols[dim]

    def symbol(self, name: str) -> Prim:
        var = tirx.Var(name if name.isidentifier() else f"n{len(self.symbols)}", "int64")
        low, high = self.kernel.ranges.get(name, (0, None))
        self.t.analyzer.bind(var, tvm.ir.Range(max(low, 0), (high if high is not None else 2**40) + 1))
        return var

    def learn(self, value: Val, meta: Any) -> None:
        """Remembers what torch calls the sizes of an input."""
        sizes: Any = getattr(meta, "shape", ())
        for prim, size in zip(self.t.dims_of(value), sizes, strict=False):
            if not isinstance(size, int):
                self.symbols.setdefault(str(size.node.expr), prim)

    def sizes_given(self, env: Mapping[Node, Val]) -> None:
        """Inputs that are the size of another one are that: two names for one size make TVM's passes lose buffers."""
        for node, value in env.items():
            given: Any = node.meta.get("val")
            prim = self.symbols.get(str(given.node.expr)) if value.scalar and hasattr(given, "node") else None
            if prim is not None:
                self.t.prims[value.name] = prim

    def tensor(self, function: Callable[..., Any], node: Node, args: Any, kwargs: dict[str, Any]) -> Any:
        result, meta = super().tensor(function, node, args, kwargs), node.meta["val"]
        if isinstance(meta, (tuple, list)):
            return tuple(None if r is None else self.settled(r, m) for r, m in zip(result, meta, strict=False))
        return self.settled(result, meta)

    def declare(self, result: Val, declared: Val | None) -> Val:
        """The dtype as declared; sizes are settled afterwards, from expressions."""
        if declared is None:
            return result
        made = self.t.cast(result, declared.dtype)
        return Val(made.name, made.dtype, made.shape, declared.scalar)

    def settled(self, value: Val, meta: Any) -> Val:
        """`value` with the sizes that torch's tracer found; where those are not seen to be its own they are asserted at run time."""
        import torch

        if not isinstance(meta, torch.Tensor):
            return value
        t, own = self.t, self.t.dims_of(value)
        assert len(own) == len(meta.shape), f"rank {len(own)} where {list(meta.shape)} was declared"
        wanted = [self.declared_size(s, o) for s, o in zip(meta.shape, own, strict=True)]
        if 0 in map(known, wanted):  # TVM's passes misread functions without iterations
            return t.full(t.vector_value(wanted), 0, value.dtype)
        if not all(same([w], [o]) or t.analyzer.can_prove_equal(w, o) for w, o in zip(wanted, own, strict=True)):
            value = t.match(value, wanted)
        return Val(value.name, value.dtype, tuple(map(known, wanted)), value.scalar)

    def declared_size(self, size: Any, own: Prim) -> Prim:
        """As the tracer has it; a number for a size that is a symbol here is what it assumed of the example, so the symbol stays."""
        if isinstance(size, int) or size.node.maybe_as_int() is not None:
            return whole(int(size)) if known(own) is not None else own
        return self.symbols.setdefault(str(size.node.expr), own)

    def smaller(self, node: Node, env: dict[Node, Any]) -> Any:
        """A decomposition has names of its own for its sizes."""
        outer, self.symbols = self.symbols, {}
        try:
            result = super().smaller(node, env)
        finally:
            self.symbols = outer
        meta = node.meta["val"]
        if isinstance(meta, (tuple, list)):
            return type(result)(self.settled(r, m) if isinstance(r, Val) else r for r, m in zip(result, meta, strict=False))
        return self.settled(result, meta) if isinstance(result, Val) else result


def formula(text: str, lookup: Callable[[str], Prim | None]) -> Prim | None:
    """A size such as "2*N + 1" as an expression; None where it has another form, a name is not known, or it is one name."""

    def value(node: ast.expr) -> Prim | None:
        match node:
            case ast.Constant(int() as number):
                return whole(number)
            case ast.Name(name):
                return lookup(name)
            case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() | ast.FloorDiv() as op, right):
                a, b = value(left), value(right)
                if a is None or b is None:
                    return None
                return {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}.get(type(op), tirx.floordiv)(a, b)
        return None

    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    return None if isinstance(tree, ast.Name) else value(tree)
