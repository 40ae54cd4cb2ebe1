"""Blocks in eager give the model's own bits: also where sizes of 1 make a view of a copy, writes keep strides, and RNNs stay whole.

Kernels round by strides and by the address of what they read, so weights lie in memory as the model's do, in a copy and a file too.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.export import Dim

import dync


class Attention(nn.Module):
    """As BERT's: Devlin et al. 2019."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(32, 32) for _ in range(3))

    def heads(self, x):
        return x.view(x.size(0), x.size(1), 4, 8).permute(0, 2, 1, 3)

    def forward(self, x):
        q, k, v = (self.heads(f(x)) for f in (self.q, self.k, self.v))
        y = torch.matmul(torch.matmul(q, k.transpose(-1, -2)).softmax(-1), v).permute(0, 2, 1, 3).contiguous().view(x.size(0), -1, 32)
        return y + 1 if y.sum() > 1 else y


class Decoder(nn.Module):
    """An RNN in a loop, whose cell writes on its own memory: 20 is no multiple of a vector register's floats."""

    def __init__(self, kind=nn.GRU):
        super().__init__()
        self.rnn, self.out = kind(32, 20, batch_first=True), nn.Linear(20, 32)

    def forward(self, x):
        state = None
        for _ in range(6):
            y, state = self.rnn(x, state)
            x = self.out(y)
            if x.abs().max() > 1:
                break
        return x, y


class Encoder(Decoder):
    def forward(self, x):
        _, state = self.rnn(x.flip(1))
        return self.out(state[0] if isinstance(state, tuple) else state) * (2 if x.sum() > 0 else 1)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("model", [Attention, Decoder, Encoder, lambda: Encoder(nn.LSTM), lambda: Encoder(nn.RNN)])
def test_bits(model, dynamic):
    torch.manual_seed(0)
    model = model().eval()
    sizes = [(1, 3), (2, 5), (3, 1), (4, 7), (1, 1), (7, 2)] if dynamic else [(3, 5)] * 4
    shapes = {"x": {0: Dim("b", min=1, max=8), 1: Dim("n", min=1, max=9)}} if dynamic else None
    with torch.no_grad():
        compiled = dync.compile(model, (torch.randn(*sizes[0], 32),), backend="eager", host="python", dynamic_shapes=shapes)
        for b, n in sizes:
            x = torch.randn(b, n, 32)
            for found, wanted in zip(*(torch.utils._pytree.tree_leaves(f(x)) for f in (compiled, model)), strict=True):
                assert torch.equal(found, wanted), (b, n)


class Rows(nn.Module):
    """Dots of rows and columns of weights: how a dot adds up hangs on the addresses of what it reads."""

    def __init__(self):
        super().__init__()
        self.w, self.odd, self.lin = nn.Parameter(torch.randn(7, 6)), nn.Parameter(torch.randn(3)), nn.Linear(6, 6)
        self.row = nn.Parameter(torch.randn(9))
        self.register_buffer("steps", torch.ones(5, 6)[1:])

    def forward(self, h):
        h = self.lin(h)
        self.steps.add_(1)
        found = []
        for r in range(3):
            dot = h[r] @ self.w[r]
            found += [dot, h[r] @ (self.w[r + 1] if dot > 0 else self.w[r + 2]), self.w[:, r] @ self.w[:, 5], h[r, :3] @ self.odd]
            found += [(self.row[r:r + 6] * h[r]).softmax(0), h[r] @ self.steps[r]]
        return found


class Slots(nn.Module):
    """A cell that writes on parts of its own memory, of which a view is taken in a loop: Locatello et al. 2020."""

    def __init__(self):
        super().__init__()
        self.q, self.cell, self.mean = nn.Linear(4, 4), nn.GRUCell(4, 4), nn.Parameter(torch.randn(1, 1, 4))

    def forward(self, x):
        x = x + self.mean.expand(2, 2, -1).sigmoid()
        for _ in range(4):
            before = x
            x = self.cell(self.q(x).reshape(-1, 4), before.reshape(-1, 4)).reshape(2, -1, 4)
            if (x - before).norm() < 0.3 * before.norm():
                break
        return x


@pytest.mark.parametrize("model, shape", [(Rows, (3, 6)), (Slots, (2, 2, 4))])
def test_bits_by_where_weights_lie(model, shape, tmp_path):
    torch.manual_seed(0)
    model = model().eval()
    with torch.no_grad():
        compiled = dync.compile(model, (torch.randn(shape),), backend="eager", host="python")
        compiled.save(tmp_path / "m.dync")
        again = dync.load(tmp_path / "m.dync")
        again.save(tmp_path / "n.dync")
        runs = [compiled, copy.deepcopy(compiled), again, dync.load(tmp_path / "n.dync")]
        for n in range(30):
            x = torch.randn(shape) * (1 + n % 5)
            wanted = torch.utils._pytree.tree_leaves(model(x))
            for which, run in enumerate(runs):
                found = torch.utils._pytree.tree_leaves(run(x))
                assert all(map(torch.equal, found, wanted)), (n, which)
