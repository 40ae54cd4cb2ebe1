"""SkipNet-38 for 32x32 images: SkipNet: Learning Dynamic Routing in Convolutional Networks (Wang et al., ECCV 2018).

A CIFAR ResNet of 3 groups of 6 basic blocks. Before each block but the first a gate looks at the features and skips
the block, or lets it run. Feed-forward gates are small convolutional networks of their own; the recurrent gate is one
LSTM over the blocks. Random seeded weights, narrower than the paper's.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import balance, images, seeded, settle_batchnorm


def conv3x3(in_planes, out_planes, stride=1):
    return nn.Conv2d(in_planes, out_planes, 3, stride, 1, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, inplanes, planes, stride=1, downsample=None):
        super().__init__()
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x):
        residual = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            residual = self.downsample(x)
        out += residual
        return self.relu(out)


class FeedforwardGate(nn.Module):
    """Features [n, c, h, w] → two logits [n, 2]: skip, run."""

    def __init__(self, channels):
        super().__init__()
        self.maxpool = nn.MaxPool2d(2)
        self.conv1 = conv3x3(channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(channels, channels, stride=2)
        self.bn2 = nn.BatchNorm2d(channels)
        self.linear_layer = nn.Linear(channels, 2)

    def forward(self, x):
        x = self.maxpool(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.linear_layer(x)


class RNNGate(nn.Module):
    """One LSTM shared by all blocks: embedding [n, 10] → probability of running the next block [n, 1]."""

    def __init__(self, input_dim=10, hidden_dim=10):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.rnn = nn.LSTM(input_dim, hidden_dim)
        self.proj = nn.Linear(hidden_dim, 1)
        self.prob = nn.Sigmoid()
        self.hidden = None

    def init_hidden(self, batch_size, device):
        zeros = torch.zeros(1, batch_size, self.hidden_dim, device=device)
        return zeros, zeros

    def repackage_hidden(self, x):
        self.hidden = self.init_hidden(x.size(0), x.device)

    def forward(self, x):
        out, self.hidden = self.rnn(x.unsqueeze(0), self.hidden)
        return self.prob(self.proj(out.squeeze(0)))


class SkipNet(nn.Module):
    """Input float32 [1, 3, 32, 32] → (logits [1, classes], list of 0/1 per gated block)."""

    def __init__(self, layers=(6, 6, 6), widths=(16, 32, 64), num_classes=10):
        super().__init__()
        self.num_layers = layers
        self.inplanes = widths[0]
        self.conv1 = conv3x3(3, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        for g, (planes, count) in enumerate(zip(widths, layers)):
            for i in range(count):
                stride = 2 if g > 0 and i == 0 else 1
                downsample = None
                if stride != 1 or self.inplanes != planes:
                    downsample = nn.Sequential(nn.Conv2d(self.inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
                setattr(self, f"group{g + 1}_layer{i}", BasicBlock(self.inplanes, planes, stride, downsample))
                self.inplanes = planes
                self.add_gate(g, i, planes)
        self.fc = nn.Linear(widths[-1], num_classes)

    def add_gate(self, group, layer, planes):
        raise NotImplementedError


class SkipNetFeedforward(SkipNet):
    """A gate network after every block decides about the next one."""

    def add_gate(self, group, layer, planes):
        setattr(self, f"group{group + 1}_gate{layer}", FeedforwardGate(planes))

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.group1_layer0(x)
        gate = self.group1_gate0(x)
        decisions = []
        for g in range(3):
            for i in range(0 if g > 0 else 1, self.num_layers[g]):
                layer = getattr(self, f"group{g + 1}_layer{i}")
                if layer.downsample is not None:
                    # a block that changes the shape cannot be skipped
                    x = layer(x)
                else:
                    run = gate.argmax(dim=1).item()
                    decisions.append(run)
                    if run == 1:
                        x = layer(x)
                gate = getattr(self, f"group{g + 1}_gate{i}")(x)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(x), decisions


class SkipNetRecurrent(SkipNet):
    """One LSTM sees an embedding of the features after every block and decides about the next one."""

    def __init__(self, layers=(6, 6, 6), widths=(16, 32, 64), num_classes=10, embed_dim=10, hidden_dim=10):
        self.embed_dim = embed_dim
        super().__init__(layers, widths, num_classes)
        self.control = RNNGate(embed_dim, hidden_dim)

    def add_gate(self, group, layer, planes):
        if layer == 0:
            pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(planes, self.embed_dim, 1), nn.ReLU())
            setattr(self, f"group{group + 1}_embed", pool)

    def forward(self, x):
        self.control.repackage_hidden(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.group1_layer0(x)
        decisions = []
        for g in range(3):
            embed = getattr(self, f"group{g + 1}_embed")
            for i in range(0 if g > 0 else 1, self.num_layers[g]):
                layer = getattr(self, f"group{g + 1}_layer{i}")
                if i == 0:
                    x = layer(x)
                    continue
                prob = self.control(embed(x).flatten(1))
                if prob.item() > 0.5:
                    x = layer(x)
                    decisions.append(1)
                else:
                    decisions.append(0)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(x), decisions


def build_feedforward():
    """SkipNet-38 with feed-forward gates."""
    with seeded(38):
        model = SkipNetFeedforward().eval()
    gates = [getattr(model, f"group{g + 1}_gate{i}").linear_layer for g in range(3) for i in range(6)]
    for _ in range(2):
        settle_batchnorm(model, varied_inputs())
        balance(model, gates, varied_inputs())
    return model


def build_recurrent():
    """SkipNet-38 with the recurrent gate."""
    with seeded(39):
        model = SkipNetRecurrent().eval()
    for _ in range(2):
        settle_batchnorm(model, varied_inputs())
        balance(model, [model.control.proj], varied_inputs())
    model.control.hidden = None
    return model


build = build_feedforward


def example_inputs():
    return (images(1, seed=38)[0],)


def varied_inputs():
    """Argument tuples that take different paths."""
    return [(x,) for x in images(16, seed=38)]
