"""Numbers that argmax picked, and the scores behind each of them, wherever views, lists and reading out carry them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch


@dataclass(frozen=True)
class Agreements:
    """What is asked of numbers that are compared with one another. common: the class on which they are to agree, None for the nearest.

    seen: [n, classes], by how much each class is the same of n pairs, for each comparison.
    """

    common: int | None = None
    seen: list[torch.Tensor] = field(default_factory=list)

    def nearest(self, rank: int) -> int | None:
        """The class on which all pairs agree by most, or the second, ...; None where there is none."""
        like = [s for s in self.seen if s.shape[1] == self.seen[-1].shape[1]]
        ranked = torch.cat(like).amin(0).argsort(descending=True).tolist() if like else []
        return ranked[rank] if rank < len(ranked) else None


@dataclass(frozen=True)
class Picks:
    """scores: [n, classes], of which the largest is picked. at: int64, shaped as the value, the row behind each number."""

    scores: torch.Tensor
    at: torch.Tensor
    agreements: Agreements

    @property
    def rows(self) -> torch.Tensor:
        """[..., classes], by place in the value."""
        return self.scores[self.at]

    def moved(self, function: Callable[[torch.Tensor], Any]) -> Picks:
        """After an operation that only moves numbers, or leaves some out."""
        return replace(self, at=function(self.at))


def picked(scores: torch.Tensor, dim: int | None, keep: bool, agreements: Agreements) -> Picks | None:
    """What argmax over `dim`, over everything if None, picks from."""
    if dim is None or scores.dim() == 0:
        at = torch.zeros([1] * scores.dim() if keep else [], dtype=torch.int64)
        return Picks(scores.reshape(1, -1), at, agreements) if scores.numel() else None
    moved = scores.movedim(dim, -1)
    at = torch.arange(moved[..., 0].numel()).reshape(moved.shape[:-1])
    return Picks(moved.reshape(-1, moved.shape[-1]), at.unsqueeze(dim) if keep else at, agreements)


def joined(parts: Sequence[tuple[torch.Tensor, Picks | None]], function: Callable[[list[torch.Tensor]], torch.Tensor]) -> Picks | None:
    """After values are laid together; None where numbers come from elsewhere, or are picked from as many as others are not."""
    full = [p for v, p in parts if v.numel()]
    if not full or any(p is None or p.scores.shape[1] != full[0].scores.shape[1] for p in full):  # type: ignore[union-attr]
        return None
    ats, scores, first = [], [], 0
    for value, picks in parts:
        ats.append(picks.at + first if value.numel() and picks is not None else value.long())
        scores += [picks.scores] if value.numel() and picks is not None else []
        first += len(picks.scores) if value.numel() and picks is not None else 0
    return replace(full[0], scores=torch.cat(scores), at=function(ats))  # type: ignore[type-var]


def chosen(picks: Picks, index: int) -> torch.Tensor | None:
    """By how much `index` has the largest score."""
    rows = picks.rows
    return margins(rows)[..., index] if 0 <= index < rows.shape[-1] else None


def agreement(a: Picks, b: Picks) -> torch.Tensor | None:
    """By how much both pick the same, or both the common class; None where they pick from different numbers of classes."""
    if a.scores.shape[1] != b.scores.shape[1]:
        return None
    same = torch.minimum(margins(a.rows), margins(b.rows))
    a.agreements.seen.append(same.detach().reshape(-1, same.shape[-1]))
    common = a.agreements.common
    return same.amax(-1) if common is None or common >= same.shape[-1] else same[..., common]


def margins(rows: torch.Tensor) -> torch.Tensor:
    """By how much each of the scores is larger than all others."""
    if rows.shape[-1] < 2:
        return rows * 0 + 1
    top = rows.topk(2, dim=-1)
    first, second = top.values[..., :1], top.values[..., 1:]
    here = torch.zeros_like(rows, dtype=torch.bool).scatter(-1, top.indices[..., :1], True)
    return rows - torch.where(here, second, first)
