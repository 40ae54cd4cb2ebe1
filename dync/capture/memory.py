"""Which tensors may share memory, and what is done with it: written, copied as a value, kept by a list.

Fake tensors that are views of one another have one storage. A parameter of a join or a loop has a storage of its own, but
at run time it is one of its arguments: their storages are of one class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from dync.capture.tape import Rec
from dync.ir.types import Span


def storage_of(fake: Any) -> int:
    return fake.untyped_storage()._cdata


class Shared:
    """One class of storages."""

    __slots__ = ("owner", "outside", "writes", "held", "folded", "read")

    def __init__(self, owner: Rec, outside: bool) -> None:
        self.owner = owner
        """The outermost record that made one of them."""
        self.outside = outside
        """Whether one of them is an input's, a weight's, or the state's: more than the program's variables may show it."""
        self.writes: set[tuple[Rec, int]] = set()
        """The records that write one of them in place, and the depth of the class's owner then."""
        self.held = False
        """Whether a list of unknown length took its value."""
        self.folded: Span | None = None
        """Where its value was taken for one that stays."""
        self.read: Span | None = None
        """Where a number read from it was taken for the one read before."""

    @property
    def written(self) -> bool:
        return bool(self.writes)

    def written_again(self, header: Rec) -> bool:
        """Whether a turn of the loop writes what was there before the turn, so that the next turn may write what this one made."""
        return any(depth < header.depth and rec.sees(header) for rec, depth in self.writes)


class Memory:
    """All classes of one attempt, by storage."""

    def __init__(self, root: Rec, start_over: Callable[[Span], NoReturn], written_item: Callable[[], NoReturn]) -> None:
        self.root, self.start_over, self.written_item = root, start_over, written_item
        self.classes: dict[int, Shared] = {}
        self.members: dict[Shared, list[int]] = {}

    def of(self, fake: Any) -> Shared:
        storage = storage_of(fake)
        found = self.classes.get(storage)
        if found is None:
            found = self.add(storage, self.root, True)
        return found

    def made(self, fake: Any, rec: Rec, outside: bool) -> None:
        """A new value of the program; a view of another has that one's storage already."""
        storage = storage_of(fake)
        if storage not in self.classes:
            self.add(storage, rec, outside)

    def add(self, storage: int, rec: Rec, outside: bool) -> Shared:
        new = self.classes[storage] = Shared(rec, outside)
        self.members[new] = [storage]
        return new

    def write(self, fake: Any, rec: Rec) -> None:
        it = self.of(fake)
        it.writes.add((rec, it.owner.depth))
        if it.held:
            self.written_item()
        if it.folded is not None:
            self.start_over(it.folded)

    def fold(self, fake: Any, span: Span) -> None:
        self.of(fake).folded = span

    def unite(self, a: Any, b: Any, header: Rec | None = None) -> None:
        """From here on `a` may be `b`. header: of the loop at the end of whose turn that is, so that what the turn did to one it does to
        the other after all."""
        x, y = self.of(a), self.of(b)
        if x is y:
            return
        if len(self.members[x]) < len(self.members[y]):
            x, y = y, x
        if header is not None and (x.held or y.held) and (x.written_again(header) or y.written_again(header)):
            self.written_item()
        if header is not None and any(rec.sees(header) for rec, _ in x.writes | y.writes):
            folded = x.folded or y.folded or x.read or y.read
            if folded is not None:
                self.start_over(folded)
        for storage in self.members[y]:
            self.classes[storage] = x
        self.members[x] += self.members.pop(y)
        x.owner = x.owner if x.owner.depth <= y.owner.depth else y.owner
        x.outside, x.writes, x.held = x.outside or y.outside, x.writes | y.writes, x.held or y.held
        x.folded, x.read = x.folded or y.folded, x.read or y.read
