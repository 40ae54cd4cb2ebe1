"""Which backends may run each block, in which order, with the reason; what was refused, by whom, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dync import registry
from dync.backends.base import Declined, Kernel
from dync.errors import BackendError, UsageError
from dync.report import Refusal
from dync.workshop import Workshop


@dataclass(frozen=True)
class Choice:
    """A backend to try, and why it. Choices that are no `fallback` compete; the others run only what none of those does."""

    backend: str
    reason: str
    fallback: bool = False


@dataclass(frozen=True)
class Placement:
    """Where a kernel may run: choices in the order to try them, and the backends that refused it."""

    kernel: Kernel
    choices: tuple[Choice, ...]
    refused: tuple[Refusal, ...] = ()


def place(kernels: Mapping[str, Kernel], shop: Workshop, ask: bool = False) -> dict[str, Placement]:
    """Every backend that was asked for, or under "auto" that there is, and takes the block; behind them the reference, unless `strict`.

    ask: also the backends whose compilers run in children, which else answer there when their turn comes, for they may take seconds.
    Raises BackendError when a backend that was asked for is not available, or nothing takes a kernel; UsageError when a backend is
    forced on a block that is not there.
    """
    options = shop.options
    forced = dict(options.forced)
    if unknown := [b for b in forced if b not in kernels]:
        raise UsageError(f"backend {options.backend!r}: there is no block {unknown[0]} with code; there are: {', '.join(kernels)}")
    _reachable(shop)
    for name in (*options.backends, *forced.values()):
        if isinstance(answer := shop.available(name), Declined):
            raise BackendError(f"backend {name} is not available: {answer.reason}")
    return {block: _placement(kernel, asked(shop, forced.get(block)), shop, ask) for block, kernel in kernels.items()}


def _reachable(shop: Workshop) -> None:
    """Raises BackendError when no backend compiles for the target: all blocks would fall back on the CPU."""
    target = shop.options.target
    if target.kind == "cpu":
        return
    answers = [shop.available(n) for n in registry.preference()]
    known = dict.fromkeys(t for a in answers if not isinstance(a, Declined) for t in a.can_compile if t != "cpu")
    if not any(t in (str(target), target.kind) or not target.arch and t.startswith(f"{target.kind}:") for t in known):
        raise BackendError(f"no backend compiles for {target} here; there is {', '.join(known) or 'none: install tvm or torch-mlir'}")


def asked(shop: Workshop, forced: str | None = None) -> list[Choice]:
    """The backends for a block, whether or not they take it. Those that have no code for the target are a fallback, on the CPU."""
    options = shop.options
    if forced is not None:
        choices = [Choice(forced, "chosen for this block")]
    elif options.backends:
        choices = [Choice(n, "chosen") for n in options.backends]
    else:
        choices = [Choice(n, "preferred", n in registry.LAST or _elsewhere(shop, n)) for n in registry.preference()]
    if options.strict:
        return [c for c in choices if not c.fallback]
    choices.sort(key=lambda c: c.fallback)
    if registry.REFERENCE not in {c.backend for c in choices}:
        choices.append(Choice(registry.REFERENCE, "fallback", True))
    return choices


def _placement(kernel: Kernel, asked: list[Choice], shop: Workshop, ask: bool) -> Placement:
    choices: list[Choice] = []
    refused: list[Refusal] = []
    for choice in asked:
        answer = shop.available(choice.backend)
        elsewhere = _elsewhere(shop, choice.backend)
        if elsewhere and kernel.keeps_views:
            answer = Declined("it would run on the CPU, where views of what the device has are copies: another block writes them")
        if not isinstance(answer, Declined):
            answer = shop.declines(choice.backend, kernel) if ask or choice.backend in registry.TRUSTED else None
        if answer is None:
            reason = "fallback" + " on the CPU" * elsewhere if choice.fallback else choice.reason
            choices.append(Choice(choice.backend, reason, choice.fallback))
        else:
            refused.append(Refusal(choice.backend, answer.reason, answer.span))
    if not choices:
        raise BackendError(f"block {kernel.name}: no backend takes it: " + "; ".join(map(str, refused)))
    return Placement(kernel, tuple(choices), tuple(refused))


def _elsewhere(shop: Workshop, name: str) -> bool:
    """Whether the backend compiles for the CPU, in a program for another device."""
    return shop.target(name).kind != shop.options.target.kind
