"""Window-based early-exit cascades: Window-Based Early-Exit Cascades for Uncertainty Estimation (Xia and Bouganis, ICCV 2023).

A deep ensemble decides whether to trust a prediction (selective classification, out-of-distribution detection). Only
samples whose uncertainty falls inside a window around the decision boundary go on to the next member; those far from it
on either side are settled already. Random seeded weights.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import images, seeded, settle_batchnorm


def small_cnn(width, num_classes):
    """One member of the ensemble: float32 [n, 3, 32, 32] → [n, classes]."""
    layers, channels = [], 3
    for out, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (4 * width, 2)):
        layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


class WindowCascade(nn.Module):
    """Input float32 [1, 3, 32, 32] → {"probs": [1, classes], "uncertainty": [1], "accept": bool, "members": int}.

    `low` and `high`, the window, and `tau`, the boundary after the last member, are run-time thresholds on the
    uncertainty, the negative of the largest averaged probability.
    """

    def __init__(self, num_members=4, width=16, num_classes=10, low=-0.6, high=-0.4, tau=-0.5):
        super().__init__()
        self.members = nn.ModuleList(small_cnn(width, num_classes) for _ in range(num_members))
        self.low = low
        self.high = high
        self.tau = tau

    def score(self, probs):
        return -probs.max(dim=-1).values

    def forward(self, x):
        total = 0
        for m, member in enumerate(self.members):
            total = total + F.softmax(member(x), dim=-1)
            probs = total / (m + 1)
            uncertainty = self.score(probs)
            if not (self.low < uncertainty.item() < self.high):
                break
        accept = uncertainty.item() < self.tau
        return {"probs": probs, "uncertainty": uncertainty, "accept": accept, "members": m + 1}


def build():
    """Four members; the window covers the middle half of the first member's uncertainty on random images."""
    with seeded(41):
        model = WindowCascade().eval()
    for member in model.members:
        settle_batchnorm(member, varied_inputs())
    with torch.no_grad():
        for member in model.members:
            logits = torch.cat([member(x) for (x,) in varied_inputs()])
            member[-1].weight.mul_(1.5 / logits.std())
        scores = torch.cat([model.score(F.softmax(model.members[0](x), dim=-1)) for (x,) in varied_inputs()])
    model.low, model.tau, model.high = (round(v, 3) for v in scores.quantile(torch.tensor([0.2, 0.5, 0.8])).tolist())
    return model


def example_inputs():
    return (images(1, seed=41)[0],)


def varied_inputs():
    """Argument tuples that are settled by different members."""
    return [(x,) for x in images(24, seed=41)]
