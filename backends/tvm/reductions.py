"""Reductions, scans and orderings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dync.backends.onnx.builder import Val
from dync.backends.onnx.registry import Unsupported
from dync.backends.tvm.builder import RelaxBuilder, known, product, whole
from dync.backends.tvm.door import IRBuilder, T, relax, te, tirx


def axes_of(t: RelaxBuilder, x: Val, axes: Val | None) -> list[int]:
    given = t.constant(axes) if axes is not None else None
    return sorted(a % x.rank for a in given) if given else list(range(x.rank))


def lowest(dtype: str) -> Any:
    return tirx.const(-math.inf if "float" in dtype else 0 if dtype == "bool" else int(np.iinfo(dtype).min), dtype)


def highest(dtype: str) -> Any:
    return tirx.const(math.inf if "float" in dtype else 1 if dtype == "bool" else int(np.iinfo(dtype).max), dtype)


def kept(better: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The better of two; a NaN stays, once it is there."""

    def combine(a: Any, b: Any) -> Any:
        if "float" not in str(b.ty.dtype):
            return tirx.Select(better(b, a), b, a)
        return tirx.Select(tirx.Or(better(b, a), tirx.isnan(b)), b, a)

    return combine


REDUCERS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[str], Any]]] = {
    "sum": (lambda a, b: a + b, lambda d: tirx.const(0, d)),
    "prod": (lambda a, b: a * b, lambda d: tirx.const(1, d)),
    "max": (kept(lambda a, b: a > b), lowest),
    "min": (kept(lambda a, b: a < b), highest),
}


def reduced(
    x: Any, axes: Sequence[int], keep: bool, kind: str, element: Callable[[Any], Any] = lambda v: v, filled: bool = True
) -> Any:
    """A TE reduction of element(x) over `axes`. filled: no axis is empty; TVM never writes the result of an empty one."""
    reducer = te.comm_reducer(*REDUCERS[kind], name=kind)
    dtype = str(x.dtype)
    inner = {a: te.reduce_axis((whole(0), x.shape[a] if filled else tirx.max(x.shape[a], whole(1))), name=f"k{a}") for a in axes}
    shape = [whole(1) if i in inner else s for i, s in enumerate(x.shape)] if keep else [s for i, s in enumerate(x.shape) if i not in inner]

    def one(*index: Any) -> Any:
        outer = iter(index)
        if keep:
            places = [inner[i] if i in inner else v for i, v in enumerate(index)]
        else:
            places = [inner[i] if i in inner else next(outer) for i in range(len(x.shape))]
        value = element(x(*places))
        if not filled:
            within = tirx.all(*[places[a] < x.shape[a] for a in inner])
            value = tirx.if_then_else(within, value, REDUCERS[kind][1](dtype))
        return reducer(value, axis=list(inner.values()))

    return te.compute(tuple(shape), one, name=kind)


def reduce(kind: str, relaxed: Callable[..., Any] | None = None, element: Callable[[Any], Any] = lambda v: v) -> Callable[..., Val]:
    def emit(t: RelaxBuilder, x: Val, axes: Val | None = None, keepdims: int = 1) -> Val:
        dims = axes_of(t, x, axes)
        if not x.rank:
            return t.pointwise(element, x)
        if any(known(t.dims_of(x)[d]) == 0 for d in dims):
            sizes = [whole(1) if d in dims else s for d, s in enumerate(t.dims_of(x)) if keepdims or d not in dims]
            total = t.full(t.vector_value(sizes), REDUCERS[kind][1](x.dtype).value, x.dtype)
            return total if relaxed is not relax.op.mean else t.op("Div", total, t.const(0, x.dtype))
        filled = all(t.analyzer.can_prove(t.dims_of(x)[d] > whole(0)) for d in dims)
        if relaxed is not None and x.floating and filled:
            return t.give(relaxed(t.expr(x), dims, bool(keepdims)))
        if relaxed is relax.op.mean:
            total = t.op("ReduceSum", x, axes, keepdims=keepdims)
            return t.op("Div", total, t.cast(t.size_value(t.prim(t.count(x, dims))), x.dtype))
        return t.te(lambda v: reduced(v, dims, bool(keepdims), kind, element, filled), x)

    return emit


def root(emit: Callable[..., Val]) -> Callable[..., Val]:
    return lambda t, x, axes=None, keepdims=1: t.op("Sqrt", emit(t, x, axes, keepdims))


