"""Which host carries the control flow, and whether the mix of backends holds as a whole: as asked, or measured on the example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from dync import registry
from dync.backends.cache import key_of, machine
from dync.errors import BackendError, DeviceError, HostError
from dync.host.base import Declined
from dync.measure import unseen
from dync.options import AUTO
from dync.report import microseconds

if TYPE_CHECKING:
    from dync.package import Built
    from dync.runtime.package import Package

ONNX = "onnxruntime"
"""The backend whose engine runs the regions of a mixed host."""
PYTHON, MIXED = "python", "mixed"
SECONDS, ROUNDS, LEAST = 0.4, 100, 5
"""Time for a measurement, and the most and the least calls of each host."""
SAVED = 1e-5
"""Seconds that an engine may save a block: a call of it from Python; palbert, with a host in TVM: 15 µs a block."""
ENOUGH, ALONE = 0.9, 0.97
"""An engine, and one backend in place of the mix, must take less than this share of the time of the Python host with the mix:
above that the measurement may be noise."""
UNTOLD = "the example call failed"
Make = Callable[[], "Package | Declined"]


def choose(built: Built, seconds: Mapping[str, float], args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Package:
    """The program walked block by block in Python, or in an engine; the reason goes into its report.

    Raises HostError when the host that was asked for cannot carry the program.
    """
    wanted, target = built.options.host, built.options.target
    if target.kind != "cpu" and wanted in (AUTO, PYTHON):
        return _said(built.package(seconds), PYTHON, f"hosts are not measured for {target}")
    if wanted not in (AUTO, PYTHON):
        made = in_engine(built, wanted, built.package(seconds))
        if isinstance(made, Declined):
            raise HostError(f"the {wanted} host cannot carry {built.program.name}: {made}")
        return _said(made, wanted, "chosen")
    offers = _offers(built, seconds, wanted == AUTO)
    about = _about(built, list(offers))
    kept = built.shop.fact(*about)
    if isinstance(kept, list) and len(kept) == 2 and kept[0] in offers:
        found = offers[kept[0]]()
        if not isinstance(found, Declined):
            return _said(found, kept[0].partition(" ")[0], kept[1])
    package, name, reason = _fastest(offers, built, args, kwargs or {})
    built.shop.keep([name, reason], *about)
    return _said(package, name.partition(" ")[0], reason)


def _offers(built: Built, seconds: Mapping[str, float], engines: bool) -> dict[str, Make]:
    """Name → the package of each way to run the program: the mix of backends, one backend wherever it can, an engine."""
    offers: dict[str, Make] = {PYTHON: lambda: built.package(seconds)}
    path = [b for b in dict.fromkeys(built.seen.path) if b in built.blocks]
    for name in dict.fromkeys(n for b in path for n in built.blocks[b].made):
        instead = {b: name for b in path if name in built.blocks[b].made}
        if any(built.blocks[b].chosen != n for b, n in instead.items()):
            why = f"measured: the program is fastest with {name} alone on this path"
            offers[f"{PYTHON} with {name}"] = lambda instead=instead, why=why: built.package(seconds, instead, why)
    if engines:
        for name in (*registry.ENGINES, MIXED):
            offers[name] = lambda name=name: in_engine(built, name, built.package(seconds))
    return offers


def _about(built: Built, offers: Sequence[str]) -> tuple[Any, ...]:
    """What the fastest offer depends on."""
    flow = key_of(msgspec.json.encode(built.program.flow).hex())
    codes = [[built.shop.code_key(n, c.kernel) for n in c.made] for c in built.blocks.values()]
    shapes = [[str(getattr(v, "shape", type(v))) for v in values] for values in built.seen.inputs.values()]
    return "host", machine(), flow, codes, list(built.seen.path), shapes, list(offers)


def _fastest(offers: Mapping[str, Make], built: Built, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Package, str, str]:
    """Package, name and reason of the fastest offer; the Python host's mix unless another is better by a margin."""
    made: dict[str, Package | Declined] = {}
    later = [n for n in offers if n in registry.AGAIN]
    for name, make in offers.items():
        whole = [made[n] for n in registry.ENGINES if n in made]
        if name not in later and (name != MIXED or all(isinstance(m, Declined) for m in whole)):  # else an engine takes the whole
            made[name] = make()
    packages = {n: p for n, p in made.items() if not isinstance(p, Declined)}
    mix = packages[PYTHON]
    if not later and len(packages) == 1:
        return mix, PYTHON, _declined(made).removeprefix("; ")
    if not args and not kwargs and built.program.signature.inputs:
        return mix, PYTHON, "no example inputs to measure the hosts with"
    times = measure(packages, args, kwargs)
    if times is None:
        return mix, PYTHON, UNTOLD + _declined(made)
    for name in later:
        if built.options.budget and SAVED * len(built.seen.path) > (1 - ENOUGH) * min(times.values()):
            made[name] = offers[name]()
    packages = {n: p for n, p in made.items() if not isinstance(p, Declined)}
    declined = _declined(made)
    if len(packages) == 1:
        return mix, PYTHON, declined.removeprefix("; ")
    if len(packages) > len(times):
        times = measure(packages, args, kwargs) or times
    python = min((n for n in times if n.startswith(PYTHON)), key=lambda n: times[n])
    python = python if times[python] < ALONE * times[PYTHON] else PYTHON
    best = min(times, key=lambda n: times[n])
    name = best if times[best] < ENOUGH * times[python] else python
    figures = ", ".join(f"{n} {microseconds(t)}" for n, t in times.items())
    return packages[name], name, f"measured: {figures} a call{declined}"


