"""State whose value is a structure of tensors has the caller's kind of tensors throughout."""

import pytest
import torch
from torch import nn

import dync


class Keeps(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(3, 3)
        self.hidden = None
        self.seen = {}

    def forward(self, x):
        self.hidden = (torch.zeros(1, 3), torch.zeros(1, 3))
        for _ in range(2):
            self.hidden = self.cell(x, self.hidden)
        return self.hidden[0] if self.hidden[0].sum() > 0 else self.hidden[1]


@pytest.mark.parametrize("backend", ["eager", "onnxruntime"])
def test_a_tuple_of_tensors(backend):
    torch.manual_seed(0)
    model, x = Keeps(), torch.randn(1, 3)
    compiled = dync.compile(model, (x,), backend=backend, host="python")
    assert dync.verify(model, compiled, budget=6).ok
    torch.testing.assert_close(compiled(x), model(x))
    kept = compiled.state["hidden"]
    assert type(kept) is tuple and [type(t) for t in kept] == [torch.Tensor] * 2
    torch.testing.assert_close(kept, model.hidden)
