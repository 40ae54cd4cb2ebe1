"""What DyCL (Chen et al., ISSTA 2023) makes of a model, rebuilt by hand: branch-free sub-networks, each one ONNX Runtime
session, and a Python host with the control flow. Hand-rewritten per model, as DyCL's own subjects are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.peers import Refused
from benchmarks.peers.onnx_sessions import session
from dync.models.fashion_exits import FashionExits


def dycl(model: nn.Module, args: tuple, threads: int) -> Callable[..., Any]:
    match model:
        case FashionExits():
            return fashion_exits(model, threads)
        case _:
            raise Refused(f"no sub-networks are written for {type(model).__name__}")


class Piece(nn.Module):
    """One stage and its head, with the stem before the first: features → (features, logits, confidence)."""

    def __init__(self, model: FashionExits, number: int) -> None:
        super().__init__()
        self.stem = model.stem if number == 0 else nn.Identity()
        self.stage, self.head = model.stages[number], model.heads[number]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = self.stage(self.stem(x))
        logits = self.head(x)
        return x, logits, logits.softmax(dim=-1).max()


class LastPiece(Piece):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stage(self.stem(x)))


def fashion_exits(model: FashionExits, threads: int) -> Callable[[torch.Tensor], tuple[torch.Tensor, int]]:
    x = torch.rand(1, 1, 28, 28)
    last = len(model.stages) - 1
    pieces = []
    for i in range(last + 1):
        piece = (Piece if i < last else LastPiece)(model, i).eval()
        pieces.append(session(piece, (x,), threads))
        if i < last:
            x = piece(x)[0]

    def host(image: torch.Tensor) -> tuple[torch.Tensor, int]:
        features = image.numpy()
        for i in range(last):
            features, logits, confidence = pieces[i](features)
            if confidence > model.threshold:
                return torch.from_numpy(logits), i
        return torch.from_numpy(pieces[last](features)[0]), last

    return host
