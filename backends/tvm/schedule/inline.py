"""Stages that only map points are computed where they are read, when that costs little."""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm.ir import Var

from dync.backends.tvm.schedule import contract, loops
from dync.backends.tvm.schedule.functions import FORMS
from dync.backends.tvm.schedule.loops import Kernel, Stage

COSTLY = frozenset(
    "acos acosh asin asinh atan atan2 atanh cos cosh erf exp exp10 exp2"
    " fmod hypot log log10 log1p log2 pow rsqrt sigmoid sin sinh sqrt tan tanh".split()
)
MOST_NODES = 200
"""Size of a value beyond which it is not copied again."""
MOST_NESTED = 2
"""Functions that `functions` writes out, one in the argument of another: TVM's analyzer writes each argument out at each of its uses, a
dozen in a function, before LLVM sees it. Three in one another took minutes."""


def inlined(kernel: Kernel) -> list[Stage]:
    """The stages that are left, in order."""
    stages = list(kernel.stages)
    for stage in kernel.stages:
        readers = [s for s in stages if s is not stage and _reads(s, stage.target)]
        here = next(n for n, s in enumerate(stages) if s.name == stage.name and s.target.same_as(stage.target))
        stage = stages[here]
        readers = [s for s in stages[here + 1 :] if _reads(s, stage.target)]
        if not any(stage.target.same_as(b) for b in kernel.inner) or not _plain(stage) or not _cheap(stage, readers):
            continue
        own = [a.var for a in stage.axes]

        def value(at: Sequence, stage: Stage = stage, own: list[Var] = own):
            return loops.substitute(stage.stores[0].value, dict(zip(own, at, strict=True)))

        made = [loops.with_stores(s, {stage.target: value}) if s in readers else s for s in stages if s is not stage]
        stages = stages if any(_nested(p.value) > MOST_NESTED for s in made for p in s.stores) else made
    return stages


def _nested(value: object) -> int:
    """How many functions that are written out stand in one another."""
    calls = [c for c in loops.find(value, tvm.ir.Call) if loops.called(c) in FORMS]
    return max((1 + _nested(c.args[0]) for c in calls), default=0)


def _reads(stage: Stage, buffer: Var) -> bool:
    return any(n.source.same_as(buffer) for s in (*stage.stores, *stage.lets) for n in loops.loaded(s.value))


def _plain(stage: Stage) -> bool:
    """Whether the stage is a map: one store, at its own point."""
    own = [a.var for a in stage.axes]
    places = list(stage.stores[0].indices)
    at_own = len(own) == len(places) and all(isinstance(i, Var) and i.same_as(v) for i, v in zip(places, own))
    return not stage.reduced and not stage.lets and len(stage.stores) == 1 and at_own and contract.spec(stage) is None


def _cheap(stage: Stage, readers: list[Stage]) -> bool:
    """Whether computing it again at each read costs less than keeping it."""
    value = stage.stores[0].value
    if len(loops.find(value, tvm.ir.Expr)) * max(1, len(readers)) > MOST_NODES:
        return False
    heavy = any(loops.called(c) in COSTLY for c in loops.find(value, tvm.ir.Call)) or bool(loops.find(value, tvm.tirx.Div))
    if any(contract.spec(r) for r in readers):
        return False
    if not heavy:
        return True
    reads = sum(n.source.same_as(stage.target) for r in readers for s in r.stores for n in loops.loaded(s.value))
    return reads == 1 and len(readers[0].axes) == len(stage.axes) and not readers[0].reduced
