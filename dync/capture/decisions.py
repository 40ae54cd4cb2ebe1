"""Decisions: where the truth of a predicate is not known on a path, its record ends and others begin."""

from __future__ import annotations

import functools
import sys
from typing import Any, cast

import sympy
import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from dync.capture.places import frames, is_user, unpacked
from dync.capture.replay import Diverged
from dync.capture.scalars import scalar_of
from dync.capture.tape import CaseExit, ForkExit, JumpExit, RaiseExit, Rec, To, of_model
from dync.capture.text import formatted, join
from dync.capture.values import Values
from dync.ir.flow import MISFIT

MAX_PARTS = 8
"""So many parts of a tensor may be unpacked, a path for each number of them."""
INDEXING = frozenset({"__getitem__", "aten::select.int", "aten::argmax", "aten::argmin", "aten::amax", "aten::amin", "aten::kthvalue",
                      "aten::max.dim", "aten::min.dim", "aten::median.dim", "aten::nanmedian.dim", "aten::mode"})
"""Operations that raise IndexError for a place outside a dimension or for an empty dimension; others raise RuntimeError."""


@functools.lru_cache(256)
def _in_groups(number: Any, groups: tuple[tuple[int, ...], ...]) -> tuple[list[Any], Any]:
    """That a number is in each of these groups, and that it is in none. Kept: each run of a path asks again."""
    equal: Any = sympy.Eq
    here = [sympy.Or(*(equal(number, k) for k in group)) for group in groups]
    return here, sympy.And(*(sympy.Not(equal(number, k)) for group in groups for k in group))


