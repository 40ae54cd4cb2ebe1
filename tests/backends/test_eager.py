"""The reference on tensors that other blocks hand over: same values, other strides."""

from __future__ import annotations

import torch
from support.kernels import kernel

from dync.backends.base import Target
from dync.backends.check import open_code
from dync.backends.eager import Eager


def test_views_of_what_has_other_strides_than_at_capture():
    for function in (lambda x: (x.t() * 2).t().view(-1), lambda x: x.view(-1) + 1, lambda x: torch.relu(x).view(2, 6).sum(0).view(-1)):
        found = kernel(function, {"x": "float32[3, 4]"})
        run = open_code(found, Eager().compile(found, Target()))
        x = torch.arange(12.0).reshape(4, 3).t()
        assert not x.is_contiguous() and torch.equal(run([x])[0], function(x.contiguous()))


def test_a_view_that_is_written_through_stays_one():
    def write(x):
        made = x * 2
        made.view(-1)[0] = 5.0
        return made

    found = kernel(write, {"x": "float32[2, 2]"})
    x = torch.ones(2, 2)
    assert torch.equal(open_code(found, Eager().compile(found, Target()))([x])[0], torch.tensor([[5.0, 2.0], [2.0, 2.0]]))
