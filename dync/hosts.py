"""Which host carries the control flow: as asked, or the one that is faster on the example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dync.errors import BackendError, HostError
from dync.host.base import Declined
from dync.options import AUTO

if TYPE_CHECKING:
    from dync.backends.base import Kernel
    from dync.build import Built
    from dync.runtime.package import Package

ENGINE_BACKEND = "onnxruntime"
SECONDS, ROUNDS = 0.3, 50
"""Time for a measurement, and the most calls of each host."""
ENOUGH = 0.9
"""The engine must take less than this share of the Python host's time: below that the measurement may be noise."""
UNTOLD = "the example call failed"


def choose(built: Built, kernels: Mapping[str, Kernel], package: Package, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Package:
    """`package`, which walks blocks in Python, or the same program in an engine; the reason goes into its report.

    Raises HostError when the host that was asked for cannot carry the program.
    """
    wanted = built.options.host
    if wanted == "python":
        return package
    other = in_engine(built, kernels, package)
    if wanted != AUTO:
        if isinstance(other, Declined):
            raise HostError(f"the {wanted} host cannot carry {built.program.name}: {other}")
        return _said(other, "onnx", "chosen")
    if isinstance(other, Declined):
        return _said(package, "python", f"the onnx host declines: {other}")
    if not args and not kwargs and built.program.signature.inputs:
        return _said(package, "python", "no example inputs to measure the hosts with")
    python, onnx = measure((package, other), args, kwargs or {})
    if python is None or onnx is None:
        return _said(package, "python", UNTOLD)
    figures = f"measured: python {python * 1e6:.0f} µs, onnx {onnx * 1e6:.0f} µs a call"
    return _said(other, "onnx", figures) if onnx < ENOUGH * python else _said(package, "python", figures)


def in_engine(built: Built, kernels: Mapping[str, Kernel], package: Package) -> Package | Declined:
    """The program in ONNX Runtime, if every block passed its numeric check there; or why not."""
    from dync.runtime.program import Runtime
    from dync.whole import with_engine

    for one in built.reports:
        if one.backend != ENGINE_BACKEND:
            why = next((r for r in reversed(one.refused) if r.backend == ENGINE_BACKEND), None)
            return Declined(f"block {one.block} runs on {one.backend}" + (f": {why.reason}" if why else ""), *([why.span] if why else []))
    made = with_engine(package, built.program, kernels)
    if isinstance(made, Declined):
        return made
    try:
        Runtime(made)
    except BackendError as error:
        return Declined(str(error))
    return made


def _said(package: Package, host: str, reason: str) -> Package:
    report = {**package.report, "host": host, "host_reason": reason}
    if package.engine is not None:
        report["code_bytes"] = sum(len(m) for m in package.members.values())
    return replace(package, report=report, meta={**package.meta, "host": host})


def measure(packages: Sequence[Package], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[float | None]:
    """Median seconds of a call of each, called in turn on copies of the example; None where it fails."""
    from dync.ir.clone import clone
    from dync.runtime.program import Runtime

    runs = [Runtime(p) for p in packages]
    times: list[list[float]] = [[] for _ in runs]
    end = perf_counter() + SECONDS
    while not times[0] or len(times[0]) < ROUNDS and perf_counter() < end:
        for run, found in zip(runs, times, strict=True):
            given = clone((tuple(args), dict(kwargs)))
            start = perf_counter()
            try:
                run(*given[0], **given[1])
            except Exception:  # noqa: BLE001  the model's own exception: it has no time to compare
                return [None] * len(runs)
            found.append(perf_counter() - start)
    return [median(t[1:] or t) for t in times]
