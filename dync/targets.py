"""Which backends there are, and what each can do on this machine. Imports a backend's module, not its toolchain's compiler."""

from __future__ import annotations

import msgspec

from dync.backends.base import Declined
from dync.registry import LAST, backend, backend_names
from dync.report import table


class BackendFacts(msgspec.Struct, frozen=True):
    """One backend; `reason` says why it is not available. needs_torch: its code needs torch where it runs."""

    name: str
    available: bool
    version: str = ""
    can_compile: tuple[str, ...] = ()
    can_run: tuple[str, ...] = ()
    reason: str = ""
    needs_torch: bool = False


class Targets(msgspec.Struct, frozen=True):
    """All registered backends, in the order of the registry."""

    backends: tuple[BackendFacts, ...]

    def __str__(self) -> str:
        rows = [
            (
                b.name,
                "yes" if b.available else "no",
                b.version or "-",
                ", ".join(b.can_compile) or "-",
                ", ".join(b.can_run) or "-",
                b.reason or "its code needs torch to run" * b.needs_torch,
            )
            for b in self.backends
        ]
        return "\n".join(table(("backend", "here", "version", "compiles for", "runs on", ""), rows))


def targets() -> Targets:
    """Ask every registered backend."""
    return Targets(tuple(_facts(name) for name in backend_names()))


def _facts(name: str) -> BackendFacts:
    try:
        answer = backend(name).available()
    except Exception as error:  # noqa: BLE001  a library that is half installed raises anything
        answer = Declined(f"{type(error).__name__}: {error}".splitlines()[0])
    if isinstance(answer, Declined):
        return BackendFacts(name, False, reason=answer.reason)
    return BackendFacts(name, True, answer.version, answer.can_compile, answer.can_run, needs_torch=name in LAST)
