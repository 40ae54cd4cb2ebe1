"""Local tuples that a loop makes longer, `outputs += (x,)`: from the loop's head on they are rows, as lists are from their birth."""

from __future__ import annotations

from typing import Any

from dync.capture.forms import Form
from dync.capture.keying import Keying
from dync.capture.lists import Grown
from dync.capture.loops import Plan
from dync.capture.markers import Site

MANY_TUPLES = 60
"""So often may paths part for the length of one tuple that a loop makes longer."""
Named = dict[str, tuple[Any, ...]]


def tuples_in(names: dict[str, Any]) -> Named:
    """Those of Python's own, by name."""
    return {n: v for n, v in names.items() if type(v) is tuple}


class Tuples(Keying):
    """Which of them there are is in the plans of their loops."""

    plans: dict[Any, Plan]

    def loop_key(self, site: Site) -> tuple[str, int]:
        return (self.markers.functions[site.function], site.line)

    def tuples_as_rows(self, plan: Plan, names: dict[str, Any]) -> dict[str, Any]:
        """The tuples that a loop was found to make longer, where they are still Python's own, as ones of unknown length."""
        forms = {n: (key, self.grown[key]) for n, key in plan.tuples.items()}
        return {n: self.grow(key, form, names[n]) for n, (key, form) in forms.items() if form is not None and type(names.get(n)) is tuple}

    def learn_tuples(self, loop: Any, before: Named, now: dict[str, Any]) -> None:
        """A turn leaves tuples longer than it found them: starts over if they can be of unknown length."""
        if any([self._learn_tuple(loop, name, old, now.get(name)) for name, old in before.items()]):
            self.start_again()

    def part_tuples(self, site: Site, a: Named, b: Named) -> None:
        """Paths in a loop stay apart: starts over if that is for the lengths of tuples alone, and time and again."""
        parted = {n: sorted((a[n], b[n]), key=len) for n in sorted(a.keys() & b.keys()) if len(a[n]) != len(b[n])}
        if not site.loops or not parted:
            return
        loop = self.loop_key(self.markers.sites[site.loops[-1]])
        self.splits.update((loop, n) for n in parted)
        if any([self._learn_tuple(loop, n, *pair) for n, pair in parted.items() if self.splits[loop, n] > MANY_TUPLES]):
            self.start_again()

    def _learn_tuple(self, loop: Any, name: str, old: tuple[Any, ...], new: Any) -> bool:
        """Whether a tuple that this loop makes longer is found to be of unknown length just now."""
        place = f"the tuple {name!r} of the loop at {loop}"
        if place in self.grown:
            return False
        if isinstance(new, Grown):
            self.grown[place] = Form("tuple", new.form.structure, new.form.columns)
        elif type(new) is not tuple or len(new) <= len(old) or not self.learn(place, "tuple", (*old, *new)):
            return False
        self.plans.setdefault(loop, Plan()).tuples[name] = place
        return True
