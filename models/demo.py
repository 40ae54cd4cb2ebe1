"""`python -m dync.models.demo`: compile the trained three-exit classifier, verify it, and run real images both ways."""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

import dync
from dync.api import compile_with
from dync.models import fashion_exits
from dync.options import CompileOptions


def main() -> int:
    """0 if every path agrees with eager PyTorch and every difference on real images is a reported flip; 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, help="keep the artifact here")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch and of the artifact alike")
    parser.add_argument("--rounds", type=int, default=5, help="timed calls of each image, each way")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(width=None if sys.stdout.isatty() else 110)

    with tempfile.TemporaryDirectory() as folder:
        return show(console, options.out or Path(folder) / "fashion_exits.dync", options.threads, options.rounds)


def show(console: Console, path: Path, threads: int, rounds: int) -> int:
    model = fashion_exits.build()
    images, labels = fashion_exits.sample()
    threshold = fashion_exits.THRESHOLD

    console.print(f"[bold]1/4 compile[/] FashionExits: {sum(p.numel() for p in model.parameters()):,} parameters, three exits")
    start = time.perf_counter()
    # dync.compile with one option more: as many threads as PyTorch has here
    options = CompileOptions.parse(threads=threads)
    compiled = compile_with(options, model, fashion_exits.example_inputs(), params={"threshold": (threshold, 0.0, 1.0)})
    compiled.save(path)
    console.print(f"    {time.perf_counter() - start:.1f} s → {path.name}, {path.stat().st_size / 1e6:.2f} MB")
    load_seconds = time_load(path)
    artifact = dync.load(path)
    console.print(f"    dync.load: {1e3 * load_seconds:.0f} ms (median of 5)")

    console.print("[bold]2/4 verify[/] every path against eager PyTorch")
    report = dync.verify(model, artifact)
    counts = f"{len(report.paths)} paths reached, {len(report.uncovered)} uncovered, {len(report.flips)} flips"
    console.print(f"    {counts}, largest error {report.worst}")

    console.print(f"[bold]3/4 run[/] {len(images)} real test images, one at a time, threshold {threshold}")
    eager, ours, flips = run_all(model, artifact, images)
    wrong = [i for i, (a, b) in enumerate(zip(eager, ours)) if a != b and i not in flips]
    table = Table("", "eager PyTorch", "artifact")
    table.add_row("accuracy", *(f"{accuracy(r, labels):.4f}" for r in (eager, ours)))
    for number in range(3):
        table.add_row(f"left at exit {number}", *(str(sum(e == number for _, e in r)) for r in (eager, ours)))
    console.print(table)
    for i, margin in flips.items():
        console.print(f"    flip: image {i} left at exit {eager[i][1]} in eager, {ours[i][1]} here; its margin is {margin:.1e}")

    console.print(f"[bold]4/4 time[/] median of interleaved calls in one process, {threads} thread{'s' * (threads > 1)} each")
    table = Table("exit", "images", "eager ms", "artifact ms", "eager / artifact")
    ratios = []
    for number, (count, before, after) in enumerate(latencies(model, artifact, images, eager, rounds)):
        ratios.append(before / after)
        table.add_row(str(number), str(count), f"{before:.3f}", f"{after:.3f}", f"{before / after:.2f}x")
    console.print(table)

    ok = report.ok and not wrong
    faster = f"it is {min(ratios):.1f} to {max(ratios):.1f} times as fast as eager PyTorch"
    if not ok:
        console.print(f"[bold red]The artifact disagrees with eager PyTorch[/]: verify ok: {report.ok}, images: {wrong}.")
    elif report.uncovered:
        console.print(f"The artifact agrees wherever it was tried, {len(report.uncovered)} paths were not reached; {faster}.")
    else:
        agree = f"all {len(images)} answers" if not flips else f"all answers but {len(flips)} reported flips"
        console.print(f"[bold green]The artifact gives the same results as eager PyTorch[/] on every path and {agree}; {faster}.")
    return 0 if ok else 1


def time_load(path: Path) -> float:
    """Median seconds of dync.load over five loads."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        dync.load(path)
        seconds.append(time.perf_counter() - start)
    return median(seconds)


@torch.inference_mode()
def run_all(model, artifact, images):
    """(class, exit) of every image, eager and compiled, and the flips: image → margin of the first decision that differs.

    A decision differs as a flip only when its margin is within 1e-5, far above the rounding of a softmax in float32.
    """
    eager, ours, flips = [], [], {}
    for i, image in enumerate(images.split(1)):
        logits, number = model(image)
        eager.append((int(logits.argmax()), number))
        (logits, found), trace = artifact.traced(image)
        ours.append((int(logits.argmax()), found))
        if found != number:
            margin = abs(trace.decisions[min(number, found)].margin)
            if margin <= 1e-5:
                flips[i] = margin
    return eager, ours, flips


def accuracy(results, labels: torch.Tensor) -> float:
    return sum(predicted == label for (predicted, _), label in zip(results, labels.tolist())) / len(labels)


@torch.inference_mode()
def latencies(model, artifact, images, results, rounds: int, most: int = 60):
    """Per exit: (images, eager ms, artifact ms), the median over up to `most` images, each called in turn both ways."""
    for number in range(3):
        chosen = [image for image, (_, e) in zip(images.split(1), results) if e == number][:most]
        before, after = [], []
        for _ in range(rounds + 1):
            for image in chosen:
                start = time.perf_counter()
                model(image)
                middle = time.perf_counter()
                artifact(image)
                before.append(middle - start)
                after.append(time.perf_counter() - middle)
        warm = len(chosen)
        yield len(chosen), 1e3 * median(before[warm:]), 1e3 * median(after[warm:])


if __name__ == "__main__":
    sys.exit(main())
