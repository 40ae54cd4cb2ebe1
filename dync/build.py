"""From a placed Program to code: each distinct kernel is compiled, checked against eager, and timed where several backends take it.

distinct ::= another structure key, or other backends to try; kernels that differ only in their weights share code and figures
chosen   ::= of the backends that were asked for and whose code is right, those with which all blocks together cost least
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from dync import registry
from dync.backends.base import Kernel
from dync.backends.cache import machine, with_weights
from dync.backends.kernels import renamed_weights
from dync.backends.worker import Made, Refused
from dync.errors import BackendError
from dync.ir.program import Program
from dync.ir.types import TensorType
from dync.measure import Seen, choose, inputs_of, time_kernel, watch
from dync.options import CompileOptions
from dync.package import Built, Candidates
from dync.place import Choice, Placement
from dync.report import Refusal, microseconds
from dync.runtime.loaders import find
from dync.workshop import Workshop

Tick = Callable[[int, int], None]
MARGIN = 0.97
"""The preferred backend gives way to one that takes less than this share of its time: below that a measurement may be noise."""


def rewrite(program: Program, options: CompileOptions) -> Program:
    """The program after the passes of `options`."""
    from dync.passes.base import run_passes

    return run_passes(registry.pipeline(options.passes), program).program


def kernels_of(program: Program) -> dict[str, Kernel]:
    """The kernels of all blocks with code, by block."""
    from dync.backends.kernels import kernels
    from dync.passes.graph.functionalize import functionalize

    return kernels(program, functionalize)


@dataclass
class _Group:
    """Blocks with one structure and the same choices; the first of them is compiled and timed for all."""

    blocks: list[str]
    kernel: Kernel
    choices: tuple[Choice, ...]
    refused: tuple[Refusal, ...]
    made: dict[str, Made] = field(default_factory=dict[str, Made])
    failed: list[Refusal] = field(default_factory=list[Refusal])
    untried: dict[str, str] = field(default_factory=dict[str, str])
    """Backend → why it was not tried."""
    times: dict[str, tuple[float, Any]] = field(default_factory=dict[str, "tuple[float, Any]"])

    @property
    def rivals(self) -> list[Choice]:
        """The choices that compete, in order of preference: those that were asked for, or the fallbacks when none of those works."""
        first = [c for c in self.choices if not c.fallback and c.backend not in {f.backend for f in self.failed}]
        return first or [c for c in self.choices if c.fallback]

    def seconds(self) -> float:
        return len(self.blocks) * min((t for t, _ in self.times.values()), default=0.0)


def compile_blocks(
    program: Program,
    placements: Mapping[str, Placement],
    shop: Workshop,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    tick: Tick = lambda done, total: None,
) -> Built:
    """Compile each distinct kernel, and choose by measurement where several backends take it; ends the workshop's children.

    args, kwargs: the example, whose values kernels are timed on. Raises BackendError when nothing that may run a block compiles right.
    """
    groups = _groups(placements, shop)
    total = sum(sum(not c.fallback for c in g.choices) or 1 for g in groups)
    done = iter(range(1, 1 << 30))
    seen = watch(program, {n: p.kernel for n, p in placements.items()}, args, kwargs)
    with shop:
        for group in groups:
            _first(group, shop)
            tick(next(done), total)
        if contested := [g for g in groups if len(g.rivals) > 1]:
            _rivals(contested, shop, seen, lambda: tick(min(next(done), total), total))
            _choose(groups, shop, seen)
    tick(total, total)
    candidates = {b: c for g in groups for b, c in _candidates(g, placements, shop.options)}
    return Built(program, {b: candidates[b] for b in placements}, shop, seen)


def _groups(placements: Mapping[str, Placement], shop: Workshop) -> list[_Group]:
    found: dict[Any, _Group] = {}
    for block, placed in placements.items():
        key = (shop.key(placed.kernel), placed.choices)
        found.setdefault(key, _Group([], placed.kernel, placed.choices, placed.refused)).blocks.append(block)
    return list(found.values())


def _first(group: _Group, shop: Workshop) -> None:
    """Code from the first choice that works: from now on the block can run."""
    for choice in group.choices:
        if _try(group, choice, shop):
            return
    raise BackendError(f"block {group.kernel.name}: no backend takes it: " + "; ".join(map(str, (*group.refused, *group.failed))))


def _try(group: _Group, choice: Choice, shop: Workshop, seconds: float | None = None) -> bool:
    try:
        group.made[choice.backend] = shop.make(choice.backend, group.kernel, seconds)
    except Refused as error:
        group.failed.append(Refusal(choice.backend, error.declined.reason, error.declined.span))
        return False
    except BackendError as error:
        group.failed.append(Refusal(choice.backend, str(error)))
        return False
    return True


def _rivals(groups: list[_Group], shop: Workshop, seen: Seen, tick: Callable[[], None]) -> None:
    """Compile the other choices, those of the slowest kernels first, as long as the budget lasts."""
    budget = shop.options.budget
    if not budget:
        for group in groups:
            group.untried = {c.backend: "the budget is 0" for c in group.rivals if c.backend not in group.made}
        return
    for group in groups:
        _time(group, shop, seen)
    end = perf_counter() + budget
    for group in sorted(groups, key=_Group.seconds, reverse=True):
        for choice in group.rivals:
            name, left = choice.backend, end - perf_counter()
            if name in group.made:
                continue
            if not shop.options.backends and group.times and group.seconds() < registry.SLOW.get(name, 0.0):
                group.untried[name] = "too short a block for a slow compiler"
            elif left <= 0:
                group.untried[name] = f"the budget of {budget:.3g} s was spent"
            else:
                _try(group, choice, shop, left)
            tick()


def _choose(groups: list[_Group], shop: Workshop, seen: Seen) -> None:
    """Time what competes, and put the chosen backend's code first in each group's `made`."""
    for group in groups:
        if len(group.made) > 1:
            _time(group, shop, seen)
        else:
            group.times = {n: (0.0, find(m.code.loader).form) for n, m in group.made.items()}
    groups = [g for g in groups if g.times]
    counts = [sum(isinstance(v.type, TensorType) for v in (*g.kernel.inputs, *g.kernel.results)) for g in groups]
    for group, name in zip(groups, choose([g.times for g in groups], counts, MARGIN), strict=True):
        if name is not None:
            group.made = {name: group.made[name], **group.made}


def _time(group: _Group, shop: Workshop, seen: Seen) -> None:
    """Fill in `times`, in order of preference, from the cache where this was timed on this machine before."""
    codes = {c.backend: group.made[c.backend].code for c in group.choices if c.backend in group.made}
    if codes.keys() == group.times.keys() or shop.options.target.kind != "cpu" or shop.options.target.arch:
        return
    inputs = inputs_of(group.kernel, seen)
    if inputs is None:
        return
    about = ("times", machine(), [shop.code_key(n, group.kernel) for n in codes], [str(getattr(v, "shape", v)) for v in inputs])
    kept = shop.fact(*about)
    if not isinstance(kept, dict) or kept.keys() != codes.keys():
        kept = time_kernel(group.kernel, codes, inputs, shop.options.threads)
        shop.keep(kept, *about)
    group.times = {n: (float(kept[n][0]), kept[n][1]) for n in codes if n in kept}


def _candidates(group: _Group, placements: Mapping[str, Placement], options: CompileOptions) -> Iterator[tuple[str, Candidates]]:
    first = group.blocks[0]
    reason = _reason(group, options)
    for block in group.blocks:
        kernel = placements[block].kernel
        names = renamed_weights(group.kernel, kernel)
        codes = {n: made if block == first else Made(with_weights(made.code, names), made.worst) for n, made in group.made.items()}
        refused = (*placements[block].refused, *group.failed)
        times = {n: t for n, (t, _) in group.times.items()} if len(group.times) > 1 else {}
        yield block, Candidates(kernel, codes, reason, refused, times, "" if block == first else first)


def _reason(group: _Group, options: CompileOptions) -> str:
    name = next(iter(group.made))
    choice = next(c for c in group.choices if c.backend == name)
    if len(group.rivals) < 2:
        return choice.reason
    skipped = "".join(f"; {n} not tried: {why}" for n, why in group.untried.items())
    if len(group.times) > 1 and name in group.times:
        figures = ", ".join(f"{n} {microseconds(t)}" for n, (t, _) in sorted(group.times.items(), key=lambda item: item[1][0]))
        return "fallback, " * choice.fallback + f"measured: {figures}{skipped}"
    return choice.reason + skipped
