"""Sets and dicts whose keys are numbers known only at run time, as the user's Python sees them.

One that is given such a key is from the next attempt on a `Keyed` from its birth. It holds rows in a `Grown`: columns of integers for
the keys, and for a dict columns for the values. A key is found by comparing it with all rows, a new one goes to the end, where
Python's dict has it too. The order of a set is that of Python's hash table, which columns do not know: what could show it is refused.
"""

from __future__ import annotations

import collections
from typing import Any, NoReturn, TypeGuard

import torch

from dync.capture import keys
from dync.capture.arrays import number_of
from dync.capture.forms import (
    LEAF,
    Alike,
    Column,
    Constant,
    Form,
    NotUniform,
    choice,
    choice_of,
    has_texts,
    leaf_count,
    may_lack,
    paired,
    taken_apart,
)
from dync.capture.image import SYMBOLIC
from dync.capture.lists import Grown, Walked
from dync.capture.places import as_seen
from dync.capture.scalars import scalar_of
from dync.capture.tape import of_model
from dync.capture.text import SymText
from dync.capture.views import View

KINDS: dict[type, str] = {set: "set", frozenset: "frozenset", dict: "dict", collections.OrderedDict: "OrderedDict",
                          collections.Counter: "Counter", collections.defaultdict: "defaultdict"}
CLASSES = {name: cls for cls, name in KINDS.items()}
SETS = ("set", "frozenset")


def key_of(form: Form) -> Any:
    """The structure of the keys."""
    return form.structure if form.kind in SETS else form.structure[1][0]


def check_form(form: Form) -> Form:
    """The form with a column for keys that are one constant so far. Raises NotUniform for rows that no set or dict can be of."""
    if isinstance(key := key_of(form), Constant):
        structure = LEAF if form.kind in SETS else (form.structure[0], (LEAF, *form.structure[1][1:]))
        form = Form(form.kind, structure, (choice_of(key), *form.columns))
    if has_texts(key_of(form)):
        raise NotUniform("its keys are texts made of numbers")
    n = leaf_count(key_of(form))
    strange = ["lists or objects" if c.pool else str(c) for c in form.columns[:n] if c.kind not in ("int", "bool", "choice")]
    if may_lack(key_of(form)):
        raise NotUniform("its keys are integers or None")
    if strange or not n:
        raise NotUniform(f"its keys are {' and '.join(strange) or 'constants'}, not integers")
    values = [[x.value for x in c.choices] for c in form.columns[:n]]
    if any(len({*v}) < len(v) or any(isinstance(x, int) for x in v) for v in values):
        raise NotUniform("its keys are members of an Enum that equal texts or numbers")
    if any(c.choices for c in form.columns[n:]):
        raise NotUniform("its values are constants")
    if any(c.ragged is not None for c in form.columns):
        raise NotUniform("its values are tensors whose sizes differ or depend on data")
    return form


