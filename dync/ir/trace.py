"""What one run did: the blocks that it went through and the decisions that it took. This file imports no torch."""

from __future__ import annotations

import msgspec

from dync.ir.types import UNKNOWN, Span


class DecisionRecord(msgspec.Struct, frozen=True):
    """One branch or switch that was taken.

    block: whose exit asked. text: the predicate's source text. value: what it came to (bool, or the int index of a switch).
    margin: |left - right| of the compared scalars, None where the predicate is no comparison; NaN where an operand was NaN.
    """

    block: str
    text: str
    span: Span = UNKNOWN
    value: bool | int = False
    margin: float | None = None


class Trace(msgspec.Struct, frozen=True):
    """path: names of the blocks that ran, in order, loops repeated. decisions: one record for each branch and switch met."""

    path: tuple[str, ...] = ()
    decisions: tuple[DecisionRecord, ...] = ()


def margin(left: object, right: object) -> float | None:
    """|left - right| of two numbers (inf - inf of one sign is 0); None when one is no number."""
    if not isinstance(left, (bool, int, float)) or not isinstance(right, (bool, int, float)):
        return None
    return 0.0 if left == right else abs(float(left) - float(right))