def position(largest: bool) -> Callable[..., Val]:
    """The first of the best, the first NaN if there is one."""

    def emit(t: RelaxBuilder, x: Val, axis: int = 0, keepdims: int = 1) -> Val:
        axis %= x.rank

        def combine(a: Any, b: Any) -> Any:
            better, tie = b[1] > a[1] if largest else b[1] < a[1], tirx.EQ(a[1], b[1])
            if x.floating:
                old, new = tirx.isnan(a[1]), tirx.isnan(b[1])
                better, tie = tirx.Or(better, tirx.And(new, tirx.Not(old))), tirx.Or(tie, tirx.And(new, old))
            chosen = tirx.Or(better, tirx.And(tie, b[0] < a[0]))
            return tirx.Select(chosen, b[0], a[0]), tirx.Select(chosen, b[1], a[1])

        def identity(index: str, value: str) -> Any:
            return tirx.const(np.iinfo("int64").max, index), (lowest if largest else highest)(value)

        def compute(v: Any) -> Any:
            reducer = te.comm_reducer(combine, identity, name="position")
            k = te.reduce_axis((whole(0), v.shape[axis]), name="k")
            shape = [whole(1) if keepdims else None if i == axis else s for i, s in enumerate(v.shape)]
            shape = [(whole(1) if keepdims else None) if i == axis else s for i, s in enumerate(v.shape)]

            def one(*index: Any) -> Any:
                places = list(index) if keepdims else [*index[:axis], None, *index[axis:]]
                places[axis] = k.var
                return reducer((k.var.astype("int64"), v(*places)), axis=k)

            return te.compute(tuple(s for s in shape if s is not None), one, name="position")[0]

        return t.te(compute, x)

    return emit


def softmax(relaxed: Callable[..., Any]) -> Callable[..., Val]:
    return lambda t, x, axis=-1: t.give(relaxed(t.expr(x), axis))


def scan(kind: str) -> Callable[..., Val]:
    """The running sum or product along one axis."""
    combine, _ = REDUCERS[kind]

    def emit(t: RelaxBuilder, x: Val, axis: Val) -> Val:
        (dim,) = [t.number(axis)]
        assert dim is not None
        return t.te(lambda v: scanned(v, int(dim) % x.rank, combine), x)

    return emit


INDEPENDENT = "dync.independent"
"""Annotation of loops whose turns may run in any order, and beside each other: on a GPU each becomes a thread."""


def independent(count: Any) -> Any:
    """A loop of that kind."""
    return T.serial(0, count, annotations={INDEPENDENT: True})


def scanned(x: Any, axis: int, combine: Callable[[Any, Any], Any]) -> Any:
    before, length, after = product(x.shape[:axis]), x.shape[axis], product(x.shape[axis + 1 :])

    def body(source: Any, target: Any) -> Any:
        with IRBuilder() as ib:
            a, b = T.buffer_proxy(source), T.buffer_proxy(target)
            with independent(before) as i, T.serial(0, length) as k, independent(after) as j:
                at = (i * length + k) * after + j
                b[at] = tirx.if_then_else(k == 0, a[at], combine(b[at - after], a[at]))
            return ib.get()

    return extern([x.shape], [x], lambda ins, outs: body(ins[0], outs[0]), [str(x.dtype)], "scan")


def extern(shapes: Sequence[Any], inputs: Sequence[Any], body: Callable[..., Any], dtypes: Sequence[str], name: str) -> Any:
    """A TE operation written out as loops over flat buffers."""
    buffers = [tirx.decl_buffer(s, d, f"out{i}", layout=None) for i, (s, d) in enumerate(zip(shapes, dtypes, strict=True))]
    return te.extern(list(shapes), list(inputs), body, dtype=list(dtypes), out_buffers=buffers, name=name, tag=name)


# -- orderings -----------------------------------------------------------------------------------------------------------

SORTED = ("float32", "float64", "int32", "int64")
"""What tvm.contrib.sort takes; other integers are widened."""


FEW = 32
"""Elements that are ordered by counting for each those that come before it: no call of a library, and what TVM runs in one piece."""


