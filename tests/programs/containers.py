# ruff: noqa: B007, B904, E501, UP045 (written as users write)
"""Module containers, walked in every way."""

import torch
import torch.nn as nn
from programs.data import rand


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Linear(4, 1)

    def forward(self, x):
        if self.w(x).sum() > 0:
            return x * 2
        return x - 1


class OneInput(nn.Module):
    PATHS = 3

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),)


class SequentialOfGates(OneInput):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(Gate(), nn.Tanh(), Gate(), nn.Sequential(Gate(), Gate()))

    def forward(self, x):
        return self.net(x)


class SequentialSlices(OneInput):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(*(Gate() for _ in range(4)))

    def forward(self, x):
        x = self.net[:2](x)
        if x.sum() > 0:
            return self.net[2:](x)
        return self.net[-1](x)


class ModuleDictItems(OneInput):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleDict({"low": Gate(), "mid": nn.Linear(4, 4), "high": Gate()})

    def forward(self, x):
        ran = []
        for name, stage in self.stages.items():
            x = stage(x)
            if x.mean() > 1:
                ran.append(name)
                break
            ran.append(name.upper())
        return x, ran


class NestedLists(OneInput):
    def __init__(self):
        super().__init__()
        self.grid = nn.ModuleList(nn.ModuleList(nn.Linear(4, 4) for _ in range(2)) for _ in range(3))

    def forward(self, x):
        for row in self.grid:
            for j, layer in enumerate(row):
                if x[0, j] > 0:
                    x = torch.relu(layer(x))
                    break
            else:
                x = -x
        return x


class MultiScale(OneInput):
    """MSDNet: several scales side by side in a list; each stage may be the last."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(8, 2) for _ in range(3))

    def forward(self, x):
        scales = [x, x * 0.5]
        predictions = []
        for down, head in zip(self.down, self.heads):
            scales = [torch.tanh(down(s)) + (scales[i - 1] if i else 0) for i, s in enumerate(scales)]
            predictions.append(head(torch.cat(scales, -1)))
            if predictions[-1].softmax(-1).max() > 0.7:
                return predictions
        return predictions


class Children(OneInput):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = Gate(), nn.Linear(4, 4), Gate()

    def forward(self, x):
        for name, child in self.named_children():
            if isinstance(child, Gate):
                x = child(x)
            elif x.sum() > 0:
                x = child(x)
        return x


class ParameterDictGate(OneInput):
    def __init__(self):
        super().__init__()
        self.scales = nn.ParameterDict({"small": torch.full((4,), 0.5), "large": torch.full((4,), 2.0)})

    PATHS = 2

    def forward(self, x):
        key = "large" if x.abs().mean() < 0.8 else "small"
        return x * self.scales[key], key


class OwnSequential(nn.Sequential):
    """A Sequential with a forward of its own that stops early."""

    PATHS = 3

    def __init__(self):
        super().__init__(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        for module in self:
            x = module(x)
            if x.abs().max() < 0.6:
                break
        return x

    inputs = staticmethod(OneInput.inputs)


class ReversedAndZipped(OneInput):
    """A U-net: the way up uses what the way down kept, if it kept it."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.up = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        skips = []
        for layer in self.down:
            x = torch.relu(layer(x))
            skips.append(x if x.mean() > 0.3 else None)
        for layer, skip in zip(reversed(self.up), reversed(skips)):
            x = layer(x)
            if skip is not None:
                x = x + skip
        return x


class DynamicWidth(OneInput):
    """Slimmable layers: the data picks how much of the weight is used."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        width = 8 if x.std() > 0.9 else 4
        h = torch.relu(nn.functional.linear(x, self.fc.weight[:width], self.fc.bias[:width]))
        return nn.functional.linear(h, self.out.weight[:, :width], self.out.bias)


class LstmUntil(OneInput):
    """torch's own recurrent modules with a state in a tuple."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 4)
        self.gru = nn.GRU(4, 3, batch_first=True)

    def forward(self, x):
        state = None
        for _ in range(3):
            h, c = state = self.cell(x, state)
            if h.abs().max() > 0.3:
                break
        out, _ = self.gru(h[None])
        return out, c


class AttentionGate(OneInput):
    """Multi-head attention behind a gate, with weights asked for on one path."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        x = x[None]
        if x.var() > 1:
            y, weights = self.attention(x, x, x, need_weights=True)
            return self.norm(x + y), weights
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.norm(x + y), None


class EncoderLayers(OneInput):
    """torch's transformer layers, left early."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True) for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(4, 2) for _ in range(3))

    def forward(self, x):
        x = x[None]
        for layer, head in zip(self.layers, self.heads):
            x = layer(x)
            logits = head(x[:, 0])
            if logits.softmax(-1).max() > 0.65:
                break
        return logits
