"""What a compilation is asked to do, in one frozen object. Wrong names are refused here, before any work."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dync.backends.base import Target
from dync.errors import UsageError
from dync.registry import backend_names, host_names

AUTO = "auto"
TARGET_KINDS = ("cpu", "cuda")
BUDGET, TIMEOUT = 60.0, 120.0
"""Seconds: see CompileOptions."""
VERIFY_LEVELS = ("paths", "quick", "off")


@dataclass(frozen=True)
class CompileOptions:
    """The options of `dync.compile`, checked.

    backend: what was asked for; `backends` are the names in it, none for "auto", and `forced` its (block, backend) pairs.
    host is a registered name or "auto"; passes is "default", "none" or a pipeline "a,b{opt=1},c".
    atol/rtol replace the tolerance per dtype where given. budget: seconds that compiling a block again, on another backend than the
    first that takes it, may cost in all. timeout: seconds that a compiler may take for one block. cache: use compiled code on disk.
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
    backends: tuple[str, ...] = ()
    forced: tuple[tuple[str, str], ...] = ()
    budget: float = BUDGET
    timeout: float = TIMEOUT
    cache: bool = True

    @classmethod
    def parse(
        cls, target: str = "cpu", backend: str = AUTO, host: str = "auto", passes: str = "default", batching: str = "none",
        strict: bool = False, atol: float | None = None, rtol: float | None = None, seed: int = 0, threads: int = 0,
        budget: float | None = None, timeout: float = TIMEOUT, cache: bool = True,
    ) -> CompileOptions:  # fmt: skip
        """Options from the words of a call; budget None is BUDGET. Raises UsageError, naming what is known, for a word that is not."""
        backends, forced = parse_backends(backend)
        known("host", host, (AUTO, *host_names()))
        if batching == "per-sample":
            raise UsageError('batching="per-sample" is not available yet: compile with batching="none" and call once per sample')
        known("batching", batching, ("none",))
        for name, value in (("atol", atol), ("rtol", rtol), ("budget", budget), ("timeout", timeout)):
            if value is not None and not value >= 0:
                raise UsageError(f"{name} is {value!r}; it must be a number >= 0")
        return cls(
            parse_target(target), backend, host, passes, strict, atol, rtol, seed, threads, backends, forced,
            BUDGET if budget is None else budget, timeout, cache,
        )  # fmt: skip


def parse_backends(text: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The names and the (block, backend) pairs of "auto", "tvm", "tvm,onnxruntime", "s3=tvm" or "tvm,s3=onnxruntime"."""
    items = [item.strip() for item in text.split(",")]
    names = tuple(dict.fromkeys(known("backend", i, (AUTO, *backend_names())) for i in items if "=" not in i))
    if AUTO in names and len(names) > 1:
        raise UsageError(f"backend {text!r}: auto tries every backend, so name others or auto, not both")
    forced: dict[str, str] = {}
    for block, _, name in (i.partition("=") for i in items if "=" in i):
        if forced.setdefault(block.strip(), known("backend", name.strip(), backend_names())) != name.strip() or not block.strip():
            raise UsageError(f"backend {text!r}: write block=backend, each block once")
    return () if names == (AUTO,) else names, tuple(forced.items())


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
