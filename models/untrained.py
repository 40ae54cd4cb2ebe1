"""Random but seeded models whose gates are really used.

A freshly initialised gate nearly always decides one way. `balance` shifts and scales each gate's last layer so that
over given inputs half of its decisions go either way, with margins of about one, as training would have left them.
"""

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from statistics import pstdev

import torch
from torch import Tensor, nn


@contextmanager
def seeded(seed: int):
    """Run with a seeded CPU generator and leave the caller's as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        yield


def images(count: int, channels: int = 3, size: int = 32, seed: int = 0) -> list[Tensor]:
    """Smooth random images [1, channels, size, size] of differing contrast and detail."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for i in range(count):
        grain = (2, 4, 8, 16)[i % 4]
        coarse = torch.randn(1, channels, grain, grain, generator=generator)
        image = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
        out.append(image * (0.5 + 1.5 * torch.rand(1, generator=generator)) + 0.3 * torch.randn(1, generator=generator))
    return out


@torch.no_grad()
def settle_batchnorm(model: nn.Module, inputs: Iterable[tuple]) -> None:
    """Give each BatchNorm2d the average mean and variance of what it sees over `inputs`; the rest stays in evaluation."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = None  # a plain average over the inputs
        norm.reset_running_stats()
    for args in inputs:
        model(*args)
    for norm in norms:
        norm.eval()
        norm.momentum = 0.1


@torch.no_grad()
def balance(model: nn.Module, gates: Sequence[nn.Linear], inputs: Sequence[tuple]) -> None:
    """Centre each gate in turn over the inputs of the whole model.

    A gate of one output decides by its sign, a gate of two by the larger. A gate that is not reached stays as it is.
    """
    for gate in gates:
        margins = _margins(model, gate, inputs)
        spread = pstdev(margins) if len(margins) > 1 else 0.0
        if spread == 0.0:
            continue
        assert gate.bias is not None
        gate.weight.div_(spread)
        gate.bias.div_(spread)
        gate.bias[-1] -= _middle(margins) / spread


def _margins(model: nn.Module, gate: nn.Linear, inputs: Sequence[tuple]) -> list[float]:
    """By how much the gate's last output wins, each time that it is reached."""
    margins: list[float] = []

    def record(module: nn.Module, args: tuple, out: Tensor) -> None:
        flat = out.reshape(-1, out.shape[-1])
        margins.extend((flat[:, -1] - (flat[:, 0] if flat.shape[-1] == 2 else 0.0)).tolist())

    hook = gate.register_forward_hook(record)
    for args in inputs:
        model(*args)
    hook.remove()
    return margins


def _middle(values: Sequence[float]) -> float:
    """Between the two values in the middle, never on one: no decision is left with a margin of zero."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return (ordered[half - 1] + ordered[half]) / 2
