"""Image captioning with a ResNeXt or GoogLeNet encoder and an LSTM decoder, the two captioning subjects of DyCL.

DyCL: Dynamic Neural Network Compilation via Program Rewriting and Graph Optimization (Chen et al., ISSTA 2023); the
pair of encoder and decoder is Show and Tell: A Neural Image Caption Generator (Vinyals et al., CVPR 2015). Words are
decoded greedily until the end token. Random seeded weights, narrow encoders.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import images, seeded, settle_batchnorm


class ConvBN(nn.Sequential):
    def __init__(self, inp, out, kernel, **kwargs):
        super().__init__(nn.Conv2d(inp, out, kernel, bias=False, **kwargs), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class ResNeXtBlock(nn.Module):
    """Bottleneck with grouped convolution."""

    def __init__(self, inp, width, out, stride=1, groups=8):
        super().__init__()
        self.reduce = ConvBN(inp, width, 1)
        self.conv = ConvBN(width, width, 3, stride=stride, padding=1, groups=groups)
        self.expand = nn.Conv2d(width, out, 1, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.shortcut = None
        if stride != 1 or inp != out:
            self.shortcut = nn.Sequential(nn.Conv2d(inp, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        residual = x if self.shortcut is None else self.shortcut(x)
        return F.relu(self.bn(self.expand(self.conv(self.reduce(x)))) + residual)


class Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self, inp, one, three_reduce, three, five_reduce, five, pool):
        super().__init__()
        self.branch1 = ConvBN(inp, one, 1)
        self.branch2 = nn.Sequential(ConvBN(inp, three_reduce, 1), ConvBN(three_reduce, three, 3, padding=1))
        self.branch3 = nn.Sequential(ConvBN(inp, five_reduce, 1), ConvBN(five_reduce, five, 3, padding=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), ConvBN(inp, pool, 1))

    def forward(self, x):
        return torch.cat((self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)), 1)


def resnext_encoder():
    """float32 [n, 3, 64, 64] → [n, 128, 1, 1]."""
    return nn.Sequential(
        ConvBN(3, 16, 7, stride=2, padding=3),
        nn.MaxPool2d(3, stride=2, padding=1),
        *(ResNeXtBlock(inp, out // 2, out, stride) for inp, out, stride in ((16, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1))),
        *(ResNeXtBlock(inp, out // 2, out, stride) for inp, out, stride in ((64, 128, 2), (128, 128, 1))),
        nn.AdaptiveAvgPool2d(1),
    )


def googlenet_encoder():
    """float32 [n, 3, 64, 64] → [n, 128, 1, 1]."""
    return nn.Sequential(
        ConvBN(3, 16, 7, stride=2, padding=3),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        ConvBN(16, 16, 1),
        ConvBN(16, 48, 3, padding=1),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Inception(48, 16, 24, 32, 4, 8, 8),
        Inception(64, 32, 32, 48, 8, 24, 16),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Inception(120, 48, 24, 52, 4, 12, 16),
        nn.AdaptiveAvgPool2d(1),
    )


class EncoderCNN(nn.Module):
    """Image → embedding [n, embed]."""

    def __init__(self, backbone, embed_size):
        super().__init__()
        self.backbone = backbone
        self.linear = nn.Linear(128, embed_size)
        self.bn = nn.BatchNorm1d(embed_size)

    def forward(self, images):
        return self.bn(self.linear(self.backbone(images).flatten(1)))


class DecoderRNN(nn.Module):
    """Embedding [1, embed] → word ids int64 [1, words], until `end` or `max_length`."""

    def __init__(self, embed_size, hidden_size, vocab_size, end=1, max_length=20):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, embed_size)
        self.lstm = nn.LSTM(embed_size, hidden_size, batch_first=True)
        self.linear = nn.Linear(hidden_size, vocab_size)
        self.end = end
        self.max_length = max_length

    def forward(self, features, states=None):
        sampled_ids = []
        inputs = features.unsqueeze(1)
        for _ in range(self.max_length):
            hiddens, states = self.lstm(inputs, states)
            outputs = self.linear(hiddens.squeeze(1))
            predicted = outputs.argmax(dim=1)
            sampled_ids.append(predicted)
            if predicted.item() == self.end:
                break
            inputs = self.embed(predicted).unsqueeze(1)
        return torch.stack(sampled_ids, dim=1)


class Captioner(nn.Module):
    """Input float32 [1, 3, 64, 64] → word ids int64 [1, words]."""

    def __init__(self, backbone, embed_size=64, hidden_size=128, vocab_size=100):
        super().__init__()
        self.encoder = EncoderCNN(backbone, embed_size)
        self.decoder = DecoderRNN(embed_size, hidden_size, vocab_size)

    def forward(self, image):
        return self.decoder(self.encoder(image))


def _build(backbone, seed):
    with seeded(seed):
        model = Captioner(backbone()).eval()
        with torch.no_grad():
            model.encoder.linear.weight.mul_(4.0)
            for weight in (model.decoder.lstm.weight_ih_l0, model.decoder.lstm.weight_hh_l0):
                weight.mul_(4.0)
    settle_batchnorm(model, varied_inputs())
    # captions end after about ten words
    with torch.no_grad():
        model.decoder.linear.bias[model.decoder.end] = 0.2
    return model


def build_resnext():
    return _build(resnext_encoder, 50)


def build_googlenet():
    return _build(googlenet_encoder, 22)


build = build_resnext


def example_inputs():
    return (images(1, size=64, seed=50)[0],)


def varied_inputs():
    """Argument tuples whose captions differ in length."""
    return [(x,) for x in images(16, size=64, seed=50)]
