# ruff: noqa: B007, B904, E501, UP045 (written as users write)
"""Random gates: the draws must be eager's own, in number and order."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),)


class StochasticDepth(Small):
    """Layers are dropped at random while training."""

    PATHS = 3
    TRAIN = True

    def forward(self, x):
        for layer in self.layers:
            if self.training and torch.rand(1) < 0.5:
                continue
            x = x + layer(x)
        return x


class BernoulliGate(Small):
    PATHS = 3

    def forward(self, x):
        p = torch.sigmoid(x.mean())
        for layer in self.layers:
            if torch.bernoulli(p) == 1:
                x = torch.tanh(layer(x))
                p = torch.sigmoid(x.mean())
        return x, p


class GumbelGate(Small):
    PATHS = 3

    def forward(self, x):
        for layer in self.layers:
            logits = torch.stack([layer(x).mean(), x.mean()])
            hard = F.gumbel_softmax(logits, tau=1.0, hard=True)
            if hard[0] > 0.5:
                x = layer(x)
        return x


class DropoutBranch(Small):
    """One arm draws, the other does not: the generator's state differs after."""

    TRAIN = True

    def forward(self, x):
        if x.sum() > 0:
            x = F.dropout(x, 0.5, training=self.training)
        x = self.layers[0](x)
        return x + torch.randn_like(x)


class SampledExpert(Small):
    PATHS = 3

    def forward(self, x):
        probs = self.layers[0](x).mean(0).softmax(-1)
        index = torch.multinomial(probs, 1).item()
        return self.layers[index](x), index


class NoiseUntilSmall(Small):
    """Noise is drawn again while the result is too large, at most four times."""

    def forward(self, x):
        for attempt in range(4):
            y = x + torch.randn(x.shape)
            if y.abs().max() < 2:
                break
        return y, attempt


class Shuffled(Small):
    def forward(self, x):
        order = torch.randperm(4)
        y = x[:, order]
        if y[0, 0] > x[0, 0]:
            return y, order
        return x, order


class NoisyTopK(Small):
    def forward(self, x):
        clean = self.layers[0](x)
        noisy = clean + torch.randn_like(clean) * F.softplus(self.layers[1](x))
        logits = noisy if self.training else clean
        _, index = logits.topk(2)
        if (index == 0).any():
            return self.layers[2](x)
        return self.layers[3](x)

    TRAIN = True


class PolicyGate(nn.Module):
    """torch.distributions checks its arguments; what a failing check would say is torch's own."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.policy = nn.Linear(4, 2)

    def forward(self, x):
        said = []
        for layer in self.layers:
            choice = torch.distributions.Categorical(torch.softmax(self.policy(x.mean(0)), -1))
            action = choice.sample()
            said.append(choice.log_prob(action))
            if action == 1:
                x = torch.tanh(layer(x))
        return x, torch.stack(said).sum()

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),)
