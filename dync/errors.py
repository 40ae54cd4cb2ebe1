"""Every error that dync raises on purpose. One tree; each carries what a person needs to act."""

from __future__ import annotations

from dataclasses import dataclass

from dync.ir.types import Span


class DyncError(Exception):
    """Root of dync's errors. `exit_code` is what the command line returns."""

    exit_code = 2


class UsageError(DyncError):
    """The call itself is wrong: unknown file, backend or option, several candidate models, no example inputs."""


class GuardError(DyncError):
    """A call does not fit what was compiled: names the argument, what came, what is allowed."""


class BackendError(DyncError):
    """A backend is missing, cannot take a block, failed on it, or computed a wrong number."""

    exit_code = 5


class DeviceError(BackendError):
    """This machine has no device of the kind that the code was compiled for."""


class HostError(DyncError):
    """The host that was asked for cannot carry the program's control flow: says what, and from which source line."""

    exit_code = 5


class VerifyError(DyncError):
    """A compiled program differs from the model."""

    exit_code = 1


class ArtifactError(DyncError):
    """A file is not an artifact, is damaged or tampered with, or is of a newer schema."""


@dataclass(frozen=True)
class Diagnostic:
    """One problem: code ("DY102"), place, what was found, why it cannot be compiled, what to write instead."""

    code: str
    span: Span
    found: str
    why: str = ""
    remedy: str = ""

    def render(self, source: str | None = None) -> str:
        """`file:line:col: code: found`, the source line with a caret, why, and the remedy."""
        import linecache

        lines = [f"{self.span.file}:{self.span.line}:{self.span.col + 1}: {self.code}: {self.found}"]
        text = (
            source.splitlines()[self.span.line - 1]
            if source and 0 < self.span.line <= len(source.splitlines())
            else (linecache.getline(self.span.file, self.span.line).rstrip("\n"))
        )
        if text:
            width = self.span.end_col - self.span.col if self.span.end_line == self.span.line else len(text) - self.span.col
            lines += [f"    {text}", "    " + " " * self.span.col + "^" * max(1, width)]
        lines += [f"  why: {self.why}"] * bool(self.why) + [f"  instead: {self.remedy}"] * bool(self.remedy)
        return "\n".join(lines)


class CaptureError(DyncError):
    """The model holds something that cannot be captured; all problems found are in `diagnostics`."""

    exit_code = 4

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.diagnostics = diagnostics
        super().__init__("\n".join(d.render() for d in diagnostics))
