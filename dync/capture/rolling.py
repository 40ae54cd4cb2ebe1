"""The heads of loops: when a loop is rolled, where its header stands, and how a turn ends."""

from __future__ import annotations

import sys
import types
from typing import Any

import sympy
import torch

from dync.capture.image import take
from dync.capture.joins import Joins, leaf_key
from dync.capture.keyed import Keyed
from dync.capture.lists import Grown
from dync.capture.loops import (
    FOR_TURNS,
    HEAVIER,
    HEAVY,
    MANY_CALLS,
    MAX_HEADERS,
    MAX_PEEL,
    MAX_TURNS,
    MAX_YIELDS,
    WHILE_TURNS,
    Header,
    LoopIter,
    OnceIter,
    Plan,
    Turn,
    close,
    misfit,
    open_header,
)
from dync.capture.markers import Site
from dync.capture.once import Once, Steps, iterated
from dync.capture.places import Activation
from dync.capture.replay import Diverged, Suspended
from dync.capture.tape import JumpExit, Rec
from dync.capture.tuples import tuples_in
from dync.capture.views import View, Walk
from dync.capture.walks import Paired, SymRange, is_grown, length_of, walked_array
from dync.ir.types import UNKNOWN


def hidden(iterable: Any) -> bool:
    """Whether walking an object runs a generator."""
    if isinstance(iterable, (zip, enumerate, map, filter)):
        return any(hidden(x) for x in iterable.__reduce__()[1])
    return isinstance(iterable, types.GeneratorType)


