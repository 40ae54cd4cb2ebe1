"""What the backends of one compilation share: which are here, which claim what, compiled code from the cache or a compiler."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import msgspec

from dync import registry
from dync.backends.base import Available, Backend, BlockCode, Declined, Kernel, Target
from dync.backends.cache import Cache, cache_key, key_of
from dync.backends.kernels import content_key, structure_key
from dync.backends.worker import Failed, Made, Refused, Worker, WrongNumber, can_isolate, make
from dync.errors import BackendError
from dync.ir.types import Span
from dync.options import CompileOptions


class Workshop:
    """Backends by name for `options`, opened when they are first asked. A context: leaving it ends the child processes.

    kernels: all that may be compiled, so that children know them.
    """

    def __init__(self, options: CompileOptions, kernels: Sequence[Kernel] = ()) -> None:
        self.options, self.cache = options, Cache(enabled=options.cache)
        self._kernels = list(kernels)
        self._backends: dict[str, Backend] = {}
        self._answers: dict[str, Available | Declined] = {}
        self._workers: dict[str, Worker] = {}
        self._keys: dict[int, str] = {}
        self._claimed: set[tuple[str, str]] = set()

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def available(self, name: str) -> Available | Declined:
        """The backend's answer, asked once; one that breaks on the question is not available."""
        if name not in self._answers:
            try:
                self._answers[name] = self.backend(name).available()
            except Exception as error:  # noqa: BLE001  a library that is half installed raises anything
                self._answers[name] = Declined(f"{type(error).__name__}: {error}".splitlines()[0])
        return self._answers[name]

    def backend(self, name: str) -> Backend:
        if name not in self._backends:
            self._backends[name] = registry.backend(name)
        return self._backends[name]

    def target(self, name: str) -> Target:
        """What the backend compiles for: the CPU where it has no code for the target and was not asked for by name."""
        wanted, options = self.options.target, self.options
        if wanted.kind == "cpu" or name in (*options.backends, *(n for _, n in options.forced)):
            return wanted
        if name == registry.REFERENCE:
            return wanted if wanted.kind in {w.device.type for k in self._kernels for w in k.weights.values()} else Target()
        answer = self.available(name)
        kinds = {t.partition(":")[0] for t in answer.can_compile} if isinstance(answer, Available) else set[str]()
        return wanted if wanted.kind in kinds else Target()

    def key(self, kernel: Kernel) -> str:
        """The kernel's structure key, computed once."""
        if id(kernel) not in self._keys:
            self._keys[id(kernel)] = structure_key(kernel)
        return self._keys[id(kernel)]

    def declines(self, name: str, kernel: Kernel) -> Declined | None:
        """Why the backend does not take the kernel, or None. What it took once, it is not asked about again."""
        answer = self.available(name)
        if isinstance(answer, Declined):
            return answer
        claim = (name, self.key(kernel))
        if claim in self._claimed or self.code_key(name, kernel) in self.cache:
            return None
        try:
            declined = self.backend(name).supports(kernel, self.target(name))
        except BackendError as error:
            declined = Declined(str(error))
        if declined is None:
            self._claimed.add(claim)
        return declined

    def version(self, name: str) -> str:
        answer = self.available(name)
        return answer.version if isinstance(answer, Available) else ""

    def code_key(self, name: str, kernel: Kernel) -> str:
        return cache_key(self.key(kernel), name, self.version(name), self.target(name), self.options.threads)

    def make(self, name: str, kernel: Kernel, seconds: float | None = None) -> Made:
        """Code that passed its check, from the cache if it did before. Raises BackendError; all but crashes are remembered too."""
        answer = self.available(name)
        if isinstance(answer, Declined):
            raise Refused(answer)
        key = self.code_key(name, kernel)
        code = self.cache.get(key, kernel)
        refusal_key = key_of("refused", key, [str(n.meta.get("span")) for n in kernel.graph.nodes]) if self.cache.enabled else ""
        if code is None and isinstance(said := self.cache.fact(refusal_key), dict):
            if "failed" in said:
                raise Failed(said["failed"])
            raise Refused(Declined(said["reason"], msgspec.convert(said["span"], Span)))
        verdict_key = self._verdict_key(key, kernel) if self.cache.enabled else ""
        verdict = self.cache.fact(verdict_key)
        if isinstance(verdict, dict) and "wrong" in verdict:
            raise WrongNumber(verdict["wrong"])
        if code is not None and isinstance(verdict, dict):
            worst = verdict.get("worst")
            return Made(code, math.nan if worst is None else worst)
        start = perf_counter()
        try:
            made = self._made(name, kernel, seconds, code)
        except WrongNumber as error:
            self.cache.keep(verdict_key, {"wrong": str(error)})
            raise
        except Failed as error:
            self.cache.keep(refusal_key, {"failed": str(error)})
            raise
        except Refused as error:
            self.cache.keep(refusal_key, {"reason": error.declined.reason, "span": msgspec.to_builtins(error.declined.span)})
            raise
        if code is None:
            self.cache.put(key, kernel, made.code)
        self.cache.keep(verdict_key, {"worst": None if math.isnan(made.worst) else made.worst})
        return replace(made, seconds=perf_counter() - start)

    def _made(self, name: str, kernel: Kernel, seconds: float | None, code: BlockCode | None) -> Made:
        target, threads = self.target(name), self.options.threads
        answer = self.available(name)
        runs = isinstance(answer, Available) and target.kind in answer.can_run
        if name in registry.TRUSTED or not can_isolate():
            return make(self.backend(name), kernel, target, threads, runs, code, (name, self.key(kernel)) not in self._claimed)
        if name not in self._workers:
            self._workers[name] = Worker(self.backend(name), self._kernels, target, threads, runs)
        limit = self.options.timeout if seconds is None else min(seconds, self.options.timeout)
        return self._workers[name].make(kernel, limit, code)

    def _verdict_key(self, key: str, kernel: Kernel) -> str:
        """What decides about right and wrong: code, weights' values, and the torch that it is compared with."""
        return key_of("verdict", key, content_key(kernel, self.key(kernel)), self.version(registry.REFERENCE))

    def fact(self, *about: Any) -> Any:
        return self.cache.fact(key_of(*about))

    def keep(self, fact: Any, *about: Any) -> None:
        self.cache.keep(key_of(*about), fact)
