"""How long a call takes, path by path: the artifact and its peers in turn, in one process, on the same inputs and threads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from dync.errors import UsageError
from dync.progress import stage
from dync.report import table

if TYPE_CHECKING:
    from torch import nn

    from dync.runtime.program import Runtime
    from dync.verify.calls import Call

PEERS = ("eager", "inductor")
OWN = "dync"
SAMPLES = 64
"""Calls that are tried to find the paths, each path then measured on the first call that took it."""
MOST_PATHS = 16
WARM_UP = 3
MOST_CALLS = 2000
WIDEST = 60
"""Characters of a path's decisions in the table; the JSON has all."""


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds of one call over `calls` measurements."""

    median: float
    p90: float
    p99: float
    calls: int


class PathLatency(msgspec.Struct, frozen=True):
    """One path: its blocks, and its decisions as text ("b0 false, b2 true").

    share: part of the sampled calls that took it. latency: by runner. ratio: peer's median over dync's, by peer.
    """

    blocks: tuple[str, ...]
    decisions: str
    share: float
    latency: dict[str, Latency]
    ratio: dict[str, float]


class BenchReport(msgspec.Struct, frozen=True):
    """All paths that were measured. throughput: calls a second over the mix of the sampled calls.

    asked: what the decisions of each block ask. not_run: peers left out, and why. not_reached: outcomes that no sampled call had.
    """

    name: str
    threads: int
    paths: tuple[PathLatency, ...]
    throughput: dict[str, float]
    asked: dict[str, str] = {}
    not_run: dict[str, str] = {}
    not_reached: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ("path", "share", "runner", "median ms", "p90", "p99", "x dync")
        rows = [_row(path, who) for path in self.paths for who in path.latency]
        return "\n".join([
            f"{self.name}: {len(self.paths)} paths measured, {self.threads} threads",
            *(f"{block} asks {text}" for block, text in self.asked.items()),
            *table(head, rows),
            "throughput: " + ", ".join(f"{who} {rate:.0f} calls/s" for who, rate in self.throughput.items()),
            *(f"not run: {who}: {why}" for who, why in self.not_run.items()),
            *([f"not measured, no sampled call went there: {', '.join(self.not_reached)}"] if self.not_reached else []),
        ])  # fmt: skip


def _row(path: PathLatency, who: str) -> tuple[str, ...]:
    one, ratio = path.latency[who], f"{path.ratio[who]:.2f}" if who in path.ratio else ""
    decisions = path.decisions if len(path.decisions) <= WIDEST else path.decisions[: WIDEST - 1] + "…"
    return (decisions, f"{path.share:.0%}", who, f"{one.median:.3f}", f"{one.p90:.3f}", f"{one.p99:.3f}", ratio)


Runner = Callable[..., Any]
Key = tuple[tuple[str, ...], str]
"""The blocks and the decisions of a path."""


def bench(
    compiled: Runtime,
    model: nn.Module | None,
    inputs: Sequence[Any] | None,
    vs: Sequence[str],
    seconds: float,
    seed: int,
    why_no_model: str = "no model given",
) -> BenchReport:
    """Sample calls (or take `inputs`), group them by path, and time each path for about `seconds`, runners in turn.

    Without a model only the artifact is timed and the peers are listed in `not_run`. Raises UsageError for an unknown peer.
    """
    import torch

    for peer in vs:
        if peer not in PEERS:
            raise UsageError(f"unknown peer {peer!r}; known: {', '.join(PEERS)}")
    with stage("sample", "calls for every path") as sampled, torch.no_grad():
        groups = _by_path(compiled, _calls(compiled, inputs, seed))
        sampled.note = f"{len(groups)} paths"
    total = sum(len(calls) for calls in groups.values())
    chosen = sorted(groups.items(), key=lambda g: -len(g[1]))[:MOST_PATHS]
    runners: dict[str, Runner] = {OWN: compiled}
    not_run = {} if model is not None else dict.fromkeys(vs, why_no_model)
    if model is not None:
        runners |= {peer: _peer(peer, model, compiled) for peer in vs}
    measured: list[PathLatency] = []
    with stage("measure", f"{', '.join(runners)}, in turn") as measuring, torch.no_grad():
        for number, ((blocks, decisions), calls) in enumerate(chosen):
            latency = _interleaved(runners, _arguments(compiled, calls[0]), seconds)
            ratio = {who: one.median / latency[OWN].median for who, one in latency.items() if who != OWN}
            measured.append(PathLatency(blocks, decisions, len(calls) / total, latency, ratio))
            measuring.tick(number + 1, len(chosen))
    return BenchReport(
        compiled.flow.name, torch.get_num_threads(), tuple(measured), _throughput(measured, runners), _asked(compiled), not_run,
        _not_reached(compiled, groups),
    )  # fmt: skip


def _asked(compiled: Runtime) -> dict[str, str]:
    from dync.verify.paths import outcomes

    return {o.block: o.decision.text for o in outcomes(compiled.flow)}


def _not_reached(compiled: Runtime, groups: Iterable[Key]) -> tuple[str, ...]:
    from dync.verify.paths import outcomes

    reached = {one for _, decisions in groups for one in decisions.split(", ")}
    return tuple(o for o in (f"{o.block} {o.label}" for o in outcomes(compiled.flow)) if o not in reached)


def _calls(compiled: Runtime, inputs: Sequence[Any] | None, seed: int) -> Iterable[Call]:
    from itertools import islice

    from dync.verify.inputs import Sampler, as_calls

    given = as_calls(inputs, compiled.flow.signature)
    if len(given) >= SAMPLES:
        return given
    return (*given, *islice(Sampler(compiled.flow.signature, seed, given), SAMPLES - len(given)))


def _by_path(compiled: Runtime, calls: Iterable[Call]) -> dict[Key, list[Call]]:
    """Calls by the path that they took; a call on which the model raises has no latency and is left out."""
    from dync.verify.calls import copied
    from dync.verify.paths import describe, steps

    groups: dict[Key, list[Call]] = {}
    for call in calls:
        args, kwargs = copied(call)
        try:
            _, trace = compiled.traced(*args, **kwargs)
        except Exception:  # the model's own exception, whatever class it has
            continue
        groups.setdefault((trace.path, describe(steps(compiled.flow, trace))), []).append(call)
    if not groups:
        raise UsageError("every call that was tried raised: give inputs that fit")
    return groups


def _peer(name: str, model: nn.Module, compiled: Runtime) -> Runner:
    """A copy of the model with the compiled program's run-time parameters; torch.compile'd for "inductor"."""
    from dync.ir.clone import clone

    own = clone(model).eval()
    for param in compiled.flow.signature.params:
        if param.place == "attribute":
            owner, _, attribute = param.name.rpartition(".")
            setattr(own.get_submodule(owner), attribute, compiled.params[param.name])
    if name == "eager":
        return own
    import torch

    return torch.compile(own)


def _arguments(compiled: Runtime, call: Call) -> Callable[[], tuple[Sequence[Any], Mapping[str, Any]]]:
    """Gives the arguments of a call; copies where calls write them, so that each takes the same path."""
    from dync.verify.calls import copied

    signature = compiled.flow.signature
    written = {n for b in compiled.flow.blocks for n in b.mutates} & {i.value.name for i in signature.inputs}
    return (lambda: copied(call)) if written or signature.written else lambda: (call.args, call.kwargs)


def _interleaved(
    runners: dict[str, Runner], arguments: Callable[[], tuple[Sequence[Any], Mapping[str, Any]]], seconds: float
) -> dict[str, Latency]:
    times: dict[str, list[float]] = {who: [] for who in runners}
    for run in runners.values():
        for _ in range(WARM_UP):
            args, kwargs = arguments()
            run(*args, **kwargs)
    end = time.perf_counter() + seconds
    for _ in range(MOST_CALLS):
        for who, run in runners.items():
            args, kwargs = arguments()
            start = time.perf_counter_ns()
            run(*args, **kwargs)
            times[who].append((time.perf_counter_ns() - start) / 1e6)
        if time.perf_counter() > end:
            break
    return {who: latency(ms) for who, ms in times.items()}


def latency(milliseconds: Sequence[float]) -> Latency:
    """Median and percentiles, by nearest rank."""
    ordered = sorted(milliseconds)

    def rank(part: float) -> float:
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    return Latency(statistics.median(ordered), rank(0.90), rank(0.99), len(ordered))


def _throughput(paths: Sequence[PathLatency], runners: Iterable[str]) -> dict[str, float]:
    weight = sum(p.share for p in paths)
    return {who: 1000 * weight / sum(p.share * p.latency[who].median for p in paths) for who in runners}
