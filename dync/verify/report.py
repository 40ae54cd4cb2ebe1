"""What verification found, as data: JSON and JUnit for machines, text for people. A report never says more than what ran."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import msgspec

from dync.errors import VerifyError
from dync.ir.types import UNKNOWN, Span
from dync.verify.calls import Call
from dync.verify.compare import NO_ERROR, Error

SHOWN = 20
"""Most lines of a kind in the text form."""


@dataclass(frozen=True)
class PathRecord:
    """One path: its decisions ("b0 true, b2 false"), its blocks, and how many compared calls took it."""

    name: str
    blocks: tuple[str, ...]
    calls: int


@dataclass(frozen=True)
class DecisionCover:
    """One outcome of one decision and the number of compared calls that took it."""

    block: str
    outcome: str
    text: str
    span: Span
    calls: int


@dataclass(frozen=True)
class Uncovered:
    """Something that no compared call reached. closest: the smallest margin of a run that went the other way."""

    kind: str
    name: str
    text: str = ""
    span: Span = UNKNOWN
    closest: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        near = "" if self.closest is None else f", closest margin {self.closest:.3g}"
        return (
            f"{self.kind} {self.name}"
            + (f" ({self.span}: `{self.text}`)" if self.text else "")
            + near
            + (f": {self.reason}" if self.reason else "")
        )


@dataclass(frozen=True)
class Flip:
    """A decision that went another way within numeric error. error: distance between both sides' predicates; allowed: its bound."""

    call: int
    block: str
    text: str
    span: Span
    eager: str
    here: str
    error: float
    allowed: float
    origin: str = ""

    def __str__(self) -> str:
        said = f"{self.span}: `{self.text}` is {self.eager} in eager, {self.here} here"
        return f"call {self.call} ({self.origin}): {said}; error {self.error:.3g}, allowed {self.allowed:.3g}"


@dataclass(frozen=True)
class Mismatch:
    """A call whose effects differ. first: the first block and value, or decision, that differ; `inputs` replays it."""

    call: int
    origin: str
    side: str
    differences: tuple[str, ...]
    first: str = ""
    inputs: Call | None = field(default=None, compare=False)

    def __str__(self) -> str:
        said, more = next(iter(self.differences), "differs"), len(self.differences) - 1
        also = (f" (and {more} more)" if more > 0 else "") + (f"; first: {self.first}" if self.first else "")
        return f"call {self.call} ({self.origin}), {self.side}: {said}{also}"


