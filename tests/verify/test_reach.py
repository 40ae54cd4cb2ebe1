"""Decisions that random calls do not reach: token ids, agreeing argmaxes, numbers that are not finite, narrow bands."""

import pytest
import torch
from torch import nn

from dync.api import capture
from dync.verify.calls import Call
from dync.verify.lookups import exchange
from dync.verify.paths import outcomes, steps
from dync.verify.picks import Agreements
from dync.verify.point import Point
from dync.verify.relax import Watch, force
from dync.verify.routes import Routes
from dync.verify.run import verify
from dync.verify.search import summed, worst
from dync.verify.walked import Walked


class Tokens(nn.Module):
    """Two exits on the mean of 8 embedded words of 500; chance comes to neither."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.words, self.head = nn.Embedding(500, 16), nn.Linear(16, 1)

    def forward(self, ids):
        y = self.head(torch.tanh(self.words(ids.view(2, 4)).mean((0, 1))))
        if y.item() > 0.9:
            return y
        if y.item() < -0.9:
            return -y
        return y + 1


class Agreeing(nn.Module):
    """Goes on while two heads choose the same of 12."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(16, 12) for _ in range(4))

    def forward(self, x):
        last = self.heads[3](x).argmax(dim=1)
        for layer, head in zip(self.layers, self.heads):
            x = torch.tanh(layer(x))
            now = head(x).argmax(dim=1)
            if not torch.all(now.eq(last)):
                return now
            last = now
        return x


class Drafted(nn.Module):
    """Reads one class of 60 from a list of drafts, another from all rows at once."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.draft, self.check = nn.Linear(12, 60), nn.Linear(12, 60)

    def forward(self, x):
        drafts = torch.cat([self.draft(row).max(dim=-1, keepdim=True)[1] for row in x.split(1)])
        checked = self.check(x).argmax(dim=-1)
        if drafts[2, 0].item() == 7 and checked[1].item() == 50:
            return checked
        return x


class Guarded(nn.Module):
    def forward(self, x):
        if torch.isnan(x[3]):
            raise ValueError("not a number")
        if torch.isinf(x).any():
            return -x
        return x + 1


class Band(nn.Module):
    """The sum must lie between two near numbers, far from zero."""

    def forward(self, x):
        s = (x * torch.arange(1.0, 9.0)).sum().item()
        if s > 40.0 and s < 40.001:
            return x
        return -x


@pytest.mark.parametrize(
    "model, example",
    [
        (Tokens(), torch.arange(8)),
        (Agreeing(), torch.zeros(1, 16)),
        (Drafted(), torch.zeros(3, 12)),
        (Guarded(), torch.zeros(8)),
        (Band(), torch.zeros(8)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_every_outcome_is_reached(model, example):
    report = verify(model, Walked(capture(model, (example,))), [(example,)], budget=60, cover="decisions")
    assert report.ok and report.covered and not report.unreachable, str(report)


@pytest.mark.parametrize("measure", [worst, summed()], ids=["worst", "summed"])
def test_tokens_are_exchanged_by_their_gradient(measure):
    """A few exchanges are enough, where 500 ** 8 sentences exist."""
    program = capture(Tokens(), (torch.arange(8),))
    walked = Walked(program)
    start = torch.arange(8)
    path = (("b0", "true"),)
    found = exchange(program, path, Call((start,)), 100, measure)
    assert found.call is not None and 0 <= int(found.call.args[0].min()) and int(found.call.args[0].max()) < 500
    assert steps(program.flow, walked.traced(*found.call.args)[1])[:1] == path
    assert torch.equal(start, torch.arange(8))


def test_a_way_may_go_through_each_other_outcome():
    """What leads to the last agreement at all does so after either answer before it."""
    program = capture(Agreeing(), (torch.zeros(1, 16),))
    routes = Routes(program.flow)
    first, last = [o for o in outcomes(program.flow) if o.block == "b0"], outcomes(program.flow)[-1]
    ways = [routes.through((o.block, o.label), last.block, last.label) for o in first]
    assert sum(w is not None for w in ways) == 1, "after the first disagreement nothing follows"
    assert all(w is None or w[-1] == (last.block, last.label) and len(routes.along(w)) == len(w) + 1 for w in ways)


class Unanimous(nn.Module):
    """Whether three heads choose the same of three classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.words = nn.Embedding(40, 6)
        self.heads = nn.ModuleList(nn.Linear(6, 3) for _ in range(3))

    def forward(self, ids):
        x = self.words(ids).mean(0)
        a, b, c = (head(x).argmax(dim=-1) for head in self.heads)
        if a == b:
            if b == c:
                return x
            return -x
        return x + 1


def test_a_common_class_is_asked_only_of_numbers_that_are_to_be_equal():
    program = capture(Unanimous(), (torch.arange(4),))
    point = Point(program, Call((torch.arange(4),)))
    path, near = (("b0", "true"), ("b1", "false")), Watch()
    with torch.no_grad():
        exact = force(program, path, *point.entry(), near)
        far = [force(program, path, *point.entry(), Watch(agreements=Agreements(k))) for k in range(3)]
    pair, other = (s.amax(0) for s in near.agreements.seen)
    assert [s.met for s in exact] == [s.met for s in far[0]]
    assert float(exact[0].distance) == float(pair.max()) and float(exact[1].distance) == -float(other.max())
    for k in range(3):
        assert float(far[k][0].distance) == float(pair[k]) and float(far[k][1].distance) == float(exact[1].distance)
    by_both = torch.minimum(pair, other).argsort(descending=True).tolist()
    assert [near.agreements.nearest(rank) for rank in range(4)] == [*by_both, None]


@pytest.mark.parametrize("rank", [None, 0, 1, 2, 3])
def test_tokens_are_exchanged_until_all_agree_on_one_class(rank):
    program = capture(Unanimous(), (torch.arange(4),))
    path = (("b0", "true"), ("b1", "true"))
    found = exchange(program, path, Call((torch.arange(4),)), 400, worst, rank)
    assert found.call is not None and steps(program.flow, Walked(program).traced(*found.call.args)[1])[:2] == path
