"""What the host costs: time of a call against the number of decisions and of kernels that it runs, each kernel tiny."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.options import Options
from benchmarks.peers.onnx_sessions import session
from benchmarks.result import Result
from benchmarks.subject import compile_dync, same
from benchmarks.timing import interleave

COUNTS = (4, 16, 64)


class Steps(nn.Module):
    """`count` decisions in a row on four numbers, none of which can be merged: float32 [4] → [4]."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x):
        for _ in range(self.count):
            if x.sum() > 0:
                x = x * 0.5 - 1.0
            else:
                x = x * 0.5 + 1.0
        return x


class Step(nn.Module):
    """About the work of one block."""

    def forward(self, x):
        x = x * 0.5 - 1.0
        return x, x.sum() > 0


def run(options: Options) -> Result:
    args = (torch.tensor([1.0, -2.0, 0.5, 3.0]),)
    floor = session(Step(), args, options.threads)
    array = args[0].numpy()
    rows, ok, found = [], True, []
    for backend in ("eager", "onnxruntime"):
        points = []
        for count in COUNTS:
            model = Steps(count).eval()
            compiled = compile_dync(model, args, threads=options.threads, backend=backend, host="python")
            result, trace = compiled.traced(*args)
            right = same(result, model(*args))
            ok &= right
            runners = {"eager PyTorch": model, "dync": compiled, "one session call": lambda _: floor(array)}
            times = interleave(runners, [args], options.seconds / 2)
            kernels = sum(name in compiled.package.kernels for name in trace.path)
            points.append((kernels, 1e3 * times["dync"].median))
            rows.append((
                backend, count, kernels, 1e3 * times["dync"].median, 1e3 * times["eager PyTorch"].median,
                1e3 * times["one session call"].median, "equal" if right else "WRONG",
            ))  # fmt: skip
        (k0, t0), (k1, t1) = points[0], points[-1]
        each = f"{(t1 - t0) / (COUNTS[-1] - COUNTS[0]):.1f} µs for each further decision"
        found.append(f"{backend}: {each}, {(t1 - t0) / (k1 - k0):.1f} µs for each further kernel run, its own work included")
    columns = ("backend", "decisions", "kernels run", "dync µs", "eager µs", "one bare session call µs", "against eager")
    return Result("host-overhead", "Host: cost of a decision", columns, tuple(rows), tuple(found), ok)
