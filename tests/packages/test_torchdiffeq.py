"""Adaptive solvers of torchdiffeq, unedited: captured, verified, equal to eager bit for bit, over several numbers of steps."""

import pytest
import torch
from torch import nn

from dync.capture import capture
from dync.ir.interpret import interpret
from dync.ir.verify import verify

torchdiffeq = pytest.importorskip("torchdiffeq")


class Derivative(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 8), nn.Linear(8, 3)

    def forward(self, t, y):
        return 4 * self.outer(torch.tanh(self.inner(y))) * torch.sin(3 * t)


class Solve(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.f = Derivative()
        self.options = options
        self.register_buffer("times", torch.tensor([0.0, 1.0, 2.0]))

    def forward(self, y):
        return torchdiffeq.odeint(self.f, y, self.times, rtol=1e-3, atol=1e-4, **self.options)


@pytest.mark.slow
def test_an_adaptive_solver():
    torch.manual_seed(0)
    model = Solve(method="dopri5").eval()
    generator = torch.Generator().manual_seed(0)
    program = capture(model, (torch.randn(2, 3, generator=generator),))
    verify(program)
    turns = set()
    for scale in (0.1, 0.3, 1.0, 2.0, 4.0):
        y = torch.randn(2, 3, generator=generator) * scale
        with torch.no_grad():
            want = model(y)
        got, trace = interpret(program, (y,))
        assert torch.equal(got, want)
        turns.add(len(trace.path))
    assert len(turns) > 1
