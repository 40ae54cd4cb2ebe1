"""Copies of what autograd made."""

import torch
from torch import nn

from dync.ir.clone import clone


class Keeps(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.kept = []

    def forward(self, x):
        y = self.inner(x)
        self.kept.append({"whole": y, "part": y[0]})
        return y


def test_a_module_that_keeps_results_with_gradients():
    model = Keeps()
    y = model(torch.randn(3, 2))
    copied = clone(model)
    whole, part = copied.kept[0]["whole"], copied.kept[0]["part"]
    assert torch.equal(whole, y) and whole.is_leaf and whole.data_ptr() != y.data_ptr()
    assert part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
    assert model.kept[0]["whole"] is y
