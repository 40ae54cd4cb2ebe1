"""The marked functions that run now, and how far each has come."""

from __future__ import annotations

import dis
import inspect
import sys
from typing import Any

from dync.capture.decisions import Decisions
from dync.capture.markers import Site
from dync.capture.places import Activation, line_span
from dync.capture.stack import Suspended

MAX_RECURSION = 64


class Running(Decisions):
    """Keeps `activations`, outermost first."""

    activations: list[Activation]
    generators: dict[int, Activation]
    """The generators of this run, by their frames."""

    def enter(self, site_uid: int) -> None:
        self.check_alive()
        site = self.markers.sites[site_uid]
        frame = sys._getframe(1)
        parent = self._unwind(frame.f_back)
        if parent is None:
            prefix: tuple[int, ...] = (len(self.activations),)
        else:
            prefix = self.next_prefix(parent)
        if sum(a.function == site.function for a in self.activations) > MAX_RECURSION and self.rec is not self.path[0]:
            self.refuse("DY320", f"`{frame.f_code.co_name}` calls itself more than {MAX_RECURSION} deep",
                        "how deep may depend on data, and a program has no call stack", "write it as a loop",
                        line_span(frame.f_code.co_filename, frame.f_code.co_firstlineno))
        act = Activation(frame, site.function, prefix, self.rec, {site.depth: self.rec}, own=_own(frame))
        self.activations.append(act)
        if frame.f_code.co_flags & inspect.CO_GENERATOR:
            self.generators[id(frame)] = act

    def resumed(self, site_uid: int, value: Any) -> Any:
        """A generator goes on after a yield. C code that walks it, as `sum` does, remembers what it gave: then nothing joins across."""
        frame = sys._getframe(1)
        act = self._here(self.markers.sites[site_uid], frame)
        if not self.is_walked_in_sight(frame.f_back):
            act.entry, act.starts, act.heads = self.rec, {}, dict.fromkeys(act.heads, self.rec)
        return value

    def is_walked_in_sight(self, walker: Any) -> bool:
        """Whether a frame that asks a generator for its next value is a marked function in a `for` or `yield from` of its own."""
        op = dis.opname[walker.f_code.co_code[walker.f_lasti]]
        return op in ("FOR_ITER", "SEND") and (self.is_marked(walker.f_code) and walker.f_code.co_name[0] != "<")

    def resume_generator(self, frame: Any) -> None:
        """Puts the activation of a suspended generator back, under whoever asks for its next value now."""
        act = self.generators.get(id(frame))
        if act is None or act.frame is not frame:
            raise Suspended  # of a run that is over
        parent = self._unwind(frame.f_back)
        act.prefix = (len(self.activations),) if parent is None else self.next_prefix(parent)
        act.entry, act.starts = self.rec, {}
        self.activations.append(act)

    def _unwind(self, frame: Any) -> Activation | None:
        """Drops the activations that have ended; the innermost that `frame` runs in."""
        running = set()
        while frame is not None:
            running.add(id(frame))
            frame = frame.f_back
        while self.activations and id(self.activations[-1].frame) not in running:
            self.activations.pop()
        return self.activations[-1] if self.activations else None

    @staticmethod
    def next_prefix(parent: Activation) -> tuple[int, ...]:
        """The position of the next call that an activation makes."""
        parent.calls += 1
        return (*parent.prefix, *(n for pair in parent.loops for n in pair), parent.last, parent.calls)

    def _here(self, site: Site, frame: Any) -> Activation:
        if frame.f_code.co_flags & inspect.CO_GENERATOR and all(a.frame is not frame for a in self.activations):
            self.resume_generator(frame)
        while self.activations[-1].frame is not frame:
            self.activations.pop()
        act = self.activations[-1]
        if any(p[0] not in site.loops for p in act.loops):
            act.loops = [p for p in act.loops if p[0] in site.loops]
        act.last, act.calls = site.uid, 0
        return act

    def at(self, site_uid: int) -> None:
        site = self.markers.sites[site_uid]
        act = self._here(site, sys._getframe(1))
        act.starts[site.depth] = self.rec

    def _pending(self, act: Activation) -> dict[str, Any] | None:
        new, act.pending = act.pending, {}
        return new or None


def _own(frame: Any) -> Any:
    """The first argument of a method with a name like `__init__`, when it begins to run."""
    code = frame.f_code
    if not code.co_name.startswith("__") or not code.co_name.endswith("__") or not code.co_argcount:
        return None
    return frame.f_locals[code.co_varnames[0]]
