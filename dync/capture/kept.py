"""Lists, sets and dicts that live from call to call and have no bound: rows, like those that are born in forward.

Their place of birth is the place of the state that holds them. A call begins with columns that are slots, one tensor each, and leaves
others, so that any length is one form of the state. See lists.py, keyed.py and state.py.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Generator, Iterable
from typing import Any

import networkx as nx
import torch

from dync.capture import lists
from dync.capture.dicts import KeyedDict
from dync.capture.forms import ABSENT, Column, Form, NotUniform, cells_of, common, form_of, has_texts, one_ragged
from dync.capture.heap import WHOLE, Place, StaticHeap, contents
from dync.capture.image import pool_of
from dync.capture.keyed import KINDS as KEYED
from dync.capture.keyed import Keyed, check_form
from dync.capture.lists import Grown
from dync.capture.outputs import pool_tree, users_fields
from dync.capture.pools import rows_form
from dync.ir.flow import RowsTree
from dync.ir.types import Span

MAX_LENGTHS, MAX_OF_OBJECTS = 4, 2
"""So many forms of the state may differ in the length of one container, or of one that holds objects: then it has no bound."""

OF_NUMBERS = "it holds texts that are made as the model runs, and outlives the call"


def container_kind(x: Any) -> str:
    """"list", "deque:5", "dict", ...; "" for what can never be rows."""
    return "" if type(x) is tuple else lists.kind_of(x) or KEYED.get(type(x), "")


class Kept:
    """Which places of the state hold rows, and what these are when a call begins and ends."""

    def __init__(self, engine: Any, heap: StaticHeap, where: Span) -> None:
        self.engine, self.heap, self.where = engine, heap, where
        self.defaults: dict[str, Any] = {}
        self.found: dict[Any, list[torch.Tensor]] = {}
        self.found_pools: dict[str, Grown] = {}
        self.begun: dict[str, list[Any]] = {}
        self.given: list[list[Any]] = []

    def form(self, place: Place) -> Form | None:
        """The form of the rows in a place; None where Python's own stand."""
        return self.engine.grown.get(self.heap.birth(place)) if place[1] != WHOLE else None

    def forms(self) -> dict[Place, Form]:
        return {p: form for key, p in self.heap.births.items() if (form := self.engine.grown.get(key))}

    def claim(self) -> None:
        """Rows stand where the static heap holds the container: that place is written, and none in it."""
        written = self.engine.written
        for place in self.forms():
            held = self.heap.index.get(id(self.heap.held_at(place)), -1)
            kept = [p for p in written if p[0] != held]
            written[:] = kept if place in kept else [*kept, place]

    def check(self, place: Place, form: Form) -> Form:
        """The form with sizes that are numbers, or differ by item. Starts over where there is no such form."""
        def size(s: Any) -> Any:
            return s if isinstance(s, int) else None

        key = self.heap.birth(place)
        try:
            columns = [one_ragged(Column(c.kind, c.dtype, c.device, tuple(map(size, c.shape)), c.choices)) for c in form.columns]
            made = Form(form.kind, form.structure, tuple(columns))
            if has_texts(made.structure):
                raise NotUniform(OF_NUMBERS)
            made = check_form(made) if made.kind in KEYED.values() and made.columns else made
        except NotUniform as error:
            return self.engine.give_up(key, str(error))
        self.engine.grown[key] = made
        return made

    def reason(self, place: Place) -> str:
        """Why Python's own stands in a place; "" where nothing is known of that."""
        holder = self.heap.holder(self.heap.objects[place[0]]) if place[1] == WHOLE else place
        return self.engine.ungrown.get(self.heap.birth(holder), "") if holder is not None else ""

    # ---- before any call -------------------------------------------------------------------------------------------

    def first(self, place: Place, form: Form, x: Any) -> list[torch.Tensor]:
        """The columns of what the model was made with."""
        key, items = self.heap.birth(place), tuple(x.items() if isinstance(x, dict) else x)
        try:
            held = form_of(self.engine, form.kind, items) if items else form
            wanted = common(form, held) if items and form.columns else held
        except NotUniform as error:
            return self.engine.give_up(key, str(error))
        if wanted != form:
            self.engine.widen(key, wanted)
        if (key, form) not in self.found:
            self.found[key, form] = columns_of(form, items)
        return self.found[key, form]

    # ---- the start of a run ----------------------------------------------------------------------------------------

    def birth(self, place: Place, x: Any) -> None:
        """Tells where Python's own in a place was born: what is learnt of it is learnt of the place."""
        x = self.heap.objects[place[0]] if place[1] == WHOLE else x
        holder = self.heap.holder(x) if place[1] == WHOLE else place
        if holder is not None and container_kind(x):
            self.engine.born[id(x)] = (self.heap.birth(holder), x)

    def rows(self, place: Place, form: Form, columns: list[Any]) -> Any:
        """The container that a call begins with."""
        key = self.heap.birth(place)
        self.given.append(list(columns))
        if form.kind not in KEYED.values():
            return Grown(self.engine, key, form, columns)
        self.defaults.setdefault(key, getattr(self.heap.held_at(place), "default_factory", None))
        rows = Grown(self.engine, key, form, columns) if form.columns else None
        return self.engine.keyed_of(key, form.kind, rows, self.defaults.get(key))

    # ---- its end ---------------------------------------------------------------------------------------------------

    def left(self, place: Place, x: Any) -> Any:
        """The rows that a call leaves in a place, a Grown or Keyed; None for what is neither. Starts over where that is new."""
        form, rows = self.form(place), rows_of(x)
        if not isinstance(rows, Grown):
            held: Any = x.values() if isinstance(x, dict) else x
            if form is None and container_kind(x) and any(pool_of(v) or isinstance(v, (Grown, Keyed)) for v in held):
                with self.after():
                    self.become(place, x)  # what is rows can live on in rows alone
            if form is None or not form.columns or container_kind(x) != form.kind:
                return None
            with self.after():
                return self.taken(self.heap.birth(place), form, x)
        key, kind = self.heap.birth(place), x.kind if isinstance(x, Keyed) else rows.form.kind
        if isinstance(x, KeyedDict) and x.default is not None:
            self.defaults[key] = x.default
        if form is None and key not in self.engine.ungrown:
            self.engine.grown[key] = Form(kind, rows.form.structure, rows.form.columns)
            self.engine.needed.add(key)
            self.check(place, self.engine.grown[key])
            self.engine.start_again()
        if form is None or form.kind != kind or form.columns and (form.structure, form.columns) == (rows.form.structure, rows.form.columns):
            return x if form is not None and form.kind == kind and form.columns else None
        with self.after():
            return self.taken(key, form, rows)

    @contextlib.contextmanager
    def after(self) -> Generator[None]:
        """What is done here is part of the program, and stands at the line of forward's `def`."""
        self.engine.span_after = self.where
        try:
            with self.engine.modes_on():
                yield
        finally:
            self.engine.span_after = None

    def taken(self, key: str, form: Form, items: Any) -> Any:
        """Items as rows of this form."""
        if form.kind not in KEYED.values():
            return self.engine.grow(key, form, items)
        made = self.engine.keyed_at(key, form.kind, self.defaults.get(key))
        if isinstance(items, Grown):
            made.rows.extend(items)
        else:
            made.merge(items) if isinstance(made, KeyedDict) else made.update(items)
        return made

    # ---- objects and lists that they hold --------------------------------------------------------------------------

    def open(self, name: str, columns: list[Any]) -> None:
        """A pool that a call begins with."""
        self.begun[name] = list(columns)
        self.engine.pools[name] = Grown(self.engine, name, self.pool_form(name), columns)

    def pool_form(self, name: str) -> Form:
        form = self.engine.grown[name]
        return form if name in self.engine.pooled else rows_form(form)

    def pool(self, name: str) -> Grown:
        return self.found_pools[name]

    def pointers(self, name: str) -> list[tuple[int, str]]:
        """Which tensors of a pool hold numbers of rows, and of which pool."""
        form = self.engine.grown[name]
        return self.with_columns(pointers(form, 1 if name in self.engine.pooled else 2))

    def with_columns(self, places: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """Those of pools that hold something."""
        return [(n, pool) for n, pool in places if (form := self.engine.grown.get(pool)) and form.columns]

    def pools(self, containers: list[Grown], first: bool) -> tuple[tuple[str, RowsTree], ...]:
        """The pools that containers hold rows of, and those that these hold; what no one holds any more is taken out."""
        graph = self.reached([x.form for x in containers])
        for n in graph:
            if has_texts(self.engine.grown[n].structure):
                self.engine.give_up(n, OF_NUMBERS)
        if first:
            self.found_pools = {n: Grown(self.engine, n, (f := self.pool_form(n)), columns_of(f, ())) for n in graph}
        else:
            self.found_pools = {n: self.engine.pools[n] for n in graph}
            if nx.is_directed_acyclic_graph(graph) and self.changed(containers):
                with self.after():
                    self.compact(containers, list(nx.topological_sort(graph)))
        return tuple((n, pool_tree(self.found_pools[n], n)) for n in sorted(graph))

    def reached(self, forms: Iterable[Form]) -> Any:
        """The graph of pools that rows of these forms lead to."""
        graph = nx.DiGraph()
        queue = [pool for form in forms for _, pool in self.with_columns(pointers(form))]
        while queue:
            name = queue.pop()
            if name not in graph or not graph.nodes[name].get("seen"):
                graph.add_node(name, seen=True)
                graph.add_edges_from((name, inner) for _, inner in self.pointers(name))
                queue += [inner for _, inner in self.pointers(name)]
        return graph

    def shapes(self) -> Any:
        """All that the first form of the state depends on."""
        forms = self.forms()
        return forms, {name: self.engine.grown[name] for name in self.reached(forms.values())}

    def changed(self, containers: list[Grown]) -> bool:
        given = {id(t) for columns in (*self.begun.values(), *self.given) for t in columns}
        held = [*containers, *self.found_pools.values()]
        return any(id(t) not in given for x in held for t in x.columns)

    def compact(self, containers: list[Grown], order: list[str]) -> None:
        """Takes rows out that nothing holds: a call would never be given them again. order: of pools, those that hold before the held."""
        do, held = self.engine.do, collections.defaultdict[str, list[tuple[list[Any], int]]](list)

        def note(columns: list[Any], places: list[tuple[int, str]]) -> None:
            for n, pool in places:
                held[pool].append((columns, n))

        for x in containers:
            note(x.columns, self.with_columns(pointers(x.form)))
        for name in order:
            rows = self.found_pools[name]
            numbers = [do(torch.add, columns[n], 1) for columns, n in held[name]]  # None is 0
            every = do(torch.cat, numbers) if len(numbers) > 1 else numbers[0]
            marks = do(torch.scatter, do(torch.zeros, rows.length + 1, dtype=torch.int64), 0, every, 1)
            marks = do(torch.narrow, marks, 0, 1, rows.length)
            alive = do(torch.squeeze, do(torch.nonzero, marks), 1)
            fresh = do(torch.cat, [do(torch.full, (1,), -1, dtype=torch.int64), do(torch.sub, do(torch.cumsum, marks, 0), 1)])
            for (columns, n), number in zip(held[name], numbers):
                columns[n] = do(torch.index_select, fresh, 0, number)
            kept = [t for _, tensors in self.engine.gathered(name, alive) for t in tensors]
            self.found_pools[name] = Grown(self.engine, name, rows.form, kept)
            note(kept, self.pointers(name))

    # ---- learning --------------------------------------------------------------------------------------------------

    def learn(self, place: Place, trees: list[Any]) -> None:
        """Starts over where the forms of the state differ in the length, or the keys, of what stands in a place, time and again."""
        x = contents(self.heap.objects[place[0]], place[1])
        lengths = {(type(t), getattr(t, "keys", len(t.items))) for t in trees if hasattr(t, "items")}
        if container_kind(x) and len(lengths) > (MAX_OF_OBJECTS if any(users_fields(v) is not None for v in x) else MAX_LENGTHS):
            self.become(place, x)

    def become(self, place: Place, x: Any) -> None:
        """Starts over with rows in a place, if what stands there can be such."""
        x = self.heap.objects[place[0]] if place[1] == WHOLE else x
        holder = self.heap.holder(x) if place[1] == WHOLE else place
        if holder is None or not container_kind(x) or not x:
            return
        key, engine = self.heap.birth(holder), self.engine
        if key not in engine.grown and engine.learn(key, container_kind(x), tuple(x.items() if isinstance(x, dict) else x)):
            self.check(holder, engine.grown[key])
            engine.start_again()


def rows_of(x: Any) -> Any:
    """The rows of a dict or set; a list itself."""
    return x.rows if isinstance(x, Keyed) else x


def pointers(form: Form, tensors: int = 1) -> list[tuple[int, str]]:
    """Which tensors hold numbers of rows, and of which pool. tensors: of a column that is not ragged."""
    found, n = list[tuple[int, str]](), 0
    for column in form.columns:
        if column.pool:
            found.append((n, column.pool))
        n += tensors if column.ragged is None else 2
    return found


def columns_of(form: Form, items: tuple[Any, ...]) -> list[torch.Tensor]:
    """Items as real tensors, one or two a column."""
    found: list[torch.Tensor] = []
    cells = [cells_of(form, item) for item in items]
    for n, column in enumerate(form.columns):
        sizes: Any = [s or 0 for s in column.shape]
        zero: Any = 0 if column.kind != "tensor" else torch.zeros(sizes, dtype=column.dtype, device=column.device)
        own = [zero if c[n] is ABSENT else c[n] for c in cells]
        if column.kind != "tensor":
            found.append(torch.tensor(own, dtype=column.dtype))
        elif (d := column.ragged) is not None:
            sizes.insert(0, sizes.pop(d))
            moved = [t.detach().movedim(d, 0) for t in own]
            found.append(torch.cat(moved) if moved else torch.zeros(sizes, dtype=column.dtype, device=column.device))
            found.append(torch.tensor([t.shape[d] for t in own], dtype=torch.int64))
        else:
            stacked = torch.stack([t.detach() for t in own]) if own else None
            found.append(stacked if stacked is not None else torch.zeros((0, *sizes), dtype=column.dtype, device=column.device))
    return found
