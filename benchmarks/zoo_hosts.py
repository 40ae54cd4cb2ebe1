"""Every model of the zoo on every backend and host, against eager and `interpret`: `python -m benchmarks.zoo_hosts [MODEL ...]`.

Writes docs/zoo-hosts.md cell by cell, each backend of each model in a process of its own, so that what broke or took too
long costs its own cells only, and a later run goes on where this one ended: cells that are there stay, unless --again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

DOCS = Path(__file__).parent.parent / "docs" / "zoo-hosts.md"
HOSTS = {
    "onnxruntime": ("python", "onnx", "mixed"),
    "tvm": ("python", "tvm"),
    "torch-mlir": ("python", "torch-mlir"),
    "inductor": ("python",),
}
COLUMNS = tuple(f"{backend} / {host}" for backend, hosts in HOSTS.items() for host in hosts)
SEARCH = 120.0
"""Seconds that the search for calls may take for a model."""
LIMIT = 900
"""Seconds that one backend may take for a model: compile, and compare on its hosts."""
NOT_RUN = "not run"
HEAD = """# The zoo on every backend and host

Written by `python -m benchmarks.zoo_hosts`. For each model verification first searches calls that take every outcome of every decision
(`reached`; what is missing there and why stands in [benchmarks.md](benchmarks.md)), one call or more for each path that it came by
(`calls`). Then the blocks are compiled by each backend, and each host carries the control flow over them (`backend / host`); result,
exception, written inputs and state, path and decisions of every call are held against eager and `interpret`. "same" is no difference
on any of them beside numeric error; "1 flip" is a decision that went the other way within its predicate's numeric error. Blocks that the
backend refuses run on another one under the Python host, with the first reason given. A host that cannot carry the program is declined
with its reason. "not run" did not run.
"""


def main() -> int:
    """0, or 1 when something differed."""
    from dync.models import ZOO

    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo_hosts", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"some of: {', '.join(ZOO)} (default: all)")
    parser.add_argument("--backend", action="append", choices=tuple(HOSTS), help="only this one; repeatable")
    parser.add_argument("--again", action="store_true", help="also cells that ran before")
    parser.add_argument("--search", type=float, default=SEARCH, help="seconds of search a model")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds a backend and model")
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(ZOO):
        parser.error(f"unknown model {', '.join(sorted(unknown))}")
    for name in arguments.models or ZOO:
        wanted = [b for b in arguments.backend or HOSTS if arguments.again or missing(read().get(name, {}), b)]
        work = partial(row, name, ZOO[name], wanted, arguments.search, arguments.limit)
        if wanted and (said := isolated(work)):
            write(name, {f"{b} / {h}": said for b in wanted for h in HOSTS[b]})
    return 1 if any("DIFFERENT" in c for found in read().values() for c in found.values()) else 0


def row(name: str, where: str, backends: list[str], seconds: float, limit: float) -> str:
    """Fills in the cells of a model for some backends."""
    model, example = loaded(where)
    program, calls, reached = searched(model, example, seconds)
    write(name, {"reached": reached, "calls": str(len(calls))})
    for backend in backends:
        start = time.monotonic()
        said = isolated(lambda backend=backend: dict(on(model, program, example, calls, backend)), limit)
        row = said if isinstance(said, dict) else {f"{backend} / {h}": str(said) for h in HOSTS[backend]}
        write(name, row)
        print(f"{name} on {backend}, {time.monotonic() - start:.0f} s: {row}", file=sys.stderr, flush=True)
    return ""


def loaded(where: str) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    module, _, function = where.partition(":")
    home = import_module(module)
    return getattr(home, function)(), home.example_inputs()


def searched(model: torch.nn.Module, example: tuple[Any, ...], seconds: float) -> tuple[Any, list[Any], str]:
    """The program after the passes, a call for each path that a search came by, and how many outcomes these reach."""
    import dync
    from dync.build import rewrite
    from dync.options import CompileOptions
    from dync.verify.run import cover

    program = rewrite(dync.capture(model, example), CompileOptions.parse(threads=1))
    report, calls = cover(model, program, [example], seconds=seconds)
    reached = sum(d.calls > 0 for d in report.decisions)
    return program, calls, f"{reached} of {len(report.decisions)}"


def on(model: torch.nn.Module, program: Any, example: tuple[Any, ...], calls: list[Any], backend: str) -> Iterator[tuple[str, str]]:
    """(column, cell) of one backend: its blocks under each of its hosts."""
    from dync.backends.base import Declined as Unavailable
    from dync.build import compile_blocks, kernels_of
    from dync.host.base import Declined
    from dync.hosts import PYTHON, in_engine
    from dync.options import CompileOptions
    from dync.place import place
    from dync.registry import backend as named
    from dync.runtime.program import Runtime
    from dync.workshop import Workshop

    if isinstance(no := named(backend).available(), Unavailable):
        yield from ((f"{backend} / {h}", f"{NOT_RUN}: {no.reason}") for h in HOSTS[backend])
        return
    kernels = kernels_of(program)
    shop = Workshop(CompileOptions.parse(backend=backend, threads=1, budget=0), tuple(kernels.values()))
    built = compile_blocks(program, place(kernels, shop), shop, example)
    others = {b: one for b, one in built.blocks.items() if one.chosen != backend}
    reasons = [r.reason for one in others.values() for r in one.refused if r.backend == backend]
    aside = f"; {len(others)} of {len(built.blocks)} blocks refused: {reasons[0] if reasons else 'no reason given'}" if others else ""
    for host in HOSTS[backend]:
        package = built.package({}) if host == PYTHON else in_engine(built, host, built.package({}))
        if isinstance(package, Declined):
            yield f"{backend} / {host}", "declined: " + str(package).partition(" (/")[0]
        else:
            regions = f"; {len(package.regions)} regions" if package.regions else ""
            yield f"{backend} / {host}", compared(model, program, Runtime(package), calls) + (aside if host == PYTHON else regions)


def compared(model: torch.nn.Module, program: Any, runtime: Any, calls: list[Any]) -> str:
    """What the calls show of a runtime."""
    from dync.verify.run import verify

    report = verify(model, runtime, calls, cover="decisions", seconds=0.0, program=program)
    if not report.ok:
        return f"DIFFERENT: {report.mismatches[0] if report.mismatches else 'nothing was compared'}"
    return "same" + (f", {len(report.flips)} flip{'s' * (len(report.flips) > 1)}" if report.flips else "")


def isolated(work: Callable[[], Any], limit: float | None = None) -> Any:
    """What `work` returns in a process of its own; a text where it broke, died or took longer than `limit` seconds."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def run() -> None:
        try:
            with torch.no_grad():
                theirs.send(work())
        except BaseException as error:  # noqa: BLE001 - a bug of dync is a cell of the table, and the others still run
            theirs.send(f"BROKE: {type(error).__name__}: {error}".split("\n")[0][:300])

    process = context.Process(target=run)
    process.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(limit) else f"{NOT_RUN}: took more than {limit:.0f} s"
    except EOFError:
        return "BROKE: the process died"
    finally:
        process.kill()
        process.join()


