"""Matrix products and convolutions: a tile of rows x vectors of columns stays in registers while the reduction runs.

A stage is a contraction when its notes say so: "dync.contraction" is JSON with `rows` and `columns`, the axes to tile, and
`windows`, (spatial axis, tap axis, Window) of a convolution, whose reads outside of the input count as zeros and are skipped, and
`panels`, whether columns read weights that are packed as [panels, ..., lanes].
The stage that alone reads the product is computed from the registers.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import tvm
from tvm import tirx
from tvm.ir import Var
from tvm.tirx import BufferStore, IfThenElse

from dync.backends.tvm.schedule import loops
from dync.backends.tvm.schedule.loops import Axis, Expr, Stage, Stmt, constant, index, same
from dync.backends.tvm.schedule.machine import Machine
from dync.backends.tvm.schedule.stream import Stream
from dync.backends.tvm.schedule.tiles import Blocks, Columns, Rows, blocks, chunks, columns_of, dynamic_rows, shape, static_rows
from dync.backends.tvm.schedule.windows import Phase, Window

NOTE = "dync.contraction"
PARALLEL_WORK = 1 << 17
"""Multiplications under which waking other threads costs more than it gains."""


@dataclass(frozen=True)
class Spec:
    rows: int
    columns: int
    windows: tuple[tuple[int, int, Window], ...] = ()
    panels: bool = False

    def note(self) -> dict[str, str]:
        """The attributes of the tensor expression."""
        windows = [(s, t, vars(w)) for s, t, w in self.windows]
        return {NOTE: json.dumps({**vars(self), "windows": windows})}


def spec(stage: Stage) -> Spec | None:
    """What a stage's notes say, None where it is no contraction."""
    if NOTE not in stage.notes:
        return None
    said = json.loads(str(stage.notes[NOTE]))
    return Spec(**{**said, "windows": tuple((s, t, Window(**w)) for s, t, w in said["windows"])})


@dataclass(frozen=True)
class Place:
    """Where tiles of rows stand: their columns from `at` on, and the values and phases of the outer axes. Of the `visits` that read
    the same columns of weights, the first of these tiles is number `visit`."""

    columns: Columns
    at: Expr
    fixed: dict[Var, tuple[Expr, Phase | None]]
    phase: Phase | None
    visit: Expr | int
    visits: Expr | int
    block: Expr
    """Of the reduction."""


def contract(stage: Stage, said: Spec, post: Stage | None, machine: Machine) -> Stmt:
    """The loops of a contraction and of the stage after it. Without one, the product is written to its own buffer."""
    made = _Contraction(stage, said, post, machine)
    waits = post is not None and made.blocks.count > 1
    return loops.allocated(stage.target, made.loops()) if waits else made.loops()


