"""`run`: generate, check, group by cause, shrink, write reproducing files. The same seed gives the same networks."""

from __future__ import annotations

import tempfile
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue

from dync.errors import UsageError
from dync.sides import pairs
from dync.verify.fuzz.check import Finding
from dync.verify.fuzz.generate import FEATURES, Network, generate
from dync.verify.fuzz.report import Failure, FuzzReport
from dync.verify.fuzz.shrink import shrink
from dync.verify.fuzz.worker import Worker

AHEAD = 8
"""Networks for each worker that are generated before they are checked."""


def run(
    count: int = 100, seed: int = 0, backends: Sequence[str] = ("onnxruntime",), hosts: Sequence[str] = ("python",),
    out: Path | str | None = None, *, features: frozenset[str] = FEATURES, timeout: float = 60.0, shrinking: int = 150,
    tick: Callable[[int, Finding], None] | None = None, jobs: int = 1,
) -> FuzzReport:  # fmt: skip
    """Checks the networks seed, seed + 1, ... seed + count - 1 against eager.

    out: folder for reproducing files (made when missing; none are written without it). features: constructs to draw from.
    timeout: seconds for one network. shrinking: candidates tried for each cause. tick: called after each network, in their order.
    jobs: networks at once, each in a process of its own. KeyboardInterrupt ends the run: the report tells what was checked till then,
    failures not shrunk. Raises UsageError for unknown features, or a count or jobs below one.
    """
    if count < 1 or jobs < 1:
        raise UsageError(f"count is {count} and jobs {jobs}; at least one network must be generated, and one checked at a time")
    if unknown := features - FEATURES:
        raise UsageError(f"unknown features: {', '.join(sorted(unknown))}; known: {', '.join(sorted(FEATURES))}")
    stages = ["interpret", *(f"{b}/{h}" for b, h in pairs(backends, hosts))]
    if len(stages) == 1:
        raise UsageError(f"no host of {', '.join(hosts)} runs blocks of {', '.join(backends)}")
    kinds: Counter[str] = Counter()
    same = dict.fromkeys(stages, 0)
    declined: Counter[str] = Counter()
    left: Counter[str] = Counter()
    causes: dict[tuple[str, str, str], list[tuple[Network, Finding]]] = {}
    workers = [Worker(timeout) for _ in range(jobs)]
    stopped = False
    with tempfile.TemporaryDirectory(prefix="dync-fuzz-") as folder:

        def failures(tries: int) -> tuple[Failure, ...]:
            return tuple(_failure(workers[0], Path(folder), group, backends, hosts, out, tries) for group in causes.values())

        try:
            networks = (generate(seed + n, features) for n in range(count))
            with closing(_checked(networks, workers, Path(folder), backends, hosts)) as checked:
                for n, (network, found) in enumerate(checked):
                    kinds[found.kind] += 1
                    for stage, why in found.stages.items():
                        same[stage] += not why
                    left.update(found.left)
                    declined.update(f"{stage}: {why}" for stage, why in found.stages.items() if why)
                    if found.kind == "declined" and found.stage not in same:
                        declined[f"{found.stage}: {found.key}"] += 1
                    if found.is_failure:
                        causes.setdefault((found.kind, found.stage, found.key), []).append((network, found))
                    if tick is not None:
                        tick(n + 1, found)
            failed = failures(shrinking)
        except KeyboardInterrupt:
            stopped, failed = True, failures(0)
        finally:
            for worker in workers:
                worker.close()
    return FuzzReport(seed, count, tuple(backends), tuple(hosts), dict(kinds), same, dict(declined), failed, dict(left), stopped)


def _checked(
    networks: Iterable[Network], workers: Sequence[Worker], folder: Path, backends: Sequence[str], hosts: Sequence[str]
) -> Generator[tuple[Network, Finding], None, None]:
    """What became of each network, in their order; as many at once as there are workers. Interrupted, it gives those that are done."""
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def one(network: Network) -> tuple[Network, Finding]:
        worker = idle.get()
        try:
            return network, worker.check(_written(folder / f"network_{network.seed}.py", network.source), backends, hosts)
        finally:
            idle.put(worker)

    waiting: deque[Future[tuple[Network, Finding]]] = deque()

    def first() -> tuple[Network, Finding]:
        found = waiting[0].result()
        waiting.popleft()
        return found

    with ThreadPoolExecutor(len(workers)) as pool:
        try:
            for network in networks:
                waiting.append(pool.submit(one, network))
                if len(waiting) > AHEAD * len(workers):
                    yield first()
            while waiting:
                yield first()
        except BaseException as ended:
            done = [f for f in waiting if f.done()]
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.stop()
            if isinstance(ended, KeyboardInterrupt):
                yield from (f.result() for f in done)
            raise


def _written(path: Path, source: str) -> Path:
    path.write_text(source)
    return path


def _failure(
    worker: Worker,
    folder: Path,
    group: list[tuple[Network, Finding]],
    backends: Sequence[str],
    hosts: Sequence[str],
    out: Path | str | None,
    tries: int,
) -> Failure:
    network, found = min(group, key=lambda g: len(g[0].source))
    stages = found.stage.split("/") if "/" in found.stage else ()
    on, at = ([stages[0]], [stages[1]]) if len(stages) == 2 else (backends, hosts)
    names = iter(range(1_000_000))

    def fails(source: str) -> bool:
        again = worker.check(_written(folder / f"shrunk_{network.seed}_{next(names)}.py", source), on, at)
        return (again.kind, again.stage, again.key) == (found.kind, found.stage, found.key)

    shrinks = tries > 0 and found.kind != "hang" and fails(network.source)
    smallest = shrink(network.source, fails, tries) if shrinks else network.source
    file = ""
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        file = str(_written(Path(out) / f"fuzz_{network.seed}_{found.kind}.py", reproducer(smallest, network, found, on, at)))
    return Failure(network.seed, found, len(group), file, tuple(sorted(network.features)))


def reproducer(source: str, network: Network, found: Finding, backends: Sequence[str], hosts: Sequence[str]) -> str:
    """A Python file that holds the network and, run as a script, checks it again and exits with 1 while it fails."""
    detail = "\n".join(f"# {line}" for line in found.detail.splitlines()[-30:])
    shrunk = ", shrunk" * (source != network.source)
    head = f"# Network {network.seed} of `dync fuzz`{shrunk}. {found.kind} in {found.stage}: {found.key}\n{detail}\n\n"
    return head + source + TAIL.replace("BACKENDS", repr(list(backends))).replace("HOSTS", repr(list(hosts)))


TAIL = """

if __name__ == "__main__":
    import sys
    from pathlib import Path

    from dync.verify.fuzz.check import check

    found = check(Path(__file__), BACKENDS, HOSTS)
    print(found.kind, found.stage, found.key)
    print(found.detail)
    sys.exit(found.is_failure)
"""
