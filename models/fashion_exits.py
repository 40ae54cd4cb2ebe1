"""A convolutional classifier for 28x28 grey images with three exits, trained on Fashion-MNIST.

Each stage halves the image or widens it, each has its own classifier; in evaluation the first classifier that is
confident enough answers. After BranchyNet (Teerapittayanon et al., ICPR 2016), with the stages of a small ResNet.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

DATA = Path(__file__).parent / "data"
WEIGHTS = DATA / "fashion_exits.safetensors"
SAMPLE = DATA / "fashion_sample.npz"
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
THRESHOLD = 0.74
"""Calibrated on held-out training images by train_fashion_exits.py."""


class Stage(nn.Module):
    """A strided convolution and one residual convolution: [n, c, h, w] → [n, width, h / stride, w / stride]."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(x)
        return torch.relu(x + self.body(x))


class Head(nn.Module):
    """A classifier on a stage's features: [n, c, h, w] → [n, classes]."""

    def __init__(self, channels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))


class FashionExits(nn.Module):
    """Three stages, three exits. Input: float32 [n, 1, 28, 28] in 0..1.

    In evaluation n is 1, and the result is (logits [1, 10], number of the exit). In training the result is the list of
    all exits' logits. `threshold` is the softmax probability above which an exit answers; it may be set at any time.
    """

    def __init__(self, threshold: float = THRESHOLD, widths: tuple[int, ...] = (24, 48, 96), classes: int = 10) -> None:
        super().__init__()
        self.threshold = threshold
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stages = nn.ModuleList()
        self.heads = nn.ModuleList()
        channels = 16
        for width, stride in zip(widths, (2, 2, 1)):
            self.stages.append(Stage(channels, width, stride))
            self.heads.append(Head(width, classes))
            channels = width

    def forward(self, x):
        x = self.stem(x)
        if self.training:
            outputs = []
            for stage, head in zip(self.stages, self.heads):
                x = stage(x)
                outputs.append(head(x))
            return outputs

        last = len(self.stages) - 1
        for i, (stage, head) in enumerate(zip(self.stages, self.heads)):
            x = stage(x)
            logits = head(x)
            confidence = logits.softmax(dim=-1).max()
            if i < last and confidence.item() > self.threshold:
                return logits, i
        return logits, last


def build(threshold: float = THRESHOLD) -> FashionExits:
    """The trained model, in evaluation mode."""
    model = FashionExits(threshold)
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


def sample() -> tuple[torch.Tensor, torch.Tensor]:
    """Real test images, float32 [512, 1, 28, 28] in 0..1, and their labels, int64 [512]."""
    with np.load(SAMPLE) as data:
        images, labels = data["images"], data["labels"]
    return torch.from_numpy(images).unsqueeze(1).float() / 255, torch.from_numpy(labels).long()


def example_inputs() -> tuple[torch.Tensor]:
    """The first image of the sample, [1, 1, 28, 28]."""
    return (sample()[0][:1],)


def varied_inputs() -> list[tuple[torch.Tensor]]:
    """The first 32 images of the sample; all three exits are among them."""
    return [(image,) for image in sample()[0][:32].split(1)]
