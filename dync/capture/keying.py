"""What is learnt about sets and dicts: where those are born that are given keys known only at run time."""

from __future__ import annotations

import collections
import gc
import types
from typing import Any, NoReturn

import torch

from dync.capture import comprehend
from dync.capture.dicts import KeyedDict, sequence_of
from dync.capture.forms import LEAF, NUMBERS, Column, Constant, Form, NotUniform, common, form_of, has_texts, leaf_count, may_lack
from dync.capture.heap import MISSING
from dync.capture.keyed import CLASSES, KINDS, SETS, Keyed, check_form, is_rows, is_running
from dync.capture.lists import OF_SETS, Grown
from dync.capture.once import taken
from dync.capture.places import can_mark
from dync.capture.presence import Presence
from dync.capture.scalars import scalar_of
from dync.capture.sets import KeyedSet
from dync.capture.sorting import sort
from dync.capture.tape import of_model
from dync.capture.text import SymText
from dync.capture.views import View
from dync.capture.walks import SymRange, is_grown

MAKERS = frozenset({"BUILD_MAP", "BUILD_SET", "BUILD_CONST_KEY_MAP"})
KEYS = frozenset({"add", "setdefault", "discard", "remove", "pop", "get", "move_to_end", "__contains__"})
"""Methods that are given one key; others are given sets, dicts and lists."""
FILLING = frozenset({"add", "setdefault"})
"""Those that put a key in."""
TAKING = frozenset({"discard", "remove", "pop", "move_to_end", "intersection", "intersection_update", "difference", "difference_update"})
"""Methods that change nothing where nothing is in."""
METHODS = KEYS | TAKING | {"update", "union", "symmetric_difference", "symmetric_difference_update", "subtract", "issubset", "issuperset",
                           "isdisjoint", "copy"}
MAX_SPLITS = 40
"""So many paths may stay apart for keys that Python knows on each: these may be wanted as plain numbers."""
REMEDY = ("make it in forward by `{}`, `dict()`, `set()` or `Counter()`, with integers or tuples of integers as keys, and values that are "
          "all tensors of one form, all ints or all floats; or keep a tensor with a row for each key")


def holds(form: Form, other: Form) -> bool:
    """Whether items of another form are of this one."""
    try:
        return common(form, other) == form
    except NotUniform:
        return False


def numbers_lead(pairs: Grown) -> bool:
    """Whether all that would be keys in a dict of these pairs are numbers known only at run time."""
    structure = pairs.form.structure
    if not isinstance(structure, tuple) or len(structure[1]) != 2:
        return False
    keys = pairs.form.columns[:leaf_count(structure[1][0])]
    return bool(keys) and not may_lack(structure[1][0]) and all(c.kind in NUMBERS and not c.choices for c in keys)