class Decisions(Values):
    """Forks and switches."""

    declared: dict[Any, str]
    """Symbols of input sizes, with their names."""
    forced: Any = None
    """Called with the name of a size and the only number that it can be."""

    def decide(self, predicate: Any) -> bool:
        """The truth of a predicate on this path; forks where the path does not say."""
        if self.finished:
            raise GuardOnDataDependentSymNode(predicate, "the program is captured: nothing more is decided")
        if self.making:
            return isinstance(predicate, (sympy.Ne, sympy.Ge))  # torch asks whether a size is 0 or 1, or no less: it may be any
        self.check_alive()
        known = self.fact(predicate)
        if known is not None:
            return known
        if self.cursor < len(self.rec.log):
            raise Diverged(f"replay diverged at {self.span()}: a decision where {self.rec.log[self.cursor].name} ran before")
        if self.step < len(self.path) - 1:
            exit = self.rec.exit
            if not isinstance(exit, ForkExit):
                raise Diverged(f"replay diverged at {self.span()}: a decision that was not there")
            if exit.predicate != predicate:
                raise Diverged(f"replay diverged at {self.span()}: another decision than before")
            taken = self.path[self.step + 1] is exit.then.rec
            self.advance()
            return taken
        self.check_visible(predicate)
        self.mark_stack()
        text, span = self.source_text()
        yes, no = self.fork_rec(), self.fork_rec()
        yes.facts.append((predicate, True))
        no.facts.append((predicate, False))
        self.rec.exit = ForkExit(predicate, To(yes), To(no), text, span)
        self.tasks.append([*self.path, no])
        self.path = [*self.path, yes]
        self.advance()
        return True

    def fork_rec(self) -> Rec:
        rec = self.new_rec(self.rec)
        if self.recorder.in_event is not None:
            self.rec.partial = list(self.recorder.in_event)
        rec.span = self.rec.span
        return rec

    def cut(self) -> None:
        """Goes on in a record of its own: what the host did in this one is done before what comes now."""
        if self.step < len(self.path) - 1:
            if not isinstance(self.rec.exit, JumpExit):
                raise Diverged(f"replay diverged at {self.span()}: a block ends that went on before")
        else:
            rec = self.fork_rec()
            self.rec.exit = JumpExit(To(rec))
            self.path = [*self.path, rec]
        self.advance()

    def choose(self, index: Any, count: int) -> int:
        """Which of 0..count-1 a symbolic index is on this path, negative indices counted from the end; `count` when outside."""
        return self.pick(index, [(i, i - count) for i in range(count)])

    def pick(self, number: Any, groups: list[tuple[int, ...]]) -> int:
        """Which group of values a symbolic integer is in on this path, len(groups) for none; a switch where the path does not say."""
        self.check_alive()
        scalar = cast(Any, scalar_of(number))
        none = len(groups)
        if isinstance(scalar, int):
            return next((n for n, group in enumerate(groups) if scalar in group), none)
        here, outside = _in_groups(scalar, tuple(groups))
        found = next((n for n, fact in enumerate([*here, outside]) if self.shape_env.known(fact)), None)
        if found is not None:
            return found
        if self.cursor < len(self.rec.log):
            raise Diverged("replay diverged at a switch")
        if self.step < len(self.path) - 1:
            exit = self.rec.exit
            if not isinstance(exit, CaseExit):
                raise Diverged("replay diverged: a switch that was not there")
            target = self.path[self.step + 1]
            taken = next((n for value, to in exit.cases if to.rec is target for n, group in enumerate(groups) if value in group), none)
            self.advance()
            return taken
        self.check_visible(scalar)
        self.mark_stack()
        text, span = self.source_text()
        cases: list[tuple[int, To]] = []
        first: int | None = None
        for n, group in enumerate(groups):
            keys = [k for k in group if self.shape_env.known(sympy.Eq(scalar, k)) is not False]
            if keys:
                rec = self.fork_rec()
                rec.facts += [(here[n], True)] if len(keys) > 1 else [(sympy.Eq(scalar, keys[0]), True), (here[n], True)]
                cases += [(k, To(rec)) for k in keys]
                first = n if first is None else first
        if first is None:
            return none
        default = None
        low, high = min(k for g in groups for k in g), max(k for g in groups for k in g)
        whole = len({k for g in groups for k in g}) == high - low + 1
        if not (whole and self.shape_env.known(sympy.And(scalar >= low, scalar <= high)) is True):
            rec = self.fork_rec()
            rec.facts.append((outside, True))
            default = To(rec)
            self.tasks.append([*self.path, rec])
        self.rec.exit = CaseExit(scalar, cases, default, text, span)
        start = cases[0][1].rec
        for rec in reversed(list(dict.fromkeys(to.rec for _, to in cases if to.rec is not start))):
            self.tasks.append([*self.path, rec])
        self.path = [*self.path, start]
        self.advance()
        return first

    def counted(self, number: Any, most: int | None) -> int:
        """A number of parts as one of few, a path for each."""
        known = self.known_int(number)
        if known is not None:
            return known
        if most is not None and most <= MAX_PARTS:
            return next((n for n in range(1, most) if number == n), most)
        user = next((f for f in frames(sys._getframe(1), self.root_frame) if is_user(f.f_code)), None)
        wanted = None if user is None else unpacked(user)
        if wanted is not None:
            return self.length_unpacked(number, wanted)
        return self.refuse("DY206", "a list or tuple of the parts of a tensor whose number depends on data",
                           "Python code that is not the model's own walks it, and must know how many there are",
                           "loop over it with for, make a list of it, or keep it a tensor")

    def length_unpacked(self, number: Any, wanted: int) -> int:
        """How many items are unpacked into so many names; the model's ValueError where the number is another."""
        if number == wanted:
            return wanted
        if number > wanted:
            raise of_model(ValueError(f"too many values to unpack (expected {wanted})"))
        n = self.pick(number, [(k,) for k in range(wanted)])
        raise of_model(ValueError(f"not enough values to unpack (expected {wanted}, got {n})"))

    def check_place(self, index: Any, size: Any, dim: int) -> None:
        """Raises IndexError on the path where an index is out of bounds, if the user's code may catch it."""
        if self.caught() and not (index < size and index >= -size):
            place, most = formatted(self, index, -1, ""), formatted(self, size, -1, "")
            raise of_model(IndexError(join(self, ["index ", place, f" is out of bounds for dimension {dim} with size ", most])))

    def inferred(self, size: Any) -> Any:
        """A size that a view is given; -1 on the path where a symbolic one is that."""
        return -1 if isinstance(size, torch.SymInt) and self.shape_env.known(size.node.expr >= 0) is not True and size == -1 else size

    def check_free(self, predicate: Any) -> None:
        """Tells `forced` when every call needs an input's size to be one number, though dynamic_shapes lets it vary."""
        symbols = list(getattr(predicate, "free_symbols", ()))
        if len(symbols) != 1 or symbols[0] not in self.declared or not isinstance(predicate, sympy.Eq) or not self.certain():
            return
        difference = sympy.Poly(cast(Any, predicate.lhs) - cast(Any, predicate.rhs), symbols[0])
        if difference.degree() == 1:
            slope, rest = difference.all_coeffs()
            self.forced(self.declared[symbols[0]], -rest / slope)

    def certain(self) -> bool:
        """Whether every call gets here: nothing was decided so far but that sizes fit."""
        below = self.rec
        for rec in below.chain()[1:]:
            exit = rec.exit
            fits = isinstance(exit, ForkExit) and exit.then.rec is below and isinstance(exit.orelse.rec.exit, RaiseExit)
            if not fits and not isinstance(exit, CaseExit):
                return False
            below = rec
        return True

    def misfit(self, predicate: Any) -> Exception:
        kind = IndexError if self.recorder.running in INDEXING else RuntimeError
        return of_model(kind(f"{MISFIT}: {predicate} does not hold at {self.span()}"))

    def expect(self, predicate: Any) -> bool:
        """A condition that torch needs: a run for which it fails raises at run time."""
        if self.finished:
            return True
        if not self.making:
            self.check_alive()
        known = self.fact(predicate)
        if known is not None:
            return known
        if self.making:
            return True
        if isinstance(predicate, sympy.Basic) and any(self.binding(s) is None for s in predicate.free_symbols):
            self.rec.facts.append((predicate, True))  # what torch says of a result that is still being made
            return True
        if self.caught():
            if self.decide(predicate):
                return True
            raise self.misfit(predicate)
        if self.step < len(self.path) - 1:
            if self.cursor < len(self.rec.log) or not isinstance(self.rec.exit, ForkExit):
                raise Diverged("replay diverged at a size condition")
            self.advance()
            return True
        self.check_visible(predicate)
        self.check_free(predicate)
        text, span = self.source_text()
        yes, no = self.fork_rec(), self.fork_rec()
        yes.facts.append((predicate, True))
        error = self.misfit(predicate)
        no.exit = RaiseExit(f"builtins:{type(error).__name__}", error.args, (), span)
        self.rec.exit = ForkExit(predicate, To(yes), To(no), text, span)
        self.path = [*self.path, yes]
        self.advance()
        return True