def _declined(made: Mapping[str, Package | Declined]) -> str:
    return "".join(f"; the {n} host declines: {p}" for n, p in made.items() if isinstance(p, Declined))


def in_engine(built: Built, host: str, package: Package) -> Package | Declined:
    """The program in an engine, if every block passed its numeric check there, or such parts of it; or why not."""
    from dync.runtime.program import Runtime

    if built.options.target.kind != "cpu" and host not in registry.ON_DEVICES:
        return Declined(f"it runs on the CPU, not on {built.options.target}")
    if host == MIXED:
        from dync.whole import with_regions

        made = with_regions(package, built.program, built.kernels, {b for b, one in built.blocks.items() if ONNX not in one.made})
    else:
        backend, place = registry.ENGINES[host]
        for block, one in built.blocks.items():
            if backend not in one.made:
                why = next((r for r in reversed(one.refused) if r.backend == backend), None)
                if why is None:
                    return Declined(f"block {block} runs on {one.chosen}, its own code was not made: ask for backend {backend} too")
                return Declined(f"block {block} runs on {one.chosen}: {why.reason}", why.span)
        made = _whole(built, host, place, package)
    if isinstance(made, Declined):
        return made
    try:
        Runtime(made)
    except DeviceError:  # it is for a machine with the device
        return made
    except BackendError as error:
        return Declined(str(error))
    return made


def _whole(built: Built, host: str, place: str, package: Package) -> Package | Declined:
    """The program as one piece of code of an engine, from the cache if it was made before."""
    from dync.backends.base import BlockCode
    from dync.backends.cache import source_digest
    from dync.backends.kernels import content_key
    from dync.runtime.package import KernelEntry

    program, shop = built.program, built.shop
    kernels = [[b, content_key(k, shop.key(k)), shop.code_key(registry.ENGINES[host][0], k)] for b, k in built.kernels.items()]
    key = key_of("whole", host, source_digest(Path(__file__).parent), msgspec.json.encode(program.flow).hex(), kernels)
    if (code := shop.cache.get(key, None)) is None:
        made = registry.load(place)(package, program, built.kernels)
        if not isinstance(made, Declined):
            entry = made.engine
            shop.cache.put(key, None, BlockCode(entry.loader, key, made.members, entry.weights, entry.settings, entry.needs))
        return made
    entry = KernelEntry(code.loader, tuple(code.members), code.settings, code.weights, needs=code.needs)
    weights = {n: program.weights[n] for n in code.weights}
    return replace(package, kernels={}, members=code.members, weights=weights, engine=entry)


def _said(package: Package, host: str, reason: str) -> Package:
    report = {**package.report, "host": host, "host_reason": reason}
    if package.engine is not None or package.regions:
        report["code_bytes"] = sum(len(m) for m in package.members.values())
    return replace(package, report=report, meta={**package.meta, "host": host})


@unseen()
def measure(packages: Mapping[str, Package], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, float] | None:
    """Seconds of a call of each (the lowest tenth ends there), called in turn on copies of the example; None where it fails.

    Each timed call comes after another of the same: what the others left in the caches is not counted.
    """
    from dync.ir.clone import clone
    from dync.runtime.program import Runtime

    runs = {n: Runtime(p) for n, p in packages.items()}
    times: dict[str, list[float]] = {n: [] for n in runs}
    names, turn, end = list(runs), 0, perf_counter() + SECONDS
    order = Random(0)
    while turn < LEAST or turn < ROUNDS and perf_counter() < end:
        for name in order.sample(names, len(names)):
            before, given = clone((tuple(args), dict(kwargs))), clone((tuple(args), dict(kwargs)))
            try:
                runs[name](*before[0], **before[1])
                start = perf_counter()
                runs[name](*given[0], **given[1])
            except Exception:  # noqa: BLE001  the model's own exception: it has no time to compare
                return None
            times[name].append(perf_counter() - start)
        turn += 1
    return {n: sorted(t[1:])[len(t[1:]) // 10] for n, t in times.items()}
