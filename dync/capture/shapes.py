"""A ShapeEnv that learns nothing: what is known about a symbol depends on the path, and the engine holds the path."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, cast

import sympy
import torch
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._sympy.interp import _run_sympy_handler
from torch.utils._sympy.value_ranges import SymPyValueRangeAnalysis, ValueRanges, bound_sympy

from dync.capture.scalars import BOOLEANS

Facts = list[tuple[Any, bool]]


class PathShapeEnv(ShapeEnv):
    """Answers every question of torch's symbolic shapes from path facts, or hands it to the engine as a decision."""

    def __init__(self, engine: Any) -> None:
        super().__init__(should_record_events=False, specialize_zero_one=False, duck_shape=False)
        self.engine = engine
        self.kept: dict[Any, tuple[int, Learnt]] = {}
        self.asked: set[Any] = set()
        """Symbols whose ranges kept answers hang on."""

    def new_symbol(self, low: int | None = None, high: int | None = None) -> torch.SymInt:
        """A fresh integer symbol with inclusive bounds that hold on every path."""
        value = self.create_unbacked_symint()
        self.pending_fresh_unbacked_symbols.clear()
        self.bound(value.node.expr, low, high)
        return value

    def bound(self, symbol: sympy.Symbol, low: int | None, high: int | None) -> None:
        old = self.var_to_range[symbol]
        new = ValueRanges(old.lower if low is None else max(old.lower, sympy.Integer(low)),
                          old.upper if high is None else min(old.upper, sympy.Integer(high)))
        self.var_to_range[symbol] = new
        if symbol in self.asked and new != old:
            self.kept.clear()

    def known(self, expr: Any) -> bool | int | None:
        """The value of an expression where the path's facts fix it, else None."""
        if expr in (sympy.true, sympy.false):
            return bool(expr)
        if isinstance(expr, sympy.Integer):
            return int(expr)
        if not isinstance(expr, sympy.Basic):
            return None
        learnt = self.learnt()
        if expr not in learnt.answers:
            learnt.answers[expr] = self._known(expr, learnt)
        return learnt.answers[expr]

    def _known(self, expr: Any, learnt: Learnt) -> bool | int | None:
        if expr in learnt.truths:
            return learnt.truths[expr]
        if learnt.truths and isinstance(expr, BOOLEANS) and (opposite := sympy.Not(expr)) in learnt.truths:
            return not learnt.truths[opposite]
        reduced: Any = expr.xreplace(learnt.substitution) if learnt.substitution else expr
        if reduced in (sympy.true, sympy.false):
            return bool(reduced)
        if isinstance(reduced, sympy.Integer):
            return int(reduced)
        if reduced != expr and learnt.truths.get(reduced):
            return True
        found = decided(reduced, self.ranges(reduced, learnt))
        if found is None and isinstance(reduced, sympy.And):
            parts = [self.known(a) for a in reduced.args]
            return False if False in parts else True if all(parts) else None
        return implied(reduced, learnt.distances) if found is None and learnt.distances else found

    def ranges(self, expr: Any, learnt: Learnt) -> frozenset[tuple[Any, Any]]:
        """The ranges of an expression's symbols on this path."""
        every: dict[Any, Any] = self.var_to_range
        symbols = [s for s in symbols_of(expr) if s in every]
        self.asked.update(symbols)
        return frozenset((s, learnt.ranges.get(s, every[s])) for s in symbols)

    def learnt(self) -> Learnt:
        """What the facts of the path say, kept for as long as they are the same."""
        rec = None if self.engine.finished else self.engine.rec
        kept = self.kept.get(rec)
        if rec is None or kept is None or kept[0] != len(rec.facts):
            facts = self.engine.facts()
            kept = self.kept[rec] = (len(rec.facts) if rec else 0, learn(facts, self.var_to_range))
            self.asked.update(s for fact, _ in facts if isinstance(fact, sympy.Basic) for s in fact.free_symbols)
        return kept[1]

    def least(self, expr: Any) -> int:
        """A number that a size is never below on this path."""
        return self.limits(expr)[0] or 0

    def limits(self, expr: Any) -> tuple[int | None, int | None]:
        """The least and the greatest that an integer may be on this path, where there are such."""
        learnt = self.learnt()
        reduced = expr.xreplace(learnt.substitution)
        return ends(reduced, dict(self.ranges(reduced, learnt)))

    def always_least(self, expr: Any) -> int | None:
        """A number that an integer is never below on any path; None where there is none."""
        return ends(expr, dict(self.var_to_range))[0]

    def evaluate_expr(self, orig_expr: Any, hint: Any = None, fx_node: Any = None, size_oblivious: bool = False,
                      fallback_value: bool | None = None, *, forcing_spec: bool = False) -> Any:
        found = self.known(orig_expr)
        if found is None and fallback_value is not None:
            found = fallback_value
        if found is None and isinstance(orig_expr, BOOLEANS):
            found = self.engine.decide(orig_expr)
        if found is None:
            found = self.engine.concretise_int(orig_expr)
        return sympy.sympify(found)

    # torch wraps these in caches of its own; here the answers change with the path.

    def guard_or_defer_runtime_assert(  # pyright: ignore[reportIncompatibleVariableOverride]
            self, orig_expr: Any, msg: str, fx_node: Any = None) -> bool:
        return self.engine.expect(orig_expr)

    def _maybe_evaluate_static(self, expr: Any, **_: Any) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        found = self.known(expr)
        return None if found is None else sympy.sympify(found)

    def constrain_symbol_range(  # pyright: ignore[reportIncompatibleVariableOverride]
            self, s: sympy.Symbol, compiler_min: int, compiler_max: int) -> None:
        if self.engine.recorder.in_event is None:
            return  # the user's own advice, as after torch._check_is_size: what was checked is a fact of the path already
        self.bound(s, compiler_min, compiler_max if compiler_max < 2**62 else None)

    def replace(self, expr: Any) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return expr

    def simplify(self, expr: Any, size_oblivious: bool = False) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return expr

    def _set_replacement(self, *_: Any, **__: Any) -> None:
        return None

    def _maybe_guard_rel(self, *_: Any, **__: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return None


@lru_cache(maxsize=20_000)
def decided(expr: Any, ranges: frozenset[tuple[Any, Any]]) -> bool | int | None:
    """The value of an expression where the ranges of its symbols fix it, else None."""
    every, found = dict(ranges), {}
    try:
        whole = bounds(expr, every, found)
    except (ValueError, AttributeError, NotImplementedError, AssertionError, TypeError):
        return None
    if whole.is_singleton():
        return bool(whole.lower) if whole.is_bool else int(whole.lower)
    return _difference(expr, every, found)


def bounds(expr: Any, ranges: dict[Any, Any], found: dict[Any, Any]) -> Any:
    """torch's bound_sympy, each part of an expression once: sizes of slices of slices name their parts again and again."""
    if expr not in found:
        parts = [bounds(a, ranges, found) for a in expr.args] if not expr.is_Atom else []
        found[expr] = _run_sympy_handler(SymPyValueRangeAnalysis, parts, expr) if parts else bound_sympy(expr, ranges)
    return found[expr]


def ends(expr: Any, ranges: dict[Any, Any]) -> tuple[int | None, int | None]:
    """The least and the greatest that an integer is in these ranges, where there are such."""
    try:
        found = bounds(expr, ranges, {})
    except (ValueError, AttributeError, NotImplementedError, AssertionError, TypeError):
        return None, None
    return (int(found.lower) if isinstance(found.lower, sympy.Integer) else None,
            int(found.upper) if isinstance(found.upper, sympy.Integer) else None)


@lru_cache(maxsize=20_000)
def symbols_of(expr: Any) -> frozenset[Any]:
    """An expression's symbols, each part looked at once."""
    return frozenset((expr,)) if isinstance(expr, sympy.Symbol) else frozenset[Any]().union(*map(symbols_of, expr.args))


@lru_cache(maxsize=20_000)
def weight(expr: Any) -> int:
    """How many parts an expression is written with."""
    return 1 + sum(map(weight, expr.args))


def _difference(expr: Any, ranges: dict[Any, Any], found: dict[Any, Any]) -> bool | None:
    """Decides a relation by the bounds of left - right."""
    if not isinstance(expr, sympy.core.relational.Relational):
        return None
    try:
        d = bounds(cast(Any, expr.lhs) - cast(Any, expr.rhs), ranges, found)
    except (ValueError, AttributeError, NotImplementedError, AssertionError, TypeError):
        return None
    low, high = d.lower, d.upper
    match expr:
        case sympy.Eq():
            return False if low > 0 or high < 0 else None
        case sympy.Ne():
            return True if low > 0 or high < 0 else None
        case sympy.Lt():
            return True if high < 0 else False if low >= 0 else None
        case sympy.Le():
            return True if high <= 0 else False if low > 0 else None
        case sympy.Gt():
            return True if low > 0 else False if high <= 0 else None
        case sympy.Ge():
            return True if low >= 0 else False if high < 0 else None
        case _:
            return None


class Learnt(NamedTuple):
    """What facts say: their truths, replacements (u0 → 3, u1 → u0), and narrower ranges of symbols."""

    truths: dict[Any, bool]
    substitution: dict[Any, Any]
    ranges: dict[Any, Any]
    distances: tuple[Any, ...]
    """Expressions of several symbols that are not negative: what lies between the sides of facts such as u0 < u1."""
    answers: dict[Any, Any]
    """What was found of expressions."""


def learn(facts: Facts, every: dict[Any, Any]) -> Learnt:
    """Reads linear facts on single symbols; `every` holds the ranges that symbols have on every path."""
    substitution: dict[Any, Any] = {}
    narrowed: dict[Any, Any] = {}
    truths: dict[Any, bool] = {}
    distances: list[Any] = []
    for fact, truth in facts:
        truths.setdefault(fact, truth)
        if not isinstance(fact, sympy.core.relational.Relational):
            continue
        rel = cast(Any, fact if truth else sympy.Not(fact))
        distances += (d for d in distances_of(rel) if len(d.free_symbols) > 1)
        left, right = rel.lhs, rel.rhs
        if isinstance(right, sympy.Symbol) and right.is_integer and left.is_number:
            rel, left, right = rel.reversed, right, left
        if not isinstance(left, sympy.Symbol) or left not in every:
            continue
        old = narrowed.get(left, every[left])
        low, high = old.lower, old.upper
        if isinstance(right, sympy.Integer):
            match rel:
                case sympy.Eq():
                    low = high = right
                    substitution[left] = right
                case sympy.Ne():
                    low, high = (low + 1 if low == right else low), (high - 1 if high == right else high)
                case sympy.Lt():
                    high = min(high, right - 1)
                case sympy.Le():
                    high = min(high, right)
                case sympy.Gt():
                    low = max(low, right + 1)
                case sympy.Ge():
                    low = max(low, right)
                case _:
                    continue
            if low <= high:
                narrowed[left] = ValueRanges(low, high)
        elif isinstance(rel, sympy.Eq) and isinstance(right, sympy.Symbol):
            substitution[left] = right
    return Learnt(truths, substitution, narrowed, tuple(d.xreplace(substitution) for d in dict.fromkeys(distances)), {})


@lru_cache(maxsize=20_000)
def distances_of(rel: Any) -> tuple[Any, ...]:
    """What is not negative where a relation of integers holds."""
    if not all(getattr(side, "is_integer", False) for side in rel.args):
        return ()
    apart = sympy.expand(rel.rhs - rel.lhs)
    match rel:
        case sympy.Lt():
            return (apart - 1,)
        case sympy.Le():
            return (apart,)
        case sympy.Gt():
            return (-apart - 1,)
        case sympy.Ge():
            return (-apart,)
        case sympy.Eq():
            return (apart, -apart)
        case _:
            return ()


@lru_cache(maxsize=20_000)
def implied(expr: Any, known: tuple[Any, ...]) -> bool | None:
    """Whether a relation holds, or not, where none of the known expressions is negative: it is one of them and a constant."""
    if not isinstance(expr, sympy.core.relational.Relational):
        return None

    def holds(rel: Any) -> bool:
        wanted = distances_of(rel)
        return bool(wanted) and all(any((w - d).is_nonnegative for d in known) for w in wanted)

    return True if holds(expr) else False if holds(sympy.Not(expr)) else None
