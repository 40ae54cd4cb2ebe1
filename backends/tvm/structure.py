"""Operators that only move elements: shapes, joins, slices, pads, tensors from nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dync.backends.onnx.builder import INT64_MAX, Val
from dync.backends.onnx.registry import Unsupported
from dync.backends.tvm.builder import Prim, RelaxBuilder, known, same, whole
from dync.backends.tvm.door import relax, te, tirx


def shape(t: RelaxBuilder, x: Val, start: int = 0, end: int | None = None) -> Val:
    return t.vector_value(t.dims_of(x)[start:end])


def size(t: RelaxBuilder, x: Val) -> Val:
    return t.size_value(t.prim(t.count(x, range(x.rank))))


def reshape(t: RelaxBuilder, x: Val, sizes: Val, allowzero: int = 0) -> Val:
    prims = t.vector(sizes)
    if not allowzero:
        prims = [t.dims_of(x)[i] if known(p) == 0 else p for i, p in enumerate(prims)]
    return t.reshaped(x, prims)


def squeeze(t: RelaxBuilder, x: Val, axes: Val) -> Val:
    if x.name in t.prims and isinstance(t.prims[x.name], list):
        return t.size_value(t.prims[x.name][0])
    return t.squeeze(x, *(t.constant(axes) or []))


def unsqueeze(t: RelaxBuilder, x: Val, axes: Val) -> Val:
    return t.unsqueeze(x, *(t.constant(axes) or []))


def transpose(t: RelaxBuilder, x: Val, perm: Sequence[int]) -> Val:
    return t.give(relax.op.permute_dims(t.expr(x), list(perm)))


def expand(t: RelaxBuilder, x: Val, sizes: Val) -> Val:
    return t.expand(x, sizes)


def concat(t: RelaxBuilder, *values: Val, axis: int) -> Val:
    prims = [t.prims.get(v.name) for v in values]
    if all(v.rank == 1 and v.dtype == "int64" for v in values) and all(isinstance(p, list) for p in prims):
        return t.vector_value([p for part in prims for p in part])  # type: ignore[union-attr]
    axis %= values[0].rank
    first = t.dims_of(values[0])
    fitted = [v if agrees(t, v, first, axis) else t.match(v, [*first[:axis], t.dims_of(v)[axis], *first[axis + 1 :]]) for v in values]
    return t.give(relax.op.concat([t.expr(v) for v in fitted], axis))


def agrees(t: RelaxBuilder, value: Val, dims: Sequence[Prim], axis: int) -> bool:
    return all(i == axis or t.analyzer.can_prove_equal(a, b) for i, (a, b) in enumerate(zip(t.dims_of(value), dims, strict=True)))


def bounds(t: RelaxBuilder, length: Prim, low: Prim, high: Prim, step: int) -> tuple[Prim, Prim]:
    """(first place, how many) of a slice, as numpy counts them."""
    if step > 0:
        first, last = inside(t, low, length, whole(0), length), inside(t, high, length, whole(0), length)
        many = tirx.floordiv(last - first + whole(step - 1), whole(step))
    else:
        first = inside(t, low, length, whole(-1), length - whole(1))
        last = whole(-1) if known(high) is not None and known(high) < -INT64_MAX // 2 else inside(t, high, length, whole(-1), length)  # type: ignore[operator]
        many = tirx.floordiv(first - last + whole(-step - 1), whole(-step))
    return t.analyzer.simplify(first), t.analyzer.simplify(tirx.max(many, whole(0)))


def inside(t: RelaxBuilder, place: Prim, length: Prim, low: Prim, high: Prim) -> Prim:
    """A place counted from either end, held between low and high."""
    number = known(place)
    if number is not None and number >= INT64_MAX // 2:
        return high
    if number is not None:
        place = place if number >= 0 else place + length
    elif not t.analyzer.can_prove(place >= whole(0)):
        place = tirx.Select(place < whole(0), place + length, place)
    return t.analyzer.simplify(tirx.max(tirx.min(place, high), low))


def slice_(t: RelaxBuilder, x: Val, starts: Val, ends: Val, axes: Val, steps: Val) -> Val:
    if isinstance(t.prims.get(x.name), list) and t.constant(starts) and t.constant(ends) and t.constant(steps) == [1]:
        return t.vector_value(t.prims[x.name][t.constant(starts)[0] : t.constant(ends)[0]])  # type: ignore[index]
    (axis,), (step,) = t.constant(axes) or [None], t.constant(steps) or [None]
    assert axis is not None and step is not None
    dims, (low,), (high,) = t.dims_of(x), t.vector(starts), t.vector(ends)
    first, many = bounds(t, dims[axis], low, high, step)
    sizes = [*dims[:axis], many, *dims[axis + 1 :]]
    if same(sizes, dims) and step == 1:
        return x
    return t.te(sliced, x, axis, first, step, sizes)


def sliced(x: Any, axis: int, first: Any, step: int, sizes: Any) -> Any:
    def one(*index: Any) -> Any:
        return x(*[first + i * step if d == axis else i for d, i in enumerate(index)])

    return te.compute(tuple(sizes), one, name="slice")


def split(t: RelaxBuilder, x: Val, sizes: Val | None = None, axis: int = 0, num_outputs: int = 0, count: int = 0) -> tuple[Val, ...]:
    dims = t.dims_of(x)
    if sizes is not None:
        pieces = t.vector(sizes)
    else:
        length = known(dims[axis])
        if length is None:
            raise Unsupported("pieces of a dynamic size")
        each = -(-length // num_outputs)
        pieces = [whole(max(0, min(each, length - i * each))) for i in range(num_outputs)]
    at, result = whole(0), []
    for piece in pieces:
        result.append(t.te(sliced, x, axis, at, 1, [*dims[:axis], piece, *dims[axis + 1 :]]))
        at = t.analyzer.simplify(at + piece)
    return tuple(result)


def tile(t: RelaxBuilder, x: Val, repeats: Val) -> Val:
    sizes = [t.analyzer.simplify(d * r) for d, r in zip(t.dims_of(x), t.vector(repeats), strict=True)]

    def tiled(v: Any, wanted: Any) -> Any:
        return te.compute(tuple(wanted), lambda *index: v(*[tirx.floormod(i, s) for i, s in zip(index, v.shape, strict=True)]), name="tile")

    return t.te(tiled, x, sizes)


def trilu(t: RelaxBuilder, x: Val, k: Val, upper: int) -> Val:
    def kept(v: Any, offset: Any) -> Any:
        def one(*index: Any) -> Any:
            i, j = index[-2], index[-1]
            return tirx.Select(j - i >= offset if upper else j - i <= offset, v(*index), tirx.const(0, str(v.dtype)))

        return te.compute(v.shape, one, name="triangle")

    return t.te(kept, x, t.prim(k))


def range_(t: RelaxBuilder, start: Val, limit: Val, delta: Val) -> Val:
    if start.dtype != "int64":
        raise Unsupported(f"a range of {start.dtype} with run-time bounds")
    a, b, step = t.prim(start), t.prim(limit), t.prim(delta)
    by = known(step)
    if by is None or by == 0:
        raise Unsupported("a range with a run-time step")
    gap = (b - a + whole(by - 1)) if by > 0 else (a - b + whole(-by - 1))
    many = t.analyzer.simplify(tirx.max(tirx.floordiv(gap, whole(abs(by))), whole(0)))
    if known(a) == 0 and by == 1 and isinstance(b, tirx.Var):
        many = b  # a size: where such a maximum is matched with another tensor's, TVM's CanonicalizeBindings never ends
    return t.te(lambda n, first: te.compute((n,), lambda i: first + i * by, name="range"), many, a)


def pad(t: RelaxBuilder, x: Val, pads: Val, value: Val | None = None, mode: str = "constant") -> Val:
    """ONNX's begins then ends; negative ones cut off."""
    around, dims = t.vector(pads), t.dims_of(x)
    before, after = around[: x.rank], around[x.rank :]
    sizes = [t.analyzer.simplify(d + b + a) for d, b, a in zip(dims, before, after, strict=True)]

    def padded(v: Any, begin: Any, wanted: Any, *fill: Any) -> Any:
        def one(*index: Any) -> Any:
            places, within = [], []
            for i, b, s in zip(index, begin, v.shape, strict=True):
                if known(b) == 0 and known(s) is not None and known(s) == known(wanted[len(places)]):
                    places.append(i)
                    continue
                p = i - b
                within += [p >= whole(0), p < s]
                places.append(PLACES[mode](p, s))
            if mode != "constant" or not within:
                return v(*places)
            return tirx.if_then_else(tirx.all(*within), v(*places), fill[0][()])

        return te.compute(tuple(wanted), one, name="pad")

    return t.te(padded, x, before, sizes, *([value] if value is not None else []))


PLACES: dict[str, Callable[..., Any]] = {
    "constant": lambda p, s: p,
    "edge": lambda p, s: tirx.max(tirx.min(p, s - whole(1)), whole(0)),
    "reflect": lambda p, s: tirx.Select(p < whole(0), whole(0) - p, tirx.Select(p >= s, (s - whole(1)) * whole(2) - p, p)),
    "wrap": lambda p, s: tirx.floormod(p, s),
}
"""Where a place outside reads from, by mode of Pad."""

EMIT: dict[str, Callable[..., Any]] = {
    "Shape": shape,
    "Size": size,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Expand": expand,
    "Concat": concat,
    "Slice": slice_,
    "Split": split,
    "Tile": tile,
    "Trilu": trilu,
    "Range": range_,
    "Pad": pad,
}
