"""From a Program to a Package: each distinct kernel is placed on a backend, compiled once and checked against eager.

place   ::= kernels, options → for each block the backends to try, in order, each with its reason, and those that refused
compile ::= the first of them whose code passes the numeric check; the others are refusals in the report
distinct ::= another structure key; kernels that differ only in their weights share code
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from dync import __version__, registry
from dync.backends.base import Backend, BlockCode, Declined, Kernel
from dync.errors import BackendError
from dync.options import AUTO, CompileOptions
from dync.report import BlockReport, CompileReport, Refusal, distinct

if TYPE_CHECKING:
    from dync.ir.program import Program
    from dync.runtime.package import Package

Tick = Callable[[int, int], None]
HOST = "python"


@dataclass(frozen=True)
class Choice:
    """A backend to try, and why it."""

    backend: str
    reason: str


@dataclass(frozen=True)
class Placement:
    """Where a kernel may run: choices in the order to try them, and the backends that refused it."""

    kernel: Kernel
    choices: tuple[Choice, ...]
    refused: tuple[Refusal, ...] = ()


Place = Callable[[Mapping[str, Kernel], CompileOptions], dict[str, Placement]]


def rewrite(program: Program, options: CompileOptions) -> Program:
    """The program after the passes of `options`."""
    from dync.passes.base import run_passes

    return run_passes(registry.pipeline(options.passes), program).program


def kernels_of(program: Program) -> dict[str, Kernel]:
    """The kernels of all blocks with code, by block."""
    from dync.backends.kernels import kernels
    from dync.passes.graph.functionalize import functionalize

    return kernels(program, functionalize)


def place(kernels: Mapping[str, Kernel], options: CompileOptions) -> dict[str, Placement]:
    """By preference: the chosen backend, or the preferred one under "auto"; behind it the reference, unless `strict`.

    Raises BackendError when the chosen backend is not available, or refuses a kernel under `strict`.
    """
    names = _order(options)
    backends = {n: registry.backend(n) for n in names}
    absent = {n: a for n, b in backends.items() if isinstance(a := b.available(), Declined)}
    if options.backend in absent:
        raise BackendError(f"backend {options.backend} is not available: {absent[options.backend].reason}")
    return {block: _placement(kernel, names, backends, absent, options) for block, kernel in kernels.items()}


def _order(options: CompileOptions) -> tuple[str, ...]:
    if options.backend == AUTO:
        return registry.PREFERENCE
    return tuple(dict.fromkeys((options.backend, registry.REFERENCE)))


def _placement(
    kernel: Kernel, names: Sequence[str], backends: Mapping[str, Backend], absent: Mapping[str, Declined], options: CompileOptions
) -> Placement:
    choices: list[Choice] = []
    refused: list[Refusal] = []
    for name in names:
        answer = absent.get(name) or backends[name].supports(kernel, options.target)
        if answer is None:
            choices.append(Choice(name, _reason(name, choices, refused, options)))
        else:
            refused.append(Refusal(name, answer.reason, answer.span))
            _refuse_if_strict(kernel.name, refused[-1], options)
    if not choices:
        raise BackendError(f"block {kernel.name}: no backend takes it: " + "; ".join(map(str, refused)))
    return Placement(kernel, tuple(choices), tuple(refused))


def _reason(name: str, before: Sequence[Choice], refused: Sequence[Refusal], options: CompileOptions) -> str:
    if before or refused:
        return "fallback"
    return "chosen" if options.backend == name else "preferred"


def _refuse_if_strict(block: str, refusal: Refusal, options: CompileOptions) -> None:
    """Under `strict` the chosen backend takes every block; with "auto" there is none, and every refusal has a next backend."""
    if options.strict and refusal.backend in (options.backend, *(registry.PREFERENCE[:1] if options.backend == AUTO else ())):
        raise BackendError(f"block {block}: {refusal}")


@dataclass(frozen=True)
class Built:
    """A compiled program before it is a package."""

    program: Program
    codes: Mapping[str, BlockCode]
    placements: Mapping[str, Placement]
    reports: tuple[BlockReport, ...]
    options: CompileOptions
    host_reason: str = ""
    """Why the Python host, which is the one that walks blocks."""

    @property
    def summary(self) -> str:
        by_backend = {n: sum(r.backend == n for r in self.reports) for n in dict.fromkeys(r.backend for r in self.reports)}
        return f"{distinct(self.reports)} distinct, " + ", ".join(f"{count} on {name}" for name, count in by_backend.items())

    def package(self, seconds: Mapping[str, float]) -> Package:
        """The package; `seconds` by stage go into its report."""
        from dync.ir.flow import leaves
        from dync.ir.types import Ref
        from dync.runtime.package import KernelEntry, Package

        members = {_member(code, name): data for code in self.codes.values() for name, data in code.members.items()}
        kernels = {
            block: KernelEntry(
                code.loader,
                tuple(_member(code, n) for n in code.members),
                code.settings,
                code.weights,
                self.placements[block].kernel.mutates,
                code.needs,
            )
            for block, code in self.codes.items()
        }
        first = {o.name for slot in self.program.slots for o in leaves(slot.initial) if isinstance(o, Ref)}
        needed = {w for k in kernels.values() for w in (*k.weights, *k.mutates)} | first
        weights = {n: w for n, w in self.program.weights.items() if n in needed}
        report = CompileReport(
            self.program.name, str(self.options.target), HOST, self.reports, dict(seconds),
            sum(len(m) for m in members.values()), sum(w.nbytes for w in weights.values()), self.host_reason,
        )  # fmt: skip
        meta = {
            "dync": __version__,
            "target": str(self.options.target),
            "threads": self.options.threads,
            "host": HOST,
            "passes": self.options.passes,
            "history": list(self.program.history),
        }
        return Package(self.program.flow, kernels, members, weights, msgspec.to_builtins(report), meta, dict(self.program.sources))


def _member(code: BlockCode, name: str) -> str:
    return f"blocks/{code.key[:32]}/{name}"


def compile_blocks(
    program: Program, placements: Mapping[str, Placement], options: CompileOptions, tick: Tick = lambda done, total: None
) -> Built:
    """Compile each distinct kernel once. Raises BackendError when every choice for a block fails, or under `strict` when the first does."""
    from dync.backends.kernels import structure_key

    codes: dict[str, BlockCode] = {}
    reports: dict[str, BlockReport] = {}
    first: dict[str, str] = {}
    for number, (block, placement) in enumerate(placements.items()):
        twin = first.setdefault(structure_key(placement.kernel), block)
        if twin == block:
            codes[block], reports[block] = _compile(placement, options)
        else:
            codes[block] = _with_weights_of(placement.kernel, placements[twin].kernel, codes[twin])
            reports[block] = msgspec.structs.replace(reports[twin], block=block, seconds=0.0, same_as=twin)
        tick(number + 1, len(placements))
    return Built(program, codes, placements, tuple(reports.values()), options)


def _with_weights_of(kernel: Kernel, twin: Kernel, code: BlockCode) -> BlockCode:
    """The twin's code reading `kernel`'s weights."""
    from dync.backends.cache import with_weights
    from dync.backends.kernels import renamed_weights

    return with_weights(code, renamed_weights(twin, kernel))


def _compile(placement: Placement, options: CompileOptions) -> tuple[BlockCode, BlockReport]:
    """The first choice that compiles and computes the right numbers."""
    from dync.backends.check import check, open_code

    refused = list(placement.refused)
    for choice in placement.choices:
        start = perf_counter()
        try:
            code = registry.backend(choice.backend).compile(placement.kernel, options.target, options.threads)
            worst = check(placement.kernel, code, run=open_code(placement.kernel, code, options.threads))
        except BackendError as error:
            refused.append(Refusal(choice.backend, str(error)))
            _refuse_if_strict(placement.kernel.name, refused[-1], options)
            continue
        reason = choice.reason if choice is placement.choices[0] else "fallback"
        size = sum(len(m) for m in code.members.values())
        checked = None if isnan(worst) else worst
        report = BlockReport(placement.kernel.name, choice.backend, reason, perf_counter() - start, size, checked, refused=tuple(refused))
        return code, report
    raise BackendError(f"block {placement.kernel.name}: every backend failed: " + "; ".join(map(str, refused)))
