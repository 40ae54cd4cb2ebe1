"""The static oracle: the whole path that an input takes as one ONNX Runtime session, chosen beforehand. A bound, no system."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.peers.onnx_sessions import session
from dync.models.fashion_exits import FashionExits


class Path(nn.Module):
    """All work that eager does up to an exit, confidences included: image → (logits, confidences)."""

    def __init__(self, model: FashionExits, exit: int) -> None:
        super().__init__()
        self.model, self.exit = model, exit

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.model.stem(x)
        confidences = []
        logits = x
        last = len(self.model.stages) - 1
        for i in range(self.exit + 1):
            x = self.model.stages[i](x)
            logits = self.model.heads[i](x)
            if i < last:
                confidences.append(logits.softmax(dim=-1).max())
        return (logits, *confidences)


def fashion_exits(model: FashionExits, exit: int, threads: int) -> Callable[[torch.Tensor], tuple[torch.Tensor, int]]:
    run = session(Path(model, exit), (torch.rand(1, 1, 28, 28),), threads)

    def path(image: torch.Tensor) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(run(image.numpy())[0]), exit

    return path
