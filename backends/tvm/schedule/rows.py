"""Everything that is no contraction: stages that share their leading axes run row by row, the last axis in vectors.

Softmax and layer norm keep a row in the cache from their first reduction to their last division; an elementwise kernel is one stage
of it; a reduction runs in vector accumulators, over its last axis or over the axis that it keeps.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import tirx
from tvm.ir import Var
from tvm.tirx import BufferStore

from dync.backends.tvm.schedule import loops
from dync.backends.tvm.schedule.functions import or_nan
from dync.backends.tvm.schedule.loops import Expr, Stage, Stmt, constant, index, same
from dync.backends.tvm.schedule.machine import Machine

PARALLEL_WORK = 1 << 15
"""Points of a stage under which waking other threads costs more than it gains."""
CHAINS = 4
"""Vector accumulators of a reduction, so that additions do not wait for one another."""


def grouped(stages: Sequence[Stage], everyone: Sequence[Stage], inner: Sequence[Var], machine: Machine) -> tuple[Stmt, list[Var]]:
    """The loops of stages in order, and those of the inner buffers that must be allocated as a whole.

    Neighbours are put into one loop over the axes that they share as long as each reads the others at its own row.
    """
    parts: list[Stmt] = []
    rest = list(stages)
    private: list[Var] = []
    while rest:
        group, shared = _group(rest, inner)
        own = [b for b in inner if _only_in(b, group, everyone)] if len(group) > 1 else []
        parts.append(_rows(group, shared, own, machine))
        private += own
        rest = rest[len(group) :]
    return loops.sequence(*parts), [b for b in inner if not any(b.same_as(p) for p in private)]


def _group(stages: list[Stage], inner: Sequence[Var]) -> tuple[list[Stage], int]:
    """The longest run of stages from the first on that shares leading axes, and how many axes."""
    group, shared = [stages[0]], len(stages[0].spatial)
    for stage in stages[1:]:
        deepest = next((d for d in range(min(shared, len(stage.spatial)), 0, -1) if _aligned([*group, stage], d)), 0)
        if deepest == 0 or (deepest < shared and _points(group[0], deepest) == 1):
            break
        group, shared = [*group, stage], deepest
    return group, shared


def _points(stage: Stage, shared: int) -> Expr | int:
    return loops.product([a.extent for a in stage.spatial[:shared]])


def _aligned(stages: Sequence[Stage], shared: int) -> bool:
    """Whether each stage reads what another one wrote at its own place in the first `shared` axes."""
    first = stages[0].spatial[:shared]
    written = [s.buffer for stage in stages for s in stage.stores]
    for stage in stages:
        mine = stage.spatial[:shared]
        if any(not same(a.extent, b.extent) for a, b in zip(mine, first, strict=True)):
            return False
        accesses = [(n.source, n.indices) for s in (*stage.stores, *stage.lets) for n in loops.loaded(s)]
        accesses += [(s.buffer, s.indices) for s in (*stage.stores, *stage.inits)]
        for buffer, indices in accesses:
            if not any(buffer.same_as(w) for w in written):
                continue
            if len(indices) < shared or any(not (isinstance(i, Var) and i.same_as(a.var)) for i, a in zip(indices, mine)):
                return False
    return True


def _only_in(buffer: Var, group: Sequence[Stage], stages: Sequence[Stage]) -> bool:
    return not any(_touches(s, buffer) for s in stages if s not in group) and any(_touches(s, buffer) for s in group)


def _touches(stage: Stage, buffer: Var) -> bool:
    reads = any(n.source.same_as(buffer) for s in (*stage.stores, *stage.lets) for n in loops.loaded(s))
    return reads or any(s.buffer.same_as(buffer) for s in stage.stores)


def _rows(group: Sequence[Stage], shared: int, own: Sequence[Var], machine: Machine) -> Stmt:
    """One loop over the shared axes; buffers that only live inside it hold one row."""
    if len(group) == 1:
        stage = group[0]
        shared = _kept(stage)
        flat = _flat(stage, machine)
        if flat is not None:
            return flat
    small = {b: tirx.decl_buffer([1] * shared + list(b.shape[shared:]), b.dtype, name=b.name) for b in own}
    stages = [_moved(s, shared, small) for s in group]
    extents = [a.extent for a in group[0].spatial[:shared]]

    def body(values: list[Expr]) -> Stmt:
        inside = [one(s, dict(zip([a.var for a in s.spatial[:shared]], values, strict=True)), shared, machine) for s in stages]
        made = loops.sequence(*inside)
        for buffer in small.values():
            made = loops.allocated(buffer, made)
        return made

    kind = parallel(group, machine)
    return loops.collapsed(extents, body, kind) if kind == loops.PARALLEL else loops.nest(extents, body)


def _kept(stage: Stage) -> int:
    """How many axes of a single stage are outer loops: all but the one that becomes vectors."""
    if not stage.spatial:
        return 0
    if stage.reduced and _along_reduction(stage):
        return len(stage.spatial)
    return len(stage.spatial) - 1


def _moved(stage: Stage, shared: int, small: dict[Var, Var]) -> Stage:
    """The stage reading and writing one row of the private buffers."""
    from dataclasses import replace

    def store(s: BufferStore) -> BufferStore:
        value = loops.substitute(s.value, {}, loads)
        if s.buffer not in small:
            return BufferStore(s.buffer, value, list(s.indices))
        return BufferStore(small[s.buffer], value, [index(0)] * shared + list(s.indices)[shared:])

    loads = {b: (lambda at, r=r: r[*([index(0)] * shared + list(at)[shared:])]) for b, r in small.items()}
    lets = tuple(loops.substitute(x, {}, loads) for x in stage.lets)
    return replace(stage, stores=tuple(map(store, stage.stores)), inits=tuple(map(store, stage.inits)), lets=lets)


def parallel(group: Sequence[Stage], machine: Machine) -> tirx.ForKind:
    work = [loops.product([a.extent for a in s.axes]) for s in group]
    small = all(isinstance(w, int) and w < PARALLEL_WORK for w in work)
    return loops.SERIAL if machine.threads == 1 or small else loops.PARALLEL


def one(stage: Stage, fixed: dict[Var, Expr], shared: int, machine: Machine) -> Stmt:
    """The loops of one stage inside the shared ones."""
    free = stage.spatial[shared:]
    lanes = machine.lanes(_widest(stage))
    if stage.reduced:
        fold = _fold(stage)
        if fold is None:
            return loops.nest([a.extent for a in free], lambda v: _scalar(stage, fixed | dict(zip([a.var for a in free], v, strict=True))))
        if not free or _along_reduction(stage):
            return loops.nest(
                [a.extent for a in free], lambda v: _across(stage, fixed | dict(zip([a.var for a in free], v, strict=True)), fold, lanes)
            )
        *outer, last = free

        def columns(v: list[Expr]) -> Stmt:
            here = fixed | dict(zip([a.var for a in outer], v, strict=True))
            return _vectors(last.extent, lanes, lambda start, n, w: _along(stage, here, last.var, start, n, w), CHAINS)

        return loops.nest([a.extent for a in outer], columns)
    if not free:
        return loops.at(stage, fixed)
    *outer, last = free

    def points(v: list[Expr]) -> Stmt:
        here = fixed | dict(zip([a.var for a in outer], v, strict=True))
        return _vectors(last.extent, lanes, lambda start, _, w: _vector(w, lambda lane: loops.at(stage, here | {last.var: start + lane})))

    return loops.nest([a.extent for a in outer], points)


def _vector(lanes: int, body) -> Stmt:
    return loops.loop(lanes, body, loops.VECTORIZED, "lane") if lanes > 1 else body(index(0))


def _vectors(extent: Expr, lanes: int, body, most: int = 1) -> Stmt:
    """body(start, vectors, lanes) over an axis: groups of vectors, single vectors, then what is left."""
    known = constant(extent)
    if known is None:
        full = tirx.floordiv(extent, lanes)
        main = loops.loop(full, lambda i: body(i * lanes, 1, lanes))
        return loops.sequence(main, loops.loop(extent - full * lanes, lambda i: body(full * lanes + i, 1, 1)))
    parts = []
    wide, rest = divmod(known, lanes * most)
    if wide:
        parts.append(loops.loop(wide, lambda i: body(i * (lanes * most), most, lanes)))
    start = wide * lanes * most
    if most > 1 and rest // lanes:
        parts.append(body(index(start), rest // lanes, lanes))
        start, rest = start + rest // lanes * lanes, rest % lanes
    if rest:
        parts.append(body(index(start), 1, rest))
    return loops.sequence(*parts)


def _widest(stage: Stage) -> str:
    """The element type by which vectors are counted: the widest that the stage loads or stores."""
    types = [s.buffer.dtype for s in stage.stores] + [n.source.dtype for s in stage.stores for n in loops.loaded(s)]
    return str(max(types, key=lambda t: tvm.DataType(str(t)).bits))


def _scalar(stage: Stage, here: dict[Var, Expr]) -> Stmt:
    """A reduction of another kind, one element after the other."""
    init = loops.sequence(*(loops.substitute(s, here) for s in stage.inits))
    axes = stage.reduced
    body = loops.nest([a.extent for a in axes], lambda v: loops.at(stage, here | dict(zip([a.var for a in axes], v, strict=True))))
    return loops.sequence(init, body)


def _fold(stage: Stage):
    """(combine, term, identity) of a reduction by +, *, max or min of a single value; None for another."""
    if len(stage.stores) != 1 or len(stage.inits) != 1 or stage.lets:
        return None
    value, target = stage.stores[0].value, stage.target
    kinds = {tirx.Add: "+", tirx.Mul: "*", tirx.Max: "max", tirx.Min: "min"}
    name = next((n for k, n in kinds.items() if isinstance(value, k)), None)
    if name is None or not (isinstance(value.a, tvm.ir.TensorLoad) and value.a.source.same_as(target)):
        return None
    if any(n.source.same_as(target) for n in loops.loaded(value.b)):
        return None
    dtype = str(target.dtype)
    identity = stage.inits[0].value
    if "float" in dtype and name in ("max", "min"):
        infinity = tirx.infinity(dtype)
        identity = infinity if name == "min" else tirx.const(0, dtype) - infinity
        return (lambda a, b: _extreme(a, b, name)), value.b, identity
    combine = {"+": lambda a, b: a + b, "*": lambda a, b: a * b, "max": tirx.max, "min": tirx.min}[name]
    return combine, value.b, identity


def _extreme(a: Expr, b: Expr, name: str) -> Expr:
    """The larger or smaller of two floats, NaN where either is."""
    wins = a > b if name == "max" else a < b
    return or_nan(a, tirx.Select(wins, a, b))


def _along_reduction(stage: Stage) -> bool:
    """Whether memory runs along the last reduced axis and not along the last kept one."""
    last = stage.reduced[-1].var
    kept = stage.spatial[-1].var if stage.spatial and constant(stage.spatial[-1].extent) != 1 else None
    loads = [n for n in loops.loaded(stage.stores[0].value) if not n.source.same_as(stage.target) and n.indices]
    score = 0
    for n in loads:
        names = loops.find(n.indices[-1], Var)
        if any(v.same_as(last) for v in names):
            score += 1
        elif kept is not None and any(v.same_as(kept) for v in names):
            score -= 1
    return score > 0 or kept is None


def _along(stage: Stage, here: dict[Var, Expr], column: Var, start: Expr, vectors: int, lanes: int) -> Stmt:
    """A reduction for several vectors of columns at once."""
    combine, term, identity = _fold(stage)  # pyright: ignore[reportGeneralTypeIssues]
    acc = loops.local((vectors, lanes), stage.target.dtype)

    def each(body) -> Stmt:
        return loops.loop(vectors, lambda v: _vector(lanes, lambda lane: body(v, lane)), loops.UNROLLED)

    def point(v: Expr, lane: Expr) -> dict[Var, Expr]:
        return here | {column: start + v * lanes + lane}

    axes = stage.reduced
    init = each(lambda v, lane: BufferStore(acc, identity, [v, lane]))

    def update(ks: list[Expr]) -> Stmt:
        taps = dict(zip([a.var for a in axes], ks, strict=True))
        return each(lambda v, lane: BufferStore(acc, combine(acc[v, lane], loops.substitute(term, point(v, lane) | taps)), [v, lane]))

    indices = list(stage.stores[0].indices)
    store = each(lambda v, lane: BufferStore(stage.target, acc[v, lane], [loops.substitute(i, point(v, lane)) for i in indices]))
    return loops.allocated(acc, init, loops.nest([a.extent for a in axes], update), store)


def _across(stage: Stage, here: dict[Var, Expr], fold, lanes: int) -> Stmt:
    """A reduction to one number: vector accumulators along the last axis, combined at the end."""
    combine, term, identity = fold
    *outer, last = stage.reduced
    known = constant(last.extent)
    dtype = stage.target.dtype
    total = loops.local((1,), dtype, "total")
    parts: list[Stmt] = [BufferStore(total, identity, [index(0)])]

    def take(start: Expr, outer_at: dict[Var, Expr]) -> Stmt:
        value = loops.substitute(term, here | outer_at | {last.var: start})
        return BufferStore(total, combine(total[0], value), [index(0)])

    def loop_outer(body) -> Stmt:
        return loops.nest([a.extent for a in outer], lambda v: body(dict(zip([a.var for a in outer], v, strict=True))))

    full = tirx.floordiv(last.extent, lanes) if known is None else known // lanes
    if lanes > 1 and full != 0:
        chains = 1 if known is None else max(c for c in (1, 2, CHAINS) if full % c == 0 or c == 1)
        acc = loops.local((chains, lanes), dtype)

        def each(body) -> Stmt:
            return loops.loop(chains, lambda c: loops.loop(lanes, lambda lane: body(c, lane), loops.VECTORIZED), loops.UNROLLED)

        init = each(lambda c, lane: BufferStore(acc, identity, [c, lane]))

        def step(at: dict[Var, Expr]) -> Stmt:
            def go(i: Expr) -> Stmt:
                def add(c: Expr, lane: Expr) -> Stmt:
                    place = (i * chains + c) * lanes + lane
                    return BufferStore(acc, combine(acc[c, lane], loops.substitute(term, here | at | {last.var: place})), [c, lane])

                return each(add)

            return loops.loop(full // chains if isinstance(full, int) else full, go)

        joined = [_vector(lanes, lambda x, c=c: BufferStore(acc, combine(acc[0, x], acc[c, x]), [index(0), x])) for c in range(1, chains)]
        width = lanes
        while width > 1:  # halves of the vector onto each other
            width //= 2
            joined.append(_vector(width, lambda x, w=width: BufferStore(acc, combine(acc[0, x], acc[0, x + w]), [index(0), x])))
        joined.append(BufferStore(total, combine(total[0], acc[0, 0]), [index(0)]))
        parts.append(loops.allocated(acc, init, loop_outer(step), *joined))
    done = full * lanes
    if not (isinstance(done, int) and done == known):
        parts.append(loop_outer(lambda at: loops.loop(last.extent - done, lambda i: take(done + i, at))))
    indices = [loops.substitute(i, here) for i in stage.stores[0].indices]
    parts.append(BufferStore(stage.target, total[0], indices))
    return loops.allocated(total, *parts)


def _flat(stage: Stage, machine: Machine) -> Stmt | None:
    """An elementwise stage whose loads are all at its own point: its axes become one, so that a short last axis costs nothing."""
    axes = stage.spatial
    if stage.reduced or stage.lets or len(axes) < 2:
        return None
    loads = [n for s in stage.stores for n in loops.loaded(s.value)]
    places = [n.indices for n in loads if n.indices] + [s.indices for s in stage.stores]
    own = [a.var for a in axes]
    if any(len(p) != len(own) or any(not (isinstance(i, Var) and i.same_as(v)) for i, v in zip(p, own)) for p in places):
        return None
    if any(v.same_as(o) for s in stage.stores for v in _free(s.value) for o in own):
        return None
    total = loops.product([a.extent for a in axes])
    lanes = machine.lanes(_widest(stage))

    def point(f: Expr) -> Stmt:
        at: dict[Var, Expr] = {}
        rest = f
        for n, a in reversed(list(enumerate(axes))):
            at[a.var] = tirx.floormod(rest, a.extent) if n else rest
            rest = tirx.floordiv(rest, a.extent)
        return loops.at(stage, at)

    total = index(total) if isinstance(total, int) else total
    kind = parallel([stage], machine)
    if kind == loops.SERIAL:
        return _vectors(total, lanes, lambda start, _, w: _vector(w, lambda lane: point(start + lane)))
    chunk = lanes * 64
    full = tirx.floordiv(total, chunk) if constant(total) is None else index(constant(total) // chunk)  # pyright: ignore[reportOptionalOperand]
    main = loops.loop(full, lambda c: loops.loop(64, lambda i: _vector(lanes, lambda x: point(c * chunk + i * lanes + x))), loops.PARALLEL)
    left = total - full * chunk if constant(total) is None else index(constant(total) % chunk)  # pyright: ignore[reportOptionalOperand]
    if constant(left) == 0:
        return main
    return loops.sequence(main, _vectors(left, lanes, lambda start, _, w: _vector(w, lambda x: point(full * chunk + start + x))))


def _free(value: Expr) -> list[Var]:
    """Variables that a value uses outside of the indices of its loads."""
    bare = loops.substitute(value, {}, {n.source: (lambda _, d=n.source.dtype: tirx.const(0, d)) for n in loops.loaded(value)})
    return loops.find(bare, Var)
