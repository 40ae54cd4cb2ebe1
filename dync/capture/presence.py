"""Whether keys are in the rows of sets and dicts, and what a path knows of that: asked once, and true for good, since no row changes."""

from __future__ import annotations

from typing import Any, NoReturn

import torch

from dync.capture.keys import hits
from dync.capture.lists import Grown
from dync.capture.pools import Pooling
from dync.capture.scalars import scalar_of
from dync.capture.stack import Suspended
from dync.capture.tape import RaiseExit


class Presence(Pooling):
    """What Keyed sets and dicts ask of the path."""

    def present(self, columns: list[Any], key: list[Any]) -> tuple[Any, Any]:
        """Whether a key is in one of the rows, asked once on a path; and the row, as bool [n]."""
        with torch._C.DisableTorchFunction():
            hit, found = self.recorder.event("a key", self._present, (list(columns), list(key)), {})
        return (True if self.is_sure(columns, key) else found), hit

    def _present(self, columns: list[Any], key: list[Any]) -> tuple[Any, Any]:
        named = self.named(columns, key)
        kept = next((rec.present[named] for rec in self.rec.chain() if named in rec.present), None)
        if kept is None:
            hit = hits(lambda function, *args: function(*args), columns, key)
            kept = self.rec.present[named] = (hit, self.recorder.local_scalar(torch.any(hit)))
        return kept

    def named(self, columns: list[Any], key: list[Any]) -> Any:
        return (*map(self.value, columns), *map(scalar_of, key))

    def surely(self, columns: list[Any], key: list[Any] | None) -> None:
        """Notes that a key is in one of the rows."""
        if key is not None:
            self.rec.sure.add(self.named(columns, key))

    def is_sure(self, columns: list[Any], key: list[Any]) -> bool:
        named = self.named(columns, key)
        return any(named in rec.sure for rec in self.rec.chain())

    def longer(self, columns: list[Any], before: list[Any]) -> None:
        """Notes that columns are others with rows after them, or none."""
        if before:
            self.rec.sure.add(("longer", self.named(columns, []), self.named(before, [])))

    def is_longer(self, columns: list[Any], before: list[Any]) -> bool:
        now, wanted = self.named(columns, []), self.named(before, [])
        known = {fact[1]: fact[2] for rec in self.rec.chain() for fact in rec.sure if fact[0] == "longer"}
        while now != wanted and now in known:
            now = known[now]
        return now == wanted

    def truth(self, found: Any) -> bool | None:
        """What the path knows of an answer."""
        return found if isinstance(found, bool) else self.fact(scalar_of(found))

    def fresh(self, hit: Any) -> Any:
        """How many rows a key needs, 0 or 1, that is in the marked row or in none."""
        absent = self.do(torch.logical_not, self.do(torch.any, hit))
        number = self.do(torch.Tensor.item, self.do(torch.Tensor.to, absent, torch.int64))
        if isinstance(number, torch.SymInt) and number.node.expr.is_Symbol:
            self.shape_env.bound(number.node.expr, 0, 1)
        return number

    def item_of_sum(self, items: Grown) -> Any:
        return self.do(torch.Tensor.item, self.do(torch.sum, items.numbers()))

    def trap(self, text: str) -> NoReturn:
        """A path for which there is no code: whoever takes it is told so at run time."""
        self.check_alive()
        span = self.span()
        self.rec.exit = RaiseExit("dync.errors:GuardError", (f"{span}: no code for this path: {text}",), (), span)
        self.dead = True
        raise Suspended
