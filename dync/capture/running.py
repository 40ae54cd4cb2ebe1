"""The marked functions that run now, and how far each has come."""

from __future__ import annotations

import sys
from typing import Any

from dync.capture.decisions import Decisions
from dync.capture.markers import Site
from dync.capture.places import Activation, line_span

MAX_RECURSION = 64


class Running(Decisions):
    """Keeps `activations`, outermost first."""

    activations: list[Activation]

    def enter(self, site_uid: int) -> None:
        self.check_alive()
        site = self.markers.sites[site_uid]
        frame = sys._getframe(1)
        parent = self._unwind(frame.f_back)
        if parent is None:
            prefix: tuple[int, ...] = (len(self.activations),)
        else:
            parent.calls += 1
            prefix = (*parent.prefix, *(n for pair in parent.loops for n in pair), parent.last, parent.calls)
        if sum(a.function == site.function for a in self.activations) > MAX_RECURSION and self.rec is not self.path[0]:
            self.refuse("DY320", f"`{frame.f_code.co_name}` calls itself more than {MAX_RECURSION} deep",
                        "how deep may depend on data, and a program has no call stack", "write it as a loop",
                        line_span(frame.f_code.co_filename, frame.f_code.co_firstlineno))
        self.activations.append(Activation(frame, site.function, prefix, self.rec, {site.depth: self.rec}))

    def _unwind(self, frame: Any) -> Activation | None:
        """Drops the activations that have ended; the innermost that `frame` runs in."""
        running = set()
        while frame is not None:
            running.add(id(frame))
            frame = frame.f_back
        while self.activations and id(self.activations[-1].frame) not in running:
            self.activations.pop()
        return self.activations[-1] if self.activations else None

    def _here(self, site: Site, frame: Any) -> Activation:
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