def read() -> dict[str, dict[str, str]]:
    """Model → column → cell, as the table says."""
    lines = [r[2:-2].split(" | ") for r in DOCS.read_text().splitlines() if r.startswith("| ")] if DOCS.exists() else []
    return {r[0]: dict(zip(lines[0][1:], r[1:], strict=True)) for r in lines[1:]}


def missing(row: Mapping[str, str], backend: str) -> bool:
    """Whether a backend of a model has cells that did not run to their end."""
    return any(row.get(f"{backend} / {host}", NOT_RUN).startswith((NOT_RUN, "BROKE")) for host in HOSTS[backend])


def write(name: str, row: Mapping[str, str]) -> None:
    """Puts cells into the table; the others stay."""
    from dync.models import ZOO

    known = read()
    known[name] = {**known.get(name, {}), **{k: " ".join(v.split()).replace("|", "/") for k, v in row.items()}}
    columns = ("reached", "calls", *COLUMNS)
    rows = [[n, *(known.get(n, {}).get(c, NOT_RUN) for c in columns)] for n in ZOO]
    said = [c for r in rows for c in r[3:]]
    kinds = {
        "same": "are the same",
        "declined": "are declined with a reason",
        "DIFFERENT": "differ",
        "BROKE": "broke",
        NOT_RUN: "did not run",
    }
    counts = ", ".join(f"{sum(c.startswith(k) for c in said)} {text}" for k, text in kinds.items())
    lines = [f"Of {len(said)} cells {counts}.", "", f"| model | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    DOCS.write_text("\n".join([HEAD, *lines, *(f"| {' | '.join(r)} |" for r in rows)]) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
