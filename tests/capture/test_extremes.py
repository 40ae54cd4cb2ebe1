"""Bounds of numbers that are read from tensors: what is sliced at such places is as in eager, and has one row where it must."""

import pytest
import torch
from torch import nn

import dync
from dync.ir.interpret import run

INSIDE = {
    "argmax": lambda x: x.argmax(),
    "of a row": lambda x: x.view(2, 4).argmin(1)[1],
    "largest": lambda x: x.max(0)[1],
    "topk": lambda x: x.topk(3)[1][2],
    "sorted": lambda x: x.sort(stable=True, descending=True)[1].flip(0)[0],
    "median": lambda x: x.median(0)[1],
    "chosen": lambda x: torch.where(x > 0, x.argmax(), x.argmin())[3],
    "joined": lambda x: torch.cat([x.argmax()[None], x[:4].argsort()])[2],
    "remainder": lambda x: (x * 9).long()[0] % 8,
    "clamped": lambda x: (x * 9).long().clamp(0, 7).max(),
    "counted": lambda x: (x[:7] > 0).sum(),
    "between": lambda x: torch.searchsorted(x[:7].sort()[0], x[7:])[0],
    "halved": lambda x: torch.arange(14)[(x > 0).sum()] // 2,
}
ANYWHERE = {
    "minus": lambda x: x.argmax() - 3,
    "twice": lambda x: x.argmax() * 2,
    "written": lambda x: x.argmax(0, keepdim=True).add_(4)[0],
    "bits": lambda x: x.sort()[1].to(torch.int32).view(torch.int16)[0],
    "given": lambda x: (x * 9).long()[0],
    "sum": lambda x: x.sort()[1].sum() - 25,
    "larger": lambda x: torch.maximum(x.argmax(), (x[:1] * 9).long())[0],
}


class At(nn.Module):
    def __init__(self, place):
        super().__init__()
        self.place = place

    def forward(self, x):
        i = self.place(x).item()
        return x[i : i + 1], i


@pytest.mark.parametrize("name", [*INSIDE, *ANYWHERE])
def test_slices_at_places(name):
    model = At((INSIDE | ANYWHERE)[name])
    program = dync.capture(model, (torch.randn(8),))
    for seed in range(30):
        x = torch.randn(8, generator=torch.Generator().manual_seed(seed))
        wanted, found = model(x), run(program, (x,)).result
        assert torch.equal(wanted[0], found[0]) and wanted[1] == found[1], (seed, wanted, found)
    slices = [n.meta["val"].shape[0] for n in program.blocks[0].graph.nodes if str(n.target) == "aten.slice.Tensor"]
    assert slices[-1] == 1 if name in INSIDE else not isinstance(slices[-1], int)
