"""Operators that read and write by index, and those whose result's size is in the data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from dync.backends.onnx.builder import Val
from dync.backends.onnx.registry import Unsupported
from dync.backends.tvm.builder import RelaxBuilder, known, product, whole
from dync.backends.tvm.door import IRBuilder, T, te, tirx
from dync.backends.tvm.reductions import along, extern, independent, order, scanned
from dync.backends.tvm.structure import sliced


def wrapped(index: Any, size: Any) -> Any:
    """A place counted from either end, held inside: one outside must not touch other memory."""
    place = index.astype("int64")
    place = tirx.Select(place < whole(0), place + size, place)
    return tirx.max(tirx.min(place, size - whole(1)), whole(0))


def check(t: RelaxBuilder, index: Val, sizes: list[Any]) -> None:
    """Counts places outside, for the caller to raise on: the last dim of `index` holds one for each of `sizes`, if there are several."""
    array = t.array(index)
    if array is not None and len(sizes) == 1 and known(sizes[0]) is not None:
        if array.size and not (-known(sizes[0]) <= array.min() and array.max() < known(sizes[0])):  # type: ignore[operator]
            raise Unsupported("an index is out of range, which only eager raises")
        return

    def count(i: Any, limits: Any) -> Any:
        axes = [te.reduce_axis((whole(0), tirx.max(s, whole(1))), name=f"k{d}") for d, s in enumerate(i.shape)]

        def one() -> Any:
            place = i(*axes).astype("int64")
            limit = limits[0]
            for d, size in enumerate(limits[1:], 1):
                limit = tirx.Select(axes[-1].var >= whole(d), size, limit)
            there = [k.var < s for k, s in zip(axes, i.shape, strict=True)]
            outside = tirx.Or(place < whole(0) - limit, place >= limit)
            return te.sum(tirx.if_then_else(tirx.all(*there, outside), whole(1), whole(0)), axis=axes)

        return te.compute((), one, name="outside")

    if index.rank:
        t.outside.append(t.te(count, index, sizes))
        return
    single = t.reshape(index, [1])
    t.outside.append(t.te(count, single, sizes))


def gather(t: RelaxBuilder, x: Val, index: Val, axis: int = 0) -> Val:
    dims, axis = t.dims_of(x), axis % max(x.rank, 1)
    prims = t.prims.get(x.name)
    number = t.number(index) if index.rank == 0 else None
    if isinstance(prims, list) and number is not None:
        return t.size_value(prims[int(number)])
    if number is not None and (int(number) >= 0 or known(dims[axis]) is not None):
        place = int(number) if number >= 0 else int(number) + known(dims[axis])  # type: ignore[operator]
        one = t.te(sliced, x, axis, whole(int(place)), 1, [*dims[:axis], whole(1), *dims[axis + 1 :]])
        return t.squeeze(one, axis)

    check(t, index, [dims[axis]])

    def compute(v: Any, i: Any) -> Any:
        n = len(i.shape)

        def one(*out: Any) -> Any:
            return v(*out[:axis], wrapped(i(*out[axis : axis + n]), v.shape[axis]), *out[axis + n :])

        return te.compute((*v.shape[:axis], *i.shape, *v.shape[axis + 1 :]), one, name="gather")

    return t.te(compute, x, index)


def gather_elements(t: RelaxBuilder, x: Val, index: Val, axis: int = 0) -> Val:
    check(t, index, [t.dims_of(x)[axis]])

    def compute(v: Any, i: Any) -> Any:
        def one(*out: Any) -> Any:
            return v(*[wrapped(i(*out), v.shape[d]) if d == axis else p for d, p in enumerate(out)])

        return te.compute(i.shape, one, name="gather_elements")

    return t.te(compute, x, index)


def gather_nd(t: RelaxBuilder, x: Val, index: Val) -> Val:
    depth = index.dims[-1]
    assert depth is not None
    check(t, index, t.dims_of(x)[:depth])

    def compute(v: Any, i: Any) -> Any:
        lead = len(i.shape) - 1

        def one(*out: Any) -> Any:
            places = [wrapped(i(*out[:lead], whole(d)), v.shape[d]) for d in range(depth)]
            return v(*places, *out[lead:])

        return te.compute((*list(i.shape)[:-1], *list(v.shape)[depth:]), one, name="gather_nd")

    return t.te(compute, x, index)


# -- scatters ------------------------------------------------------------------------------------------------------------


def not_a_number(v: Any) -> Any:
    return tirx.isnan(v) if "float" in str(v.ty.dtype) else tirx.const(False, "bool")


COMBINE: dict[str | None, Callable[[Any, Any], Any]] = {
    None: lambda old, new: new,
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": lambda old, new: tirx.Select(tirx.Or(new > old, not_a_number(new)), new, old),
    "min": lambda old, new: tirx.Select(tirx.Or(new < old, not_a_number(new)), new, old),
}


def copied(source: Any, target: Any, count: Any) -> None:
    with independent(count) as i:
        target[i] = source[i]


def scatter_nd(t: RelaxBuilder, x: Val, index: Val, updates: Val, reduction: str | None = None) -> Val:
    """updates[..., rest] go, one after another, to x[index[...], rest]."""
    depth, combine = index.dims[-1], COMBINE[reduction]
    assert depth is not None
    check(t, index, t.dims_of(x)[:depth])

    def body(ins: Any, outs: Any) -> Any:
        shape = list(ins[0].shape)
        rest = product(shape[depth:])
        with IRBuilder() as ib:
            data, places, new, out = (T.buffer_proxy(b) for b in (*ins, outs[0]))
            with T.seq_scope():
                copied(data, out, product(shape))
                with T.serial(0, product(list(ins[1].shape)[:-1])) as i, independent(rest) as j:
                    row = whole(0)
                    for d in range(depth):
                        row = row * shape[d] + wrapped(places[i * depth + d], shape[d])
                    out[row * rest + j] = combine(out[row * rest + j], new[i * rest + j])
            return ib.get()

    return t.te(lambda v, i, u: extern([v.shape], [v, i, u], body, [str(v.dtype)], "scatter_nd"), x, index, fitted(t, x, index, updates))


def fitted(t: RelaxBuilder, x: Val, index: Val, updates: Val) -> Val:
    """Updates whose sizes are checked against those of index and data, where they are not seen to be equal."""
    depth = index.dims[-1]
    wanted = [*t.dims_of(index)[:-1], *t.dims_of(x)[depth:]]
    have = t.dims_of(updates)
    fits = len(have) == len(wanted) and all(t.analyzer.can_prove_equal(a, b) for a, b in zip(have, wanted, strict=True))
    return updates if fits else t.match(updates, wanted)


def scatter_elements(t: RelaxBuilder, x: Val, index: Val, updates: Val, axis: int = 0, reduction: str | None = None) -> Val:
    combine = COMBINE[reduction]
    check(t, index, [t.dims_of(x)[axis]])
    if not all(t.analyzer.can_prove_equal(a, b) for a, b in zip(t.dims_of(index), t.dims_of(updates), strict=True)):
        updates = t.match(updates, t.dims_of(index))

    def body(ins: Any, outs: Any) -> Any:
        shape, picked = list(ins[0].shape), list(ins[1].shape)
        with IRBuilder() as ib:
            data, places, new, out = (T.buffer_proxy(b) for b in (*ins, outs[0]))
            with T.seq_scope():
                copied(data, out, product(shape))
                with ExitStack() as loops:
                    index = [loops.enter_context(T.serial(0, n) if d == axis else independent(n)) for d, n in enumerate(picked)]
                    at = flat(index, picked)
                    row = [wrapped(places[at], shape[d]) if d == axis else i for d, i in enumerate(index)]
                    to = flat(row, shape)
                    out[to] = combine(out[to], new[at])
            return ib.get()

    return t.te(lambda v, i, u: extern([v.shape], [v, i, u], body, [str(v.dtype)], "scatter_elements"), x, index, updates)


def flat(index: Any, sizes: Any) -> Any:
    at = whole(0)
    for i, size in zip(index, sizes, strict=True):
        at = at * size + i
    return at


# -- sizes in the data ---------------------------------------------------------------------------------------------------


def counted(t: RelaxBuilder, flags: Val) -> tuple[Val, Any]:
    """(running count of a 0/1 int64 vector, its total as a symbol)."""
    running = t.te(lambda v: scanned(v, 0, lambda a, b: a + b), flags)
    total = t.op("ReduceSum", flags, keepdims=0)
    return running, t.prim(total)


def nonzero(t: RelaxBuilder, x: Val) -> Val:
    """[rank, n] places, row-major."""
    flags = t.cast(t.cast(t.flat(x), "bool"), "int64")
    running, many = counted(t, flags)

    def compute(mask: Any, ends: Any, sizes: Any, n: Any) -> Any:
        def body(ins: Any, outs: Any) -> Any:
            with IRBuilder() as ib:
                hit, end, out = (T.buffer_proxy(b) for b in (*ins, outs[0]))
                with independent(ins[0].shape[0]) as i, T.If(hit[i] != whole(0)), T.Then(), T.seq_scope():
                    left = i
                    for d in reversed(range(len(sizes))):
                        out[whole(d) * n + end[i] - whole(1)] = tirx.floormod(left, sizes[d]) if d else left
                        left = tirx.floordiv(left, sizes[d])
                return ib.get()

        return extern([(whole(len(sizes)), n)], [mask, ends], body, ["int64"], "nonzero")

    return t.te(compute, flags, running, t.dims_of(x), many)


def unique(t: RelaxBuilder, x: Val, sorted: int = 1, axis: int | None = None) -> tuple[Val, ...]:
    """values in order, (their first places: not made), the value's number for each element, how often each comes."""
    if axis is not None:
        raise Unsupported("unique along a dim")
    flat_x = t.flat(x)
    places = order(t, flat_x, 0, False)
    values = t.te(along, flat_x, places, 0, t.dims_of(flat_x))
    first = t.te(starts, values)
    running, many = counted(t, first)

    def compute(value: Any, place: Any, end: Any, n: Any) -> Any:
        def body(ins: Any, outs: Any) -> Any:
            with IRBuilder() as ib:
                v, p, e, distinct, inverse, counts = (T.buffer_proxy(b) for b in (*ins, *outs))
                with T.seq_scope():
                    with independent(n) as i:
                        counts[i] = whole(0)
                    with T.serial(0, ins[0].shape[0]) as i, T.seq_scope():
                        distinct[e[i] - whole(1)] = v[i]
                        inverse[p[i]] = e[i] - whole(1)
                        counts[e[i] - whole(1)] = counts[e[i] - whole(1)] + whole(1)
                return ib.get()

        kinds = [str(value.dtype), "int64", "int64"]
        return extern([(n,), value.shape, (n,)], [value, place, end], body, kinds, "unique")

    distinct, inverse, counts = t.tes(compute, values, places, running, many)
    return distinct, inverse, inverse, counts


def starts(v: Any) -> Any:
    """1 where a sorted vector has a new value."""

    def one(i: Any) -> Any:
        new = tirx.if_then_else(i == 0, tirx.const(True, "bool"), tirx.NE(v(i), v(i - 1)))
        return new.astype("int64")

    return te.compute(v.shape, one, name="starts")


EMIT: dict[str, Callable[..., Any]] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterND": scatter_nd,
    "ScatterElements": scatter_elements,
    "NonZero": nonzero,
    "Unique": unique,
}
