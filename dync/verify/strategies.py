"""Hypothesis strategies: calls that fit a compiled program's signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dync.ir.flow import Signature
from dync.verify.calls import Call
from dync.verify.inputs import Sampler

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def calls(signature: Signature, given: tuple[Call, ...] = ()) -> SearchStrategy[Call]:
    """Whole calls: arguments of the right structure, types and dimensions, and run-time parameters within their ranges.

    given: examples whose integers bound the drawn ones. Draws are by seed: they replay, and shrink toward plain calls.
    """
    from hypothesis import strategies as st

    def made(seed: int, n: int) -> Call:
        return Sampler(signature, seed, given).random(n)

    return st.builds(made, st.integers(0, 2**16), st.integers(0, 64))


def arguments(signature: Signature, given: tuple[Call, ...] = ()) -> SearchStrategy[tuple[tuple[Any, ...], dict[str, Any]]]:
    """(args, kwargs) of calls, run-time parameters that are attributes left at their defaults."""
    return calls(signature, given).map(lambda call: (call.args, dict(call.kwargs)))
