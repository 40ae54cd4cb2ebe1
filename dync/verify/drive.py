"""Drives every decision both ways: given calls, random ones, then a search for what is still missing; then the report."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from dync.ir.flow import Branch, Flow, Switch
from dync.ir.program import Program
from dync.ir.trace import Trace
from dync.verify.boundary import between, close
from dync.verify.calls import Call, Side
from dync.verify.flips import NUDGE_ULP
from dync.verify.harness import Harness
from dync.verify.inputs import Sampler
from dync.verify.paths import Path, back_edges, describe, loop_counts, outcomes, paths, route
from dync.verify.report import DecisionCover, PathRecord, Report, Uncovered
from dync.verify.search import Found, descend, evolve, prefix

BOUND = 256
"""Most paths that are enumerated; beyond, only decisions and loops are asked for."""
TARGETS = 64
"""Most paths that are searched for one by one."""
STARTS = 24
"""Random calls that a search begins from, beside those that came near."""
CHAIN = 8
"""Calls in a row on one state, where the model keeps state."""


@dataclass
class Driver:
    """One verification. runner: the side whose traces guide the search (cheap calls, nothing compared).

    patience: mismatches after which it stops, since more would say no more. seconds: a limit on time, none by default, since
    with one the same seed may do more or less.
    """

    harness: Harness
    sampler: Sampler
    runner: Side
    budget: int
    cover: str = "paths"
    patience: int = 20
    seconds: float | None = None
    """After this long no further call and no further search is begun; what is missing is reported as uncovered."""
    forced: int = 0
    """Runs along forced paths that the search may still make: more for small programs."""
    found: dict[Path, Found] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.flow: Flow = self.harness.flow
        self.program: Program | None = self.harness.program
        self.books = self.harness.books
        self.known, self.complete = paths(self.flow, BOUND)
        self.backs = back_edges(self.flow)
        nodes = sum(len(b.graph.nodes) for b in self.program.blocks) if self.program else 1
        self.deadline = math.inf if self.seconds is None else time.monotonic() + self.seconds
        self.forced = self.budget * min(50, max(5, 20_000 // max(1, nodes)))

    def run(self, given: tuple[Call, ...]) -> None:
        """All phases; at most `budget` compared calls beside the given ones."""
        for call in given:
            self.harness.check(call)
        self.sample()
        for target in self.targets():
            if self.left() <= 0:
                break
            self.search(target)
        self.near_thresholds()
        if len(self.books.mismatches) < self.patience:
            self.chain()

    def left(self) -> int:
        """Calls that the budget still allows; none after too many mismatches."""
        if len(self.books.mismatches) >= self.patience or time.monotonic() > self.deadline:
            return 0
        return self.budget - (self.books.runs - self.books.given) - self.books.rejected

    def sample(self) -> None:
        """Random calls: half of the budget, fewer once all outcomes have been taken and a fair number was compared."""
        quota, fair = max(1, self.budget // 2), min(24, max(1, self.budget // 4))
        far = (self.sampler.far(),) if self.backs else ()
        for n, call in enumerate(itertools.chain(far, itertools.islice(self.sampler, quota))):
            if self.left() <= 0 or self.books.rejected >= 30 and not self.books.runs:
                break
            if n >= fair and not self.missing_outcomes() and (self.cover == "decisions" or not self.missing_paths()):
                break
            self.harness.check(call)
            self.learn_thresholds(call)

    def learn_thresholds(self, call: Call) -> None:
        """Values that run-time parameters were compared with: a decision's left side is its parameter plus or minus its margin."""
        trace = next((t for t in self.trace_of(call)), None)
        by_value = {p.value.name: p for p in self.flow.signature.params}
        for record in trace.decisions if trace and by_value else ():
            exit = self.harness.exits[record.block]
            if not isinstance(exit, (Branch, Switch)) or record.margin is None:
                continue
            for side in (exit.decision.left, exit.decision.right):
                p = by_value.get(getattr(side, "name", ""))
                if p is not None:
                    now = call.params.get(p.name, p.default)
                    self.sampler.thresholds.setdefault(p.name, []).extend([now - record.margin, now + record.margin])

    def trace_of(self, call: Call) -> Iterator[Trace]:
        """The trace of a call on the guiding side, if it has one."""
        trace = self.runner.run(call).trace if self.flow.signature.params else None
        return iter(() if trace is None else (trace,))

    # -- what is missing ---------------------------------------------------------------------------------------------
    def missing_outcomes(self) -> list[tuple[str, str]]:
        return [(o.block, o.label) for o in outcomes(self.flow) if not self.books.outcomes[o.block, o.label]]

    def missing_loops(self) -> list[tuple[str, str]]:
        possible = dict.fromkeys(kind for path in self.known for kind in loop_counts(self.backs, path))
        return [kind for kind in possible if not self.books.loops[kind]]

    def missing_paths(self) -> list[Path]:
        return [p for p in self.known if not self.books.paths[p]] if self.complete else []

    def targets(self) -> Iterator[tuple[Path, ...]]:
        """What to search for, each as the paths that would do; looked up late, since one find may cover several."""
        for missing in self.missing_outcomes():
            if not self.books.outcomes[missing]:
                yield self.ways_to(*missing)
        if self.cover == "decisions":
            return
        for kind in self.missing_loops():
            if not self.books.loops[kind]:
                yield tuple(p for p in self.known if kind in loop_counts(self.backs, p))[:4]
        for path in self.missing_paths()[:TARGETS]:
            if not self.books.paths[path] and path not in self.found:
                yield (path,)

    def ways_to(self, block: str, label: str) -> tuple[Path, ...]:
        """Paths that leave `block` by `label`: taken ones turned there, enumerated ones, a shortest one."""
        turned = [(*prefix(p, block)[:-1], (block, label)) for p in self.books.takers if any(name == block for name, _ in p)]
        listed = [p[: p.index((block, label)) + 1] for p in self.known if (block, label) in p]
        return tuple(dict.fromkeys(p for p in (*turned[:4], *listed, route(self.flow, block, label)) if p))[
            : 8 if not self.complete else None
        ]

    # -- search --------------------------------------------------------------------------------------------------------
    def search(self, ways: tuple[Path, ...]) -> None:
        """Looks for a call on one of the paths; what it finds is compared like any other call."""
        for path in ways:
            found = self._descend(path) if self.program is not None else Found()
            self._note(path, found)
            if found.call is not None and self._reached(found.call, path):
                return
        for path in ways[:2]:
            if self.left() > 0 and not self.found[path].impossible:
                limit = min(60, max(10, self.budget // 4))
                found = evolve(
                    self.flow, lambda c: self.runner.run(c).trace, path, self._starts(path)[:4], self.sampler, limit, self.program
                )
                self._note(path, found)
                if found.call is not None and self._reached(found.call, path):
                    return

    def _reached(self, call: Call, path: Path) -> bool:
        before = self.books.runs
        self.harness.check(call)
        return self.books.runs > before and any(p[: len(path)] == path for p in (*self.books.paths,))

    def _descend(self, path: Path) -> Found:
        assert self.program is not None
        best, quota = Found(), max(250, self.forced // 4)
        for start in self._starts(path):
            if self.forced <= 0 or quota <= 0 or time.monotonic() > self.deadline:
                break
            found = descend(self.program, path, start, min(250, self.forced))
            self.forced, quota = self.forced - found.runs, quota - found.runs
            if found.call is not None or found.impossible:
                return found
            best = found if best.closest is None or found.closest is not None and found.closest < best.closest else best
        return best

    def _starts(self, path: Path) -> list[Call]:
        """Calls to start from: those whose paths agree longest with this one, and random ones."""
        ranked = sorted(
            self.books.takers, key=lambda p: -next((i for i, (a, b) in enumerate(zip(p, path)) if a != b), min(len(p), len(path)))
        )
        near = [c for p in ranked[:2] for c in self.books.takers[p][:2]]
        return [*near[:2], self.sampler.random(0), *near[2:], *(self.sampler.random(n) for n in range(1, STARTS))]

    def _note(self, path: Path, found: Found) -> None:
        old = self.found.get(path, Found())
        near = [c for c in (old.closest, found.closest) if c is not None]
        self.found[path] = Found(found.call or old.call, min(near) if near else None, found.impossible or old.impossible)

    def near_thresholds(self) -> None:
        """For each decision that went both ways, a call close to its threshold on each side."""
        for block in self.flow.blocks:
            if not isinstance(block.exit, Branch) or not (
                self.books.outcomes[block.name, "true"] and self.books.outcomes[block.name, "false"]
            ):
                continue
            yes, no = self._takers(block.name, "true"), self._takers(block.name, "false")
            pairs = [(a, b) for a in yes[:6] for b in no[:6] if between(self.flow.signature, a, b, 0.5) is not None]
            for a, b in pairs[:3]:
                pair = close(self.flow, lambda c: self.runner.run(c).trace, block.name, a, b) if self.left() > 0 else None
                for call in pair or ():
                    self.harness.check(call)
                if pair:
                    break

    def _takers(self, block: str, label: str) -> list[Call]:
        return [
            c
            for path, calls in self.books.takers.items()
            for c in calls
            if next((said for name, said in path if name == block), "") == label
        ]

    def chain(self) -> None:
        """The compared calls once more in a row on one state, where there is state to keep."""
        if not (self.flow.slots or any(b.mutates for b in self.flow.blocks)):
            return
        calls = [c for taken in self.books.takers.values() for c in taken][:CHAIN]
        for n, call in enumerate(calls * 2 if calls else ()):
            fresh = n == 0
            if not self.harness.check(Call(call.args, call.kwargs, call.params, f"{call.origin}, call {n + 1} in a row"), fresh):
                break

    # -- report --------------------------------------------------------------------------------------------------------
    def report(self, name: str, seed: int, notes: tuple[str, ...], command: str) -> Report:
        """What was found and what was not."""
        books = self.books
        impossible = {p for p, f in self.found.items() if f.impossible}
        cover = [
            DecisionCover(o.block, o.label, o.decision.text, o.decision.span, books.outcomes[o.block, o.label]) for o in outcomes(self.flow)
        ]
        listed = [p for p in self.known if p not in impossible] if self.complete else []
        every = dict.fromkeys([*listed, *books.paths])
        records = tuple(PathRecord(describe(p), tuple(n for n, _ in p), books.paths[p]) for p in every)
        missing, unreachable = self._uncovered()
        refused = [f"{n} generated calls were refused by the model: {why}" for why, n in books.rejections.most_common(2)]
        unlisted = (
            []
            if self.complete
            else [f"more than {BOUND} paths exist: decisions and loops were asked for, {len(books.paths)} paths were taken"]
        )
        noise = f"{books.noisy:.0f} ULP by which eager itself moves when its inputs move by {NUDGE_ULP}"
        sides = tuple(s.name for s in self.harness.sides) + (("interpret",) if self.harness.oracle else ())
        return Report(
            name,
            not books.mismatches and books.runs > 0,
            books.runs,
            books.rejected,
            books.given,
            records,
            tuple(cover),
            tuple(missing),
            tuple(unreachable),
            tuple(books.flips),
            tuple(books.mismatches),
            books.worst,
            self.cover,
            seed,
            self.budget,
            sides if books.runs else (),
            (*notes, *unlisted, *refused, *([f"some errors are beyond tolerance, and within the {noise}"] if books.noisy else ())),
            command,
            self.complete,
        )

    def _uncovered(self) -> tuple[list[Uncovered], list[Uncovered]]:
        missing: list[Uncovered] = []
        unreachable: list[Uncovered] = []
        for block, label in self.missing_outcomes():
            decision = next(o.decision for o in outcomes(self.flow) if (o.block, o.label) == (block, label))
            reason = self._impossible_outcome(block, label)
            near = [self.books.margins[block, label]] if (block, label) in self.books.margins else []
            near += [f.closest for p, f in self.found.items() if f.closest is not None and p[-1] == (block, label)]
            one = Uncovered(
                "decision", f"{block} {label}", decision.text, decision.span, min(near) if near and not reason else None, reason
            )
            (unreachable if reason else missing).append(one)
        if self.cover == "decisions":
            return missing, unreachable
        known = {(u.name.split()[0], u.name.split(maxsplit=1)[1]) for u in (*missing, *unreachable)}
        for head, amount in self.missing_loops():
            missing.append(Uncovered("loop", f"{head} {amount}", span=self.flow.block(head).span))
        for path in self.missing_paths():
            found = self.found.get(path, Found())
            if found.impossible:
                unreachable.append(Uncovered("path", describe(path), reason=found.impossible))
            elif not any(step in known for step in path):
                missing.append(Uncovered("path", describe(path), closest=found.closest))
        return missing, unreachable

    def _impossible_outcome(self, block: str, label: str) -> str:
        """Why no call reaches the outcome: every path to it was shown impossible; empty otherwise."""
        ways = {p[: p.index((block, label)) + 1] for p in self.known if (block, label) in p}
        if not self.complete or self.backs or not ways:
            return ""
        reasons = [self.found[p].impossible if p in self.found else "" for p in ways]
        return reasons[0] if all(reasons) else ""