class Rolling(Joins):
    """The markers of loops."""

    headers: dict[Rec, list[int]]
    floors: dict[Any, int]
    """Parameters of headers → what they are held to be no less than."""
    passed: set[Any]
    """Loops that were met with a length known at capture."""

    def loop_over(self, site_uid: int, iterable: Any) -> Any:
        site, frame = self.markers.sites[site_uid], sys._getframe(1)
        act = self._here(site, frame)
        act.symbolic.discard(site_uid)
        act.fixed.discard(site_uid)
        act.walked.pop(site_uid, None)
        iterable = iterated(iterable)
        if hidden(iterable):
            act.walked[site_uid] = iterable
        iterable = walked_array(iterable)
        tensor = isinstance(iterable, torch.Tensor) and iterable.dim() > 0 and isinstance(iterable.shape[0], torch.SymInt)
        listed = is_grown(iterable) and not isinstance(iterable, SymRange)
        iterable = iterable.walk() if isinstance(iterable, (Keyed, View)) else iterable
        once = isinstance(iterable, Once)
        if once:
            iterable.begin()
        rows: Any = iterable if listed or tensor or once else None
        key = self.loop_key(site)
        if rows is not None:
            n = rows.length if once else length_of(rows)
            known = self.known_int(n)
            if once and known is not None and isinstance(rows.i, int):
                iterable = Steps(rows)
            elif once or known is None or is_grown(rows) and key in self.plans and self.plans[key].rolled:
                iterable = SymRange(0, n, 1)
            else:
                steps = rows.steps(known) if isinstance(rows, Walk) else [rows.at(i) for i in range(known)] if is_grown(rows) else iterable
                iterable = steps
        if not isinstance(iterable, (range, SymRange)):
            if rows is None:
                act.fixed.add(site_uid)
            self.passed.add(key)
            return iterable
        plan = self.plans.get(key)
        if isinstance(iterable, SymRange) and plan is None:
            plan = self.plans[key] = Plan()
            if key in self.passed:
                self.start_again()
        if plan is None or (not plan.rolled and isinstance(iterable, range)):
            self.passed.add(key)
            return iterable
        act.symbolic.add(site_uid)
        return (OnceIter if once else LoopIter)(Turn(lambda it: self.turn(site, frame, it)), iterable, rows)

    def turn(self, site: Site, frame: Any, it: LoopIter) -> None:
        """The head of a for loop over a symbolic range: the body's marker writes back."""
        act = self._unwind(frame)
        assert act is not None and act.frame is frame
        new = self._head(site, act, site.uid, {"dync turn": it})
        act.pending.update(new or {})

    def head(self, site_uid: int) -> dict[str, Any] | None:
        self.check_alive()
        site = self.markers.sites[site_uid]
        act = self._here(site, sys._getframe(1))
        if site.loops[-1] in act.symbolic:
            act.starts[site.depth] = self.rec
            for name in site.targets:
                act.pending.pop(name, None)
            return self._pending(act)
        return self._head(site, act, site.loops[-1], {})

    def resume(self, site_uid: int) -> dict[str, Any] | None:
        site = self.markers.sites[site_uid]
        act = self._here(site, sys._getframe(1))
        act.starts[site.depth] = self.rec
        return self._pending(act)

    def _head(self, site: Site, act: Activation, loop: int, extra: dict[str, Any]) -> dict[str, Any] | None:
        loops = site.loops if site.loops and site.loops[-1] == loop else (*site.loops, loop)
        act.loops = [p for p in act.loops if p[0] in loops]
        if act.loops and act.loops[-1][0] == loop:
            act.loops[-1][1] += 1
        else:
            act.loops.append([loop, 1])
            act.heads[loop] = self.rec
            act.begun[loop] = self.step
        turn = act.loops[-1][1]
        position = act.position(site.uid, loops)
        new: dict[str, Any] = {}
        plan = self.plans.get(self.loop_key(self.markers.sites[loop])) if self.joins else None
        yields = self.markers.sites[loop].yields
        in_sight = site.kind == "while" or loop in act.symbolic  # others hide their position
        rolled = plan is not None and plan.rolled and in_sight and not yields
        if plan is not None and rolled and turn > plan.peel:
            new.update(self.tuples_as_rows(plan, self.roots(site, act, extra, False).own) if plan.tuples else {})
            if turn > plan.peel + 1:
                self.close_turn(plan, act, site, extra, loop, new)
        if act.heads[loop] is not self.rec:
            new.update(self.join(position, act.heads[loop], site, act, extra, False, new) or {})
        long = turn > (WHILE_TURNS if site.kind == "while" else FOR_TURNS) or turn > 2 and (
            self.calls_since(act.begun[loop]) > MANY_CALLS or self.heavy_since(act.begun[loop]))
        if plan is None and long and not yields and loop not in act.fixed and act.heads[loop] is not self.rec and self.joins:
            self.plans[self.loop_key(self.markers.sites[loop])] = Plan()
            self.start_again()
        most = MAX_YIELDS if yields and site.kind == "while" else MAX_TURNS
        if turn > most:
            why = "it yields, and its end depends on data" if yields else "its end depends on data"
            self.refuse("DY310", f"this loop goes on for more than {most} turns", plan.reason if plan else why,
                        "write the loop where its values are used" if yields else
                        "keep the loop's variables of one type and shape, tensors or numbers",
                        self.loop_span(act.frame, site.line))
        if plan is not None and rolled and turn > plan.peel:
            if turn == plan.peel + 1:
                act.headers[loop] = []
            new.update(self.open_loop(plan, act, site, extra, loop, position, new) or {})
        act.heads[loop] = act.starts[site.depth] = self.rec
        return new or None

    def calls_since(self, step: int) -> int:
        """Calls of torch since a step of the path."""
        return sum(len(r.log) for r in self.path[step:self.step + 1])

    def heavy_since(self, step: int) -> bool:
        """Whether sizes have become long expressions since a step of the path."""
        before, since = ([r.weight for r in part] for part in (self.path[:step], self.path[step:self.step + 1]))
        return max(since) > max([HEAVY, *(HEAVIER * w for w in before)])

    def open_loop(self, plan: Plan, act: Activation, site: Site, extra: dict[str, Any], loop: int, position: tuple[int, ...],
                  pending: dict[str, Any]) -> dict[str, Any] | None:
        with torch._C.DisableTorchFunction():
            key = (position, "header")
            if not self.live:
                if self.cursor < len(self.rec.log) or not isinstance(self.rec.exit, JumpExit) or self.rec.exit.to.rec.pending != key:
                    raise Diverged("replay diverged at a loop's head")
                self.advance()
                new = self._write_back(self.rec.state, site, act, extra, False, pending)
            else:
                self.note_writes()
                image = take(self.roots(site, act, extra, False, pending), self.heap, self.value, self.born)
                header, _, positions = open_header(self, plan, image, key)
                self.headers[header] = positions
                self.path = [*self.path, header]
                self.advance()
                new = self._write_back(header.state, site, act, extra, False, pending)
            self.check_header(plan, act, site, extra, loop, {**pending, **(new or {})})
            return new

    def check_header(self, plan: Plan, act: Activation, site: Site, extra: dict[str, Any], loop: int, new: dict[str, Any]) -> None:
        roots = self.roots(site, act, extra, False)
        roots.own.update({n: v for n, v in new.items() if n in roots.own})
        image = take(roots, self.heap, self.value, self.born)
        act.headers[loop].append(Header(self.rec, image, self.headers[self.rec], tuples_in(roots.own)))

    def close_turn(self, plan: Plan, act: Activation, site: Site, extra: dict[str, Any], loop: int, pending: dict[str, Any]) -> None:
        """Ends the run at the end of a turn that leads back to a header; returns where the loop's next header is to be opened."""
        self.check_alive()
        headers: list[Header] = act.headers[loop]
        if not self.live:
            if plan.split:
                return
            raise Diverged("replay diverged at a loop's end")
        with torch._C.DisableTorchFunction():
            self.note_writes()
            roots = self.roots(site, act, extra, False, pending)
            image = take(roots, self.heap, self.value, self.born)
            header = next((h for h in reversed(headers) if misfit(h.image, image) is None), None)
            self.learn_lists((header or headers[-1]).image, image, now=True)
            self.learn_texts((header or headers[-1]).image, image, site, True)
            if header is None:
                self.learn_tuples(self.loop_key(self.markers.sites[loop]), headers[-1].tuples, roots.own)
            if header is None and plan.split and len(headers) < MAX_HEADERS:
                return
            reason = close(self, plan, header or headers[-1], image)
        if reason == "":
            plan.closes = self.dead = True
            raise Suspended
        if reason is not None:
            plan.widened.clear()
            plan.reason = reason = reason + self.stays_pythons((header or headers[-1]).image, image)
            if header is None and not plan.was_split and (plan.closes or plan.peel == MAX_PEEL):
                plan.split, plan.was_split, plan.peel = True, True, 0
                self.start_again()
            plan.split = False
            plan.peel += 1
            if plan.peel > MAX_PEEL:
                plan.rolled = False
                if loop in act.symbolic:
                    self.unroll(self.loop_key(self.markers.sites[loop]), extra["dync turn"].rows)
                    self.refuse("DY312", "this loop cannot be compiled as a loop", reason,
                                "keep the loop's variables of one type and shape, tensors or numbers",
                                self.loop_span(act.frame, site.line))
        self.start_again()

    def unroll(self, key: Any, rows: Any) -> None:
        """A loop over lists of unknown length cannot be rolled: where they may be Python's own, they are, and it is learnt anew."""
        plan = self.plans.pop(key)
        rows = rows.walk if isinstance(rows, Once) else rows
        for items in rows.parts if isinstance(rows, Paired) else (rows,):
            if isinstance(items, Grown):
                self.without(items.key, "a loop over it cannot be compiled as a loop: " + plan.reason)
        self.plans[key] = plan

    def same_at(self, header: Rec, old: Any, new: Any) -> bool:
        """Whether a leaf is unchanged since the header."""
        return leaf_key(old) == leaf_key(new)

    def loop_param(self, leaf: Any, sizes: dict[int, Any], dense: bool, rising: bool) -> Any:
        """A parameter of a loop's header; sizes: of the dimensions that change; rising: the place of a `for` loop never falls."""
        if leaf.kind == "tensor":
            fake = self.weights.fake(leaf.raw)
            shape = [sizes.get(d, s) for d, s in enumerate(fake.shape)]
            made = self.made(shape, fake, dense)
            val = self.new_tensor(made, "loop", getattr(leaf.value, "span", UNKNOWN))
            val.name = leaf.where
            self.rec.params.append(val)
            return made
        val = self.new_scalar(leaf.kind, "loop")
        val.name = leaf.where.removeprefix("dync ")
        self.rec.params.append(val)
        made = self.symbolic(val)
        if leaf.kind == "int" and rising and leaf.where.startswith("dync "):
            first = self.shape_env.known(sympy.sympify(leaf.value))
            if first is not None:
                self.shape_env.bound(made.node.expr, int(first), None)
                self.floors[made.node.expr] = int(first)
        return made

    def falls(self, old: Any, new: Any) -> bool:
        """Whether a place that was held to be no less than at first may come back less."""
        floor = self.floors.get(old.value) if old.kind == "int" else None
        return floor is not None and self.shape_env.known(sympy.Ge(new.value, floor)) is not True
