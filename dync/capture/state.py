"""State from call to call: the forms that the written attributes may have when a call begins, found to a fixpoint.

A *place* is an attribute, an entry of a container, a global, or a whole container that grows or shrinks. A *form* is one
structure of all places together: None, tensors of one dtype and rank, numbers, strings, and lists, dicts or records of them.
Sizes and numbers are taken for constants until a call leaves others: then they are widened, and the capture starts over.
An attribute that no call reads before it writes is *loose*: whatever it holds, no form depends on it.
"""

from __future__ import annotations

import collections
import dataclasses
import types
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import nn

from dync.capture.dict_rows import has_names
from dync.capture.engine import Engine
from dync.capture.heap import MISSING, Place, contents, entries, place_name, put, remove
from dync.capture.image import SYMBOLIC, class_name, layout
from dync.capture.inputs import identifier
from dync.capture.kept import Kept, container_kind, rows_of
from dync.capture.outputs import Unrepresentable, column_name, tree_of, users_fields
from dync.capture.places import all_codes, line_span
from dync.capture.scalars import scalar_of
from dync.capture.tape import CaseExit, Op, Rec, To, Val, Weight
from dync.capture.text import SymText
from dync.capture.weights import overlap
from dync.capture.writes import where_written
from dync.errors import Diagnostic
from dync.ir.flow import FORM, DimRange, Leaf, OpaqueTree, RowsTree, Slot, StateForm, Tree
from dync.ir.meta import value_type
from dync.ir.trees import build
from dync.ir.types import Lit, ObjectType, Ref, ScalarType, Span, Value, lit

MAX_FORMS = 32


@dataclasses.dataclass
class Group:
    """Sizes that are equal whenever a call begins, and at least `low`."""

    low: int


@dataclasses.dataclass
class Cell:
    """A tensor or number in a form. kind: "tensor", "int", "float" or "bool"; sizes: fixed, or the Group they vary with."""

    kind: str
    sizes: list[int | Group]
    like: tuple[Any, ...]
    """dtype and device of a tensor."""
    constant: Any = MISSING
    """A number that has been the same whenever a call began."""


class Form:
    """One structure of the state. `trees` has one entry a place, MISSING for what is absent; their leaves name the cells."""

    def __init__(self, trees: tuple[Any, ...], cells: dict[str, Cell], pools: tuple[tuple[str, RowsTree], ...]) -> None:
        self.trees, self.cells, self.pools = trees, cells, pools
        self.key = (trees, pools, tuple((name, c.kind, c.like, len(c.sizes)) for name, c in cells.items()))

    def groups(self) -> list[Group]:
        return list({id(s): s for c in self.cells.values() for s in c.sizes if isinstance(s, Group)}.values())


@dataclasses.dataclass
class Found:
    """What stands in the places: their trees, and the tensor or number of each leaf."""

    trees: tuple[Any, ...]
    values: dict[str, Any]
    rows: dict[str, str]
    """The tensors that are columns → what counts their rows."""
    pools: tuple[tuple[str, RowsTree], ...] = ()

    def form(self) -> Form:
        cells = {}
        counts: dict[str, Group] = {}
        for name, x in self.values.items():
            if isinstance(x, torch.Tensor):
                sizes: list[int | Group] = [s if isinstance(s, int) else Group(0) for s in x.shape]
                if name in self.rows:
                    sizes[0] = counts.setdefault(self.rows[name], Group(0))
                cells[name] = Cell("tensor", sizes, (x.dtype, str(x.device)))
            else:
                scalar = scalar_of(x)
                constant = scalar if isinstance(scalar, (bool, int, float)) else MISSING
                cells[name] = Cell(class_name(x), [], (), constant)
        return Form(self.trees, cells, self.pools)


@dataclasses.dataclass
class Entry:
    """A form in one attempt: its record, and what its cells are at the start of a call."""

    rec: Rec
    symbolic: dict[str, Any]
    operands: dict[str, Any]
    """Cell → Val, or the symbol of a number."""


