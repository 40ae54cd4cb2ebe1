"""What a compilation is asked to do, in one frozen object. Wrong names are refused here, before any work."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dync.backends.base import Target
from dync.errors import UsageError
from dync.registry import backend_names, host_names

AUTO = "auto"
TARGET_KINDS = ("cpu", "cuda")
VERIFY_LEVELS = ("paths", "quick", "off")


@dataclass(frozen=True)
class CompileOptions:
    """The options of `dync.compile`, checked.

    backend and host are a registered name or "auto"; passes is "default", "none" or a pipeline "a,b{opt=1},c".
    atol/rtol replace the tolerance per dtype where given.
    """

    target: Target = Target()
    backend: str = AUTO
    host: str = "auto"
    passes: str = "default"
    strict: bool = False
    atol: float | None = None
    rtol: float | None = None
    seed: int = 0
    threads: int = 0

    @classmethod
    def parse(
        cls, target: str = "cpu", backend: str = AUTO, host: str = "auto", passes: str = "default", batching: str = "none",
        strict: bool = False, atol: float | None = None, rtol: float | None = None, seed: int = 0, threads: int = 0,
    ) -> CompileOptions:  # fmt: skip
        """Options from the words of a call. Raises UsageError, naming what is known, for a word that is not."""
        known("backend", backend, (AUTO, *backend_names()))
        known("host", host, (AUTO, *host_names()))
        if batching == "per-sample":
            raise UsageError('batching="per-sample" is not available yet: compile with batching="none" and call once per sample')
        known("batching", batching, ("none",))
        for name, value in (("atol", atol), ("rtol", rtol)):
            if value is not None and not value >= 0:
                raise UsageError(f"{name} is {value!r}; it must be a number >= 0")
        return cls(parse_target(target), backend, host, passes, strict, atol, rtol, seed, threads)


def parse_target(text: str) -> Target:
    """ "cpu" or "cuda", with an architecture after a colon: "cuda:sm_90"."""
    kind, _, arch = text.partition(":")
    known("target", kind, TARGET_KINDS)
    if kind == "cuda" and arch and not re.fullmatch(r"sm_\d+[a-z]?", arch):
        raise UsageError(f"target {text!r}: {arch!r} is no CUDA architecture such as sm_80 or sm_90")
    return Target(kind, arch)


def known(what: str, word: str, words: tuple[str, ...]) -> str:
    """`word`, if it is one of `words`; otherwise a UsageError that lists them."""
    if word not in words:
        raise UsageError(f"unknown {what} {word!r}; known: {', '.join(words)}")
    return word
