"""Joins: at a marker behind a fork a run waits until all that could get there have; those with equal pictures go on as one."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch

from dync.capture.heap import MISSING, WHOLE, StaticHeap
from dync.capture.image import SYMBOLIC, Image, Roots, layout, substitute, take
from dync.capture.loops import skeleton
from dync.capture.markers import Site
from dync.capture.places import Activation, frames, has_state
from dync.capture.replay import Diverged, Suspended
from dync.capture.scalars import Expr, scalar_of
from dync.capture.tape import Changed, JumpExit, Op, Rec, To, Val
from dync.capture.text import SymText
from dync.capture.tuples import Named, Tuples, tuples_in
from dync.ir.types import UNKNOWN, Span

MAX_APART = 400
"""So many paths may go on by themselves from joins."""
MANY_TEXTS = 100
"""So often may paths part for a text that is literal on each of them: it becomes one that is known only at run time."""


@dataclass
class Waiting:
    """A suspended run."""

    path: list[Rec]
    image: Image
    changed: tuple[Changed, ...] = ()
    """Tensors that the run had made others in place."""
    tuples: Named = field(default_factory=dict)
    """Local tuples of Python's own."""

    @property
    def line(self) -> int:
        """Where its last operation stands."""
        return next((rec.ops[-1].span.line for rec in reversed(self.path) if rec.ops), 0)


@dataclass
class Column:
    value: Any


