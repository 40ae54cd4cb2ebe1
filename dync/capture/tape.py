"""What a capture remembers: values, operations, the log to replay, and where each stretch of code ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dync.ir.types import UNKNOWN, Span


class Val:
    """A value of the program under construction: a tensor (`fake` is its FakeTensor) or a scalar (`kind`)."""

    __slots__ = ("uid", "rec", "fake", "kind", "span", "label", "name")

    def __init__(self, uid: int, rec: Rec, fake: Any, kind: str, span: Span, label: str) -> None:
        self.uid, self.rec, self.fake, self.kind, self.span, self.label = uid, rec, fake, kind, span, label
        self.name = ""

    def __repr__(self) -> str:
        return f"%{self.uid}"


class Changed(NamedTuple):
    """A tensor that the code makes another in place: what it was, and where that was done last."""

    tensor: Any
    before: Any
    val: Val
    rec: Rec
    span: Span


@dataclass(frozen=True)
class Weight:
    """A use of a parameter, buffer or constant by name."""

    name: str


@dataclass
class Op:
    """One ATen call. args hold Val, Weight, scalars (Expr, sympy) and constants; outs are flat, None where not a tensor."""

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outs: tuple[Val | None, ...]
    single: bool
    span: Span
    effect: bool
    """Kept even when nothing reads its results: it writes in place, draws random numbers, or asserts."""


@dataclass
class Event:
    """One call of a torch function by the user's code: what it was and what it gave, to give it again on replay."""

    name: str
    key: tuple[Any, ...]
    result: Any
    error: BaseException | None = None


def of_model(error: Exception) -> Exception:
    """The exception, marked as one that eager raises too: the model's own."""
    error.__dict__["dync_of_model"] = True
    return error


@dataclass
class Arg:
    """A block parameter under construction."""

    val: Val


@dataclass
class To:
    """A way to another record; `args` are filled when the target joins."""

    rec: Rec
    args: list[Any] = field(default_factory=list)


@dataclass
class ForkExit:
    predicate: Any
    then: To
    orelse: To
    text: str
    span: Span


@dataclass
class CaseExit:
    index: Any
    cases: list[tuple[int, To]]
    default: To | None
    text: str
    span: Span


@dataclass
class JumpExit:
    to: To


@dataclass
class ReturnExit:
    tree: Any
    writes: tuple[Any, ...]
    span: Span


@dataclass
class RaiseExit:
    cls: str
    args: tuple[Any, ...]
    writes: tuple[Any, ...]
    span: Span
    fields: tuple[str, ...] = ()


class Rec:
    """A block under construction. `above` is the nearest record that surely ran before (for facts and visibility)."""

    __slots__ = ("uid", "above", "depth", "params", "ops", "log", "exit", "facts", "partial", "bindings", "state", "span", "pending",
                 "released", "items", "counts", "header", "present", "sure", "weight")

    def __init__(self, uid: int, above: Rec | None, span: Span = UNKNOWN) -> None:
        self.uid = uid
        self.above = above
        self.depth = 0 if above is None else above.depth + 1
        self.params: list[Val] = []
        self.ops: list[Op] = []
        self.log: list[Event] = []
        self.exit: Any = None
        self.facts: list[tuple[Any, bool]] = []
        self.partial: list[Any] | None = None
        """Results of the operations of a torch call that forked before it ended."""
        self.bindings: dict[Any, Any] = {}
        """sympy symbol → the scalar that defines it, for symbols first seen here."""
        self.state: Any = None
        """For a join: what to write back into the frame and the heap on entry."""
        self.span = span
        self.pending: Any = None
        """The key of the marker that this record joins at."""
        self.items: dict[Any, Any] = {}
        """Val → the number read from it, while nothing writes to its memory."""
        self.counts: dict[Any, Any] = {}
        """Val → how many of its elements are not 0, while nothing writes to its memory."""
        self.present: dict[Any, Any] = {}
        """Columns of keys and a key → which row is the key, and whether there is one."""
        self.sure: set[Any] = set()
        """Columns of keys and a key that is in them."""
        self.header = False
        self.weight = 0
        """How many parts the longest expression of a tensor's size is written with."""
        self.released: set[Any] = set()
        """Keys of markers that a path ending here waited at and left alone."""

    def sees(self, other: Rec) -> bool:
        """Whether `other` ran on every way to here."""
        rec: Rec | None = self
        while rec is not None and rec.depth > other.depth:
            rec = rec.above
        return rec is other

    def chain(self) -> list[Rec]:
        """This record and all that surely ran before it, nearest first."""
        out: list[Rec] = []
        rec: Rec | None = self
        while rec is not None:
            out.append(rec)
            rec = rec.above
        return out

    def __repr__(self) -> str:
        return f"b{self.uid}"
