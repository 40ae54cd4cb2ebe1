"""Shallow-deep networks: Shallow-Deep Networks: Understanding and Mitigating Network Overthinking (Kaya et al., ICML 2019).

Internal classifiers after some layers of a VGG, ResNet, WideResNet or MobileNet; the first one whose largest softmax
probability reaches the threshold answers. Random seeded weights, narrower than the paper's.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import images, seeded, settle_batchnorm


class InternalClassifier(nn.Module):
    """Feature reduction by a learned mix of max and average pooling to 4x4, then a linear classifier."""

    def __init__(self, channels, size, num_classes):
        super().__init__()
        self.alpha = nn.Parameter(torch.rand(1))
        self.max_pool = nn.MaxPool2d(size // 4)
        self.avg_pool = nn.AvgPool2d(size // 4)
        self.linear = nn.Linear(channels * 16, num_classes)

    def forward(self, x):
        if x.size(-1) > 4:
            maxp = self.alpha * self.max_pool(x)
            avgp = (1 - self.alpha) * self.avg_pool(x)
            x = maxp + avgp
        return self.linear(x.view(x.size(0), -1))


class ConvBlock(nn.Module):
    """VGG: convolution, batch norm, ReLU and sometimes a pooling."""

    def __init__(self, inp, out, pool):
        super().__init__()
        layers = [nn.Conv2d(inp, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
        if pool:
            layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


class BasicBlock(nn.Module):
    """ResNet: two convolutions after which the input is added."""

    def __init__(self, inp, out, stride=1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inp, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inp != out:
            self.shortcut = nn.Sequential(nn.Conv2d(inp, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        out = self.layers(x)
        out += self.shortcut(x)
        return F.relu(out)


class WideBlock(nn.Module):
    """WideResNet: pre-activation, with dropout between the convolutions."""

    def __init__(self, inp, out, stride=1, dropout=0.3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(inp),
            nn.ReLU(),
            nn.Conv2d(inp, out, 3, padding=1),
            nn.Dropout(dropout),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, stride, 1),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inp != out:
            self.shortcut = nn.Sequential(nn.Conv2d(inp, out, 1, stride))

    def forward(self, x):
        return self.layers(x) + self.shortcut(x)


class SeparableBlock(nn.Module):
    """MobileNet: depthwise, then pointwise convolution."""

    def __init__(self, inp, out, stride=1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inp, inp, 3, stride, 1, groups=inp, bias=False),
            nn.BatchNorm2d(inp),
            nn.ReLU(),
            nn.Conv2d(inp, out, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.layers(x)


class ShallowDeepNet(nn.Module):
    """Input float32 [1, 3, 32, 32] → (logits [1, classes], number of the output, True if it was an internal one).

    blocks: (module, its output channels, its output size, has an internal classifier), in order.
    In training the result is the list of all outputs.
    """

    def __init__(self, stem, blocks, num_classes=10, confidence_threshold=0.5):
        super().__init__()
        self.confidence_threshold = confidence_threshold
        self.stem = stem
        self.layers = nn.ModuleList(block for block, *_ in blocks)
        self.ics = nn.ModuleList()
        for _, channels, size, has_ic in blocks:
            self.ics.append(InternalClassifier(channels, size, num_classes) if has_ic else nn.Identity())
        self.has_ic = [has_ic for *_, has_ic in blocks]
        self.num_outputs = sum(self.has_ic) + 1
        _, channels, size, _ = blocks[-1]
        self.end = InternalClassifier(channels, size, num_classes)

    def forward(self, x):
        if self.training:
            return self.forward_all(x)
        return self.early_exit(x)

    def forward_all(self, x):
        outputs = []
        x = self.stem(x)
        for layer, ic, has_ic in zip(self.layers, self.ics, self.has_ic):
            x = layer(x)
            if has_ic:
                outputs.append(ic(x))
        outputs.append(self.end(x))
        return outputs

    def early_exit(self, x):
        confidences = []
        output_id = 0
        x = self.stem(x)
        for layer, ic, has_ic in zip(self.layers, self.ics, self.has_ic):
            x = layer(x)
            if not has_ic:
                continue
            output = ic(x)
            softmax = F.softmax(output[0], dim=0)
            confidence = torch.max(softmax)
            confidences.append(confidence)
            if confidence >= self.confidence_threshold:
                return output, output_id, True
            output_id += 1
        return self.end(x), output_id, False


def _prepare(model):
    """Batch norms to what they see; the classifiers sharpened so that confidences spread; the threshold in their middle."""
    model.confidence_threshold = 2.0  # through to the end
    settle_batchnorm(model, varied_inputs())
    with torch.no_grad():
        outputs = [[y for y in model.forward_all(x)] for (x,) in varied_inputs()]
        ics = [ic for ic in model.ics if isinstance(ic, InternalClassifier)]
        for n, ic in enumerate(ics):
            logits = torch.cat([o[n] for o in outputs])
            ic.linear.weight.mul_(2.0 / logits.std())
            ic.linear.bias.copy_((ic.linear.bias - logits.mean(0)) * 2.0 / logits.std())
        top = torch.cat([ic_out.softmax(-1).amax(-1) for (x,) in varied_inputs() for ic_out in model.forward_all(x)[:-1]])
    model.confidence_threshold = round(top.quantile(1 - 1 / (len(ics) + 1)).item(), 3)
    return model


def build_vgg(width=16):
    """VGG-16 with batch norm: 13 convolutions, six internal classifiers."""
    plan = [(1, 0), (1, 1), (2, 0), (2, 1), (4, 0), (4, 0), (4, 1), (8, 0), (8, 0), (8, 0), (8, 0), (8, 0), (8, 0)]
    with seeded(16):
        blocks, channels, size = [], 3, 32
        for i, (factor, pool) in enumerate(plan):
            size = size // 2 if pool else size
            blocks.append((ConvBlock(channels, factor * width, bool(pool)), factor * width, size, i in (1, 3, 5, 7, 9, 11)))
            channels = factor * width
        model = ShallowDeepNet(nn.Identity(), blocks).eval()
    return _prepare(model)


def _residual(block, count, width, ics, seed):
    with seeded(seed):
        stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        blocks, channels, size = [], 16, 32
        for group in range(3):
            for i in range(count):
                stride = 2 if group > 0 and i == 0 else 1
                size //= stride
                out = width * 2**group
                blocks.append((block(channels, out, stride), out, size, len(blocks) in ics))
                channels = out
        model = ShallowDeepNet(stem, blocks).eval()
    return _prepare(model)


def build_resnet():
    """ResNet-56: 27 blocks, six internal classifiers."""
    return _residual(BasicBlock, 9, 16, (3, 7, 11, 15, 19, 23), 56)


def build_wide_resnet():
    """WideResNet-32: 15 blocks, widened by 2, six internal classifiers."""
    return _residual(WideBlock, 5, 32, (2, 4, 6, 8, 10, 12), 32)


def build_mobilenet(width=16):
    """MobileNet: 13 separable blocks, six internal classifiers."""
    plan = [(2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), (16, 1), (16, 1), (16, 1), (16, 1), (16, 1), (16, 1), (16, 1)]
    with seeded(13):
        stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        blocks, channels, size = [], width, 32
        for i, (factor, stride) in enumerate(plan):
            size //= stride
            blocks.append((SeparableBlock(channels, factor * width, stride), factor * width, size, i in (1, 3, 5, 7, 9, 11)))
            channels = factor * width
        model = ShallowDeepNet(stem, blocks).eval()
    return _prepare(model)


build = build_mobilenet


def example_inputs():
    return (images(1, seed=19)[0],)


def varied_inputs():
    """Argument tuples that take different paths."""
    return [(x,) for x in images(16, seed=19)]