class Joins(Tuples):
    """The markers of straight code, and what they do."""

    heap: StaticHeap
    joins: bool
    written: list[tuple[int, Any]]
    given: set[tuple[int, Any]]
    """Places that hold run-time parameters."""
    waiting: dict[tuple[Any, ...], list[Waiting]]
    paths_apart: int
    wordings: dict[Val, frozenset[str]]
    """Texts that are known only at run time → the literal ones of which each is one."""
    loose_texts: set[tuple[Any, str]]
    """Texts that are known only at run time though they are literal on some paths: a function, and where in it."""
    identities: bool
    """Whether code asks with `is` for a tensor that may be another where paths have joined: these are kept apart then."""
    plain_calls: set[tuple[str, int, int]]
    """Calls (file, line, column) whose bools are decided before they are given."""

    def mark(self, site_uid: int) -> dict[str, Any] | None:
        site, frame = self.markers.sites[site_uid], sys._getframe(1)
        act = self._here(site, frame)
        start = act.starts.get(site.depth, act.entry)
        if self.rec is start:
            return None
        pending = self._pending(act) if act.pending else None
        new = self.join(act.position(site.uid, site.loops), start, site, act, {}, pending=pending)
        act.starts[site.depth] = self.rec
        return new if pending is None else {**pending, **(new or {})}

    def argument(self, value: Any, line: int, col: int) -> Any:
        """What is given to the call at a line and column of the marked code that runs; of `*args` and `**kwargs` all that they hold."""
        if not self.plain_calls or (sys._getframe(1).f_code.co_filename, line, col) not in self.plain_calls:
            return value
        if type(value) is tuple:
            return tuple(map(self.plain, value))
        return {k: self.plain(v) for k, v in value.items()} if type(value) is dict else self.plain(value)

    def plain(self, value: Any) -> Any:
        """A number or text as C code takes it: a bool is decided, another may be known on each path that is kept apart."""
        if isinstance(value, SymText):
            literal = value.known()
            return value if literal is None else literal
        if isinstance(value, SYMBOLIC):
            self.split_constants(scalar_of(value))
        return bool(value) if isinstance(value, torch.SymBool) else value

    def refused_numbers(self, call: Span) -> None:
        """C code refused a number known only at run time in a call: the bools among its arguments are decided before, from now on."""
        place = (call.file, call.line, call.col)
        if place not in self.plain_calls:
            self.plain_calls.add(place)
            self.start_again()

    def begin(self) -> Rec:
        return self.rec

    def either(self, site_uid: int, start: Rec, value: Any) -> Any:
        site = self.markers.sites[site_uid]
        act = self._here(site, sys._getframe(1))
        if self.rec is start:
            return value
        new = self.join(act.position(site.uid, site.loops), start, site, act, {"dync value": value})
        return new["dync value"] if new else value

    def give(self, site_uid: int, value: Any) -> Any:
        site = self.markers.sites[site_uid]
        frame = sys._getframe(1)
        act = self._here(site, frame)
        if self.rec is act.entry or len(self.activations) == 1:
            return value
        new = self.join((*act.prefix, sys.maxsize), act.entry, site, act, {"dync value": value}, leaving=True)
        return new["dync value"] if new else value

    def roots(self, site: Site, act: Activation, extra: dict[str, Any], leaving: bool, pending: dict[str, Any] | None = None) -> Roots:
        local = act.frame.f_locals
        own = {**extra} if leaving or site.kind == "value" else {**{n: local[n] for n in site.live if n in local}, **extra}
        own.update({n: v for n, v in (pending or {}).items() if n in site.live})
        around = frames(act.frame if site.kind == "value" else act.frame.f_back, self.root_frame)
        outer = [self.reachable(f) for f in around if has_state(f.f_code)]
        walked = {f"dync over {uid}": it for a in self.activations for uid, it in a.walked.items() if any(uid == p[0] for p in a.loops)}
        owners = {f"dync own {n}": a.own for n, a in enumerate(self.activations) if a.own is not None}
        texts = frozenset(where for function, where in self.loose_texts if function == self.markers.functions[site.function])
        return Roots(own, [*outer, walked, owners], self.written, self.standing, self.pools, texts, self.identities)

    def standing(self, generator: types.GeneratorType[Any, Any, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Where a generator stands, and the locals that it may still read: none while it runs, its frame being on the stack."""
        frame = generator.gi_frame
        if frame is None:
            return (-1,), {}
        if not generator.gi_running:
            self.mark_frames([frame])
        act = self.generators.get(id(frame))
        turns = [tuple(p) for p in act.loops] if act is not None else []
        return (frame.f_lasti, *turns), {} if generator.gi_running else self.reachable(frame)

    def reachable(self, frame: Any) -> dict[str, Any]:
        """The locals of a frame that its code may still read."""
        names = {k: v for k, v in frame.f_locals.items() if not k.startswith("dync_")}
        act = next((a for a in (*self.activations, *self.generators.values()) if a.frame is frame), None)
        site = self.markers.sites[act.last] if act is not None else None
        if act is None or site is None or site.function != act.function:
            return names
        return {k: v for k, v in names.items() if k in site.reach}

    def note_writes(self) -> None:
        """Places of the static heap that this run wrote; a new one starts the capture over."""
        whole = {n for n, key in self.written if key == WHOLE}
        known = {*self.written, *self.given}
        fresh = [p for p in self.heap.places_of(self.heap.changes()) if p not in known and p[0] not in whole]
        if fresh:
            grown = {n for n, key in fresh if key == WHOLE}
            self.written[:] = [p for p in self.written if p[0] not in grown] + fresh
            self.start_again()

    def join(self, position: tuple[int, ...], start: Rec, site: Site, act: Activation, extra: dict[str, Any], leaving: bool = False,
             pending: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Waits for the other paths here, then goes on as their join. What to write into the frame, if anything."""
        with torch._C.DisableTorchFunction():
            return self._join(position, start, site, act, extra, leaving, pending or {})

    def _join(self, position: tuple[int, ...], start: Rec, site: Site, act: Activation, extra: dict[str, Any], leaving: bool,
              pending: dict[str, Any]) -> dict[str, Any] | None:
        self.check_alive()
        key = (position, start.uid, site.uid if not leaving else -1)
        if self.step < len(self.path) - 1:
            exit = self.rec.exit
            if self.cursor == len(self.rec.log) and isinstance(exit, JumpExit) and exit.to.rec.pending == key:
                self.advance()
                return self._write_back(self.rec.state, site, act, extra, leaving, pending)
            return None
        if self.cursor < len(self.rec.log) or not self.joins:
            return None
        if key in self.rec.released:
            return None
        others = any(start in t for t in self.tasks) or any(
            start in w.path and k[0] < position for k, ws in self.waiting.items() for w in ws)
        mine = self.waiting.get(key, [])
        if not others and not mine:
            return None
        self.note_writes()
        roots = self.roots(site, act, extra, leaving, pending)
        image = take(roots, self.heap, self.value, self.born)
        me = Waiting(self.path, image, self.changed_in(image), tuples_in(roots.own))
        if others:
            self.waiting.setdefault(key, []).append(me)
            self.dead = True
            raise Suspended
        del self.waiting[key]
        same = [w for w in mine if self.fits(w.image, image, key)]
        rest = [w for w in mine if w not in same]
        self._keep_rest(key, rest, me, site)
        if not same:
            return None
        self.merge([*same, me], key, start)
        self.path = [*self.path, self.path[-1].exit.to.rec]
        self.advance()
        return self._write_back(self.rec.state, site, act, extra, leaving, pending)

    def join_key(self, key: tuple[Any, ...]) -> Any:
        """What names a join in every attempt: the line of its marker."""
        site = self.markers.sites[key[2]] if key[2] >= 0 else None
        return (self.markers.functions[site.function], site.line, site.kind) if site else "return"

    def fits(self, a: Image, b: Image, key: tuple[Any, ...]) -> bool:
        """Whether two paths can join here."""
        place = self.join_key(key)
        return compatible(a, b, place in self.loose) and layouts_fit(self, a, b) and not (self.apart and any(
            (place, x.where) in self.apart and leaf_key(x) != leaf_key(y) for x, y in zip(a.leaves, b.leaves)))

    def _keep_rest(self, key: tuple[Any, ...], rest: list[Waiting], other: Waiting, site: Site) -> None:
        """Paths of another structure go on by themselves; those that agree with one another join first."""
        if rest:
            for w in rest:
                self.learn_sizes(w.image, other.image, self.join_key(key))
                self.learn_lists(w.image, other.image)
                self.learn_texts(w.image, other.image, site)
                self.part_tuples(site, w.tuples, other.tuples)
            self.last_split = describe_split(rest[0], other, site)
            self.count_apart(len(rest))
            self.regroup(key, rest)

    def learn_texts(self, a: Image, b: Image, site: Site, grows: bool = False) -> None:
        """Two pictures differ: starts over if that is for texts alone, of which one is known only at run time, or many are met; grows:
        or one of which is the other with something added."""
        if len(a.signature) != len(b.signature):
            return
        places = [n for n, (x, y) in enumerate(zip(a.signature, b.signature)) if x != y]
        if not places or not all(n in a.texts and n in b.texts for n in places):
            return
        found = {(self.markers.functions[site.function], a.texts[n]) for n in places} - self.loose_texts
        parted = ("texts", *sorted(where for _, where in found))
        self.splits[parted] += 1
        pairs = [(a.signature[n], b.signature[n]) for n in places]
        run_time = any("N" in (x[0], y[0]) for x, y in pairs)
        longer = grows and all(x[0] == y[0] == "A" and (x[1][1].startswith(y[1][1]) or y[1][1].startswith(x[1][1])) for x, y in pairs)
        if found and (run_time or longer or self.splits[parted] > MANY_TEXTS):
            self.loose_texts |= found
            self.start_again()

    def count_apart(self, more: int) -> None:
        self.paths_apart += more
        if self.paths_apart > MAX_APART:
            self.learn_more()
            self.refuse("DY301", f"more than {MAX_APART} paths",
                        "paths whose Python state differs in structure cannot join and multiply: " + self.split_reason(),
                        "make the branches leave variables of the same types and shapes")

    def regroup(self, key: tuple[Any, ...], waiting: list[Waiting]) -> None:
        start = self.records[key[1]]
        while waiting:
            first = waiting[0]
            same = [w for w in waiting if w is first or self.fits(w.image, first.image, key)]
            waiting = [w for w in waiting if w not in same]
            for w in waiting:
                self.learn_sizes(w.image, first.image, self.join_key(key))
                self.learn_lists(w.image, first.image)
            if len(same) > 1:
                self.merge(same, key, start)
                self.tasks.append([*first.path, first.path[-1].exit.to.rec])
            else:
                first.path[-1].released.add(key)
                self.tasks.append(first.path)

    def merge_first(self) -> None:
        """With no task left, the suspended paths that stand earliest in the program go on."""
        key = min(self.waiting, key=lambda k: (k[0], k[1]))
        self.regroup(key, self.waiting.pop(key))

    def merge(self, group: list[Waiting], key: tuple[Any, ...], start: Rec) -> Rec:
        """A join record whose parameters are the leaves that differ."""
        above = group[0].path[-1]
        for w in group[1:]:
            above = common(above, w.path[-1])
        for w in group:
            self.check_changed(above, w.changed)
        join = self.new_rec(above)
        join.pending = key
        saved, self.rec = self.rec, join
        images = [w.image for w in group]
        new: list[Any] = []
        merged: dict[tuple[Any, ...], Any] = {}
        columns: list[tuple[Any, ...]] = []
        sizes: dict[Any, Any] = {}
        for leaves in zip(*(i.leaves for i in images)):
            values = tuple(leaf_key(leaf) for leaf in leaves)
            if all(v == values[0] for v in values) and self._everywhere(leaves[0], above):
                new.append(MISSING)
                continue
            if (truth := self._truth(leaves, group)) is not None:
                new.append(truth)
                continue
            column = (leaves[0].kind, *values)
            if column not in merged:
                merged[column] = self._param(leaves, sizes, [w.path[-1] for w in group])
                if all(isinstance(leaf.value, (bool, int, float, str)) or leaf.value in self.constant_joins for leaf in leaves):
                    self.constant_joins[join.params[-1]] = (self.join_key(key), leaves[0].where)
                    if leaves[0].kind == "str":
                        self.wordings[join.params[-1]] = frozenset().union(
                            *(self.wordings[v] if (v := leaf.value) in self.wordings else {v} for leaf in leaves))
                columns.append(leaves)
            new.append(merged[column])
        join.state = (images[0].signature, new)
        for n, w in enumerate(group):
            values = [self.in_layout(w.path[-1], leaves[n], fake, w.image) for leaves, fake in zip(columns, merged.values())]
            w.path[-1].exit = JumpExit(To(join, values))
        for val in list(join.params):
            if val.kind == "tensor":
                self.bind_sizes(val)
        self.rec = saved
        return join

    def _truth(self, leaves: tuple[Any, ...], group: list[Waiting]) -> bool | None:
        """What a bool is on each of the paths, as that path has decided, if it is the same on all."""
        if leaves[0].kind != "bool":
            return None
        saved, found = self.rec, set[bool | None]()
        for leaf, w in zip(leaves, group):
            self.rec = w.path[-1]
            found.add(self.fact(leaf.value))
        self.rec = saved
        return found.pop() if len(found) == 1 else None

    def _everywhere(self, leaf: Any, start: Rec) -> bool:
        """Whether an equal value is visible at the join as it stands."""
        value = leaf.value
        if isinstance(value, Val):
            return start.sees(value.rec)
        if isinstance(value, Expr):
            return all(self._everywhere(Column(a), start) for a in value.args)
        if isinstance(value, sympy.Basic):
            return all(any(s in rec.bindings for rec in start.chain()) for s in value.free_symbols)
        return True

    def _param(self, leaves: tuple[Any, ...], sizes: dict[Any, Any], ends: list[Rec]) -> Any:
        """A parameter of the join that is at hand; ends: the records at which the paths come in."""
        first = leaves[0]
        if first.kind == "tensor":
            fakes = [self.weights.fake(leaf.raw) for leaf in leaves]
            shape = [merge_size(self, [f.shape[d] for f in fakes], sizes, ends) for d in range(fakes[0].dim())]
            fake = self.made(shape, fakes[0], dense=len({layout(f) for f in fakes}) > 1)
            val = self.new_tensor(fake, "join", self._where(leaves))
            val.name = first.where
            self.rec.params.append(val)
            return fake
        val = self.new_scalar(first.kind, "join")
        val.name, val.span = first.where, self._where(leaves)
        self.rec.params.append(val)
        symbolic = self.symbolic(val)
        if first.kind == "int":
            self.shape_env.bound(symbolic.node.expr, *self.hull([leaf.value for leaf in leaves], ends))
        return symbolic

    def hull(self, values: list[Any], ends: list[Rec]) -> tuple[int | None, int | None]:
        """The least and the greatest that an integer may be on paths that join, each by what its path has decided."""
        saved, found = self.rec, list[tuple[int | None, int | None]]()
        for value, self.rec in zip(values, ends):
            found.append(self.shape_env.limits(value) if isinstance(value, sympy.Basic) else (value, value))
        self.rec = saved
        lows, highs = ([n for n in side if n is not None] for side in zip(*found))
        return min(lows) if len(lows) == len(found) else None, max(highs) if len(highs) == len(found) else None

    def _where(self, leaves: tuple[Any, ...]) -> Span:
        return next((leaf.value.span for leaf in leaves if isinstance(leaf.value, Val)), UNKNOWN)

    def may_copy(self, leaf: Any, image: Image) -> bool:
        """Whether a tensor may be copied where paths join: nothing writes to its memory in place, or nothing else shows it."""
        unwritten = not self.memory.of(self.weights.fake(leaf.raw)).written and getattr(leaf.value, "span", UNKNOWN) not in self.unfoldable
        return unwritten or self.is_sole(leaf, image)

    def is_sole(self, leaf: Any, image: Image) -> bool:
        """Whether a tensor's memory can be seen from here on in no other place."""
        memory = self.memory.of(self.weights.fake(leaf.raw))
        alike = [x for x in image.leaves if x.kind == "tensor" and self.memory.of(self.weights.fake(x.raw)) is memory]
        return not memory.outside and len(alike) == 1

    def in_layout(self, rec: Rec, leaf: Any, wanted: Any, image: Image, header: Rec | None = None) -> Any:
        """The leaf's value as an argument to a parameter like `wanted`: a contiguous copy at the end of `rec` where layouts differ."""
        if leaf.kind != "tensor":
            return leaf.value
        fake = self.weights.fake(leaf.raw)
        if layout(leaf.raw) == layout(wanted):
            self.memory.unite(fake, wanted, header)
            return leaf.value
        before, self.rec = self.rec, rec
        copy = self.new_tensor(self.made(list(fake.shape), fake, dense=True), "contiguous", getattr(leaf.value, "span", UNKNOWN))
        self.rec = before
        packed = {"memory_format": torch.contiguous_format}
        rec.ops.append(Op(torch.ops.aten.clone.default, (leaf.value,), packed, (copy,), True, copy.span, False))
        if not self.is_sole(leaf, image):
            self.memory.fold(fake, copy.span)
            self.memory.fold(wanted, copy.span)
        return copy

    def _write_back(self, state: Any, site: Site, act: Activation, extra: dict[str, Any], leaving: bool,
                    pending: dict[str, Any] | None = None) -> dict[str, Any] | None:
        signature, new = state
        roots = self.roots(site, act, extra, leaving, pending)
        own, found = substitute(roots, self.heap, self.loose_value, new)
        if skeleton(found) != skeleton(signature):
            raise Diverged(f"replay diverged at a join: {describe_difference(found, signature)}")
        changed = {n: v for n, v in own.items() if v is not roots.own[n]}
        act.starts[site.depth] = self.rec
        return changed or None


def common(a: Rec, b: Rec) -> Rec:
    """The nearest record that surely ran before both."""
    while a is not b:
        if a.depth >= b.depth:
            assert a.above is not None
            a = a.above
        else:
            assert b.above is not None
            b = b.above
    return a


def leaf_key(leaf: Any) -> Any:
    v = leaf.value
    return (type(v), repr(v)) if isinstance(v, float) else (type(v), v) if isinstance(v, (bool, int)) else v


def merge_size(engine: Joins, sizes: list[Any], known: dict[Any, Any], ends: list[Rec]) -> Any:
    """The size of a join's parameter from those of its paths, which end in `ends`; known: what others became, for sizes that are equal on
    each path."""
    if all(isinstance(s, int) for s in sizes) and len(set(sizes)) == 1:
        return sizes[0]
    exprs: list[Any] = [scalar_of(s) for s in sizes]
    if all(e == exprs[0] for e in exprs) and not isinstance(exprs[0], int) and all(
            any(sym in rec.bindings for rec in engine.rec.chain()) for sym in exprs[0].free_symbols):
        return sizes[0]
    if tuple(exprs) not in known:
        low, high = engine.hull(exprs, ends)
        known[tuple(exprs)] = engine.shape_env.new_symbol(max(low or 0, 0), high)
    return known[tuple(exprs)]


def compatible(a: Image, b: Image, loose: bool) -> bool:
    """Whether two paths can join: one structure, and nothing differs that could not be written back. loose: sizes may differ."""
    one = a.signature == b.signature or loose and skeleton(a.signature) == skeleton(b.signature)
    return one and all(not x.fixed or leaf_key(x) == leaf_key(y) for x, y in zip(a.leaves, b.leaves))


def layouts_fit(engine: Joins, a: Image, b: Image) -> bool:
    """Whether tensors that differ between two paths have one layout, or may be copied into one."""
    return all(x.kind != "tensor" or leaf_key(x) == leaf_key(y) or layout(x.raw) == layout(y.raw)
               or (engine.may_copy(x, a) and engine.may_copy(y, b)) for x, y in zip(a.leaves, b.leaves))


def describe_difference(a: tuple[Any, ...], b: tuple[Any, ...]) -> str:
    n = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return f"{a[max(0, n - 2):n + 1]} against {b[max(0, n - 2):n + 1]}"


def describe_split(a: Waiting, b: Waiting, site: Site) -> str:
    name = ""
    for x, y in zip(skeleton(a.image.signature), skeleton(b.image.signature)):
        if isinstance(x, str):
            name = x
        if x != y:
            break
    name = name.removeprefix("^")
    return f"after line {site.line}, {name or 'a value'!r} differs in structure between the paths from lines {a.line} and {b.line}"
