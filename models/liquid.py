"""Liquid time-constant network: Liquid Time-constant Networks (Hasani et al., AAAI 2021), over irregular time.

    dx/dt = -(1 / tau + f(x, u)) x + f(x, u) a

The state is integrated from one observation to the next by Heun's method with an embedded Euler error: the step grows
where the state moves slowly and shrinks where it moves fast, so that the number of steps depends on the data. Random seeded weights.
"""

import torch
from torch import nn

from dync.models.untrained import seeded


class LTCCell(nn.Module):
    """Input [n, inputs], state [n, units], elapsed time as a float → (state [n, units], number of steps tried)."""

    def __init__(self, inputs, units, tolerance=1e-2):
        super().__init__()
        self.units = units
        self.tolerance = tolerance
        self.input_map = nn.Linear(inputs, units)
        self.recurrent_map = nn.Linear(units, units, bias=False)
        self.log_tau = nn.Parameter(torch.randn(units) * 0.5)
        self.a = nn.Parameter(torch.randn(units) * 2)

    def derivative(self, u, x):
        f = torch.sigmoid(self.input_map(u) + self.recurrent_map(x))
        return -(torch.exp(-self.log_tau) + f) * x + f * self.a

    def forward(self, u, x, elapsed):
        t = 0.0
        h = min(0.1, elapsed)
        steps = 0
        while t < elapsed:
            h = min(h, elapsed - t)
            k1 = self.derivative(u, x)
            k2 = self.derivative(u, x + h * k1)
            error = (0.5 * h * (k2 - k1)).abs().max().item()
            if error <= self.tolerance or h < 1e-3:
                x = x + 0.5 * h * (k1 + k2)
                t += h
            scale = 0.9 * (self.tolerance / max(error, 1e-9)) ** 0.5
            h *= min(5.0, max(0.2, scale))
            steps += 1
            if steps >= 1000:
                raise RuntimeError("the step size of the solver collapsed")
        return x, steps


class LiquidNetwork(nn.Module):
    """Observations float32 [1, s, inputs] at times float32 [s] → (prediction [1, outputs], steps per observation)."""

    def __init__(self, inputs=4, units=16, outputs=2):
        super().__init__()
        self.cell = LTCCell(inputs, units)
        self.readout = nn.Linear(units, outputs)

    def forward(self, x, times):
        state = torch.zeros(x.size(0), self.cell.units)
        last = 0.0
        steps = []
        for i in range(x.size(1)):
            now = times[i].item()
            state, n = self.cell(x[:, i], state, now - last)
            steps.append(n)
            last = now
        return self.readout(state), steps


def build():
    with seeded(21):
        return LiquidNetwork().eval()


def example_inputs():
    return varied_inputs()[0]


def varied_inputs():
    """Argument tuples (observations, times) that need different numbers of steps."""
    generator = torch.Generator().manual_seed(21)
    out = []
    for i in range(12):
        gaps = 0.05 + torch.rand(4, generator=generator) * (0.2 + 0.3 * i)
        out.append((torch.randn(1, 4, 4, generator=generator) * (0.5 + 0.25 * i), gaps.cumsum(0)))
    return out
