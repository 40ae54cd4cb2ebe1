"""Records, the path that a run follows through them, and what it replays on the way."""

from __future__ import annotations

from typing import Any, NoReturn

from dync.capture.stack import Stack, Suspended
from dync.capture.tape import Event, Rec
from dync.ir.types import Span

MAX_BLOCKS = 6000


class Diverged(BaseException):
    """A replay did not do what was recorded: the model's code is not deterministic, or dync has a bug."""


class Replay(Stack):
    """The position of a run: step `step` of `path`, after `cursor` events of its log."""

    records: list[Rec]
    tasks: list[list[Rec]]
    path: list[Rec]
    rec: Rec
    step: int
    cursor: int
    partial: list[Any]
    unfoldable: set[Span]
    """Where tensors are made of literals and written later."""

    @property
    def live(self) -> bool:
        return self.step == len(self.path) - 1 and self.cursor == len(self.rec.log)

    def advance(self) -> None:
        self.step += 1
        self.rec = self.path[self.step]
        self.cursor = 0

    def next_event(self, name: str, key: tuple[Any, ...]) -> Event | None:
        """The logged event, or None when the call must be made."""
        if self.cursor < len(self.rec.log):
            event = self.rec.log[self.cursor]
            if event.name != name or len(event.key) != len(key):
                raise Diverged(f"replay diverged at {self.span()}: {name} where {event.name} ran before")
            self.cursor += 1
            return event
        if self.step < len(self.path) - 1:
            if self.rec.partial is None:
                raise Diverged(f"replay diverged at {self.span()}: {name} after the end of {self.rec}")
            return self._resume_event(name)
        return None

    def _resume_event(self, name: str) -> Event | None:
        """A torch call forked before it ended: its event stands at the start of the record where it ended, if it did."""
        last = self.step
        while last < len(self.path) - 1 and self.path[last].partial is not None and (last == self.step or not self.path[last].log):
            last += 1
        target = self.path[last]
        if not target.log:
            self.partial = list(self.path[last - 1].partial or [])
            return None
        if target.log[0].name != name:
            raise Diverged(f"replay diverged at {self.span()}: {name} where {target.log[0].name} ran before")
        self.step, self.rec, self.cursor = last, target, 1
        return target.log[0]

    def skip_to(self, rec: Rec) -> None:
        """Goes on in a later record of the path: what was asked up to there is not asked again."""
        if rec in self.path[self.step + 1:]:
            self.step = self.path.index(rec)
            self.rec, self.cursor = rec, 0

    def new_rec(self, above: Rec | None) -> Rec:
        rec = Rec(len(self.records), above)
        self.records.append(rec)
        if len(self.records) > MAX_BLOCKS:
            self.learn_more()
            self.refuse("DY301", f"more than {MAX_BLOCKS} blocks",
                        "paths whose Python state differs in structure cannot join and multiply: " + self.split_reason(),
                        "make the branches leave variables of the same types and shapes")
        return rec

    def learn_more(self) -> None:
        """Called where paths multiply."""

    def split_reason(self) -> str:
        return getattr(self, "last_split", "the loop may have no bound")

    def check_alive(self) -> None:
        if self.dead:
            raise Suspended

    def start_over(self, span: Span) -> NoReturn:
        """A tensor made of literals is written after its numbers were read: they are no constants."""
        self.unfoldable.add(span)
        self.start_again()
