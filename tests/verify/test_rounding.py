"""Operations that round otherwise: what is computed moves by an ULP or so, what is only moved, counted or drawn stays."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import dync
from dync.verify.rounding import RoundedOtherwise
from dync.verify.run import verify

sys.path.insert(0, str(Path(__file__).parent))
from stand_in import Walked  # noqa: E402

X = torch.tensor([0.3, -1.7, 2.2, 0.3])


def rounded(function, seed=0):
    with RoundedOtherwise(torch.Generator().manual_seed(seed)):
        return function(X.clone())


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.cat((x, x[:1])),
        lambda x: x.max(),
        lambda x: x.relu().abs(),
        lambda x: torch.where(x > 0, x, -x),
        lambda x: x.sort().values,
        lambda x: x[x > 0].clone(),
        lambda x: (x > 0).float().sum() * 4,
        lambda x: x + 0.0,
        lambda x: torch.full((2,), 0.1),
        lambda x: x.long(),
    ],
)
def test_what_is_moved_or_counted_stays(function):
    assert torch.equal(rounded(function), function(X.clone()))


def test_a_draw_stays():
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    assert torch.equal(rounded(lambda x: torch.rand_like(torch.cat((x, x[:1])))), expected)


@pytest.mark.parametrize("function", [lambda x: x * x, lambda x: x.exp(), lambda x: torch.outer(x, x) @ x, lambda x: x.sum() / 3])
def test_what_is_computed_moves_by_some_units_in_the_last_place(function):
    moved = torch.stack([(rounded(function, n) / function(X) - 1).abs().max() for n in range(20)]) / torch.finfo(torch.float32).eps
    assert 0.5 < moved.max() < 30


class Logistic(nn.Module):
    """A chaotic map from saturated inputs: noise on them changes nothing, the rounding of each step changes all."""

    def __init__(self, error=0.0, fault=0.0):
        super().__init__()
        self.error, self.fault = error, fault

    def forward(self, x):
        y = torch.sigmoid(x * 1e3).sum() * 0.37
        low = 0
        for _ in range(60):
            y = 3.9 * y * (1 - y) * (1 + self.error)
            if y < 0.5:
                low += 1
        return y * 0 + low + self.fault


def against(theirs):
    given = [(torch.tensor([4.0]),)]
    shown = dync.capture(Logistic(), given[0])
    return verify(Logistic(), Walked(dync.capture(theirs, given[0]), shown=shown), given, budget=1)


def test_a_decision_of_a_chaotic_loop_is_a_flip():
    report = against(Logistic(error=1.2e-7))
    assert report.ok and report.flips, str(report)


def test_an_error_that_rounding_does_not_explain_is_none():
    assert not against(Logistic(fault=0.5)).ok
    assert not against(Logistic(error=0.2)).ok
