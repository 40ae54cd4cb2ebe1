"""`dync fuzz`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from dync.cli.console import emit, ended_by_signal, steps
from dync.cli.words import Json
from dync.options import known
from dync.progress import stage
from dync.registry import backend_names, host_names

if TYPE_CHECKING:
    from dync.verify.fuzz.check import Finding


def fuzz(
    *, count: Annotated[int, Parameter(help="Networks to generate.")] = 20,
    backend: Annotated[str, Parameter(help="Backends, separated by commas.")] = "onnxruntime",
    host: Annotated[str, Parameter(help="Hosts, separated by commas.")] = "python",
    output: Annotated[Path | None, Parameter(name=["--output", "-o"], help="Folder for files that reproduce failures.")] = None,
    timeout: Annotated[float, Parameter(help="Seconds for one network.")] = 60.0,
    seed: Annotated[int, Parameter(help="Seed of the first network.")] = 0,
    jobs: Annotated[int, Parameter(name=["--jobs", "-j"], help="Networks at once.")] = 1, json: Json = False,
) -> int:  # fmt: skip
    """Compile random dynamic networks and compare them with eager; exit 1 when one differs, crashes or hangs.

    Ctrl-C and SIGTERM end it with a report of what was checked till then: exit 130 and 143, or 1 as above.
    """
    from dync.verify.fuzz import run

    backends = [known("backend", b, backend_names()) for b in backend.split(",")]
    hosts = [known("host", h, host_names()) for h in host.split(",")]
    with ended_by_signal() as ended, steps(1), stage("fuzz", f"{count} networks") as fuzzing:

        def tick(done: int, found: Finding) -> None:
            fuzzing.tick(done, count)
            if found.is_failure:
                fuzzing.say(f"network {seed + done - 1}: {found.kind} in {found.stage}: {found.key}")

        report = run(count, seed, backends, hosts, output, timeout=timeout, tick=tick, jobs=jobs)
        fuzzing.note = ", ".join(f"{n} {kind}" for kind, n in report.kinds.items())
    emit({**msgspec.structs.asdict(report), "ok": report.ok} if json else report, json)
    return ended() if report.stopped and not report.failures else 0 if report.ok else 1
