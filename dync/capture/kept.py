"""Lists, sets and dicts that live from call to call and have no bound: rows, like those that are born in forward.

Their place of birth is the place of the state that holds them. A call begins with columns that are slots, one tensor each, and leaves
others, so that any length is one form of the state. See lists.py, keyed.py and state.py.
"""

from __future__ import annotations

import collections
from typing import Any

import torch

from dync.capture.dicts import KeyedDict
from dync.capture.heap import WHOLE, Place, StaticHeap, contents
from dync.capture.keyed import KINDS as KEYED
from dync.capture.keyed import Keyed, check_form
from dync.capture.lists import KINDS, Column, Form, Grown, NotUniform, cells_of, common, form_of, one_ragged

MAX_LENGTHS = 8
"""So many forms of the state may differ in the length of one container: then it has no bound."""


def kind_of(x: Any) -> str:
    """"list", "deque", "dict", ...; "" for what can never be rows."""
    if getattr(x, "maxlen", None) is not None or type(x) is tuple:
        return ""
    return KINDS.get(type(x)) or KEYED.get(type(x), "")


class Kept:
    """Which places of the state hold rows, and what these are when a call begins and ends."""

    def __init__(self, engine: Any, heap: StaticHeap) -> None:
        self.engine, self.heap = engine, heap
        self.defaults: dict[str, Any] = {}
        self.found: dict[Any, list[torch.Tensor]] = {}

    def form(self, place: Place) -> Form | None:
        """The form of the rows in a place; None where Python's own stand."""
        return self.engine.grown.get(self.heap.birth(place))

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
            if any(c.pool for c in form.columns):
                raise NotUniform("it holds objects or containers")
            columns = [one_ragged(Column(c.kind, c.dtype, c.device, tuple(map(size, c.shape)), c.choices)) for c in form.columns]
            made = Form(form.kind, form.structure, tuple(columns))
            made = check_form(made) if made.kind in KEYED.values() and made.columns else made
        except NotUniform as error:
            self.engine.give_up(key, str(error))
        self.engine.grown[key] = made
        return made

    # ---- before any call -------------------------------------------------------------------------------------------

    def first(self, place: Place, form: Form, x: Any) -> list[torch.Tensor]:
        """The columns of what the model was made with."""
        key, items = self.heap.birth(place), tuple(x.items() if isinstance(x, dict) else x)
        try:
            wanted = common(form, form_of(self.engine, form.kind, items)) if items else form
        except NotUniform as error:
            self.engine.give_up(key, str(error))
        if wanted != form:
            self.engine.widen(key, wanted)
        if (key, form) not in self.found:
            self.found[key, form] = columns_of(form, items)
        return self.found[key, form]

    # ---- the start of a run ----------------------------------------------------------------------------------------

    def birth(self, place: Place, x: Any) -> None:
        """Tells where Python's own in a place was born: what is learnt of it is learnt of the place."""
        x = self.heap.objects[place[0]] if place[1] == WHOLE else x
        place = self.heap.holder(x) if place[1] == WHOLE else place
        if place is not None and kind_of(x):
            self.engine.born[id(x)] = (self.heap.birth(place), x)

    def rows(self, place: Place, form: Form, columns: list[Any]) -> Any:
        """The container that a call begins with."""
        key = self.heap.birth(place)
        if form.kind not in KEYED.values():
            return Grown(self.engine, key, form, columns)
        self.defaults.setdefault(key, getattr(self.heap.held_at(place), "default_factory", None))
        rows = Grown(self.engine, key, form, columns) if form.columns else None
        return self.engine.keyed_of(key, form.kind, rows, self.defaults.get(key))

    # ---- its end ---------------------------------------------------------------------------------------------------

    def left(self, place: Place, x: Any) -> Any:
        """The rows that a call leaves in a place, a Grown or Keyed; None for what is neither. Starts over where that is new."""
        form, rows = self.form(place), x.rows if isinstance(x, Keyed) else x
        if not isinstance(rows, Grown):
            if form is None or not form.columns or kind_of(x) != form.kind:
                return None
            with self.engine.modes_on():
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
        with self.engine.modes_on():
            return self.taken(key, form, rows)

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

    # ---- learning --------------------------------------------------------------------------------------------------

    def learn(self, place: Place, trees: list[Any]) -> None:
        """Starts over where the forms of the state differ in the length of what stands in a place, time and again."""
        x = self.heap.objects[place[0]] if place[1] == WHOLE else contents(self.heap.objects[place[0]], place[1])
        holder = self.heap.holder(x) if place[1] == WHOLE else place
        lengths = collections.Counter((type(t), len(t.items)) for t in dict.fromkeys(trees) if hasattr(t, "items"))
        if holder is None or not kind_of(x) or not x or len(lengths) <= MAX_LENGTHS:
            return
        key, engine = self.heap.birth(holder), self.engine
        if key not in engine.grown and engine.learn(key, kind_of(x), tuple(x.items() if isinstance(x, dict) else x)):
            self.check(holder, engine.grown[key])
            engine.start_again()


def columns_of(form: Form, items: tuple[Any, ...]) -> list[torch.Tensor]:
    """Items as real tensors, one or two a column."""
    found: list[torch.Tensor] = []
    cells = [cells_of(form, item) for item in items]
    for n, column in enumerate(form.columns):
        own = [c[n] for c in cells]
        sizes: Any = [s or 0 for s in column.shape]
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
