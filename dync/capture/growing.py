"""What is learnt about lists: where those are born whose length differs between paths or turns, and what their items are."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import operator
import types
from typing import Any, NoReturn

import torch

from dync.capture import comprehend
from dync.capture.arrays import number_of
from dync.capture.forms import (
    LEAF,
    MAX_CHOICES,
    NUMBERS,
    Column,
    Constant,
    Form,
    Joined,
    NotUniform,
    common,
    differ_in_choices,
    differ_in_constants,
    form_of,
)
from dync.capture.image import Image, class_name
from dync.capture.keyed import is_running
from dync.capture.lists import KINDS, RATHER_KNOWN, Grown, kind_of
from dync.capture.loops import skeleton
from dync.capture.once import Once, is_walk, taken
from dync.capture.places import all_codes, can_mark
from dync.capture.recorder import FunctionMode
from dync.capture.replay import Suspended
from dync.capture.running import Running
from dync.capture.scalars import Expr, scalar_of
from dync.capture.tape import of_model
from dync.capture.walks import is_grown

MAX_FORKS = 4
"""So many decisions may lie in one comprehension: one with more is walked by a loop, after whose turns paths join."""
MAX_SPLITS = 4
"""So many paths may stay apart for the length of one list: then it is of unknown length."""
MAX_PLACES, FEW_PLACES = 60, 2
"""So many ways may the switches over the places of one list of numbers have, and so long may it be whatever they have."""
NOT_MADE = "that is not made in forward"
MAX_SORTED = 4
"""So many items of Python's list are sorted by comparing them on paths of their own."""
MAX_CONSTANTS = 24
"""So many paths may stay apart for the texts and the like that one list holds: then each is a choice, made at run time."""


def recording(engine: Any, cls: Any) -> Any:
    """The constructor of a dataclass, which tells of the lists that the class itself makes for it."""
    made, fields = cls.__init__, [f for f in dataclasses.fields(cls) if f.init]
    own = {f.name for f in dataclasses.fields(cls) if f.default_factory in (list, collections.deque)}

    @functools.wraps(made)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        for name in own.difference(kwargs, (f.name for f in fields[:len(args)])):
            object.__setattr__(self, name, engine.listed(f"the default of {cls.__module__}:{cls.__qualname__}.{name}", getattr(self, name)))

    return init


def is_held(x: Any) -> bool:
    """What stands in one place and costs nothing there: a tensor, a module."""
    return isinstance(x, (torch.Tensor, torch.nn.Module)) or callable(x)


