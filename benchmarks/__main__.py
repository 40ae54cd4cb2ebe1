"""The runner: `python -m benchmarks [NAME ...] [--models A,B] [--threads N] [--seconds S] [--json FILE] [--docs]`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from benchmarks.machine import facts
from benchmarks.options import Options
from benchmarks.result import Result, cell, markdown
from benchmarks.rows import merged

BENCHES = {
    "blocks": "benchmarks.blocks",
    "capture-growth": "benchmarks.capture_growth",
    "coverage": "benchmarks.coverage",
    "early-exits": "benchmarks.early_exits",
    "engine-host": "benchmarks.engine_host",
    "host-overhead": "benchmarks.host_overhead",
    "placement": "benchmarks.placement",
    "planted-faults": "benchmarks.planted_faults",
    "static-paths": "benchmarks.static_paths",
    "zoo": "benchmarks.zoo",
}
DOCS = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `python -m benchmarks NAME ... --docs`, which replaces the sections of what ran; only figures that ran. Read the ratios,
not the times: runners are called in turn in one process with the same number of threads, in an order drawn anew each round and each
after an untimed call of its own, compile time is apart, and every output is compared with eager PyTorch before anything is timed. A time is
the median of each input's calls, averaged over the inputs. Under each command stand the commit, whose own runner timed it (until f593115
by the median over all inputs together, until aaef573 in fixed turns), the processor, and the load of the machine when it began: on a busy
machine ratios are rougher. The table below tells of the last run.
"""


def main() -> int:
    """0, or 1 when an output was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--threads", type=int, default=Options.threads)
    parser.add_argument("--seconds", type=float, default=Options.seconds, help="timed a group of runners")
    parser.add_argument("--models", default="", help="of the zoo, by comma; where a row is a model, those of others stay in the page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHES):
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; known: {', '.join(BENCHES)}")
    options = Options(arguments.threads, arguments.seconds, tuple(filter(None, arguments.models.split(","))))

    import torch

    torch.set_num_threads(options.threads)
    machine = facts(options.threads)
    before, results = DOCS.read_text() if DOCS.exists() else "", []
    for name in arguments.names or BENCHES:
        bench = import_module(BENCHES[name])
        with torch.no_grad():
            result = bench.run(options)
        if hasattr(bench, "summary"):
            result = merged(result, before if options.models else "", bench.summary)
        told = {"threads": options.threads, "seconds": options.seconds}
        flags = "".join(f" --{key} {value}" for key, value in told.items() if value != getattr(Options, key))
        flags += f" --models {arguments.models}" if options.models and not hasattr(bench, "summary") else ""
        ran = f"{machine['dync']}, {machine['processor']}, load {machine['load at start']}"
        results.append(replace(result, command=f"python -m benchmarks {name}{flags}", ran=ran))
        show(results[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "results": [r.record() for r in results]}, indent=1) + "\n")
    if arguments.docs:
        DOCS.write_text(document(machine, results, before))
    return 0 if all(r.ok for r in results) else 1


def document(machine: dict[str, str], results: list[Result], before: str = "") -> str:
    """docs/benchmarks.md with these results in the places of their older ones; what did not run stays."""
    rows = "".join(f"| {key} | {value} |\n" for key, value in machine.items() if key != "load at start")
    sections = {part.partition("\n")[0]: "## " + part.rstrip() + "\n" for part in before.split("\n## ")[1:]}
    sections |= {r.title: markdown(r) for r in results}
    return "\n".join([HEAD, f"| machine | |\n|---|---|\n{rows}", *sections.values()])


def show(result: Result) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 130)
    table = Table(*result.columns, title=result.title)
    for row in result.rows:
        table.add_row(*map(cell, row))
    console.print(table)
    for note in result.notes:
        console.print(f"  {note}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
