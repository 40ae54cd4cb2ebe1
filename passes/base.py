"""What a pass is, and the runner that checks what it did.

A pass is a frozen dataclass: `name`, options as fields, and one `apply`. Legal Program in, legal Program out; the given one
stays as it was (graphs are copied before they are edited). As text: "dead-code,fold{limit=1024}", read by
`dync.registry.pipeline`, written by `pipeline_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from dync.ir.program import Program
from dync.ir.text import digest
from dync.ir.verify import InvariantError, verify


@dataclass(frozen=True)
class PassResult:
    """`changed` exactly when the program's digest is another one. `notes`: what was refused and why, for the report."""

    program: Program
    changed: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pass:
    """The root of all passes."""

    name: ClassVar[str] = ""

    def apply(self, program: Program) -> PassResult:
        """The rewritten program."""
        raise NotImplementedError

    def __str__(self) -> str:
        """The pass as text: its name, and its options where they are not the default."""
        options = ",".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default)
        return f"{self.name}{{{options}}}" if options else self.name


class PassError(AssertionError):
    """A pass broke its contract: a bug of that pass."""


def pipeline_text(passes: Iterable[Pass]) -> str:
    """The passes as the text that `dync.registry.pipeline` reads."""
    return ",".join(map(str, passes)) or "none"


def run_pass(one: Pass, program: Program) -> PassResult:
    """Applies one pass, verifies its result, and adds it to the program's history if it changed something.

    Raises PassError when the result is not legal or `changed` is not true.
    """
    before = digest(program)
    result = one.apply(program)
    differs = digest(result.program) != before
    if differs != result.changed:
        raise PassError(f"{one}: says changed={result.changed}, but its digest {'differs' if differs else 'is the same'}")
    if not result.changed:
        return replace(result, program=program)
    try:
        verify(result.program)
    except InvariantError as error:
        raise PassError(f"{one}: {error}") from error
    return replace(result, program=replace(result.program, history=(*result.program.history, str(one))))


def run_passes(passes: Sequence[Pass], program: Program) -> PassResult:
    """Applies the passes one after the other; notes are prefixed with the pass that made them."""
    changed = False
    notes: list[str] = []
    for one in passes:
        result = run_pass(one, program)
        program, changed = result.program, changed or result.changed
        notes += [f"{one.name}: {note}" for note in result.notes]
    return PassResult(program, changed, tuple(notes))
