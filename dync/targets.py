"""Which backends there are, and what each can do on this machine. Imports a backend's module, not its toolchain's compiler."""

from __future__ import annotations

import msgspec

from dync.backends.base import Declined
from dync.registry import backend, backend_names
from dync.report import table


class BackendFacts(msgspec.Struct, frozen=True):
    """One backend; `reason` says why it is not available."""

    name: str
    available: bool
    version: str = ""
    can_compile: tuple[str, ...] = ()
    can_run: tuple[str, ...] = ()
    reason: str = ""


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
                b.reason,
            )
            for b in self.backends
        ]
        return "\n".join(table(("backend", "here", "version", "compiles for", "runs on", "why not"), rows))


def targets() -> Targets:
    """Ask every registered backend."""
    return Targets(tuple(_facts(name) for name in backend_names()))


def _facts(name: str) -> BackendFacts:
    answer = backend(name).available()
    if isinstance(answer, Declined):
        return BackendFacts(name, False, reason=answer.reason)
    return BackendFacts(name, True, answer.version, answer.can_compile, answer.can_run)
