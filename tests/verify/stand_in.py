"""What tests compile with: a Program walked by `interpret`, behind a Runtime's interface, and eager modules for hand-built Programs."""

from __future__ import annotations

from typing import Any

import torch
from support.programs import CASES
from torch import nn

from dync.verify.walked import Walked as Walked


class Eager(nn.Module):
    """The eager function of a case, as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *args: torch.Tensor) -> Any:
        return CASES[self.name].eager(*args)