class Keying(Presence):
    """Makes Keyed sets and dicts where they were found to be needed."""

    origins: dict[str, str]
    """Place of a list → place of the set, dict or list whose columns it has."""
    disordered: set[str]
    """Places of sets whose order in Python does not follow from what is in them."""
    ordered: set[str]
    """Places of sets whose order was asked for."""

    # ---- birth -----------------------------------------------------------------------------------------------------

    def stored(self, place: str, value: Any) -> Any:
        """A set or dict just made by the user's code, with keys that Python knows."""
        kind = KINDS.get(type(value))
        if kind is None:
            return value
        made = self.keyed_at(place, kind, getattr(value, "default_factory", None))
        if made is None:
            self.born[id(value)] = (place, value)
            return self.as_dict_row(place, value)
        made.merge(value) if isinstance(made, KeyedDict) else made.update(value)
        return made

    def keyed(self, place: str, function: Any) -> Any:
        """What a marked call of set, dict, Counter and their like calls."""
        owner: Any = getattr(function, "__self__", None)
        if owner is dict and function.__name__ == "fromkeys":
            return lambda items, value=None: self.display(place, "dict", [self.paired_with(self.walked(items), value)])
        if not isinstance(function, type) or function not in KINDS:
            return function
        return lambda *args, **kwargs: self.construct(place, function, args, kwargs)

    def construct(self, place: str, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kind = KINDS[cls]
        factory, rest = (args[:1], args[1:]) if kind == "defaultdict" else ((), args)
        if len(rest) != 1 or kwargs:
            return self.stored(place, cls(*args, **kwargs))
        items = self.items_for(kind, rest[0])
        made = self.keyed_at(place, kind, *factory)
        if made is None:
            if not self.has_running(kind, items):
                return self.stored(place, cls(*factory, items))
            self.keyed_by_number(cls(), place, items if kind in SETS else ())
        made.update(items)
        return made

    def display(self, place: str, kind: str, *parts: Any) -> Any:
        """`{...}`: parts are (key, value), (element,) or, for what is spread, [items]."""
        made: Any = self.stored(place, CLASSES[kind]())
        plain = not isinstance(made, Keyed)
        for part in parts:
            if isinstance(part, list):
                self.extend(place, made, self.items_for(kind, part[0]))
            elif kind == "dict":
                part = (self.settled(part[0]), part[1])
                if plain and self.is_running(part[0]) and not isinstance(part[0], torch.SymBool):
                    self.keyed_by_number(made, place, [part])
                key = self.written_at(made, part[0], False) if plain else part[0]
                made[key] = part[1]
            else:
                self.method(made.add)(part[0])
        return self.as_dict_row(place, made)

    def extend(self, place: str, made: Any, items: Any) -> None:
        if not isinstance(made, Keyed) and self.has_running(KINDS[type(made)], items):
            self.keyed_by_number(made, place)
        made.merge(items) if isinstance(made, KeyedDict) else made.update(items)

    def walked(self, items: Any) -> Any:
        """A list, tuple or Grown of what is walked; a mapping or set as it is."""
        items = taken(items)
        if isinstance(items, (list, tuple, set, frozenset, Grown, Keyed)) or hasattr(items, "keys"):
            return items
        if is_grown(items) or isinstance(items, types.GeneratorType) and self.is_marked(items.gi_code):
            return sequence_of(items) if hasattr(items, "sequence") else self.collected(items)
        return list(items)

    def items_for(self, kind: str, items: Any) -> Any:
        """What goes into a set or dict, with the keys that the path knows as Python's own."""
        items = self.walked(items)
        if not isinstance(items, (list, tuple)):
            return items
        if kind in (*SETS, "Counter"):
            return [self.settled(i) for i in items]
        return [(self.settled(i[0]), *i[1:]) if isinstance(i, (list, tuple)) and i else i for i in items]

    def has_running(self, kind: str, items: Any) -> bool:
        """Whether items that go into a set or dict have keys known only at run time."""
        if isinstance(items, SymRange):
            self.is_running((items.start, items.stop))
        pairs = not hasattr(items, "keys") and kind not in (*SETS, "Counter")
        if is_grown(items):
            if not (pairs and isinstance(items, Grown) and numbers_lead(items)):
                self.rather_known(items, OF_SETS)
            return True
        return any(self.is_running(i[0] if pairs and isinstance(i, (tuple, list)) and i else i) for i in items)

    def keyed_at(self, place: str, kind: str, default: Any = None) -> Any:
        """A Keyed born at a place, empty; None where Python's own do."""
        form = self.grown.get(place)
        if form is None or form.kind != kind:
            return None
        if not form.columns:
            return self.keyed_of(place, kind, None, default)
        try:
            check_form(form)
        except NotUniform as error:
            self.give_up(place, str(error))
        return self.keyed_of(place, kind, self.grow(place, form, ()), default)

    def keyed_of(self, place: str, kind: str, rows: Grown | None, default: Any = None) -> Any:
        return (KeyedSet if kind in SETS else KeyedDict)(self, place, kind, rows, default if kind == "defaultdict" else None)

    def derived(self, place: str, form: Form, columns: list[Any], origin: str) -> Grown:
        """A list of columns that are those of what was born at another place."""
        self.origins[place] = origin
        before = self.grown.get(place)
        if before is None or holds(form, before):  # what it has the columns of may have met more constants since
            self.grown[place] = form
        else:
            self.refuse("DY315", "a list of the keys or values of a dict takes an item of another form",
                        "it holds its items as the rows of tensors", "make a list of items of one form")
        self.needed |= {place} if origin in self.needed else set()
        return Grown(self, place, form, list(columns))

    def rows_of(self, place: str, items: list[Any]) -> Grown:
        """A Python list as rows."""
        try:
            items = [self.adopted(f"{place}[]", i) for i in items]
            form = form_of(self, "list", tuple(items)) if items else Form("list", LEAF, (Column("int", torch.int64),))
        except NotUniform as error:
            return self.refuse("DY315", "what is sorted by a number known only at run time", str(error), "sort by numbers of one kind")
        self.grown[place] = form
        self.needed.add(place)
        return self.grow(place, form, items)

    def paired_with(self, items: Any, value: Any) -> Any:
        """Pairs of each item and one value."""
        if isinstance(items, Keyed):
            items = sequence_of(items)
        if not isinstance(items, Grown):
            return [(k, value) for k in items]
        place, own = f"pairs of {items.key}, made at {self.span()}", items.form
        if value is None or isinstance(value, str):
            return self.derived(place, Form("list", (tuple, (own.structure, Constant(value))), own.columns), items.columns, items.key)
        column = form_of(self, "list", (value,)).columns[0]
        if column.kind == "tensor":
            return self.refuse("DY315", "keys known only at run time are paired with one tensor", "each row would hold a copy",
                               "assign the values in a loop")
        filled = self.do(torch.full, (items.length,), value, dtype=column.dtype)
        form = Form("list", (tuple, (own.structure, LEAF)), (*own.columns, column))
        return self.derived(place, form, [*items.columns, filled], items.key)

    # ---- learning --------------------------------------------------------------------------------------------------

    def give_up(self, key: str, reason: str) -> NoReturn:
        while key in self.origins:
            key = self.origins[key]
        super().give_up(key, reason)

    def settled(self, key: Any) -> Any:
        """A key with the numbers, and the tuples' lengths, that the path knows as Python's own."""
        if is_rows(key) and (n := self.known_int(key.length)) is not None:
            key = key.whole(n)
        if type(key) is tuple:
            return tuple(map(self.settled, key))
        known = self.known_int(key) if isinstance(key, torch.SymInt) else None
        return key if known is None else known

    def is_running(self, key: Any) -> bool:
        """Whether a key is known only at run time. Where that is for paths which join, these are kept apart instead."""
        if not is_running(key):
            return False
        for number in key if isinstance(key, tuple) else (key,):
            if is_running(number) and not isinstance(number, (tuple, Grown, SymText)):
                self.split_constants(scalar_of(number))
        return True

    def rather_known(self, items: Any, reason: str) -> None:
        """Where Python can do something with a list, it does: the list's length is left open only where it must be."""
        if isinstance(items, Grown) and not items.dync_pool and items.key not in self.origins:
            self.without(items.key, reason)

    def is_same_size(self, kind: str, x: tuple[Any, ...], y: tuple[Any, ...]) -> bool:
        if kind not in CLASSES or kind in SETS:
            return set(x) == set(y) if kind in SETS else len(x) == len(y)
        return [k for k, _ in x] == [k for k, _ in y]

    def most_splits(self, kind: str) -> int:
        return MAX_SPLITS if kind in CLASSES else super().most_splits(kind)

    def form(self, kind: str, items: tuple[Any, ...]) -> Form:
        return check_form(form_of(self, kind, items)) if kind in CLASSES else form_of(self, kind, items)

    def in_order(self, place: str) -> bool:
        """Whether the order of a set born here follows from what is in it."""
        self.ordered.add(place)
        return place not in self.disordered

    def disorder(self, place: str) -> None:
        """A set born here is changed other than by adding elements one by one."""
        if place not in self.disordered:
            self.disordered.add(place)
            if place in self.ordered:
                self.start_again()

    def shape(self, place: str, kind: str, items: Any) -> NoReturn:
        """The first rows that come in tell their form."""
        try:
            if isinstance(items, Grown):
                form = Form(kind, items.form.structure, items.form.columns)
            else:
                pairs = items.items() if isinstance(items, dict) else items
                form = form_of(self, kind, tuple(self.adopted(f"{place}[]", i) for i in pairs))
            self.grown[place] = check_form(form)
        except NotUniform as error:
            if isinstance(items, Grown) and has_texts(items.form.structure):  # where the list is Python's, so may the dict be
                self.give_up(items.key, str(error))
            self.give_up(place, str(error))
        self.start_again()

    def keyed_by_number(self, x: Any, place: str = "", items: Any = ()) -> NoReturn:
        """A Python set or dict is given a key known only at run time: from the next attempt on it is a Keyed. items: if known, with it."""
        kind = KINDS.get(type(x), "dict")
        place = place or self.born.get(id(x), ("",))[0]
        if not place and (holder := self.heap.holder(x)):
            place = self.heap.birth(holder)
            self.disordered.add(place)  # a copy of the model has a copy of the set
        if not place:
            self.mark_makers()
            self.unkeyed(kind, "it is not made in forward, or by code that capture cannot mark")
        if place in self.ungrown:
            self.unkeyed(kind, self.ungrown[place])
        self.grown[place] = Form(kind, LEAF, ())
        self.needed.add(place)
        if isinstance(items, (list, tuple)) and items:
            self.shape(place, kind, [*(x.items() if isinstance(x, dict) else x), *items])
        self.start_again()

    def unkeyed(self, kind: str, reason: str) -> NoReturn:
        self.refuse("DY315", f"a {kind} is given a key known only at run time", f"it cannot hold rows of tensors: {reason}", REMEDY)

    def mark_makers(self) -> None:
        """Marks the functions that make sets and dicts, in the files of those that are marked."""
        files = {code.co_filename for code in self.tried}
        found = {f.__code__ for f in gc.get_objects() if type(f) is types.FunctionType and f.__code__.co_filename in files}
        fresh = {c for c in found if c not in self.tried and can_mark(c) and not self.is_marked(c) and makes(c)}
        if fresh:
            self.rewrite(fresh)
            self.start_again()

    def plain_operand(self, plain: Any, other: Keyed) -> Any:
        """A Python set or dict that stands in an operator beside a Keyed."""
        if id(plain) in self.born and self.born[id(plain)][0] not in self.ungrown:
            self.keyed_by_number(plain)
        made = other.like([] if other.rows is None else other.rows._stretch(0, 0), KINDS[type(plain)])
        made.update(plain)
        return made

    # ---- Python's own sets and dicts -------------------------------------------------------------------------------

    def method(self, function: Any) -> Any:
        """What a marked call of a method of Python's own set or dict calls."""
        x, name = function.__self__, function.__name__
        if isinstance(x, Keyed) or name not in METHODS:
            return function
        if name == "copy":
            return lambda: self.copied(x, function())
        if name in KEYS:
            return lambda *args, **kwargs: self.with_key(x, name, function, args[0], args[1:], kwargs) if args else function()
        return lambda *args, **kwargs: self.with_others(x, name, function, args, kwargs)

    def copied(self, x: Any, made: Any) -> Any:
        if id(x) in self.born:
            self.born[id(made)] = (self.born[id(x)][0], made)
        return made

    def with_others(self, x: Any, name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A method that is given other sets, dicts or lists."""
        args = tuple(self.items_for(KINDS[type(x)], a) for a in args)
        if not any(self.has_running(KINDS[type(x)], a) for a in args):
            return function(*args, **kwargs)
        if x or name not in TAKING:
            self.keyed_by_number(x)
        return function() if name.endswith("update") else x.copy()

    def with_key(self, x: Any, name: str, function: Any, key: Any, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A method that is given a key."""
        key = self.settled(key)
        if not self.is_running(key):
            return function(key, *rest, **kwargs)
        if isinstance(key, torch.SymBool):
            return function(bool(key), *rest, **kwargs)
        if name in FILLING and isinstance(key, SymText):
            return self.with_key(x, name, function, key.literal(), rest, kwargs)
        if name in FILLING:
            self.keyed_by_number(x, items=[key] if name == "add" else [(key, *rest)] if rest else ())
        text = isinstance(key, SymText)  # is one of those that there are, or none: a path for each
        if name in TAKING and x and not text and id(x) in self.born and self.born[id(x)][0] not in self.ungrown:
            self.keyed_by_number(x)
        found = self.entry_of(x, key)
        if name == "__contains__":
            return found is not MISSING
        if found is not MISSING:
            return function(found, *rest, **kwargs)
        if name in ("discard", "get") or name == "pop" and rest:
            return rest[0] if rest else kwargs.get("default")
        raise of_model(KeyError(key))

    def entry_of(self, x: Any, key: Any) -> Any:
        """The key of Python's own that equals a number or text known only at run time on this path."""
        if isinstance(key, SymText):
            texts = [k for k in x if isinstance(k, str)]
            if key.vague or key.number() is None:
                return next((k for k in texts if key == k), MISSING)
            fitting = [(k, n) for k in texts if (n := key.number_in(k)) is not None]
            n = self.pick(key.number(), [(n,) for _, n in fitting])
            return fitting[n][0] if n < len(fitting) else MISSING
        if isinstance(key, torch.SymInt):
            numbers = [k for k in x if isinstance(k, (int, float)) and k == k // 1]
            n = self.pick(key, [(int(k),) for k in numbers]) if numbers else 0
            return numbers[n] if n < len(numbers) else MISSING
        if isinstance(key, tuple) or is_rows(key):
            return next((k for k in x if isinstance(k, tuple) and self.is_equal(key, k)), MISSING)
        return next((k for k in x if isinstance(k, (int, float)) and bool(key == k)), MISSING)

    def is_equal(self, key: Any, other: Any) -> bool:
        """Whether a key known only at run time is one that Python knows."""
        if is_rows(key):
            return isinstance(other, tuple) and bool(key.length == len(other)) and self.is_equal(key.whole(len(other)), other)
        if isinstance(key, tuple) and isinstance(other, tuple):
            return len(key) == len(other) and all(map(self.is_equal, key, other))
        return bool(key == other)

    def written_at(self, x: Any, key: Any, reads: bool) -> Any:
        """The key at which Python's own dict is written. reads: it must be there."""
        key = self.settled(key)
        if not self.is_running(key):
            return key
        if isinstance(key, torch.SymBool):
            return bool(key)
        if id(x) in self.born and self.born[id(x)][0] not in self.ungrown and not isinstance(key, SymText):
            if not reads or x or isinstance(x, (collections.defaultdict, collections.Counter)):
                self.keyed_by_number(x)
        found = self.entry_of(x, key)
        if found is not MISSING:
            return found
        if reads and not isinstance(x, (collections.defaultdict, collections.Counter)):
            raise of_model(KeyError(key))
        if isinstance(key, SymText):
            return key.literal()
        return self.keyed_by_number(x)

    def sort(self, items: Any, key: Any, reverse: Any, strict: bool = False) -> Any:
        """`sorted` of what has a length known only at run time. strict: see dync.capture.sorting.sort."""
        if isinstance(items, SymRange):
            self.mark_function(comprehend.collect)
        rows = sequence_of(items) if isinstance(items, Keyed) else self.walked(items)
        if not isinstance(rows, Grown):
            return sorted(rows, key=key, reverse=reverse)
        if isinstance(items, KeyedSet):
            return sort(rows, rows, key, bool(reverse), key is not None)
        return sort(rows, items.walk() if isinstance(items, (Keyed, View)) else rows, key, bool(reverse), strict=strict)


def makes(code: types.CodeType) -> bool:
    """Whether code makes sets or dicts of its own."""
    import dis

    names = {cls.__name__ for cls in KINDS}
    return bool(names & {*code.co_names}) or any(i.opname in MAKERS for i in dis.get_instructions(code))