class _Contraction:
    def __init__(self, stage: Stage, said: Spec, post: Stage | None, machine: Machine) -> None:
        self.stage, self.said, self.post, self.machine = stage, said, post, machine
        self.rows, self.columns = stage.axes[said.rows], stage.axes[said.columns]
        self.outer = [a for a in stage.spatial if a not in (self.rows, self.columns)]
        self.windows = {stage.axes[s].var: (stage.axes[t], w) for s, t, w in said.windows}
        self.target = stage.target
        value = stage.stores[0].value
        self.term = value.b if _loads(value.a, self.target) else value.a
        self.stream = Stream.of(self._weights()[0].source) if said.panels and machine.asks else None
        self.blocks = self._blocked()

    def loops(self) -> Stmt:
        outer = list(_product([self._phases(a) for a in self.outer]))
        return loops.sequence(*(self._phase(r, o) for r in self._phases(self.rows) for o in outer))

    def _phase(self, row_phase: Phase | None, outer_phases: Sequence[Phase | None]) -> Stmt:
        extent = self.rows.extent if row_phase is None else index(row_phase.count)
        rows, vectors = self._shape(extent)
        columns = columns_of(self.columns.extent, vectors, self.machine.lanes(self.target.dtype))
        count, chunk = chunks(self._row_tiles(extent, rows, row_phase), self.blocks.tiles)

        def part(at: list[Expr]) -> Stmt:
            return loops.sequence(*(self._tiles(row_phase, outer_phases, chunk(at[0]), c, at[1]) for c in columns))

        return loops.nest([count, self.blocks.count], part)

    def _shape(self, rows: Expr) -> tuple[int, int]:
        return shape(constant(rows), self._vectors(), self.machine)

    def _blocked(self) -> Blocks:
        """Products by packed weights; of others, all sums are taken in one go."""
        depth = [constant(a.extent) for a in self.stage.reduced]
        if not self.said.panels or self.outer or len(depth) != 1 or not depth[0]:
            return Blocks(1, 0, 1 << 30)
        width = tvm.DataType(str(self.target.dtype)).bits // 8
        return blocks(constant(self.rows.extent), depth[0], self._shape(self.rows.extent)[0], width)

    def _vectors(self) -> int | None:
        known = constant(self.columns.extent)
        return None if known is None else max(1, known // self.machine.lanes(self.target.dtype))

    def _phases(self, axis: Axis) -> list[Phase | None]:
        return list(self.windows[axis.var][1].phases()) if axis.var in self.windows else [None]

    def _row_tiles(self, extent: Expr, size: int, phase: Phase | None) -> list[Rows]:
        known = constant(extent)
        if known is None:
            return list(dynamic_rows(extent, size))
        low, high = (0, known) if phase is None else phase.interior(self.windows[self.rows.var][1].size)
        return static_rows(known, size, low, high)

    def _tiles(
        self, row_phase: Phase | None, outer_phases: Sequence[Phase | None], rows: list[Rows], columns: Columns, block: Expr
    ) -> Stmt:
        """All tiles of one group of columns, in one loop, the columns' weights staying in the cache while rows change."""
        extents = [a.extent if p is None else p.count for a, p in zip(self.outer, outer_phases, strict=True)]
        ahead = [n for n, a in enumerate(self.outer) if self._weights_depend_on(a.var)]
        behind = [n for n in range(len(extents)) if n not in ahead]
        order = [*ahead, len(extents), *behind]
        turns = rows[-1].before + rows[-1].count if rows else 0
        visits = loops.product([turns, *(extents[n] for n in behind)])
        sizes = [*extents, columns.count]
        kind = self._kind()
        groups = [[r] for r in rows] if kind == loops.PARALLEL and self._few(sizes) and rows[0].count != 1 else [rows]

        def point(values: list[Expr], group: list[Rows]) -> Stmt:
            places = dict(zip(order, values, strict=False))
            fixed = {}
            for n, (axis, phase) in enumerate(zip(self.outer, outer_phases, strict=True)):
                fixed[axis.var] = (places[n], phase)
            at = columns.start + places[len(extents)] * (columns.vectors * columns.lanes)
            visit = loops.linear([(places[n], extents[n]) for n in behind]) * turns
            place = Place(columns, at, fixed, row_phase, visit, visits, block)
            if len(values) > len(order):  # the row tiles are shared out among threads, too
                return self._tile(group[0], values[-1], place)
            return loops.sequence(*(self._row_loop(r, place) for r in group))

        parts = []
        for group in groups:
            ordered = [sizes[n] for n in order]
            shared = len(group) == 1 and len(groups) > 1
            inner = loops.collapsed([*ordered, group[0].count] if shared else ordered, lambda v, g=group: point(v, g), kind)
            parts.append(IfThenElse(group[0].when, inner, None) if shared and group[0].when is not None else inner)
        return loops.sequence(*parts)

    def _row_loop(self, rows: Rows, place: Place) -> Stmt:
        made = loops.loop(rows.count, lambda t: self._tile(rows, t, place), name="t")
        return made if rows.when is None else IfThenElse(rows.when, made, None)

    def _kind(self) -> tirx.ForKind:
        work = loops.product([a.extent for a in self.stage.axes])
        small = isinstance(work, int) and work < PARALLEL_WORK
        return loops.SERIAL if self.machine.threads == 1 or small else loops.PARALLEL

    def _few(self, sizes: Sequence[Expr | int]) -> bool:
        known = loops.product(sizes)
        return isinstance(known, int) and known < 4 * self.machine.threads

    def _weights(self) -> list[Expr]:
        """The loads that depend on the column."""
        return [n for n in loops.loaded(self.term) if any(_uses(i, self.columns.var) for i in n.indices)]

    def _weights_depend_on(self, var: Var) -> bool:
        return any(_uses(i, var) for n in self._weights() for i in n.indices)

    def _tile(self, rows: Rows, turn: Expr, place: Place) -> Stmt:
        columns, at, fixed, phase = place.columns, place.at, place.fixed, place.phase
        acc = loops.local((rows.size * columns.vectors, columns.lanes), self.target.dtype)
        start = rows.start + turn * rows.size
        outer: dict[Var, Expr] = {}
        for var, (value, outer_phase) in fixed.items():
            outer[var] = value if outer_phase is None else value * outer_phase.step + outer_phase.first

        def values(r: Expr, v: Expr, lane: Expr) -> dict[Var, Expr]:
            row = start + r
            return outer | {
                self.rows.var: row if phase is None else row * phase.step + phase.first,
                self.columns.var: at + v * columns.lanes + lane,
            }

        def registers(body: Callable[[Expr, Expr, Expr], Stmt], first: int = 0, last: int = rows.size) -> Stmt:
            def row(r: Expr) -> Stmt:
                def vector(v: Expr) -> Stmt:
                    return loops.loop(columns.lanes, lambda x: body(r + first, v, x), loops.VECTORIZED)

                return loops.loop(columns.vectors, vector, loops.UNROLLED)

            return loops.loop(last - first, row, loops.UNROLLED, "r")

        def update(taps: dict[Var, Expr], first: int = 0, last: int = rows.size) -> Stmt:
            def one(r: Expr, v: Expr, lane: Expr) -> Stmt:
                place = [r * columns.vectors + v, lane]
                return BufferStore(acc, acc[*place] + loops.substitute(self.term, values(r, v, lane) | taps), place)

            return registers(one, first, last)

        def own(r: Expr, v: Expr, lane: Expr) -> list[Expr]:
            at_point = values(r, v, lane)
            return [at_point[a.var] for a in self.stage.spatial]

        zero = tirx.const(0, self.target.dtype)
        init = registers(lambda r, v, lane: BufferStore(acc, zero, [r * columns.vectors + v, lane]))
        if self.blocks.count > 1:
            more = registers(lambda r, v, lane: BufferStore(acc, self.target[*own(r, v, lane)], [r * columns.vectors + v, lane]))
            init = IfThenElse(place.block == 0, init, more)
        bound, ask = self._ask(rows, turn, place)

        def step(taps: dict[Var, Expr], first: int = 0, last: int = rows.size) -> Stmt:
            return loops.sequence(*ask(taps), update(taps, first, last))

        body = self._reduce(rows, start, place, step)

        def keep(r: Expr, v: Expr, lane: Expr) -> Stmt:
            return BufferStore(self.target, acc[r * columns.vectors + v, lane], own(r, v, lane))

        def finish(r: Expr, v: Expr, lane: Expr) -> Stmt:
            at_point = partner(self.stage, self.post, values(r, v, lane))
            return loops.at(self.post, at_point, {self.target: lambda _: acc[r * columns.vectors + v, lane]})

        end = registers(keep if self.post is None else finish)
        if self.blocks.count > 1 and self.post is not None:
            end = IfThenElse(place.block == self.blocks.count - 1, end, registers(keep))
        return loops.allocated(acc, init, *bound, body, end)

    def _ask(self, rows: Rows, turn: Expr, place: Place) -> tuple[list[Stmt], Callable[[dict[Var, Expr]], list[Stmt]]]:
        """What a tile binds before its reduction, and what it asks for in each step of it."""
        columns = place.columns
        if self.stream is None or columns.lanes != self.stream.lanes:
            return [], lambda _: []
        panel = tirx.floordiv(place.at, columns.lanes)
        made = self.stream.ask(panel, columns.vectors, place.visit + rows.before + turn, place.visits, place.block, self.blocks)
        if made is None:
            return [], lambda _: []
        bound, ask = made
        done = place.block * self.blocks.step
        return bound, lambda taps: ask.at(loops.linear([(taps[a.var], a.extent) for a in self.stage.reduced]) - done)

    def _reduce(self, rows: Rows, start: Expr, place: Place, update: Callable[..., Stmt]) -> Stmt:
        """Loops over taps that meet the input, and over the plain axes inside of them."""
        fixed, phase, blocks = place.fixed, place.phase, self.blocks
        tap_axes = {t.var for t, _ in self.windows.values()}
        plain = [a for a in self.stage.reduced if a.var not in tap_axes]

        def inner(taps: dict[Var, Expr], first: int = 0, last: int = rows.size) -> Stmt:
            own = [a.var for a in plain]
            if blocks.count > 1:
                done = place.block * blocks.step
                even = constant(plain[0].extent) == blocks.count * blocks.step
                steps = blocks.step if even else tirx.min(plain[0].extent - done, index(blocks.step))
                return loops.loop(steps, lambda k: update({own[0]: done + k}, first, last))
            return loops.nest([a.extent for a in plain], lambda ks: update(taps | dict(zip(own, ks, strict=True)), first, last))

        def along_rows(taps: dict[Var, Expr]) -> Stmt | None:
            if phase is None:
                return inner(taps)
            axis, window = self.windows[self.rows.var]
            if not phase.taps:
                return None
            if not rows.edge:
                first, step = _progression(phase)
                return loops.loop(len(phase.taps), lambda k: inner(taps | {axis.var: k * step + first}), name="kw")
            parts = []
            for number, (k, _) in enumerate(phase.taps):
                low, high = phase.valid(number, window.size)
                base = int(rows.start)
                low, high = max(low - base, 0), min(high - base, rows.size)
                if low < high:
                    parts.append(inner(taps | {axis.var: index(k)}, low, high))
            return loops.sequence(*parts) if parts else None

        def across(left: list[tuple[Axis, Phase, Window, Expr]], taps: dict[Var, Expr]) -> Stmt | None:
            if not left:
                return along_rows(taps)
            (axis, outer_phase, window, value), *rest = left
            if not outer_phase.taps:
                return None
            first, step = _progression(outer_phase)
            offset, offset_step = (
                outer_phase.taps[0][1],
                outer_phase.taps[1][1] - outer_phase.taps[0][1] if len(outer_phase.taps) > 1 else 0,
            )

            def tap(k: Expr) -> Stmt:
                made = across(rest, taps | {axis.var: k * step + first}) or loops.sequence()
                if outer_phase.interior(window.size) == (0, outer_phase.count):
                    return made
                reads = value * outer_phase.stride + (k * offset_step + offset)
                return IfThenElse(tirx.all(reads >= 0, reads < window.size), made, None)

            return loops.loop(len(outer_phase.taps), tap, name="kh")

        guarded = [(self.windows[v][0], p, self.windows[v][1], value) for v, (value, p) in fixed.items() if p is not None]
        return across(guarded, {}) or loops.sequence()


def _progression(phase: Phase) -> tuple[int, int]:
    """First tap and the step from one to the next."""
    return phase.taps[0][0], phase.taps[1][0] - phase.taps[0][0] if len(phase.taps) > 1 else 0


def partner(stage: Stage, post: Stage, at: dict[Var, Expr]) -> dict[Var, Expr]:
    """The axes of the stage that reads a product, at one point of the product."""
    (read, *_) = [n for n in loops.loaded(post.stores[0].value) if n.source.same_as(stage.target)]
    values: dict[Var, Expr] = {a.var: index(0) for a in post.axes}
    for axis, place in zip(stage.spatial, read.indices, strict=True):
        if isinstance(place, Var):
            values[place] = at[axis.var]
    return values


def takes(stage: Stage, post: Stage) -> bool:
    """Whether `post` can be computed from the registers: it reads the product once a point, at its own point, and reduces nothing."""
    if post.reduced or post.inits or post.lets or len(post.stores) != 1 or spec(post):
        return False
    reads = [n for n in loops.loaded(post.stores[0]) if n.source.same_as(stage.target)]
    if not reads or any(_loads(i, stage.target) for i in post.stores[0].indices):
        return False
    axes = {a.var: a for a in post.axes}
    used = set()
    for axis, place in zip(stage.spatial, reads[0].indices, strict=True):
        if isinstance(place, Var) and place in axes and place not in used and same(axes[place].extent, axis.extent):
            used.add(place)
        elif constant(place) != 0 or constant(axis.extent) != 1:
            return False
    alike = all(same(a, b) for n in reads[1:] for a, b in zip(n.indices, reads[0].indices, strict=True))
    return alike and all(v in used or constant(a.extent) == 1 for v, a in axes.items())


def _loads(value: Expr, buffer: Var) -> bool:
    return any(n.source.same_as(buffer) for n in loops.loaded(value))


def _uses(value: Expr, var: Var) -> bool:
    return any(v.same_as(var) for v in loops.find(value, Var))


def _product(choices: list[list[Phase | None]]) -> Iterator[tuple[Phase | None, ...]]:
    from itertools import product

    return product(*choices)
