# ruff: noqa: B007, B904, E501, UP045 (written as users write)
"""Blocks that are skipped or run, by gates computed from the data."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand


def image(seed, n=1):
    return rand(seed, n, 3, 6, 6)


class BasicBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += x
        return F.relu(out)


class FeedforwardGate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        h = F.adaptive_avg_pool2d(F.relu(self.conv(x)), 1).flatten(1)
        probs = F.softmax(self.fc(h), dim=1)
        return probs[:, 1].contiguous().view(probs.size(0), 1, 1, 1) > 0.5


class SkipNet(nn.Module):
    """Ten residual blocks, each behind a gate of its own; the gates that were open are counted."""

    PATHS = 4

    def __init__(self, blocks=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.ModuleList(BasicBlock(4) for _ in range(blocks))
        self.gates = nn.ModuleList(FeedforwardGate(4) for _ in range(blocks))
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        executed = 0
        for block, gate in zip(self.blocks, self.gates):
            if gate(x).item():
                x = block(x)
                executed += 1
        return self.fc(x.mean((2, 3))), executed

    inputs = staticmethod(lambda seed: (image(seed),))


class SkipNetRecurrent(nn.Module):
    """One LSTM gate walks along the blocks."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(6))
        self.lstm = nn.LSTMCell(6, 5)
        self.proj = nn.Linear(5, 1)

    def forward(self, x):
        hidden = None
        masks = []
        for block in self.blocks:
            hidden = self.lstm(x, hidden)
            mask = (torch.sigmoid(self.proj(hidden[0])) > 0.5).float()
            masks.append(mask)
            if mask.sum() == 0:
                continue
            x = mask * F.relu(block(x)) + (1 - mask) * x
        return x, masks

    inputs = staticmethod(lambda seed: (rand(seed, 1, 6) * 3,))


class BlockDrop(nn.Module):
    """A policy network decides once for all blocks."""

    PATHS = 4

    def __init__(self, blocks=8):
        super().__init__()
        self.policy = nn.Linear(6, blocks)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(blocks))

    def forward(self, x):
        probs = torch.sigmoid(self.policy(x)).squeeze(0)
        policy = probs.clone()
        policy[policy < 0.5] = 0.0
        policy[policy >= 0.5] = 1.0
        for i, block in enumerate(self.blocks):
            if policy[i] == 1:
                x = x + block(x)
        return x, policy

    inputs = staticmethod(lambda seed: (rand(seed, 1, 6) * 3,))


class GatedResidual(nn.Module):
    def __init__(self, dim=6):
        super().__init__()
        self.gate = nn.Linear(dim, 1)
        self.body = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, x):
        if torch.sigmoid(self.gate(x)).mean() > 0.5:
            return x + self.body(x)
        return x


class GatedStage(nn.Module):
    def __init__(self, repeats):
        super().__init__()
        self.repeats = repeats
        self.block = GatedResidual()
        self.gate = nn.Linear(6, 1)

    def forward(self, x):
        for _ in range(self.repeats):
            if self.gate(x).sum() > 0:
                x = self.block(x)
            else:
                x = x * 0.9
        return x


class NestedGates(nn.Module):
    """Gates in a loop in a submodule in a Sequential."""

    PATHS = 4

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 6), GatedStage(2), nn.Sequential(GatedResidual(), nn.LayerNorm(6), GatedStage(3)), nn.Linear(6, 2))

    def forward(self, x):
        return self.net(x)

    inputs = staticmethod(lambda seed: (rand(seed, 2, 6) * 2,))


class GatesInGates(nn.Module):
    PATHS = 4

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        if x.mean() > 0:
            x = self.a(x)
            if x.max() > 1:
                x = self.b(x)
                if x[0, 0] > 0:
                    x = -x
            elif x.min() < -1:
                x = self.c(x).abs()
            x = x + 1
        else:
            y = self.b(x)
            if y.sum() > x.sum():
                x = y
        return x

    inputs = staticmethod(lambda seed: (rand(seed, 2, 6) * 2,))


class CollectedGates(nn.Module):
    """Outputs of the blocks that ran are collected, then stacked."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))

    def forward(self, x):
        kept = [x]
        for block in self.blocks:
            y = block(kept[-1])
            if y.mean() > 0:
                kept.append(torch.relu(y))
        return torch.stack(kept).mean(0), len(kept)

    inputs = staticmethod(lambda seed: (rand(seed, 2, 6) * 2,))


class TwoWayGates(nn.Module):
    """Both arms append, so the lists stay of one length and join."""

    PATHS = 4

    def __init__(self):
        super().__init__()
        self.heavy = nn.ModuleList(nn.Linear(6, 6) for _ in range(5))
        self.light = nn.ParameterList(nn.Parameter(torch.randn(6)) for _ in range(5))

    def forward(self, x):
        features, used = [], []
        for heavy, light in zip(self.heavy, self.light):
            if x.var() > 0.3:
                x = heavy(x)
                used.append(1.0)
                features.append(x)
            else:
                x = x * light
                features.append(x * 2)
                used.append(0.1)
        return torch.cat(features, dim=-1), sum(used)

    inputs = staticmethod(lambda seed: (rand(seed, 2, 6),))


class ConvGate(nn.Module):
    """A gate that switches channels on: only the picked ones are computed with."""

    def __init__(self):
        super().__init__()
        self.saliency = nn.Linear(3, 8)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x):
        saliency = self.saliency(x.mean((2, 3)))
        kept = saliency[0].topk(4).indices.sort().values
        out = torch.zeros(x.shape[0], 8, x.shape[2], x.shape[3])
        out[:, kept] = F.conv2d(x, self.conv.weight[kept], self.conv.bias[kept], padding=1)
        if saliency.mean() < 0:
            out = out * saliency[:, :, None, None].sigmoid()
        return out

    inputs = staticmethod(lambda seed: (image(seed),))


class ResolutionGate(nn.Module):
    """Easy images are seen at half the resolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        size = x.shape[-2:]
        if x.std() < 0.9:
            x = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
        x = F.relu(self.conv(x))
        if x.shape[-2:] != size:
            x = F.interpolate(x, size=size, mode="nearest")
        return x

    inputs = staticmethod(lambda seed: (image(seed),))


class CascadeGate(nn.Module):
    """A small net first, the big one only for hard rows of the batch."""

    def __init__(self):
        super().__init__()
        self.small = nn.Linear(6, 3)
        self.big = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x):
        logits = self.small(x)
        unsure = logits.softmax(-1).amax(-1) < 0.6
        if unsure.any():
            logits = logits.clone()
            logits[unsure] = self.big(x[unsure])
        return logits

    inputs = staticmethod(lambda seed: (rand(seed, 4, 6) * (3 if seed % 3 else 30),))


class LateGate(nn.Module):
    """The gate's value, a Python bool, is used after the join."""

    PATHS = 4

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        use_a = bool(x.sum() > 0)
        use_b = (x.max() > 1.5).item()
        if use_a:
            x = self.a(x)
        if use_b and not use_a:
            x = self.b(x)
        return x, use_a, use_a or use_b, int(use_a) + int(use_b)

    inputs = staticmethod(lambda seed: (rand(seed, 2, 6),))


class ScheduledGates(nn.Module):
    """Thirty independent gates: blocks must grow with their number, not with 2**30."""

    PATHS = 4

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(30))

    def forward(self, x):
        for i, block in enumerate(self.blocks):
            if block(x)[0, i % 4] > 0:
                x = torch.tanh(block(x))
        return x

    inputs = staticmethod(lambda seed: (rand(seed, 1, 4) * 2,))
