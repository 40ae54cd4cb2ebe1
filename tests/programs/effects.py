"""Effects in their order: prints, writes and exceptions; state under two names."""

import torch
import torch.nn as nn
from programs.state import OneInput


class PrintsInLoop(OneInput):
    def __init__(self):
        super().__init__()
        self.count = 0

    def forward(self, x):
        y = x
        while y.abs().max() < 4:
            y = y * 1.5
            self.count += 1
            print("turn", self.count, f"{y.abs().max().item():.3f}")
        if y.sum() > 0:
            print("positive")
            raise ValueError(f"sum {y.sum().item():.2f}")
        print("negative", self.count)
        return y


class StateThenRaise(OneInput):
    PATHS = 3

    def __init__(self):
        super().__init__()
        self.register_buffer("b", torch.zeros(4))
        self.last = None
        self.n = 0

    def forward(self, x):
        self.b += x.mean(0)
        self.n += 1
        self.last = self.b.clone() if self.last is None else self.last + self.b
        if x.sum() > 1:
            self.n *= 2
            raise RuntimeError("no")
        return self.last


class CaughtAfterWrite(OneInput):
    def __init__(self):
        super().__init__()
        self.register_buffer("b", torch.zeros(4))
        self.tries = 0

    def inner(self, x):
        self.b.add_(1)
        self.tries += 1
        if x.sum() > 0:
            raise ValueError("big")
        self.b.mul_(2)

    def forward(self, x):
        try:
            self.inner(x)
        except ValueError:
            self.b.sub_(3)
        finally:
            self.tries += 10
        return self.b * x


class InputViewsInLoop(OneInput):
    def forward(self, x):
        row = x[0]
        n = 0
        while row.sum() < 3 and n < 5:
            row.add_(0.7)
            n += 1
        return x.sum(0), n


class BufferInLoop(OneInput):
    def __init__(self):
        super().__init__()
        self.register_buffer("acc", torch.zeros(4))

    def forward(self, x):
        view = self.acc[:2]
        while self.acc.abs().sum() < x.abs().sum():
            self.acc.add_(x.abs().mean(0))
            view.mul_(1.1)
        self.acc.mul_(0.5)
        return view + 1


class SwapBuffers(OneInput):
    """Two attributes change places."""

    def __init__(self):
        super().__init__()
        self.one = torch.zeros(2, 4)
        self.two = torch.ones(2, 4)

    def forward(self, x):
        if x.sum() > 0:
            self.one, self.two = self.two, self.one
        self.one.add_(x)
        return self.one - self.two


class AliasTwoAttributes(OneInput):
    """The same tensor under two names on one path only."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.one = torch.zeros(2, 4)
        self.two = torch.ones(2, 4)

    def forward(self, x):
        if x.sum() > 0:
            self.two = self.one
        elif x.sum() < -2:
            self.two = x.clone()
        self.one.add_(1)
        return self.two + x


class WeightAsState(OneInput):
    """A parameter is kept under another name and written later."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(4))
        self.kept = torch.zeros(4)

    @torch.no_grad()
    def forward(self, x):
        y = self.kept * x
        if x.sum() > 0:
            self.kept = self.w
        self.w.mul_(0.9)
        return y + self.kept


class WriteThroughReturned(OneInput):
    """What is returned is the state itself."""

    def __init__(self):
        super().__init__()
        self.h = torch.zeros(2, 4)

    def forward(self, x):
        if x.sum() > 0:
            self.h = torch.tanh(self.h + x)
        return self.h


class CounterInList(OneInput):
    def __init__(self):
        super().__init__()
        self.counts = [0, 0]

    def forward(self, x):
        i = 0 if x.sum() > 0 else 1
        self.counts[i] += 1
        return x * self.counts[0] - self.counts[1]


class DataIndexState(OneInput):
    def __init__(self):
        super().__init__()
        self.register_buffer("hist", torch.zeros(3))

    def forward(self, x):
        i = int((x.abs().sum() * 3).item()) % 3
        self.hist[i] += 1
        if self.hist[i] > 2:
            self.hist.zero_()
        return x * self.hist[i], self.hist.clone()
