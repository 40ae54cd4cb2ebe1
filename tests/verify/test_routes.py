"""What a flow's own numbers decide is known before anything is run: ways that they rule out are no ways."""

import pytest
import torch
from support.builder import Builder
from support.programs import Edge, HostOp, Ref, Return, ScalarType, Value, branch, leaf, lit, rolled_loop, to
from torch import nn

from dync.api import capture
from dync.verify.paths import outcomes
from dync.verify.routes import Routes
from dync.verify.run import verify
from dync.verify.sizes import size_rules
from dync.verify.walked import Walked


def _bool(name, op, left, right):
    return HostOp(Value(name, ScalarType("bool")), op, (Ref(left), lit(right)))


def counting():
    """n counts the sums above 0 of x and y; then n == 2, else n == 3, else 0."""
    b = Builder("counting", {"x": "float32[2]", "y": "float32[2]"})
    start = Edge("b1", (lit(1),)), Edge("b1", (lit(0),))
    b.block("b0", lambda x: (x.sum().item(),), ("s",), branch("p", *start, "s", 0), host=(_bool("p", "gt", "s", 0),))
    b.block(
        "b1", lambda y: (y.sum().item(),), ("t",), branch("q", to("b2"), to("b3", "n"), "t", 0), {"n": "int"}, (_bool("q", "gt", "t", 0),)
    )
    b.block(
        "b2",
        None,
        (),
        branch("q", to("b3", "m"), to("b6"), "t", 0),
        host=(HostOp(Value("m", ScalarType("int")), "add", (Ref("n"), lit(1))),),
    )
    b.block("b3", None, (), branch("two", to("b5"), to("b4"), "k", 2), {"k": "int"}, (_bool("two", "eq", "k", 2),))
    b.block("b4", None, (), branch("three", to("b5"), to("b6"), "k", 3), host=(_bool("three", "eq", "k", 3),))
    b.block("b5", None, (), Return(leaf("k")))
    b.block("b6", None, (), Return(leaf(0)))
    return b.program()


class Counting(nn.Module):
    def forward(self, x, y):
        n = int(x.sum() > 0) + int(y.sum() > 0)
        return n if n == 2 else 0


def test_a_way_agrees_with_counters_and_with_answers_already_given():
    routes = Routes(counting().flow)
    assert routes.shortest(routes.start, "b3", "true")[0] == (("b0", "true"), ("b1", "true"), ("b2", "true"), ("b3", "true"))
    assert routes.shortest(routes.start, "b4", "true") == (None, True)
    assert routes.shortest(routes.start, "b2", "false") == (None, True)


def test_a_taken_path_is_turned_as_late_as_it_can_be():
    routes = Routes(counting().flow)
    taken = (("b0", "true"), ("b1", "false"), ("b3", "false"), ("b4", "false"), ("b6", ""))
    assert routes.turned(taken, "b3", "true") == (("b0", "true"), ("b1", "true"), ("b2", "true"), ("b3", "true"))
    assert routes.turned(taken, "b4", "true") is None


def test_outcomes_that_the_program_decides_itself_are_named_with_the_reason():
    report = verify(Counting(), Walked(counting()), budget=40, cover="decisions")
    assert report.ok and report.covered
    assert [u.name for u in report.unreachable] == ["b2 false", "b4 true"]
    assert all("counts or knows" in u.reason and u.text for u in report.unreachable)


def test_nothing_is_ruled_out_where_a_counter_has_no_end_in_sight():
    routes = Routes(rolled_loop().flow)
    for o in outcomes(rolled_loop().flow):
        assert routes.shortest(routes.start, o.block, o.label)[0] is not None


def test_a_size_that_every_way_fixes_is_known():
    b = Builder("sizes", {"x": "float32[2]", "z": "float32[M]"})
    b.block("b0", lambda x: (x.sum().item() > 0,), ("p",), branch("p", to("b1"), to("b2", "x")))
    b.block("b1", lambda x: (torch.cat([x, x]),), ("y",), branch("p", to("b2", "y"), to("b4")))
    size = branch("some", to("b3"), to("b4"), "n", 0)
    b.symbols["K"] = b.shapes.create_unbacked_symint()
    b.block("b2", lambda v: (v.shape[0],), ("n",), size, {"v": "float32[K]"}, (_bool("some", "ne", "n", 0),))
    b.block("b3", lambda z: (z.shape[0],), ("m",), branch("any", to("b4"), to("b5"), "m", 0), host=(_bool("any", "ne", "m", 0),))
    b.block("b4", None, (), Return(leaf(0)))
    b.block("b5", None, (), Return(leaf(1)))
    program = b.program()
    routes = Routes(program.flow, size_rules(program))
    assert routes.shortest(routes.start, "b2", "false") == (None, True)
    assert routes.shortest(routes.start, "b3", "false")[0] is not None


class Masked(nn.Module):
    """Two selections by one mask have one size, whatever it is; a list that grows in every round is never empty."""

    def forward(self, x):
        keep = x > 0
        if keep.any():
            x = (x[keep] - (2 * x)[keep]).sum() + x
        return x


class Grown(nn.Module):
    def forward(self, x):
        found = []
        for i in range(x.size(0)):
            if x[i] > 0:
                x = x + 1
            found.append(x[i : i + 1])
        return torch.cat(found)


class Joined(nn.Module):
    """What two selections by one mask make comes out of branches, of which its size decides, to a third selection."""

    def forward(self, x):
        keep = x > 0
        if keep.all():
            return x.sum()
        lost = (x[keep] - (2 * x)[keep]).abs()
        return (lost / (x[keep].abs() + 1)).sum()


class OtherMasks(nn.Module):
    """Selections by two masks seldom have one size."""

    def forward(self, x):
        above, below = x[x > 0], x[x < 0]
        return above if above.size(0) == below.size(0) else below


@pytest.mark.parametrize("model", [Masked(), Grown(), Joined()], ids=lambda m: type(m).__name__)
def test_sizes_that_the_program_itself_knows_decide(model):
    report = verify(model, Walked(capture(model, (torch.randn(6),))), [(torch.randn(6),)], budget=40, cover="decisions")
    assert report.ok and report.covered, str(report)


class LastRound(nn.Module):
    """The count of this round and of the last are two numbers, though one mask makes both."""

    def forward(self, x):
        last = x[x > 9]
        while x.sum() > -30:
            x = x - 1
            now = x[x > 0]
            if now.size(0) == last.size(0):
                return now
            last = now
        return last


@pytest.mark.parametrize("model", [OtherMasks(), LastRound()], ids=lambda m: type(m).__name__)
def test_counts_that_may_differ_decide_nothing(model):
    report = verify(model, Walked(capture(model, (torch.randn(6),))), [(torch.randn(6),)], budget=40, cover="decisions")
    sizes = [d for d in report.decisions if "size" in d.text]
    assert report.ok and len({d.outcome for d in sizes if d.calls}) == 2, str(report)
