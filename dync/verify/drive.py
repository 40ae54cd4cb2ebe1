"""Drives every decision both ways: given calls, random ones, then a search for what is still missing; then the report."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from dync.ir.flow import Branch, Flow, Switch
from dync.ir.program import Program
from dync.ir.trace import Trace
from dync.verify.boundary import between, close
from dync.verify.calls import Call, Side
from dync.verify.evolve import evolve
from dync.verify.flips import NOISE, NUDGE_ULP
from dync.verify.harness import Harness
from dync.verify.inputs import Sampler
from dync.verify.limit import TimeLimit, TookTooLong
from dync.verify.lookups import exchange, table_rows
from dync.verify.paths import Path, back_edges, describe, loop_counts, outcomes, paths, prefix, steps
from dync.verify.point import Point
from dync.verify.proofs import possible, routes
from dync.verify.report import DecisionCover, PathRecord, Report, Uncovered
from dync.verify.search import Found, descend, missed_by, summed, worst

BOUND = 256
"""Most paths that are enumerated; beyond, only decisions and loops are asked for."""
TARGETS = 64
"""Most paths that are searched for one by one."""
STARTS = 24
"""Random calls that a search begins from, beside those that came near."""
EXCHANGED = 120
"""Most runs of one exchange search: the next start is worth more than a longer one."""
RANKS = (None, 0, 1)
"""Classes on which an exchange search has numbers of argmax agree, from one start to the next: any, the nearest one, the next."""
WAYS = 8
"""Most paths to one outcome that are tried in one round, where there are too many to list."""
TURNS = 2
PAIRS = 4
"""Pairs of calls between which a decision's threshold is looked for."""
SCANNED = 10
"""Calls of the cheap scan for each compared call of the budget, where its share of a limit on time does not end it."""
SCAN_SHARE = 0.25
TIMED = 8
"""Times the work where a limit on time ends the search."""
EVOLVED = 3
"""More paths to one outcome that are tried by mutation in the second round."""
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
    work: int = 0
    """Graph nodes that runs along forced paths may still cost: more runs for small programs."""
    exchanges: int = 0
    """Exchange searches begun: each goes about it in another way than the last."""
    found: dict[Path, Found] = field(default_factory=dict)
    impossible: dict[tuple[str, str], str] = field(default_factory=dict)
    """Outcomes that no call takes, and why."""

    def __post_init__(self) -> None:
        self.flow: Flow = self.harness.flow
        self.limit = TimeLimit()
        self.program: Program | None = self.harness.program
        self.books = self.harness.books
        self.known, self.complete = paths(self.flow, BOUND)
        self.proofs = routes(self.flow, self.program)
        self.routes = self.proofs[0]
        self.backs = back_edges(self.flow)
        self.nodes = {b.name: len(b.graph.nodes) + len(b.flow.host) for b in self.program.blocks} if self.program else {}
        self.deadline = math.inf if self.seconds is None else time.monotonic() + self.seconds
        nodes = sum(self.nodes.values())
        self.work = self.budget * min(50 * nodes, max(5 * nodes, 20_000)) * (1 if self.seconds is None else TIMED)

    def run(self, given: tuple[Call, ...]) -> None:
        """All phases; at most `budget` compared calls beside the given ones."""
        for call in given:
            if len(self.books.mismatches) < self.patience:
                self.harness.check(call)
        self.learn_ranges(given)
        self.sample()
        self.outcomes_first()
        if self.cover != "decisions":
            self.paths_then()
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

    def learn_ranges(self, given: tuple[Call, ...]) -> None:
        """Whole numbers of inputs that pick rows of tables are drawn from all rows, not from what given calls happen to hold."""
        for call in given[:1]:
            trace = self.runner.run(call).trace if self.program is not None else None
            if self.program is not None and trace is not None:
                with suppress(KeyError):  # what is wrong may go ways that the Program does not have
                    rows = table_rows(self.program, steps(self.flow, trace), call)
                    self.sampler.ranges |= {path: (0, n - 1) for path, n in rows.items()}

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

    def outcomes_first(self) -> None:
        """Searches for each missing outcome: in rounds, since a find brings others nearer, with what is left of the work and the time."""
        taken = possible(self.proofs) if self.missing_outcomes() else None
        for outcome in self.missing_outcomes():
            if taken is not None and outcome not in taken:
                self.impossible[outcome] = "on every way that leads here, numbers that the program itself counts or knows decide it"
        self.scan(itertools.islice(self.sampler, SCANNED * self.budget if self.seconds is None else None), SCAN_SHARE)
        for turn in range(TURNS):
            missing = [o for o in self.missing_outcomes() if o not in self.impossible]
            for n, target in enumerate(missing):
                if self.left() > 0 and not self.books.outcomes[target]:
                    self.search_outcome(*target, 1 / (len(missing) - n) / (TURNS - turn), turn)
            if turn == 0:
                self.scan(self.odd_calls())
            if len(self.missing_outcomes()) <= len(self.impossible):
                return

    def odd_calls(self) -> Iterator[Call]:
        """Calls with numbers that are not finite, or huge."""
        calls = [c for taken in self.books.takers.values() for c in taken[:1]][:2]
        return itertools.chain.from_iterable(self.sampler.odd(c) for c in calls)

    def scan(self, calls: Iterator[Call], share: float = 1.0) -> None:
        """Runs calls on the guiding side only, for a share of the time left; those that reach something new are compared."""
        now = time.monotonic()
        until = now + (self.deadline - now) * share
        for call in calls:
            missing = set(self.missing_outcomes()) - self.impossible.keys()
            if self.left() <= 0 or time.monotonic() > until or not missing:
                return
            self._looked(call)

    def paths_then(self) -> None:
        """Searches for what else is missing: numbers of rounds, then paths one by one."""
        for kind in self.missing_loops():
            if self.left() > 0 and not self.books.loops[kind]:
                self.search_paths(tuple(p for p in self.known if kind in loop_counts(self.backs, p))[:4])
        for path in self.missing_paths()[:TARGETS]:
            if self.left() > 0 and not self.books.paths[path] and path not in self.found:
                self.search_paths((path,))

    def ways_to(self, block: str, label: str) -> tuple[Path, ...]:
        """Paths that leave `block` by `label` and that the flow's own numbers allow: taken ones turned there, enumerated, a shortest,
        shortest ones through other outcomes."""
        shortest, certain = self.routes.shortest(self.routes.start, block, label)
        if shortest is None and certain:
            return ()
        near = sorted(self.books.takers, key=lambda p: -max((n for n, (name, _) in enumerate(p) if name == block), default=-1))
        turned = [t for p in near[: 2 * WAYS] if (t := self.routes.turned(p, block, label)) is not None]
        listed = [p[: p.index((block, label)) + 1] for p in self.known if (block, label) in p]
        allowed = [p for p in listed if len(self.routes.along(p)) > len(p)]
        found: dict[Path, None] = dict.fromkeys([*turned[:WAYS], *([shortest] if shortest else []), *allowed])
        for o in outcomes(self.flow) if len(found) < WAYS else ():
            other = self.routes.through((o.block, o.label), block, label)
            found |= {} if other is None or len(found) >= WAYS else {other: None}
        return tuple(found)[: WAYS if not self.complete else None]

    # -- search --------------------------------------------------------------------------------------------------------
    def search_outcome(self, block: str, label: str, share: float, turn: int) -> None:
        """Looks for a call that leaves `block` by `label`, whatever way it comes there, with a share of the work and time left."""
        ways, work, now = self.ways_to(block, label), int(self.work * share / (1 + turn)), time.monotonic()
        until = now + (self.deadline - now) * share
        for n, path in enumerate(ways):
            work -= self._descend(path, work // (len(ways) - n), turn, now + (until - now) / 2 * (n + 1) / len(ways))
            if self.books.outcomes[block, label] or self.left() <= 0:
                return
        possible = [p for p in ways if not self.found[p].impossible]
        for n, path in enumerate(possible[: 1 + turn * EVOLVED]):
            now = time.monotonic()
            self._evolve(path, turn, now + (until - now) / (len(possible[: 1 + turn * EVOLVED]) - n), anyhow=True)
            if self.books.outcomes[block, label]:
                return

    def search_paths(self, ways: tuple[Path, ...]) -> None:
        """Looks for a call on one of the paths; what it finds is compared like any other call."""
        for path in ways:
            self._descend(path, max(250 * sum(self.nodes.values()), self.work // 4), 0, self.deadline)
            if self._taken(path):
                return
        for path in ways[:2]:
            if self.left() > 0 and not self.found[path].impossible:
                self._evolve(path, 0, self.deadline)
                if self._taken(path):
                    return

    def _taken(self, path: Path) -> bool:
        return any(p[: len(path)] == path for p in (*self.books.paths,))

    def _descend(self, path: Path, share: int, turn: int, until: float) -> int:
        """Descends from several calls; the work spent. What it finds is compared."""
        best, before, program, cost = Found(), self.work, self.program, sum(self.nodes.get(name, 0) for name, _ in path) + len(path)
        if program is None:
            self._note(path, best)
            return 0
        for start in self._starts(path, turn):
            if time.monotonic() > until:
                break
            rank = RANKS[self.exchanges % len(RANKS)]
            swap = partial(exchange, measure=worst if self.exchanges % 2 == 0 else summed(), rank=rank)
            self.exchanges += 1
            for search, most in ((descend, 250), (swap, EXCHANGED if rank is None else 2 * EXCHANGED)):
                limit = min(most, (share - before + self.work) // cost, self.work // cost)
                if limit <= 0:
                    break
                found = search(program, path, start, limit)
                self.work -= found.runs * cost
                near = min((f.near for f in (best, found) if f.near is not None), key=lambda n: n[0], default=None)
                best = found if best.closest is None or found.closest is not None and found.closest < best.closest else best
                best = replace(best, near=near)
                if found.call is not None or found.impossible:
                    self._note(path, found)
                    if found.call is not None:
                        self.harness.check(found.call)
                    return before - self.work
        self._note(path, best)
        return before - self.work

    def _evolve(self, path: Path, turn: int, until: float, anyhow: bool = False) -> None:
        cost = sum(self.nodes.get(name, 0) for name, _ in path) + len(path)
        limit = min(60, max(10, self.budget // 4)) if turn == 0 else min(SCANNED * self.budget, self.work // (4 * cost))
        starts = self._starts(path, turn)[:4]
        found = evolve(self.flow, self._looked, path, starts, self.sampler, limit, self.program, anyhow, until)
        self.work -= found.runs * cost if turn else 0
        self._note(path, found)
        if found.call is not None:
            self.harness.check(found.call)

    def _looked(self, call: Call) -> Trace | None:
        """The trace of a call on the guiding side, None where it does not end; it is compared where it reaches something new."""
        try:
            trace = self.limit.within(lambda: self.runner.run(call)).trace
        except TookTooLong:
            return None
        if trace is not None and self.left() > 0 and not self.books.outcomes.keys() >= {s for s in steps(self.flow, trace) if s[1]}:
            self.harness.check(call)
        return trace

    def _starts(self, path: Path, turn: int) -> list[Call]:
        """Calls to start from: those whose paths agree longest with this one, and random ones."""
        ranked = sorted(
            self.books.takers, key=lambda p: -next((i for i, (a, b) in enumerate(zip(p, path)) if a != b), min(len(p), len(path)))
        )
        near = [c for p in ranked[:2] for c in self.books.takers[p][:2]]
        new = self._nearest(path, [self.sampler.random(turn * STARTS + n) for n in range(STARTS)])
        if turn == 0:
            return [*near[:2], new[0], *near[2:], *new[1:]]
        before = self.found.get(path, Found()).near
        return [*([before[1]] if before is not None else []), new[0], *near, *new[1:]]

    def _nearest(self, path: Path, calls: list[Call]) -> list[Call]:
        """Those first that miss the path by least."""
        program, cost = self.program, sum(self.nodes.get(name, 0) for name, _ in path) + len(path)
        if program is None or self.work < 4 * len(calls) * cost:
            return calls
        self.work -= len(calls) * cost
        return sorted(calls, key=lambda c: missed_by(program, path, Point(program, c)))

    def _note(self, path: Path, found: Found) -> None:
        old = self.found.get(path, Found())
        near = [c for c in (old.closest, found.closest) if c is not None]
        nearest = min((f.near for f in (old, found) if f.near is not None), key=lambda n: n[0], default=None)
        self.found[path] = Found(
            found.call or old.call, min(near) if near else None, found.impossible or old.impossible, near=nearest
        )  # fmt: skip

    def near_thresholds(self) -> None:
        """For each decision that went both ways, calls close to its threshold on each side: in rounds, so that each has its turn.

        Several pairs each, since a predicate may have more than one threshold.
        """
        pairs: dict[str, list[tuple[Call, Call]]] = {}
        for block in self.flow.blocks:
            if isinstance(block.exit, Branch):
                yes, no = self._takers(block.name, "true")[:6], self._takers(block.name, "false")[:6]
                mixed = sorted(itertools.product(range(len(yes)), range(len(no))), key=lambda ij: (abs(ij[0] - ij[1]), ij))
                fit = ((yes[i], no[j]) for i, j in mixed if between(self.flow.signature, yes[i], no[j], 0.5) is not None)
                pairs[block.name] = list(itertools.islice(fit, PAIRS))
        done: set[str] = set()
        for turn in range(PAIRS):
            for name, listed in pairs.items():
                pair = (
                    close(self.flow, lambda c: self.runner.run(c).trace, name, *listed[turn]) if listed[turn:] and self.left() > 0 else None
                )
                done |= {name} if pair else set()
                for call in pair or ():
                    self.harness.check(call)
        for name in [n for n in pairs if n not in done]:
            for said, other in (("true", "false"), ("false", "true")):
                self._step_over(name, said, other)

    def _step_over(self, block: str, said: str, other: str) -> None:
        """A call that only just leaves `block` by `other`, by gradient from one that leaves it by `said`."""
        program = self.program
        for start in self._takers(block, said)[:1]:
            trace = self.runner.run(start).trace
            path = prefix(steps(self.flow, trace), block)[:-1] if trace is not None else ()
            cost = sum(self.nodes.get(name, 0) for name, _ in path) + self.nodes.get(block, 0) + 1
            limit = min(60, self.work // cost)
            if program is not None and self.left() > 0 and limit > 0:
                found = descend(program, (*path, (block, other)), start, limit, 0.03)
                self.work -= found.runs * cost
                if found.call is not None:
                    self.harness.check(found.call)

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
            if not self.harness.check(replace(call, origin=f"{call.origin}, call {n + 1} in a row"), fresh):
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
        noise = (
            f"{NOISE:.0f} times the {books.noisy:.0f} ULP by which eager itself moves "
            f"when its inputs move by {NUDGE_ULP} or its operations round otherwise"
        )
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
            (*notes, *unlisted, *refused, *([f"some errors are beyond tolerance, and within {noise}"] if books.noisy else ())),
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
        if (block, label) in self.impossible:
            return self.impossible[block, label]
        ways = {p[: p.index((block, label)) + 1] for p in self.known if (block, label) in p}
        if not self.complete or self.backs or not ways:
            return ""
        reasons = [self.found[p].impossible if p in self.found else "" for p in ways]
        return reasons[0] if all(reasons) else ""