class Forms:
    """All forms of one capture. They outlive its attempts, and start again when a new place is found to be written."""

    def __init__(self, engine: Engine, model: Any) -> None:
        self.engine, self.heap, self.model = engine, engine.heap, model
        self.places: list[Place] = []
        self.forms: list[Form] = []
        self.first: Found | None = None
        self.copied: list[tuple[Any, str]] = []
        self.shared: list[tuple[Any, torch.Tensor, str]] = []
        """What slots begin with that is held elsewhere too: the fake, the tensor, and the slot's name."""
        self.kept_values: list[tuple[Any, str]] = []
        """Dense tensors that calls leave in slots."""
        self.refused: dict[Place, Diagnostic] = {}
        self.loose: list[Place] = []
        self.read: set[Place] = set()
        self.known: Any = None
        self.kept = Kept(engine, self.heap, self.where())

    # ---- the start of an attempt --------------------------------------------------------------------------------------

    def start(self, entry: Rec, taken: set[str], symbols: dict[str, Any]) -> list[list[Rec]]:
        """Makes each form's record and values; the paths to begin with. `symbols` takes the sizes that vary, by name."""
        engine = self.engine
        engine.problems |= dict.fromkeys(self.refused.values())
        self.kept.claim()
        engine.written[:] = self.outermost(engine.written)
        for place, form in self.kept.forms().items():
            self.kept.check(place, form)
        if self.known != (engine.written, self.kept.shapes()):
            self.begin()
        self.taken, self.symbols, self.copied, self.shared, self.kept_values = taken, symbols, [], [], []
        self.slots: dict[tuple[Any, ...], Slot] = {}
        self.labels: dict[Val, str] = {}
        self.dims: dict[int, DimRange] = {}
        self.entries: list[Entry] = []
        self.fork: CaseExit | None = None
        self.entry = entry
        if len(self.forms) > 1:
            tag = engine.new_scalar("int")
            self.slots[FORM,] = Slot(FORM, Value(identifier("form_of_the_state", taken), ScalarType("int")), Leaf(lit(0)))
            self.label(tag, self.slots[FORM,])
            engine.symbolic(tag)
            self.fork = entry.exit = CaseExit(tag, [], None, "the state that the last call left", self.where())
        for form in self.forms:
            self.enter(form)
        for place in self.loose:
            name = place_name(self.heap, *place)
            value = Value(identifier(f"state_{name}", taken), ObjectType("object"))
            try:
                self.slots[place] = Slot(name, value, self.tree(contents(self.heap.objects[place[0]], place[1]), name, self.initial))
            except Unrepresentable as e:
                self.refuse_kept(place, e)
        return [[entry] if e.rec is entry else [entry, e.rec] for e in reversed(self.entries)]

    def where(self) -> Span:
        """The line of forward's `def`."""
        code = getattr(getattr(self.model, "forward", self.model), "__code__", None)
        return line_span(code.co_filename, code.co_firstlineno) if code else Span()

    def begin(self) -> None:
        """The first form: what stands in the places before any call."""
        engine = self.engine
        own: set[int] = set()
        while True:
            self.loose = [p for p in engine.written if self.is_loose(*p)]
            places = [p for p in engine.written if p not in self.loose and p[0] < self.heap.own]
            first = self.find(places, own)
            held = {self.heap.index[i] for i in own}
            kept = [p for p in engine.written if p[0] not in held]
            if engine.written == kept:
                break
            engine.written[:] = kept
        self.known, self.places, self.first, self.forms = (list(engine.written), self.kept.shapes()), places, first, [first.form()]

    def outermost(self, places: list[Place]) -> list[Place]:
        """Those that are in no container, or object, of another place."""
        index, found = self.heap.index, list(places)
        for place in places:
            if place in found:  # of two that hold one another the first is
                inside = {index.get(id(c), -1) for c in containers(contents(self.heap.objects[place[0]], place[1]))}
                found = [p for p in found if p == place or p[0] not in inside]
        return found

    def is_loose(self, n: int, key: Any) -> bool:
        """Whether reading the attribute can be seen, and has not been seen yet."""
        x = self.heap.objects[n]
        unread = (n, key) not in self.read and isinstance(x, nn.Module) and key[0] == "a" and not hasattr(type(x), key[1])
        return unread and not self.peeks

    @cached_property
    def peeks(self) -> bool:
        """Whether the model's code may read attributes without asking for them."""
        modules = {type(x) for x in self.heap.objects if isinstance(x, nn.Module)}
        classes = {cls for kind in modules for cls in kind.__mro__ if not cls.__module__.startswith("torch")}
        own = [f.__code__ for cls in classes for f in vars(cls).values() if isinstance(f, types.FunctionType)]
        return any(name in code.co_names for function in own for code in all_codes(function) for name in ("__dict__", "vars"))

    def missing(self, module: nn.Module, name: str) -> None:
        """Called when code asks for an attribute that a module lacks: a loose one is read after all."""
        place = (self.heap.index.get(id(module), -1), ("a", name))
        if place in self.loose and not self.engine.finished:
            self.read.add(place)
            self.known = None
            self.engine.start_again()

    def initial(self, x: Any, where: str) -> Any:
        return Ref(self.first_tensor(x, where)) if isinstance(x, torch.Tensor) else None

    def first_tensor(self, x: torch.Tensor, where: str) -> str:
        """The weight with which a slot begins."""
        value = self.engine.value(x)
        if not isinstance(value, Weight):
            self.engine.refuse("DY405", f"`{where}`, written by forward, holds a tensor that is held elsewhere too",
                               "a write through one of them would have to show in the other", "give each its own, or hold it in one place")
        return value.name

    def tree(self, x: Any, where: str, leaf: Any) -> Tree:
        return OpaqueTree("absent", "") if x is MISSING else tree_of(x, leaf, where)

    def enter(self, form: Form) -> None:
        engine, n = self.engine, len(self.entries)
        rec = self.entry
        if self.fork is not None:
            rec = engine.new_rec(self.entry)
            self.fork.cases.append((n, To(rec)))
        before, engine.rec, engine.span_after = engine.rec, rec, self.where()
        made = {id(g): engine.shape_env.new_symbol(g.low) for g in form.groups()}
        entry = Entry(rec, {}, {})
        for name, cell in form.cells.items():
            if cell.constant is not MISSING:
                entry.symbolic[name] = entry.operands[name] = cell.constant
            elif cell.kind == "tensor":
                shape = [made[id(s)] if isinstance(s, Group) else s for s in cell.sizes]
                with engine.fake_mode:
                    fake = torch.empty(shape, dtype=cell.like[0], device=cell.like[1])
                entry.symbolic[name], entry.operands[name] = fake, engine.new_tensor(fake, "state")
                if n == 0 and self.first is not None and self.is_shared(self.first.values[name]):
                    self.shared.append((fake, self.first.values[name], name))
            else:
                val = engine.new_scalar(cell.kind)
                entry.symbolic[name] = engine.symbolic(val)
                entry.operands[name] = val
        self.name_sizes(form, made)
        for name, cell in form.cells.items():
            if cell.constant is MISSING:
                slot = self.slot(name, cell, n, entry.symbolic[name])
                self.label(entry.operands[name], slot)
                if cell.kind == "tensor":
                    engine.bind_sizes(entry.operands[name])
                else:
                    entry.operands[name] = scalar_of(entry.symbolic[name])
        engine.rec, engine.span_after = before, None
        self.entries.append(entry)

    def is_shared(self, x: torch.Tensor) -> bool:
        """Whether another place, or another tensor of the model, shows a tensor's memory."""
        return self.heap.holders(x) > 1 or not self.engine.weights.is_alone(x)

    def name_sizes(self, form: Form, made: dict[int, Any]) -> None:
        for name, cell in form.cells.items():
            for d, size in enumerate(cell.sizes):
                if isinstance(size, Group) and id(size) not in self.dims:
                    text = identifier(f"size_{name}_{d}", self.taken)
                    self.symbols[text] = made[id(size)]
                    self.dims[id(size)] = DimRange(text, size.low, None)

    def label(self, val: Val, slot: Slot) -> None:
        val.name = slot.value.name
        self.entry.params.append(val)
        self.labels[val] = val.name

    def slot(self, name: str, cell: Cell, n: int, symbolic: Any) -> Slot:
        """The slot of a cell: forms share those of one type, unless a size varies."""
        varies = any(isinstance(s, Group) for s in cell.sizes)
        key = (name, cell.kind, cell.like, *((n,) if varies else cell.sizes))
        if key not in self.slots:
            type = value_type(symbolic, {s.node.expr: t for t, s in self.symbols.items()})
            used = {s.name for s in self.slots.values()}
            text = name if name not in used else f"{name} in state {n}"
            initial: Any = lit(None)
            if n == 0:
                assert self.first is not None
                x = self.first.values[name]
                initial = Ref(self.first_tensor(x, name)) if cell.kind == "tensor" else lit(x)
            self.slots[key] = Slot(text, Value(identifier(f"state_{name}", self.taken), type), Leaf(initial))
        return self.slots[key]

    # ---- one run ------------------------------------------------------------------------------------------------------------

    def number(self) -> int:
        """The form that the engine's path begins with."""
        path = self.engine.path
        return 0 if self.fork is None else next(n for n, e in enumerate(self.entries) if e.rec is path[1])

    def put(self) -> None:
        """Writes the form that this run begins with into the heap."""
        n = self.number()
        self.kept.begun, self.kept.given = {}, []
        for name, tree in self.forms[n].pools:
            self.kept.open(name, [self.entries[n].symbolic[name] for name in column_names(tree)])
        if self.fork is not None:
            self.engine.advance()
        for at, key in self.loose:
            remove(self.heap.objects[at], key)
        for (at, key), tree in zip(self.places, self.forms[n].trees, strict=True):
            if tree is MISSING:
                remove(self.heap.objects[at], key)
            else:
                self.put_in((at, key), tree, self.entries[n].symbolic)

    def put_in(self, place: Place, tree: Tree, symbolic: dict[str, Any]) -> None:
        form = self.kept.form(place)
        rows = isinstance(tree, RowsTree)
        if form is not None and (rows or not form.columns and not getattr(tree, "items", ("",))):
            columns = [symbolic[name] for name in column_names(tree)] if isinstance(tree, RowsTree) else []
            put(self.heap.objects[place[0]], place[1], self.kept.rows(place, form, columns))
            return
        made = build(tree, symbolic.__getitem__)
        put(self.heap.objects[place[0]], place[1], made)
        self.kept.birth(place, made)

    def find(self, places: list[Place], own: set[int] | None = None) -> Found:
        """What stands in the places now. own: takes the ids of containers of the static heap that belong to one place."""
        values: dict[str, Any] = {}
        counts: dict[str, str] = {}
        names: dict[int, str] = {}
        containers: list[Any] = []
        seen: dict[int, Any] = {}
        trees: list[Any] = []
        for n, key in places:
            x = contents(self.heap.objects[n], key)
            if x is MISSING:
                trees.append(MISSING)
                continue

            def of(x: Any, path: str) -> Any:
                if isinstance(x, SymText):
                    raise Unrepresentable(x, path)
                if x is None or isinstance(x, str):
                    return None
                if isinstance(x, torch.Tensor):
                    path = names.setdefault(id(x), path)
                values[path] = x
                return Ref(path)

            name, form = place_name(self.heap, n, key), self.kept.form((n, key))
            if own is not None and form is not None and (form.columns or x) and container_kind(x) == form.kind:
                self.check_owner(x, (n, key), seen, own)
                rows = self.kept.rows((n, key), form, self.kept.first((n, key), form, x))
            else:
                rows = self.kept.left((n, key), x) if own is None else None
            if rows is not None and any(rows is c for c in containers):
                self.refuse_shared((n, key), rows_of(rows).form.kind)
            if rows is not None:
                containers.append(rows)
                trees.append(tree_of(rows, column_name, name, numbers=True))
                continue
            trees.append(self.carried((n, key), x, of, seen, own))
            if has_rows(trees[-1]):
                reason = self.kept.reason((n, key))
                self.refuse([(n, key)], "DY402", f"`{name}` is written by forward and holds a list, set or dict of unknown length",
                            "it cannot be carried from call to call" + (f": {reason}" if reason else ""),
                            "make it anew in each call, or keep a tensor that grows by torch.cat")
        self.seen = seen
        pools = self.kept.pools([rows_of(x) for x in containers], own is not None)
        found = [*zip((t for t in trees if isinstance(t, RowsTree)), map(rows_of, containers), strict=True)]
        found += [(tree, self.kept.pool(name)) for name, tree in pools]
        for tree, rows in found:
            values |= dict(zip(column_names(tree), rows.columns, strict=True))
            counts |= counted(tree)
        return Found(tuple(trees), values, counts, pools)

    def carried(self, place: Place, x: Any, leaf: Any, seen: dict[int, Any], own: set[int] | None) -> Tree:
        """What stands in a place as a tree."""
        where = place_name(self.heap, *place)
        try:
            for container in containers(x):
                self.check_owner(container, place, seen, own)
            return tree_of(x, leaf, where)
        except Unrepresentable as e:
            self.refuse_kept(place, e)

    def refuse_kept(self, place: Place, held: Unrepresentable) -> NoReturn:
        self.refuse([place], "DY402", f"`{place_name(self.heap, *place)}` is written by forward and holds {held}",
                    "it cannot be carried from call to call",
                    "keep tensors, numbers, strings, and lists, tuples, dicts, dataclasses or plain objects of them there; where "
                    "the model sets itself up at its first call (hooks, lazy layers), call it once before")

    def check_owner(self, container: Any, place: Place, seen: dict[int, Any], own: set[int] | None) -> None:
        n = self.heap.index.get(id(container), -1)
        static, written = 0 <= n < self.heap.own, n >= self.heap.own and any(at == n for at, _ in self.engine.written)
        if id(container) in seen or written or static and (own is None or self.heap.holders(container) > 1):
            if users_fields(container) is not None or has_names(container):  # as rows of a pool it may be held in several lists
                self.kept.become(place, contents(self.heap.objects[place[0]], place[1]))
            self.refuse_shared(place, type(container).__name__)
        seen[id(container)] = container  # kept: another may not take the place of a copy that is gone
        if static and own is not None:
            own.add(id(container))

    def refuse_shared(self, place: Place, kind: str) -> NoReturn:
        self.refuse([place], "DY405", f"`{place_name(self.heap, *place)}`, written by forward, holds a {kind} that is held elsewhere too",
                    "a write through one of them would have to show in the other", "keep it in one place, or copy it")

    def writes(self, leaf: Any) -> tuple[tuple[str, Tree], ...]:
        """What a call that ends here leaves in the slots. leaf: the operand of a tensor or number."""
        engine = self.engine
        engine.note_writes()
        found = self.find(self.places)
        form = found.form()
        n = next((n for n, f in enumerate(self.forms) if f.key == form.key), None)
        if n is None:
            n = self.add(form, found)
        self.widen(self.forms[n], found)
        begun = self.entries[self.number()]
        old = {s.name: begun.operands[c] for c, s in self.own_slots(self.number())}
        new: dict[str, Any] = {}
        for name, slot in self.own_slots(n):
            new[slot.name] = self.operand(found.values[name], name)
        if n != self.number():
            new[FORM] = lit(n)
            new |= {name: lit(None) for name in old if name not in new}
        kept: list[tuple[str, Tree]] = [
            (name, Leaf(x)) for name, x in new.items() if name not in old or old[name] is not x and old[name] != x]
        for place in self.loose:
            x = contents(self.heap.objects[place[0]], place[1])
            if x is not MISSING:
                kept.append((place_name(self.heap, *place), self.carried(place, x, leaf, self.seen, None)))
        return tuple(kept)

    def own_slots(self, n: int) -> Iterator[tuple[str, Slot]]:
        form = self.forms[n]
        for name, cell in form.cells.items():
            if cell.constant is MISSING:
                yield name, self.slot(name, cell, n, self.entries[n].symbolic[name])

    def operand(self, x: Any, name: str) -> Any:
        if not isinstance(x, torch.Tensor):
            scalar = scalar_of(x)
            if isinstance(scalar, (bool, int, float)):
                return lit(scalar)
            self.engine.check_visible(scalar)
            return scalar
        value = self.engine.value(x)
        fake = self.engine.weights.fake(x)
        if layout(fake) == "dense":
            self.kept_values.append((fake, name))
            return value
        engine, span = self.engine, self.engine.rec.ops[-1].span if self.engine.rec.ops else Span()
        copy = engine.new_tensor(engine.made(list(fake.shape), fake, dense=True), "contiguous", span)
        dense = {"memory_format": torch.contiguous_format}
        engine.rec.ops.append(Op(torch.ops.aten.clone.default, (value,), dense, (copy,), True, span, False))
        self.copied.append((fake, name))
        return copy

    def refuse(self, places: list[Place], code: str, found: str, why: str, remedy: str) -> NoReturn:
        """Places that cannot be carried: a problem, and the capture starts over without them, to find the others."""
        for place in places:
            self.refused[place] = Diagnostic(code, where_written(self.heap, *places[0]), found, why, remedy)
            self.engine.written.remove(place)
            self.engine.given.add(place)
        self.engine.start_again()

    # ---- other structures and sizes ---------------------------------------------------------------------------------------

    def add(self, form: Form, found: Found) -> int:
        """A structure that no call has begun with so far."""
        n = len(self.forms)
        for place, *trees in zip(self.places, *(f.trees for f in (*self.forms, form))):
            self.kept.learn(place, trees)
        if n == MAX_FORMS:
            many = [p for p, *t in zip(self.places, *(f.trees for f in self.forms)) if len(set(t)) > 2] or self.places
            names = " and ".join(f"`{place_name(self.heap, *p)}`" for p in many)
            reasons = "; ".join(dict.fromkeys(filter(None, map(self.kept.reason, many))))
            self.refuse(many, "DY401", f"{names}, written by forward, may have more than {MAX_FORMS} structures",
                        "each is a state that a call can begin with, and needs code of its own" + (f": {reasons}" if reasons else ""),
                        "keep things of one form in a list, set or dict, a bounded number of them, or one tensor that grows by torch.cat")
        equal: dict[Any, Group] = {}
        for name, cell in form.cells.items():
            for d, size in enumerate(cell.sizes):
                here = found.values[name].shape[d] if isinstance(size, Group) else 0
                if not isinstance(here, int):
                    expr = here.node.expr
                    cell.sizes[d] = equal.setdefault(expr, Group(self.least(expr, 1)))
        self.forms.append(form)
        if self.fork is None:
            self.engine.start_again()
        self.enter(form)
        self.engine.tasks.append([self.entry, self.entries[n].rec])
        return n

    def widen(self, form: Form, found: Found) -> None:
        """Starts over when the form was taken to be narrower than what this call leaves."""
        grown = False
        fresh: dict[tuple[Any, Any], Group] = {}
        classes: dict[int, list[tuple[Any, Group]]] = {}
        for name, cell in form.cells.items():
            x = found.values[name]
            if cell.kind != "tensor":
                if cell.constant is not MISSING and not same_constant(scalar_of(x), cell.constant):
                    cell.constant, grown = MISSING, True
                continue
            for d, (old, size) in enumerate(zip(list(cell.sizes), x.shape, strict=True)):
                new = size if isinstance(size, int) else size.node.expr
                if not isinstance(old, Group):
                    if new != old:
                        cell.sizes[d] = fresh.setdefault((old, new), Group(self.least(new, old)))
                        grown = True
                    continue
                known = classes.setdefault(id(old), [(new, old)])
                group = next((g for e, g in known if e == new), None)
                if group is None:  # not equal to the others of its group after all
                    group = Group(old.low)
                    known.append((new, group))
                if group is not old:
                    cell.sizes[d], grown = group, True
                low = self.least(new, old.low)
                if low < old.low:
                    old.low, grown = low, True
        if grown:
            self.engine.start_again()

    def least(self, size: Any, old: int) -> int:
        """A lower bound of a size that is at most `old`."""
        for low in (old, 1):
            if low <= old and self.engine.shape_env.known(size >= low) in (True, 1):
                return low
        return 0

    # ---- the end of a capture ------------------------------------------------------------------------------------------------

    def check_writes(self) -> None:
        """Refuses where a slot would not show a write to memory that its value lies in."""
        problems = self.engine.problems
        problems |= dict.fromkeys(Diagnostic(
            "DY406", self.where_kept(name), f"`{name}` is left with a transposed or strided view of memory that is written in place",
            "it is kept as a copy, which would not show the write", "call .contiguous() on what is kept",
        ) for fake, name in self.copied if self.engine.memory.of(fake).written)
        problems |= dict.fromkeys(Diagnostic(
            "DY405", self.where_kept(name),
            f"`{name}`, written by forward, holds a tensor whose memory is held elsewhere too, and is written in place",
            "a write through one of them would have to show in the other", "keep a copy (`x.clone()`), or write numbers only",
        ) for name in self.written_apart())

    def where_kept(self, name: str) -> Span:
        """Where forward writes the place of a slot."""
        return next(where_written(self.heap, *p) for p in self.places if name.startswith(place_name(self.heap, *p)))

    def written_apart(self) -> list[str]:
        """Slots whose value is kept by itself, though it is in memory that another tensor of the model shows, and that is written."""
        memory, weights = self.engine.memory, self.engine.weights
        written = {n: f for n, f in weights.fakes.items() if memory.of(f).written}
        names = [name for fake, x, name in self.shared
                 if memory.of(fake).written or any(overlap(x, weights.tensors[n]) for n in written)]
        apart = {memory.of(f) for n, f in weights.fakes.items() if weights.is_apart(n)}
        forms = [(name, fake) for e in self.entries for name, fake in e.symbolic.items() if isinstance(fake, torch.Tensor)]
        own = {name for name, fake in forms if memory.of(fake).written}
        return names + [name for fake, name in self.kept_values if name in own and memory.of(fake) in apart]

    def result(self) -> tuple[tuple[Slot, ...], tuple[StateForm, ...]]:
        """The slots and forms of the program."""
        slots = tuple(self.slots.values())
        made = []
        for n, form in enumerate(self.forms if slots else ()):
            names = {name: slot.name for name, slot in self.own_slots(n)}
            leaf = {name: Leaf(Ref(names[name]) if name in names else lit(form.cells[name].constant)) for name in form.cells}
            held = [(place_name(self.heap, *p), renamed(t, leaf)) for p, t in zip(self.places, form.trees) if t is not MISSING]
            held += [(name := place_name(self.heap, *p), Leaf(Ref(name))) for p in self.loose]
            pools = tuple((name, renamed(t, leaf)) for name, t in form.pools)
            made.append(StateForm(tuple(held), tuple(self.dims[id(g)] for g in form.groups()), pools))  # type: ignore[arg-type]
        if len(made) == 1 and not made[0].dims and all(isinstance(t, Leaf) and t.operand == Ref(name) for name, t in made[0].attributes):
            made = []
        return slots, tuple(made)