class Keyed(Walked):
    """What sets and dicts have in common. rows: None for one that has never been given anything, so that its form is not known yet."""

    __slots__ = ("engine", "place", "kind", "default", "rows")
    __class__ = as_seen(lambda self: CLASSES[self.kind])  # type: ignore[assignment]

    def __init__(self, engine: Any, place: str, kind: str, rows: Grown | None, default: Any = None) -> None:
        self.engine, self.place, self.kind, self.rows, self.default = engine, place, kind, rows, default

    # ---- rows ------------------------------------------------------------------------------------------------------

    def _do(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return self.engine.do(function, *args, **kwargs)

    @property
    def width(self) -> int:
        """How many columns hold the keys."""
        return leaf_count(key_of(self.rows.form)) if self.rows is not None else 0

    @property
    def key_columns(self) -> list[Any]:
        return self.rows.columns[:self.width] if self.rows is not None else []

    @property
    def length(self) -> Any:
        return self.rows.length if self.rows is not None else 0

    def formed(self, items: Any) -> Grown:
        """The rows; starts over where the form of what comes in was not known yet."""
        if self.rows is None:
            self.engine.shape(self.place, self.kind, items)
        assert self.rows is not None
        return self.rows

    def empty(self) -> Any:
        """Python's own of this kind, with nothing in it."""
        return collections.defaultdict(self.default) if self.kind == "defaultdict" else CLASSES[self.kind]()

    def set_columns(self, columns: list[Any]) -> None:
        assert self.rows is not None
        self.rows.columns[:] = columns

    def like(self, columns: list[Any] | None = None, kind: str = "") -> Any:
        """Another of the same form, by default with the same rows."""
        kind = kind or self.kind
        if self.rows is None:
            return self.engine.keyed_of(self.place, kind, None, self.default)
        form = Form(kind, self.rows.form.structure, self.rows.form.columns)
        rows = Grown(self.engine, self.place, form, list(self.rows.columns if columns is None else columns))
        return self.engine.keyed_of(self.place, kind, rows, self.default)

    def parts(self, key: Any) -> list[Any] | None:
        """The numbers that a key consists of; None where no row can be this key."""
        if self.rows is None:
            return None
        key = plain_key(self.fitted(key, key_of(self.rows.form)))
        if has_rows(key):
            return None
        try:
            _, leaves = taken_apart(key)
            if any(isinstance(v, (torch.Tensor, torch.SymFloat)) for v in leaves):
                return self.refuse("a lookup by a tensor or a run-time float")
            columns = ((c, None) for c in self.rows.form.columns[:self.width])
            pairs = paired(key_of(self.rows.form), key, columns)
            found = [choice(c, v) if c.choices else v if taken_apart(v)[0] == LEAF else None for c, _, v in pairs]
        except NotUniform:
            return None
        except Alike as which:
            return self.refuse(f"a lookup {which}")
        if any(v is None or isinstance(v, float) for v in found):
            return None
        return [self.engine.as_int(v) if isinstance(v, (bool, torch.SymBool)) else v for v in found]

    def fitted(self, key: Any, structure: Any) -> Any:
        """A key with its tuples of unknown length as Python's own, where they are as long as those of this structure."""
        parts = structure[1] if isinstance(structure, tuple) else ()
        if is_rows(key) and parts and key.length == len(parts):
            key = key.whole(len(parts))
        if type(key) is tuple and len(key) == len(parts):
            return tuple(map(self.fitted, key, parts))
        return key

    def find(self, key: Any) -> tuple[Any, Any]:
        """Whether a key is there, and the row that it is in as bool [n]."""
        parts = self.parts(key)
        if parts is None or self.engine.known_int(self.length) == 0:
            return False, None
        return self.engine.present(self.key_columns, parts)

    def has(self, key: Any) -> Any:
        return self.find(key)[0]

    def put(self, key: Any, *value: Any) -> None:
        """Puts a value into the row of its key, or after the last. The key that is there already stays."""
        key = self.fitted(key, key_of(self.rows.form)) if self.rows is not None else key
        item = (key, *value) if value else key
        rows = self.formed((item,))
        found, hit = self.find(key)
        known = self.engine.truth(found)
        row = rows._row(item)
        columns = list(rows.columns)
        if known is not False:
            for n in range(self.width, len(columns)):
                marks = hit
                for _ in range(columns[n].dim() - 1):
                    marks = self._do(torch.unsqueeze, marks, -1)
                columns[n] = self._do(torch.where, marks, row[n], columns[n])
        if known is None:
            fresh = self.engine.fresh(hit)
            row = [self._do(torch.narrow, c, 0, 0, fresh) for c in row]
        if known is not True:
            self.append(row, columns, key)
        else:
            self.set_columns(columns)

    def append(self, row: list[Any], columns: list[Any], key: Any) -> None:
        """Puts a row after the others, or none where it is empty because its key is there."""
        assert self.rows is not None
        before = self.key_columns
        self.set_columns(self.rows._joined([columns, row]))
        self.engine.surely(self.key_columns, self.parts(key))
        self.engine.longer(self.key_columns, before)

    def is_first(self, other: Any) -> bool:
        """Whether this one is empty, and the other has each key once."""
        once = isinstance(other, Keyed) or isinstance(other, View) and other.part != "values"
        return once and self.engine.known_int(self.length) == 0

    def drop(self, hit: Any) -> None:
        """Takes the marked rows out."""
        assert self.rows is not None
        self.set_columns(keys.chosen(self._do, self.rows.columns, self._do(torch.logical_not, hit)))

    def remove_or(self, key: Any, missing: Any) -> Any:
        """The row of a key that is there; `missing()` where it is not."""
        found, hit = self.find(key)
        return hit if found else missing()

    def missing(self, key: Any) -> NoReturn:
        raise of_model(KeyError(key))

    def clear(self) -> None:
        if self.rows is not None:
            self.rows.clear()

    def copy(self) -> Any:
        return self.like()

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Any:
        """A copy, where what it holds are values."""
        pools = self.rows is not None and any(c.pool for c in self.rows.form.columns)
        return self.refuse("a deep copy of objects or lists") if pools else self.copy()

    def sequence(self, part: str = "keys", kind: str = "list") -> Grown:
        """The keys, values or items as a list of its own."""
        if self.rows is None:
            form = Form(kind, (tuple, (LEAF, LEAF)), (Column("int", torch.int64),) * 2)
            form = form if part == "items" else Form(kind, LEAF, form.columns[:1])
            nothing = [self._do(torch.zeros, (0,), dtype=torch.int64) for _ in form.columns]
            return self.engine.derived(f"nothing of the {part} of {self.place}", form, nothing, self.place)
        rows, n, form = self.rows, self.width, self.rows.form
        structure, some = form.structure, slice(0, None)
        if part == "keys":
            structure, some = key_of(form), slice(0, n)
        elif part == "values":
            structure, some = form.structure[1][1], slice(n, None)
        form = Form(kind, structure, form.columns[some])
        return self.engine.derived(f"the {part} of {self.place}", form, rows.columns[some], self.place)

    # ---- what both can do ------------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self.length != 0)

    def __contains__(self, key: Any) -> bool:
        return bool(self.has(key))

    def __len__(self) -> int:
        n = self.engine.known_int(self.length)
        return self.refuse("its length as a plain number") if n is None else n

    def __ne__(self, other: object) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else negated(equal)

    def __eq__(self, other: object) -> Any:
        return self.refuse("a comparison")

    __hash__ = None  # type: ignore[assignment]

    def dync_text(self, engine: Any) -> NoReturn:
        self.refuse("the text")

    def __repr__(self) -> str:
        return self.refuse("the text")

    def refuse(self, what: str) -> NoReturn:
        self.engine.mark_stack()  # marked code may know what to do here
        self.engine.without(self.place, f"{what} is asked of it")
        self.engine.refuse("DY313", f"{what} of a {self.kind} whose keys are known only at run time",
                           "it holds its keys and values as the rows of tensors",
                           "use lookups, assignment, in, len, for statements, sorted, sum, min and max of it, or keep a tensor")
        raise AssertionError("a refusal raises")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(CLASSES[self.kind], name):
            raise AttributeError(f"'{self.kind}' object has no attribute '{name}'")
        return self.refuse(f"`{name}`")


def negated(truth: Any) -> Any:
    return torch.sym_not(truth) if isinstance(truth, torch.SymBool) else not truth


def plain_key(key: Any) -> Any:
    """A key with NumPy's scalars as numbers, and floats that are whole as ints: Python has them equal."""
    if type(key) is tuple:
        return tuple(map(plain_key, key))
    if isinstance(key, SymText):
        return key.literal()
    key = number_of(key) if not isinstance(key, torch.Tensor) else key
    return int(key) if isinstance(key, float) and key.is_integer() else key


def is_rows(key: object) -> TypeGuard[Grown]:
    """Whether a key is a tuple whose length is known only at run time."""
    return isinstance(key, Grown) and key.form.kind == "tuple"


def has_rows(key: Any) -> bool:
    return any(map(has_rows, key)) if isinstance(key, tuple) else is_rows(key)


def is_running(key: Any) -> bool:
    """Whether a key is, or holds, a number or text known only at run time, or a tuple of such a length."""
    if isinstance(key, tuple):
        return any(map(is_running, key))
    if is_rows(key):
        return True
    return isinstance(key, SymText) or isinstance(key, SYMBOLIC) and not isinstance(scalar_of(key), (bool, int, float))