class Growing(Running):
    """Makes Grown lists where they were found to be needed."""

    grown: dict[str, Form | None]
    """Place of birth → form of the items; None where they have none in common."""
    ungrown: dict[str, str]
    """Place of birth → why its lists stay Python's."""
    born: dict[int, tuple[str, Any]]
    """Lists of this run by identity: where each was born, and the list."""
    needed: set[str]
    """Places of birth of lists that a rolled loop makes longer."""
    splits: collections.Counter[Any]
    loose: set[Any]
    """Joins of tensors of several sizes."""
    keen = False
    """Whether lists are known by where they were made in other runs too: where paths multiply, more become rows."""
    indexed: dict[str, Any]
    """Place of birth → Python's own list that was indexed by a number known only at run time."""
    lengths: dict[Any, str]
    """Symbol of a length that the code asked for → the list's place of birth."""
    held: set[int]
    """Storages that a list holds."""
    watched: set[type]
    """Classes whose constructors say which lists they make."""
    siblings: dict[str, tuple[str, ...]]
    """Texts that were picked from a sequence of texts by a number → all of these."""
    forking: set[str]
    """Comprehensions of many decisions, by their places."""

    wider: dict[str, list[Form]]
    """Place of birth → forms of the items that paths have met, which the next attempt knows."""

    def do(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """A call of torch on the user's behalf."""
        with torch._C.DisableTorchFunction():
            return self.recorder.call(function, args, kwargs)

    # ---- birth -----------------------------------------------------------------------------------------------------

    def listed(self, key: str, value: Any) -> Any:
        """A list, or deque, just made by the user's code."""
        kind = kind_of(value)
        if kind in ("", "tuple"):
            return value
        form = self.grown.get(key)
        if form is None or form.kind != kind:
            self.born[id(value)] = (key, value)
            return value
        return self.grow(key, form, value)

    def grow(self, key: str, form: Form, items: Any) -> Grown:
        columns = []
        for c in form.columns:
            sizes = [s if isinstance(s, int) else self.shape_env.create_symintnode(s, hint=None) for s in c.shape if s is not None]
            columns.append(self.do(torch.zeros, (0, *sizes), dtype=c.dtype, device=c.device))
            if c.ragged is not None:
                columns.append(self.do(torch.zeros, (0,), dtype=torch.int64))
        made = Grown(self, key, form, columns)
        made.extend(items)
        return made

    def numbers(self, x: Any) -> Grown:
        """`x.tolist()` of a tensor whose length is known only at run time."""
        self.mark_askers()
        self.mark_stack()  # C code would see that it is no list
        if x.dim() > 1:
            made = self.listed(f"the list of {x.dim()} dimensions made at {self.span()}", [])
            with FunctionMode(self):
                return comprehend.collect(made, x, lambda row: (row.tolist(),))
        kind = "bool" if x.dtype == torch.bool else "float" if x.dtype.is_floating_point else "int"
        form, key = Form("list", LEAF, (Column(kind, NUMBERS[kind]),)), f"the list made at {self.span()}"
        if self.grown.setdefault(key, form) != form or x.dim() != 1:
            self.refuse("DY206", "`tolist` of a tensor whose length depends on data", "a Python list's length must be fixed at capture",
                        "keep it a tensor, or loop over it with for")
        self.needed.add(key)
        return Grown(self, key, form, [self.do(torch.Tensor.to, x, NUMBERS[kind])])

    def mark_function(self, function: Any) -> None:
        """Marks a function that is to turn over rows, before it asks how many there are."""
        code = function.__code__
        if not self.is_marked(code) and code not in self.tried:
            self.rewrite({code})
            self.start_again()

    def collected(self, items: Any) -> Any:
        """The list of the items, as Python's `list` makes it."""
        return comprehend.collect(self.listed(f"the list made at {self.span()}", []), items, lambda item: (item,))

    def comprehend(self, key: str, items: Any, plain: Any, one: Any, *split: Any) -> Any:
        """A comprehension over `items`: `plain` is Python's own, `one` gives what it gives for one item.

        split: the same where what follows the first `for` is a comprehension of its own, which gives a list.
        """
        plain, one = self.whole(key, plain, one, *split)
        items = taken(items)
        if isinstance(items, torch.Tensor) and is_walk(self, items):
            return comprehend.collect(self.listed(key, []), items, one)
        if isinstance(items, types.GeneratorType) and self.is_marked(items.gi_code):
            return comprehend.collect(self.listed(key, []), items, one)
        if not is_grown(items):
            return self.written_out(key, items, plain, one)
        grown: Any = items
        if (known := self.known_int(grown.length)) is not None:
            return self.written_out(key, [grown.at(i) for i in range(known)], plain, one)
        return comprehend.collect(self.listed(key, []), items, one)

    def whole(self, key: str, plain: Any, one: Any, *split: Any) -> tuple[Any, Any]:
        """How a comprehension is computed: as Python does, or split where a list inside is found to be of unknown length."""
        if not split:
            return plain, one
        if key not in self.split:
            self.comprehensions |= dict.fromkeys((*all_codes(plain.__code__), *all_codes(one.__code__)), key)
            return plain, one
        parts, part = split

        def flat(items: Any) -> Any:
            made = parts(items)
            if any(is_grown(m) for m in made):
                return comprehend.collect(self.listed(f"{key}:flat", []), made, lambda m: m)
            return [m for one in made for m in one]

        return flat, lambda item: next(iter(part(item)), ())

    def generate(self, key: str, items: Any, plain: Any, one: Any, *split: Any) -> Any:
        """A generator expression, as `comprehend` has it: over a run-time number of items, it gives them all when it is first asked."""
        plain, one = self.whole(key, plain, one, *split)
        if key in self.split:
            return Once(self, [], (type(self).comprehend, key, items, plain, one))
        forks = isinstance(items, types.GeneratorType) and self.is_marked(items.gi_code) or key in self.forking and key not in self.ungrown
        if forks or is_walk(self, items):
            return Once(self, [], (type(self).comprehend, key, items, plain, one))
        return self.comprehend(key, items, plain, one)

    def written_out(self, key: str, items: Any, plain: Any, one: Any) -> Any:
        """A comprehension over what Python walks itself: nothing joins in one, so its decisions would multiply."""
        if key in self.forking and key not in self.ungrown:
            return comprehend.collect(self.listed(key, []), list(items) if isinstance(items, range) else items, one)
        begun = self.step
        made = plain(items)
        if self.step - begun > MAX_FORKS and key not in self.ungrown and type(made) is list and not any(map(callable, made)):
            self.forking.add(key)
            self.start_again()
        return self.listed(key, made)

    def spread(self, key: str, *parts: Any) -> Any:
        """`[a, *b]`: each part is what it adds."""
        made = self.listed(key, [])
        for part in map(taken, parts):
            items = part if isinstance(part, (tuple, list, Grown)) else self.collected(part) if is_grown(part) else list(part)
            if isinstance(items, Grown) and type(made) is list:
                self.become(key, items)
            made.extend(items)
        return made

    def spread_tuple(self, *parts: Any) -> Any:
        """`(a, *b)`: each part is what it adds."""
        found = [self.collected(p) if is_grown(p) and not isinstance(p, Grown) else p for p in map(taken, parts)]
        made: list[Any] = [p.converted("tuple") if isinstance(p, Grown) else (*p,) for p in found]
        return functools.reduce(operator.add, made)

    def place_of(self, index: Any) -> Any:
        """An index into a Python sequence as the integer that it counts as."""
        index = number_of(index)
        return self.as_int(index) if isinstance(index, torch.SymBool) else index

    def repeated(self, key: str, left: Any, right: Any) -> Any:
        """`[...] * n` of a list that is written there, or the other way around."""
        items, times = (right, self.place_of(left)) if type(right) is list else (left, self.place_of(right))
        if type(items) is not list or not isinstance(times, torch.SymInt) or self.known_int(times) is not None or key in self.ungrown:
            return self.listed(key, left * right)
        form = self.grown.get(key)
        if form is None:
            self.needed.add(key)
            self.learn(key, "list", tuple(items))
            self.start_again()
        return self.grow(key, form, items) * times

    def starred(self, key: str, items: Any, before: int, behind: int) -> tuple[Any, ...]:
        """What `a, *b, c = items` unpacks: so many items, a list of the others, and so many items behind them."""
        part = taken(items)
        part = self.collected(part) if is_walk(self, part) and not isinstance(part, Grown) else part
        if not isinstance(part, Grown):
            if not hasattr(type(part), "__iter__") and not hasattr(type(part), "__getitem__"):
                raise of_model(TypeError(f"cannot unpack non-iterable {class_name(items)} object"))
            found = list(part)
            if len(found) < before + behind:
                text = f"not enough values to unpack (expected at least {before + behind}, got {len(found)})"
                raise of_model(ValueError(text))
            end = len(found) - behind
            return (*found[:before], self.listed(key, found[before:end]), *found[end:])
        n = part.length
        if n < before + behind:
            got = self.pick(n, [(k,) for k in range(before + behind)])
            raise of_model(ValueError(f"not enough values to unpack (expected at least {before + behind}, got {got})"))
        rest = part[before:n - behind].converted("list")
        return (*map(part.at, range(before)), rest, *(part.at(n - behind + k) for k in range(behind)))

    def added(self, x: Any, items: Any, name: str = "") -> Any:
        """What `extend` or `+=` puts behind Python's own list: where that is of unknown length, the list is so from the next attempt on.

        name: of the attribute of x where the list stands.
        """
        items = taken(items)
        if not is_grown(items):
            return items
        x = getattr(x, name) if name else x
        if type(x) not in (list, collections.deque):
            return items
        if (known := self.known_int(items.length)) is not None:
            return [items.at(n) for n in range(known)]
        part = self.collected(items)
        if isinstance(part, Grown) and id(x) in self.born:
            self.become(self.born[id(x)][0], part, kind_of(x))
        if isinstance(part, Grown) and id(x) in self.heap.index and (holder := self.heap.holder(x)) is not None:
            self.needed.add(self.heap.birth(holder))  # of a list that the model holds
            self.become(self.heap.birth(holder), part, kind_of(x))
        return part

    def become(self, key: str, part: Grown, kind: str = "list") -> NoReturn:
        """The lists made at a place take the items of one of unknown length: they are such themselves."""
        if key in self.ungrown:
            part.refuse("spreading it into another list")
        self.grown[key] = Form(kind, part.form.structure, part.form.columns)
        self.needed |= {key} if part.key in self.needed else set()
        self.start_again()

    # ---- learning --------------------------------------------------------------------------------------------------

    def learn_lists(self, a: Image, b: Image, now: bool = False) -> None:
        """Two pictures differ: starts over if that is for lists which can be of unknown length."""
        for where in a.strays.keys() & b.strays.keys():
            if a.strays[where] != b.strays[where]:
                self.watch(a.strays[where][0])
        fresh = False
        for where in a.lists.keys() & b.lists.keys():
            (key, kind, x), (other, _, y) = a.lists[where], b.lists[where]
            if key == other and (most := RATHER_KNOWN.get(self.ungrown.get(key, ""))):
                self.splits[key, "lengths"] += 1
                if self.splits[key, "lengths"] > most:
                    del self.grown[key], self.ungrown[key]
                    self.needed.add(key)
                    fresh = self.learn(key, kind, (*x, *y)) or fresh
            if key != other or key in self.grown:
                continue
            if self.is_same_size(kind, x, y):
                if kind.partition(":")[0] not in KINDS.values() or not differ_in_constants(x, y):
                    continue
                self.splits[key, "constants"] += 1
            else:
                self.splits[key] += 1
            if now or self.splits[key] > self.most_splits(kind) or self.splits[key, "constants"] > MAX_CONSTANTS:
                self.needed |= {key} if now else set()
                if self.keen:
                    self.born = {**a.born, **b.born, **self.born}
                fresh = self.learn(key, kind, (*x, *y)) or fresh
        if fresh:
            self.start_again()

    def stays_pythons(self, a: Image, b: Image) -> str:
        """Why a list that differs in length between two pictures is no rows, as the end of a sentence; "" where none is known not to be."""
        both = ((where, b.lists[where], a.lists[where]) for where in b.lists.keys() & a.lists.keys())
        found = ((where, x[0]) for where, x, y in both if x[0] in self.ungrown and len(x[2]) != len(y[2]))
        return next((f"; {where!r} stays Python's: {self.ungrown[key]}" for where, key in found), "")

    def watch(self, cls: type) -> None:
        """Sees to it that the places are known where objects of a class make their lists; starts over if that is new."""
        codes = {f.__code__ for c in cls.__mro__ for f in vars(c).values() if isinstance(f, types.FunctionType)}
        fresh = {c for c in codes if can_mark(c) and c not in self.tried and not self.is_marked(c)}
        factories = dataclasses.is_dataclass(cls) and cls not in self.watched and not hasattr(cls, "__post_init__")
        self.watched.add(cls)
        if factories:
            self.patch(cls, "__init__", recording(self, cls))
        if fresh:
            self.rewrite(fresh)
        if fresh or factories:
            self.start_again()

    def learn_sizes(self, a: Image, b: Image, place: Any) -> None:
        """Two pictures at a join differ: where it is time and again for sizes alone, these become known at run time only."""
        if place not in self.loose and a.signature != b.signature and skeleton(a.signature) == skeleton(b.signature):
            self.splits[place] += 1
            if self.splits[place] > MAX_SPLITS:
                self.loose.add(place)
                self.start_again()

    def is_same_size(self, kind: str, x: tuple[Any, ...], y: tuple[Any, ...]) -> bool:
        return len(x) == len(y)

    def most_splits(self, kind: str) -> int:
        return MAX_SPLITS

    def form(self, kind: str, items: tuple[Any, ...]) -> Form:
        """The form that all items have. Raises NotUniform."""
        return form_of(self, kind, items)

    def learn(self, key: str, kind: str, items: tuple[Any, ...]) -> bool:
        try:
            self.grown[key] = self.form(kind, items)
            return True
        except NotUniform as error:
            return self.unlearnt(key, kind, error)

    def unlearnt(self, key: str, kind: str, error: NotUniform) -> bool:
        """Whether it is worth another try: as rows from its birth on, a list is given its items before they join."""
        if isinstance(error, Joined) and kind in KINDS.values():
            self.grown[key] = Form(kind, LEAF, ())
            return True
        self.grown[key], self.ungrown[key] = None, str(error)
        return False

    def widen(self, key: str, form: Form, other: str = "") -> NoReturn:
        """A list meets items of another form. Where only texts and the like are new, the other paths at hand may add theirs first."""
        mine = self.grown[key]
        assert mine is not None
        try:
            found = common(mine, form) if mine.columns and form.columns else mine if mine.columns else form
        except NotUniform as error:
            self.give_up(key, str(error))
        found = Form(found.kind, found.structure, tuple(map(self.with_siblings, found.columns)))
        held = {k: self.grown[k] for k in (key, other) if k}
        later = bool(self.tasks) and all(kept is not None and differ_in_choices(kept, found) for kept in held.values())
        for k, kept in held.items():
            wide = Form(kept.kind if kept else found.kind, found.structure, found.columns)
            if later:
                self.wider.setdefault(k, []).append(wide)
            else:
                self.grown[k] = wide
        if not later:
            self.start_again()
        self.dead = True
        raise Suspended

    def learn_wider(self) -> None:
        """What paths had to add to lists, where nothing else was learnt of these since."""
        for key, forms in self.wider.items():
            for form in forms:
                mine = self.grown.get(key)
                if mine is not None and differ_in_choices(mine, form):
                    with contextlib.suppress(NotUniform):  # too many: the next attempt says so
                        self.grown[key] = common(mine, form)
        self.wider = {}

    def with_siblings(self, column: Column) -> Column:
        """A column of texts with all that come from the same sequences, each of which would start the capture over."""
        more = dict.fromkeys((*column.choices, *(Constant(t) for c in column.choices for t in self.siblings.get(c.value, ()))))
        return dataclasses.replace(column, choices=tuple(more)) if len(column.choices) < len(more) <= MAX_CHOICES else column

    def without(self, key: str, reason: str) -> None:
        """A list is asked for what one of unknown length cannot do: where no loop needs it to be one, paths are kept apart instead."""
        if key not in self.needed:
            self.give_up(key, reason)

    def learn_more(self) -> None:
        """Starts over once, if lists stayed Python's for what they hold of other runs."""
        unknown = [key for key, reason in self.ungrown.items() if reason.endswith(NOT_MADE)]
        if unknown and not self.keen:
            self.keen = True
            for key in unknown:
                del self.grown[key], self.ungrown[key]
            self.start_again()

    def give_up(self, key: str, reason: str) -> NoReturn:
        self.grown[key], self.ungrown[key] = None, reason
        self.start_again()

    def place_in(self, container: Any, index: Any) -> int:
        """Which place of a Python sequence a number is on this path. A list of no tensors that is asked time and again becomes rows."""
        before = len(self.records)
        found = self.choose(index, len(container))
        key = self.born[id(container)][0] if id(container) in self.born else None
        if len(self.records) > before and key is not None and key not in self.grown and not any(map(is_held, container)):
            self.splits[key, "places"] += len(container)
            self.indexed[key] = container
            if self.splits[key, "places"] > MAX_PLACES and len(container) > FEW_PLACES:
                asked = [k for k, c in self.indexed.items() if len(c) > FEW_PLACES and self.splits[k, "places"] > MAX_PLACES // 4]
                if any([self.learn(k, "list", tuple(self.indexed[k])) for k in asked if k not in self.grown]):  # each would start it over
                    self.start_again()
        return found

    def many_to_compare(self, items: list[Any], keys: list[Any]) -> None:
        """A list of Python's is sorted or grouped by numbers known only at run time: as rows, where so many make paths multiply."""
        place = self.born[id(items)][0] if id(items) in self.born else None
        parts = [part for key in keys for part in (key if isinstance(key, tuple) else (key,))]
        many = len(items) > MAX_SORTED or len(items) > 2 and len(parts) > len(items)  # of tuples Python asks twice
        if many and place is not None and place not in self.grown:
            if any(isinstance(p, torch.Tensor) or is_running(p) for p in parts) and self.learn(place, "list", tuple(items)):
                self.start_again()

    # ---- items are values ------------------------------------------------------------------------------------------

    def keep(self, t: Any) -> None:
        """A list takes a tensor: whatever writes to its memory afterwards, as in the next turn of a loop, would change the item too."""
        with torch._C.DisableTorchFunction():
            memory = self.memory.of(self.weights.fake(t))
        if any(memory.written_again(r) for r in self.rec.chain() if r.header and r.depth > memory.owner.depth):
            self.written_item()
        memory.held = True

    def written_item(self) -> NoReturn:
        self.refuse("DY314", "a tensor in a list, or dict, whose length is known only at run time is written in place",
                    "such a list holds its items' values", "put a copy in (`x.clone()`), or write `x = x + y` for `x += y`")

    def length(self, grown: Any) -> Any:
        """`len` of a list, remembered for who needs to know it now."""
        n = grown.length
        key = getattr(grown, "key", None) or getattr(grown, "place", None)
        if isinstance(n, torch.SymInt) and key is not None:
            self.lengths[n.node.expr] = key
        return n

    def split_constants(self, scalar: Any) -> None:
        key = self.lengths.get(scalar)
        if key is not None:
            self.without(key, "its length is asked for as a plain number")
        super().split_constants(scalar)

    def from_start(self, index: Any, n: Any) -> Any:
        """An index into `n` items, which is within bounds, counted from the start."""
        found = self.integer(Expr("select", (scalar_of(index < 0), scalar_of(index + n), scalar_of(index)), "int"))
        self.shape_env.bound(found.node.expr, 0, n - 1 if isinstance(n, int) else None)
        return found

    def at_least(self, number: Any, low: int) -> Any:
        """A number that is known to be no less than `low`."""
        if isinstance(number, torch.SymInt) and number.node.expr.is_Symbol:
            self.shape_env.bound(number.node.expr, low, None)
        return number
