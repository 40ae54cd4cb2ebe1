"""Sizes that change: those that stay equal are one symbol, and those that do not fall are known not to."""

from __future__ import annotations

import functools
import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dync.ir.flow import Branch
from dync.ir.interpret import interpret
from dync.ir.types import TensorType

capture = importlib.import_module("dync.capture").capture


class Cache(nn.Module):
    """Keys and values that grow together, as a decoder's do."""

    def forward(self, x):
        keys = values = x
        while keys.sum() < 20:
            query = keys[-1:] + 1
            out = F.scaled_dot_product_attention(query[None, None], keys[None, None], values[None, None])[0, 0]
            keys, values = torch.cat([keys, query]), torch.cat([values, out])
        return keys, values


class Apart(nn.Module):
    """Equal at first only."""

    def forward(self, x):
        a = b = x
        while a.sum() < 20:
            a, b = torch.cat([a, a[-1:] + 1]), torch.cat([b, b[:1], b[:1]])
        return a, b, a.shape[0] == b.shape[0]


class SlicesOfSlices(nn.Module):
    """Each turn's sizes are made of the last turn's: written out, they double with every turn."""

    def forward(self, x):
        kept = other = x
        while x.shape[0] < 9:
            n = int((kept > 0).sum())
            kept, other = torch.cat([kept[:n], other[n:]]), torch.cat([other[: x.shape[0] - n], kept[n:] - 0.25])
            x = torch.cat([x, kept[:n], other[-n:], x[:1]])
        return x, kept, other


class Falls(nn.Module):
    """Shorter each turn, and in the end empty."""

    def forward(self, x):
        while x.numel() > 0 and x.sum() > -3:
            x = x[:-1] - 1
        return x[-1:], x.shape[0]


class SidesOfOneSize(nn.Module):
    """Two tensors of one size on each of two sides."""

    def forward(self, x):
        y, z = x[x[:, 0] > 0], x[x[:, 1] > 0]
        if x.sum() > 0:
            a, b = y, y * 2
        else:
            a, b = z + 1, z * 3
        return a * b


class AskedTwice(nn.Module):
    """Calls of torch that ask about sizes several times, in several of their own operations."""

    def forward(self, x, m):
        a, b, c = x[m[0]], x[m[1]], x[m[2]]
        return F.triplet_margin_loss(a, b, c, reduction="none"), F.cosine_similarity(a, b), torch.isclose(a, b)


class Attends(nn.Module):
    def forward(self, x, m):
        a, b, c = x[m[0]], x[m[1]], x[m[2]]
        return F.scaled_dot_product_attention(a[None], b[None], c[None], attn_mask=x[m[3]][:, :1].T[None])


class PlainFlag(nn.Module):
    """Flags that torch takes as plain bools alone."""

    def forward(self, x):
        y = x[x[:, 0] > 0]
        causal = y.shape[0] > 1 and self.training is False
        z = self.attend(y[None, None], causal)
        large = (x > 0).sum().item() > 3
        return z, torch.topk(x, 2, dim=0, largest=large), large, x.sort(dim=1, descending=(x < 0).sum().item() > 2), self.by_lambda(y)

    def by_lambda(self, y):
        order = functools.partial(lambda y, few: y.sum(1).sort(descending=few)[0], y)
        return order(y.shape[0] <= 1), [y[:, k].sort(descending=(y[:, k] > 0.5).any().item())[0] for k in range(2)]

    def attend(self, q, flag):
        return F.scaled_dot_product_attention(q, q, q, is_causal=flag)


class Differences(nn.Module):
    def forward(self, x):
        y = x[x > 0]
        return torch.diff(y), torch.diff(y, n=2), y.diff(prepend=y[:1]), torch.diff(y > 1, append=torch.tensor([True])), torch.diff(x, n=3)


def rows(seed: int) -> tuple[torch.Tensor, ...]:
    return (torch.randn(2 + seed % 3, 3, generator=torch.Generator().manual_seed(seed)) + 0.5,)


def four(seed: int) -> tuple[torch.Tensor, ...]:
    return (torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)),)


def masks(seed: int) -> tuple[torch.Tensor, ...]:
    counts = [(2, 2, 2, 2), (1, 1, 1, 1), (2, 1, 2, 1), (3, 3, 3, 3), (1, 3, 1, 3), (2, 3, 1, 1), (4, 4, 4, 1)][seed % 7]
    return *four(seed), torch.stack([torch.arange(4) < n for n in counts])


def line(seed: int) -> tuple[torch.Tensor, ...]:
    return (torch.randn(6, generator=torch.Generator().manual_seed(seed)) - 10 * (seed == 3),)


CASES = [(Cache, four), (Apart, four), (Falls, four), (SidesOfOneSize, four), (AskedTwice, masks), (Attends, masks),
         (PlainFlag, four), (Differences, line), (SlicesOfSlices, line)]


def captured(cls, inputs):
    return capture(cls().eval(), inputs(0))


def leaves(value):
    return torch.utils._pytree.tree_leaves(value)


@pytest.mark.parametrize("cls, inputs", CASES, ids=[c.__name__ for c, _ in CASES])
def test_equal_to_eager(cls, inputs):
    program, model = captured(cls, inputs), cls().eval()
    for seed in range(10):
        args = inputs(seed)
        try:
            wanted = leaves(model(*args))
        except RuntimeError:
            with pytest.raises(RuntimeError):
                interpret(program, args)
            continue
        found = leaves(interpret(program, args)[0])
        assert len(wanted) == len(found)
        assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b and type(a) is type(b) for a, b in zip(wanted, found))


def sizes(program) -> list[tuple]:
    """The shapes of all parameters of blocks."""
    return [tuple(p.type.shape) for b in program.blocks for p in b.flow.params if isinstance(p.type, TensorType)]


def test_what_stays_equal_is_one_symbol():
    assert len({s[0] for s in sizes(captured(Cache, four)) if isinstance(s[0], str)}) == 1
    assert len({s[0] for s in sizes(captured(Apart, four)) if isinstance(s[0], str)}) > 1
    assert len(set(sizes(captured(SidesOfOneSize, four)))) == 1


def test_the_last_row_of_what_never_empties_is_one_row():
    """Nothing is asked about its size."""
    program = captured(Cache, four)
    assert sum(isinstance(b.flow.exit, Branch) for b in program.blocks) <= 2
