"""How fast code is here: one kernel on several backends, in turn, on the inputs that it gets in the example; whole programs likewise."""

from __future__ import annotations

import logging
import math
import os
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dync.ir.types import TensorType

if TYPE_CHECKING:
    from dync.backends.base import BlockCode, Kernel
    from dync.ir.program import Program
    from dync.runtime.tensors import Form

SECONDS, ROUNDS, LEAST = 0.3, 200, 5
"""Time for the measurement of one kernel or program, and the most and the least calls of each runner."""
STEPS = 10_000
"""Blocks that the example is followed through."""


@dataclass(frozen=True)
class Seen:
    """What the example shows. path: the blocks that ran; inputs: block → what it got when it first ran; sizes: symbol → size."""

    path: tuple[str, ...] = ()
    inputs: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, "Sequence[Any]"])
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])


@contextmanager
def unseen() -> Iterator[None]:
    """Runs that only measure: nothing that the model prints, logs or warns of is shown, and the random generators are given back."""
    import numpy as np
    import torch

    state, words, disabled = random.getstate(), np.random.get_state(), logging.root.manager.disable
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices), warnings.catch_warnings(), open(os.devnull, "w") as nowhere:
            warnings.simplefilter("ignore")
            logging.disable()
            with redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield
    finally:
        logging.disable(disabled)
        np.random.set_state(words)
        random.setstate(state)


@unseen()
def watch(program: Program, kernels: Mapping[str, Kernel], args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Seen:
    """Follow the example through the program; nothing is seen where there is none, and no more where the model raises."""
    from dync.backends.check import copies
    from dync.ir.clone import clone
    from dync.ir.interpret import run

    inputs: dict[str, Sequence[Any]] = {}
    path: list[str] = []

    def note(block: str, values: Sequence[Any]) -> None:
        path.append(block)
        if block in kernels and block not in inputs:
            inputs[block] = copies(values)

    if args or kwargs or not program.signature.inputs:
        given = clone((tuple(args), dict(kwargs or {})))
        try:
            run(program, *given, limit=STEPS, watch=note)
        except Exception:  # noqa: BLE001  the model's own exception, or a loop too long to follow: what was seen until then counts
            pass
    sizes: dict[str, int] = {}
    for name, values in inputs.items():
        for value, tensor in zip(kernels[name].inputs, values, strict=True):
            if isinstance(value.type, TensorType):
                sizes |= {d: s for d, s in zip(value.type.shape, getattr(tensor, "shape", ()), strict=False) if isinstance(d, str)}
    return Seen(tuple(path), inputs, sizes)


def inputs_of(kernel: Kernel, seen: Seen) -> Sequence[Any] | None:
    """Inputs to time a kernel on: the example's, else random ones of the example's sizes; None where eager takes none of them."""
    from dync.backends import check

    if kernel.name in seen.inputs:
        return seen.inputs[kernel.name]
    return check.typical(kernel, seen.sizes)


@unseen()
def time_kernel(kernel: Kernel, codes: Mapping[str, BlockCode], inputs: Sequence[Any], threads: int) -> dict[str, tuple[float, Form]]:
    """Backend → seconds of a call on tensors of its own form, and that form. A backend whose code fails on the inputs is left out."""
    from dync.backends.check import copies, load_code
    from dync.errors import DyncError
    from dync.runtime import loaders
    from dync.runtime.tensors import to_numpy

    runs: dict[str, Callable[[], Any]] = {}
    forms: dict[str, Form] = {}
    for name, code in codes.items():
        forms[name] = form = loaders.find(code.loader).form
        given = copies(inputs)
        try:
            if form == "numpy":
                given = [to_numpy(v) if isinstance(k.type, TensorType) else v for v, k in zip(given, kernel.inputs, strict=True)]
            call, _ = load_code(kernel, code, threads, form)
            call(*given)
        except (DyncError, TypeError):
            continue
        runs[name] = lambda call=call, given=given: call(*given)
    return {n: (t, forms[n]) for n, t in in_turn(runs).items()}


def in_turn(runs: Mapping[str, Callable[[], Any]], seconds: float = SECONDS, rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of a call of each: where the lowest tenth ends, over rounds that call all in changing order. Each ran once before."""
    names = list(runs)
    times: dict[str, list[float]] = {n: [] for n in names}
    end, turn = perf_counter() + seconds, 0
    while turn < rounds and (turn < LEAST or perf_counter() < end):
        shift = turn % len(names) if names else 0
        for name in names[shift:] + names[:shift]:
            start = perf_counter()
            runs[name]()
            times[name].append(perf_counter() - start)
        turn += 1
    return {n: sorted(t)[len(t) // 10] for n, t in times.items()}


@lru_cache
def crossing() -> float:
    """Seconds that a tensor costs on its way from a torch home to a numpy kernel or back."""
    import torch

    from dync.runtime.tensors import to_numpy, to_torch

    tensor = torch.zeros(4)
    start = perf_counter()
    for _ in range(200):
        to_torch(to_numpy(tensor))
    return (perf_counter() - start) / 400


def choose(times: Sequence[Mapping[str, tuple[float, Form]]], tensors: Sequence[int], margin: float) -> list[str | None]:
    """For each kernel the backend with which the whole costs least; None where nothing was measured.

    times: per kernel, backends in order of preference. tensors: per kernel, how many go in and out. The home form of a program is
    numpy if all of its kernels deal in that, else torch, and then each numpy kernel converts what goes in and out. The preferred
    backend gives way to one that takes less than `margin` of its time.
    """
    plans = [_plan(times, tensors, margin, home) for home in ("numpy", "torch")]
    return min(plans, key=lambda plan: plan[0])[1]


def _plan(
    times: Sequence[Mapping[str, tuple[float, Form]]], tensors: Sequence[int], margin: float, home: Form
) -> tuple[float, list[str | None]]:
    total, chosen = 0.0, []
    for found, count in zip(times, tensors, strict=True):
        cost = {n: t + (0.0 if form == home else count * crossing()) for n, (t, form) in found.items() if home == "torch" or form == home}
        if not found:
            chosen.append(None)
            continue
        if not cost:
            return math.inf, []
        first, best = next(iter(cost)), min(cost, key=cost.__getitem__)
        chosen.append(best if cost[best] < margin * cost[first] else first)
        total += cost[chosen[-1]]
    return total, chosen