def column_names(tree: RowsTree) -> list[str]:
    return [leaf.operand.name for leaf in tree.items if isinstance(leaf.operand, Ref)]


def counted(tree: RowsTree) -> dict[str, str]:
    """The columns of rows by name, and what counts each one's."""
    names = column_names(tree)
    found, n = dict.fromkeys(names, names[-1]), 0
    for column in tree.columns:
        if column.startswith(("ragged", "lists", "tuples", "deques")):  # all items one after another, before the numbers of them
            found[names[n]] = names[n]
            n += 1
        n += 1
    return found


def has_rows(tree: Any) -> bool:
    return isinstance(tree, RowsTree) or any(map(has_rows, getattr(tree, "items", ())))


def renamed(tree: Tree, leaf: dict[str, Leaf]) -> Tree:
    """The tree with its cells' leaves replaced."""
    import msgspec

    if isinstance(tree, Leaf):
        return tree if isinstance(tree.operand, Lit) else leaf[tree.operand.name]
    items: Any = getattr(tree, "items", None)
    return tree if items is None else msgspec.structs.replace(tree, items=tuple(renamed(t, leaf) for t in items))


def same_constant(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (a == b and repr(a) == repr(b) or a != a and b != b)


def containers(x: Any, inside: tuple[Any, ...] = ()) -> Iterator[Any]:
    """The mutable containers, records and plain objects in a value, itself included."""
    if isinstance(x, (nn.Module, torch.Tensor, *SYMBOLIC)) or any(x is one for one in inside):
        return
    record = dataclasses.is_dataclass(x) and not isinstance(x, type) or users_fields(x) is not None
    if isinstance(x, (list, dict, collections.deque, set)) or record:
        yield x
    if isinstance(x, (list, tuple, dict)) or record:
        for _, v in entries(x):
            yield from containers(v, (*inside, x))
