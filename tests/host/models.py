"""Models that several hosts are asked for."""

from torch import nn


class Paths(nn.Module):
    """Returns of other structure and rank, a loop, a parameter, a number."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.limit = nn.Linear(4, 3), nn.Linear(4, 2), 0.5

    def forward(self, x):
        if x.mean() > self.limit:
            return self.one(x)
        while x.sum() > -3:
            x = x - 1
        return {"y": self.two(x).sum(0), "n": int((x > -1).sum())}