def order(t: RelaxBuilder, x: Val, axis: int, largest: bool) -> Val:
    """The places of the elements in stable order, NaN as the largest."""
    keys = x if x.dtype in SORTED else t.cast(x, "float32" if x.floating else "int64")
    if keys.floating:
        keys = t.te(numbered, keys)
    length = known(t.dims_of(x)[axis])
    if t.gpu or length is not None and length <= FEW:
        ranks = t.te(lambda v: ranked(v, axis, largest), keys)
        return t.te(lambda v: placed(v, axis), ranks)
    t.extra = True

    def compute(v: Any) -> Any:
        source = tirx.decl_buffer(v.shape, v.dtype, "keys", data_alignment=8, layout=None)
        target = tirx.decl_buffer(v.shape, "int64", "order", data_alignment=8, layout=None)
        return te.extern(
            v.shape, [v], lambda ins, outs: tirx.call_packed("tvm.contrib.sort.argsort", ins[0], outs[0], axis, not largest),
            dtype="int64", in_buffers=[source], out_buffers=target, name="argsort", tag="argsort",
        )  # fmt: skip

    return t.te(compute, keys)


def numbered(x: Any) -> Any:
    """Integers in the order of the floats that they stand for: those of their bits, downwards for negative ones, and the last for NaN."""
    dtype = str(x.dtype)
    bits = dtype.replace("float", "int")
    most = tirx.max_value(bits)

    def number(*at: Any) -> Any:
        found, none = tirx.reinterpret(bits, x(*at)), tirx.const(0, bits)
        kept = tirx.Select(x(*at) == tirx.const(0, dtype), none, tirx.Select(found < none, found ^ most, found))  # -0 is 0
        return tirx.Select(tirx.isnan(x(*at)), most, kept)

    return te.compute(x.shape, number, name="numbered")


def ranked(x: Any, axis: int, largest: bool) -> Any:
    """How many integers come before each one: n² comparisons, none of which waits for another."""
    k = te.reduce_axis((0, x.shape[axis]), "k")

    def before(*at: Any) -> Any:
        own, other = x(*at), x(*[k if d == axis else v for d, v in enumerate(at)])
        first = own < other if largest else other < own
        return te.sum(tirx.Or(first, tirx.And(own == other, k < at[axis])).astype("int64"), axis=k)

    return te.compute(x.shape, before, name="rank")


def placed(ranks: Any, axis: int) -> Any:
    """The places of the elements in the order that their ranks say."""
    length, after = ranks.shape[axis], product(ranks.shape[axis + 1 :])

    def body(ins: Any, outs: Any) -> Any:
        with IRBuilder() as ib:
            rank, order = T.buffer_proxy(ins[0]), T.buffer_proxy(outs[0])
            with independent(product(ranks.shape)) as i:
                place = tirx.floormod(tirx.floordiv(i, after), length)
                order[i + (rank[i] - place) * after] = place
            return ib.get()

    return extern([ranks.shape], [ranks], body, ["int64"], "order")


def along(x: Any, places: Any, axis: int, sizes: Any) -> Any:
    """x at `places` along axis, the first ones as far as `sizes` goes."""
    return te.compute(tuple(sizes), lambda *i: x(*[places(*i) if d == axis else v for d, v in enumerate(i)]), name="ordered")


def top(t: RelaxBuilder, x: Val, count: Val, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Val, Val]:
    axis %= x.rank
    dims, many = t.dims_of(x), t.vector(count)[0]
    if known(many) is not None and known(dims[axis]) is not None and known(many) > known(dims[axis]):  # type: ignore[operator]
        raise Unsupported("topk of more elements than there are")
    places = order(t, x, axis, bool(largest))
    sizes = [*dims[:axis], many, *dims[axis + 1 :]]
    values = t.te(along, x, places, axis, sizes)
    return values, t.te(lambda p, s: te.compute(tuple(s), lambda *i: p(*i), name="places"), places, sizes)


square = lambda v: v * v  # noqa: E731
EMIT: dict[str, Callable[..., Any]] = {
    "ReduceSum": reduce("sum", relax.op.sum),
    "ReduceMean": reduce("sum", relax.op.mean),
    "ReduceMax": reduce("max"),
    "ReduceMin": reduce("min"),
    "ReduceProd": reduce("prod"),
    "ReduceL1": reduce("sum", None, lambda v: tirx.abs(v)),
    "ReduceL2": root(reduce("sum", None, square)),
    "ArgMax": position(True),
    "ArgMin": position(False),
    "Softmax": softmax(relax.op.nn.softmax),
    "LogSoftmax": softmax(relax.op.nn.log_softmax),
    "CumSum": scan("sum"),
    "CumProd": scan("prod"),
    "TopK": top,
}
