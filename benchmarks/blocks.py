"""One branch-free block on every installed backend, against ONNX Runtime: what the engines make of convolutions, encoders and experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import geometric_mean
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.options import Options
from benchmarks.peers import Refused, reason
from benchmarks.result import Result
from benchmarks.subject import same
from benchmarks.timing import interleave

BASE = "onnxruntime"


class Residual(nn.Module):
    """The basic block of a residual network: two 3x3 convolutions with batch norm, and the shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm_one = nn.BatchNorm2d(after)
        self.two = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm_two = nn.BatchNorm2d(after)
        same = stride == 1 and before == after
        self.shortcut = nn.Identity() if same else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm_one(self.one(x)))
        return F.relu(self.norm_two(self.two(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network: float32 [N, 3, H, W] → [N, classes]. Stages after the first halve the image."""

    def __init__(self, stem: nn.Module, channels: tuple[int, ...], depth: int, classes: int) -> None:
        super().__init__()
        before, blocks = channels[0], []
        for stage, after in enumerate(channels):
            for i in range(depth):
                blocks.append(Residual(before, after, 2 if stage and not i else 1))
                before = after
        self.stem, self.blocks, self.head = stem, nn.Sequential(*blocks), nn.Linear(before, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1).flatten(1))


class EncoderLayer(nn.Module):
    """A transformer encoder layer, normalised after each half, with GELU: float32 [N, tokens, width] → the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm_one, self.norm_two = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, width = x.shape
        q, k, v = (t.view(n, tokens, self.heads, width // self.heads).transpose(1, 2) for t in self.project(x).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        x = self.norm_one(x + self.out(mixed))
        return self.norm_two(x + self.down(F.gelu(self.up(x))))


@dataclass(frozen=True)
class Block:
    """A model, the inputs it is timed on, and the dimensions of the first input that may change from call to call."""

    title: str
    build: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    dynamic: dict[int, tuple[str, int, int]] = field(default_factory=dict)


def resnet20() -> nn.Module:
    return ResNet(nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()), (16, 32, 64), 3, 10)


def resnet18() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    return ResNet(stem, (64, 128, 256, 512), 2, 1000)


def encoder(width: int, heads: int) -> nn.Module:
    return nn.Sequential(EncoderLayer(width, heads), EncoderLayer(width, heads))


def expert() -> nn.Module:
    return nn.Sequential(nn.Linear(256, 1024), nn.GELU(), nn.Linear(1024, 256))


BLOCKS = {
    "resnet20": Block("CIFAR ResNet-20, batch 1", resnet20, ((1, 3, 32, 32),)),
    "resnet18": Block("ResNet-18, 224", resnet18, ((1, 3, 224, 224),)),
    "encoder256": Block("encoder d256, 2 layers, 64 tokens", lambda: encoder(256, 8), ((1, 64, 256),)),
    "encoder768": Block("encoder d768, 2 layers, 128 tokens", lambda: encoder(768, 12), ((1, 128, 768),)),
    "expert": Block(
        "expert MLP, 1 to 64 tokens, dynamic", expert, tuple((n, 256) for n in (1, 4, 16, 37, 64)), {0: ("tokens", 1, 64)}
    ),
}  # fmt: skip


def model(block: Block) -> tuple[nn.Module, list[tuple[torch.Tensor]]]:
    """The model in eval mode with batch norm statistics that are not trivial, and its inputs. The same numbers each time."""
    torch.manual_seed(0)
    built = block.build().eval()
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # pyright: ignore[reportArgumentType]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # pyright: ignore[reportArgumentType]
    return built, [(torch.randn(shape),) for shape in block.shapes]


def run(options: Options) -> Result:
    rows, notes, ok = [], [], True
    for block in BLOCKS.values():
        built, inputs = model(block)
        runners: dict[str, Callable[..., Any]] = {}
        for name in installed():
            try:
                runners[name] = built if name == "eager" else compiled(built, block, inputs, name, options.threads)
            except Refused as refused:
                notes.append(f"{block.title}, {name}: {refused}")
        right = {name: all(same(one(*args), built(*args)) for args in inputs) for name, one in runners.items()}
        ok &= all(right.values())
        times = [interleave(runners, [args], options.seconds / len(inputs)) for args in inputs]
        for name in runners:
            median, p90 = geometric_mean([t[name].median for t in times]), geometric_mean([t[name].p90 for t in times])
            ratio = geometric_mean([t[name].median / t[BASE].median for t in times]) if BASE in runners else None
            rows.append((block.title, name, median, p90, ratio, "equal" if right[name] else "WRONG"))
    columns = ("block", "backend", "median ms", "p90 ms", f"/ {BASE}", "against eager")
    return Result("blocks", "Blocks: each backend against ONNX Runtime", columns, tuple(rows), tuple(notes), ok)


def installed() -> list[str]:
    """The backends that can compile for the CPU here."""
    from dync.backends.base import Declined
    from dync.registry import backend, backend_names

    return [name for name in backend_names() if not isinstance(backend(name).available(), Declined)]


def compiled(built: nn.Module, block: Block, inputs: list[tuple], name: str, threads: int) -> Callable[..., Any]:
    """The model on one backend, all of it. Raises Refused where the backend does not take it."""
    import dync
    from dync.api import compile_with
    from dync.options import CompileOptions

    dims = {d: torch.export.Dim(label, min=low, max=high) for d, (label, low, high) in block.dynamic.items()}
    options = CompileOptions.parse(backend=name, host="python", strict=True, threads=threads)
    try:
        return compile_with(options, built, inputs[-1], dynamic_shapes=(dims,) if dims else None)
    except dync.DyncError as error:
        raise Refused(reason(error)) from error
