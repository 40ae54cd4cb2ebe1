"""How capture grows with the number of independent gates: 10, 20, 50 of `if gate(x).argmax() == 1: x = block(x)`."""

from __future__ import annotations

import time

import torch
from torch import nn

from benchmarks.options import Options
from benchmarks.result import Result

COUNTS = (10, 20, 50)


class Gates(nn.Module):
    """`count` blocks in a row, each behind a gate of its own: float32 [1, 16] → [1, 16]."""

    def __init__(self, count: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gates = nn.ModuleList(nn.Linear(16, 2) for _ in range(count))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(count))

    def forward(self, x):
        for gate, block in zip(self.gates, self.blocks, strict=True):
            if gate(x).argmax() == 1:
                x = block(x)
        return x


def run(options: Options) -> Result:
    import dync
    from dync.ir.interpret import interpret

    dync.capture(Gates(2).eval(), (torch.randn(1, 16),))  # imports
    rows, ok = [], True
    for count in COUNTS:
        model = Gates(count).eval()
        start = time.perf_counter()
        program = dync.capture(model, (torch.randn(1, 16),))
        seconds = time.perf_counter() - start
        inputs = [torch.randn(1, 16) * 3 for _ in range(8)]
        right = all(torch.equal(interpret(program, (x,))[0], model(x)) for x in inputs)
        ok &= right
        blocks = len(program.blocks)
        rows.append((count, blocks, blocks / count, seconds, 1e3 * seconds / count, "equal" if right else "WRONG"))
    growth = (rows[-1][3] / rows[0][3]) / (COUNTS[-1] / COUNTS[0])
    notes = (f"{COUNTS[-1]} gates cost {growth:.2f} times as much a gate as {COUNTS[0]}", "8 random inputs each, bit for bit against eager")
    columns = ("gates", "blocks", "blocks a gate", "capture s", "ms a gate", "against eager")
    return Result("capture-growth", "Capture: independent gates in a row", columns, tuple(rows), notes, ok)