@dataclass(frozen=True)
class Report:
    """The outcome of `dync.verify`.

    ok: at least one call was compared and none differed beyond tolerance and flips. It says nothing about coverage:
    `uncovered` lists what no call reached, `unreachable` what was shown that none can reach. runs: calls compared with eager.
    worst: the largest numeric error seen. rejected: generated calls that the model itself refuses. sides: what was compared.
    """

    name: str
    ok: bool
    runs: int
    rejected: int
    given: int
    paths: tuple[PathRecord, ...]
    decisions: tuple[DecisionCover, ...]
    uncovered: tuple[Uncovered, ...]
    unreachable: tuple[Uncovered, ...]
    flips: tuple[Flip, ...]
    mismatches: tuple[Mismatch, ...]
    worst: Error = NO_ERROR
    cover: str = "paths"
    seed: int = 0
    budget: int = 0
    sides: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    all_paths: bool = True
    """Whether `paths` lists every path, not only those taken."""

    @property
    def covered(self) -> bool:
        """Whether everything that was asked for, and not shown to be unreachable, was reached by a compared call."""
        return self.runs > 0 and not self.uncovered

    def exit_code(self, require_coverage: bool = False) -> int:
        """0 done, 1 mismatch or nothing compared, 3 something uncovered when coverage is required."""
        return 1 if not self.ok else 3 if require_coverage and not self.covered else 0

    def raise_for_status(self, require_coverage: bool = False) -> None:
        """Raises VerifyError, naming the first mismatch, unless ok; with `require_coverage` also for what was not reached."""
        if not self.ok:
            raise VerifyError(
                f"{self.name}: {self.mismatches[0] if self.mismatches else 'nothing was compared'}"
                + (f"; {self.replay()}" if self.mismatches else "")
            )
        if require_coverage and not self.covered:
            raise VerifyError(f"{self.name}: not covered: {self.uncovered[0]}")

    def replay(self) -> str:
        """How to run the same verification again."""
        command = self.command or f"dync.verify(model, compiled, inputs, cover={self.cover!r}, budget={self.budget}, seed={self.seed})"
        return f"replay: {command}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inputs of mismatches are left out."""
        plain = msgspec.to_builtins({n: getattr(self, n) for n in self.__dataclass_fields__ if n != "mismatches"})
        mismatches = [{n: getattr(m, n) for n in m.__dataclass_fields__ if n != "inputs"} for m in self.mismatches]
        return plain | {"mismatches": msgspec.to_builtins(mismatches), "covered": self.covered}

    def to_json(self) -> str:
        """The report as one JSON object; numbers that JSON lacks are text."""
        return json.dumps(_finite(self.to_dict()), indent=2)

    def to_junit(self) -> str:
        """JUnit XML: a test case for each path and for each decision outcome; uncovered ones are skipped, never passed."""
        suite = ElementTree.Element("testsuite", name=f"dync verify {self.name}")
        for path in self.paths:
            _case(suite, "path", path.name, path.calls)
        for d in self.decisions:
            _case(suite, "decision", f"{d.block} {d.outcome}: {d.text} ({d.span})", d.calls)
        for m in self.mismatches:
            case = ElementTree.SubElement(suite, "testcase", classname="mismatch", name=f"call {m.call} {m.side}")
            ElementTree.SubElement(case, "failure", message=m.differences[0]).text = "\n".join((*m.differences, m.first, self.replay()))
        if not self.runs:
            case = ElementTree.SubElement(suite, "testcase", classname="calls", name="at least one call is compared")
            ElementTree.SubElement(case, "failure", message="nothing was compared")
        cases = list(suite)
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(c.find("failure") is not None for c in cases)))
        suite.set("skipped", str(sum(c.find("skipped") is not None for c in cases)))
        return ElementTree.tostring(suite, encoding="unicode")

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def __rich__(self) -> Any:
        from rich.text import Text

        styles = {"MISMATCH": "bold red", "  not ": "yellow", "  flip": "yellow", "same as": "bold green", "NOTHING": "bold red"}
        text = Text()
        for line in _lines(self):
            text.append(line + "\n", next((s for start, s in styles.items() if line.startswith(start)), ""))
        return text


def _case(suite: ElementTree.Element, kind: str, name: str, calls: int) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=kind, name=name)
    if not calls:
        ElementTree.SubElement(case, "skipped", message="no compared call took it")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return repr(value) if isinstance(value, float) and value - value != 0 else value


def _lines(r: Report) -> list[str]:
    decided = sum(d.calls > 0 for d in r.decisions)
    taken = sum(p.calls > 0 for p in r.paths)
    wrong = len({m.call for m in r.mismatches})
    said = f"MISMATCH in {wrong} of {r.runs} calls" if wrong else f"same as eager in {r.runs} calls"
    head = said if r.runs else "NOTHING WAS COMPARED"
    calls = f"{r.runs} compared, {r.given} of them given, {r.rejected} generated ones refused by the model"
    lines = [
        f"{head}{f', {len(r.flips)} flips' if r.flips else ''}: {r.name}",
        f"  decisions: {decided} of {len(r.decisions)} outcomes reached; paths: {taken} of {len(r.paths) if r.all_paths else 'many'} taken",
        f"  calls: {calls}; sides: {', '.join(r.sides) or 'none'}",
        f"  worst error: {r.worst}",
    ]
    shown = [p for p in r.paths if p.calls][:SHOWN]
    lines += [f"  path {p.name if len(p.name) <= 100 else p.name[:97] + '...'}: {p.calls} calls" for p in shown]
    lines += [f"  and {taken - len(shown)} more paths"] * (taken > len(shown))
    lines += [f"  mismatch {m}" for m in r.mismatches[:10]] + [f"  flip {f}" for f in r.flips[:10]]
    lines += [f"  not reached: {u}" for u in r.uncovered[:SHOWN]] + [f"  unreachable: {u}" for u in r.unreachable[:SHOWN]]
    hidden = max(0, len(r.uncovered) - SHOWN)
    return (
        lines
        + [f"  not reached: {hidden} more"] * bool(hidden)
        + [f"  note: {n}" for n in r.notes]
        + [f"  {r.replay()}"] * bool(r.mismatches)
    )
