"""Flips are told from faults: by margins, and by what noise does to eager itself."""

import sys
from pathlib import Path

import pytest
import torch
from support.builder import Builder
from support.programs import HostOp, Ref, Return, ScalarType, Value, branch, leaf, lit, to
from torch import nn

import dync
from dync.verify.calls import Call, ProgramSide, differences
from dync.verify.compare import Tolerances
from dync.verify.flips import own_noise
from dync.verify.mutate import KINDS
from dync.verify.run import verify

sys.path.insert(0, str(Path(__file__).parent))
from stand_in import Walked  # noqa: E402


def summed(offset=0.0, name="summed"):
    """x.sum() > 1, with an error of `offset` in the sum."""
    b = Builder(name, {"x": "float32[4]"})
    b.block(
        "b0",
        lambda x: ((x.sum() + offset).item(),),
        ("s",),
        branch("p", to("b1"), to("b2"), "s", 1.0),
        host=(HostOp(Value("p", ScalarType("bool")), "gt", (Ref("s"), lit(1.0))),),
    )
    b.block("b1", None, (), Return(leaf("x")))
    b.block("b2", lambda x: (-x,), ("y",), Return(leaf("y")))
    return b.program()


def counted(offset=0.0):
    """(x > 0).sum() > 1, with an error of `offset` in x."""
    b = Builder("counted", {"x": "float32[4]"})
    b.block(
        "b0",
        lambda x: ((x + offset > 0).sum().item(),),
        ("n",),
        branch("p", to("b1"), to("b2"), "n", 1),
        host=(HostOp(Value("p", ScalarType("bool")), "gt", (Ref("n"), lit(1))),),
    )
    b.block("b1", None, (), Return(leaf("x")))
    b.block("b2", lambda x: (-x,), ("y",), Return(leaf("y")))
    return b.program()


class Summed(nn.Module):
    def forward(self, x):
        return x if x.sum() > 1 else -x


class Counted(nn.Module):
    def forward(self, x):
        return x if (x > 0).sum() > 1 else -x


NEAR = torch.tensor([0.25, 0.25, 0.25, 0.25])


def test_a_decision_inside_numeric_error_is_a_flip():
    report = verify(Summed(), Walked(summed(1e-7 * 8), shown=summed()), [(NEAR,)], budget=1)
    assert report.ok and report.flips
    flip = report.flips[0]
    assert (flip.eager, flip.here, flip.text) == ("False", "True", "p") and 0 <= flip.error <= flip.allowed
    assert "flip" in str(report)


def test_a_decision_beyond_numeric_error_is_a_mismatch_that_names_it():
    report = verify(Summed(), Walked(summed(0.01), shown=summed()), [(NEAR,)], budget=1)
    assert not report.ok and not report.flips
    assert "`p` is False in eager, True here" in report.mismatches[0].first


@pytest.mark.parametrize("x, flips", [(torch.tensor([1.0, 1e-6, -1.0, -1.0]), False), (torch.tensor([1.0, 0.0, -1.0, -1.0]), True)])
def test_counts_flip_where_a_counted_element_is_near_its_threshold(x, flips):
    report = verify(Counted(), Walked(counted(1e-6), shown=counted()), [(x,)], budget=1)
    assert report.ok and bool(report.flips) == flips


def test_a_wrong_count_is_a_mismatch():
    report = verify(Counted(), Walked(counted(0.5), shown=counted()), [(torch.tensor([1.0, -0.3, -1.0, -1.0]),)], budget=1)
    assert not report.ok and not report.flips


class Confident(nn.Module):
    """Exits that never fire on random data: with random weights, softmax over ten classes stays far from sure."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.stages = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        for stage in self.stages:
            stage.weight.data *= 3
        self.heads = nn.ModuleList(nn.Linear(16, 10) for _ in range(3))

    def forward(self, x):
        for i, (stage, head) in enumerate(zip(self.stages, self.heads)):
            x = torch.tanh(stage(x))
            y = head(x)
            if y.softmax(-1).max() > (0.45, 0.36, 0.35)[i]:
                return y, i
        return x, 3


def test_the_search_reaches_exits_that_random_data_never_takes():
    from dync.api import capture

    model = Confident().eval()
    taken = {model(torch.randn(1, 16, generator=torch.Generator().manual_seed(n)))[1] for n in range(300)}
    assert taken == {3}
    report = verify(model, Walked(capture(model, (torch.randn(1, 16),))), budget=60, seconds=60)
    assert report.ok and report.covered, str(report)


class Sorted(nn.Module):
    def forward(self, x):
        return x if x.sum() < x.sort(-1).values.sum() else -x


def test_equal_numbers_inside_a_block_may_flip_but_flags_may_not():
    def compared(function):
        b = Builder("compared", {"x": "float32[4]"})
        b.block("b0", lambda x: (function(x).item(),), ("p",), branch("p", to("b1"), to("b2")))
        b.block("b1", None, (), Return(leaf("x")))
        b.block("b2", lambda x: (-x,), ("y",), Return(leaf("y")))
        return b.program()

    given = [(torch.tensor([0.5, 0.25, -0.25, 1.0]),)]
    less = compared(lambda x: x.sum() < x.sort(-1).values.sum())
    report = verify(Sorted(), Walked(compared(lambda x: x.sum() < x.sort(-1).values.sum() + 1e-7), shown=less), given, budget=1)
    assert report.ok and report.flips

    class Flag(nn.Module):
        def forward(self, x):
            return x if (x > 0).float().max() == 1.0 else -x

    flag = compared(lambda x: (x > 0).float().max() == 1.0)
    report = verify(Flag(), Walked(compared(lambda x: (x > 0).float().max() == 2.0), shown=flag), given, budget=1)
    assert not report.ok and not report.flips


def steep(offset=0.0, factor=1.0):
    """sin(1e5 x): 8 ULP of x are some hundredths of the result."""
    b = Builder("steep", {"x": "float32[4]"})
    b.block("b0", lambda x: ((x * factor * 1e5 + offset).sin(),), ("y",), Return(leaf("y")))
    return b.program()


class Steep(nn.Module):
    def forward(self, x):
        return (x * 1e5).sin()


def test_an_error_that_eager_makes_itself_under_input_noise_is_excused_and_told():
    report = verify(Steep(), Walked(steep(factor=1.0 + 2e-7), shown=steep()), [(NEAR,)], budget=10)
    assert report.ok and any("by which eager itself moves" in n for n in report.notes), str(report)


def test_the_noise_is_sampled_and_an_error_may_be_twice_as_large():
    call = Call((NEAR,))
    oracle = ProgramSide(steep(), 0, {})
    meaning = oracle.run(call)
    noise = own_noise(oracle, steep(), call, meaning, Tolerances(), 0.1)
    beyond = set()
    for offset in (0.01, 0.1, 0.3, 2.0):
        error = differences(meaning, ProgramSide(steep(offset), 0, {}).run(call), Tolerances()).worst.ulp
        report = verify(Steep(), Walked(steep(offset), shown=steep()), [(NEAR,)], budget=1)
        assert any(m.origin == "given" for m in report.mismatches) == (error > 2 * noise)
        beyond.add(error > 2 * noise)
    assert beyond == {True, False}


def test_an_error_beyond_that_noise_is_a_mismatch():
    report = verify(Steep(), Walked(steep(offset=2.0), shown=steep()), [(NEAR,)], budget=10)
    assert not report.ok and len(report.mismatches) == report.runs


def test_noise_excuses_no_error_of_a_steady_network():
    report = verify(Summed(), Walked(negated(), shown=summed()), [(NEAR,)], budget=10)
    assert not report.ok


def negated():
    """summed(), its second way wrong by a thousandth."""
    b = Builder("summed", {"x": "float32[4]"})
    b.block(
        "b0",
        lambda x: (x.sum().item(),),
        ("s",),
        branch("p", to("b1"), to("b2"), "s", 1.0),
        host=(HostOp(Value("p", ScalarType("bool")), "gt", (Ref("s"), lit(1.0))),),
    )
    b.block("b1", None, (), Return(leaf("x")))
    b.block("b2", lambda x: (-x * 1.001,), ("y",), Return(leaf("y")))
    return b.program()


class Flagged(nn.Module):
    """Asks for flags that it has written itself: the 1 that it writes and the 1 that it asks for are one number, without rounding."""

    def forward(self, x):
        flags = torch.zeros_like(x)
        flags[x >= 0.5] = 1.0
        return x * 2 if flags[0] == 1 else x


def test_constants_of_the_program_are_not_what_noise_moves():
    from dync.api import capture

    example = (torch.tensor([0.9, 0.1]),)
    program = capture(Flagged(), example)
    wrong = next(p for where, p in KINDS["changed constant"](program) if ".ge" in where)
    report = verify(Flagged(), Walked(wrong, shown=program), [example], budget=1)
    assert not report.ok and not report.flips, str(report)
    report = verify(Flagged(), Walked(wrong, shown=program), [(torch.tensor([0.5, 0.1]),)], budget=1)
    assert report.flips, "eager's own decision is at its threshold here"


class Warming(nn.Module):
    """Calm on the first call, steep on those that follow, and there off by `error`: the state makes it so."""

    def __init__(self, error=0.0):
        super().__init__()
        self.error = error
        self.register_buffer("gain", torch.ones(()))

    def forward(self, x):
        y = (x * self.gain).sin() + self.error * (self.gain > 1)
        self.gain.add_(1e4)
        return y


def test_the_noise_of_a_call_in_a_row_is_that_from_its_own_state():
    model, given = Warming(), [(NEAR,)]
    theirs = Walked(dync.capture(Warming(1e-3), given[0]), shown=dync.capture(model, given[0]))
    report = verify(model, theirs, given, budget=1)
    assert report.ok and any("by which eager itself moves" in n for n in report.notes), str(report)


def test_noise_leaves_the_state_of_the_program_alone():
    model = Warming()
    program = dync.capture(model, (NEAR,))
    oracle = ProgramSide(program)
    oracle.run(Call((NEAR,)))
    meaning = oracle.run(Call((NEAR,)), fresh=False)
    kept = {n: v.clone() for n, v in oracle.held().items()}
    assert own_noise(oracle, program, Call((NEAR,)), meaning, Tolerances(), 1.0) > 1e4
    assert kept.keys() == oracle.held().keys() and all(torch.equal(v, oracle.held()[n]) for n, v in kept.items())


def test_a_fault_on_a_later_call_of_a_row_is_blamed_on_its_block():
    model, given = Warming(), [(NEAR,)]
    theirs = dync.compile(Warming(3.0), given[0], backend="onnxruntime")
    report = verify(model, theirs, given, budget=1, program=dync.capture(model, given[0]))
    assert not report.ok and "in a row" in report.mismatches[0].origin and "block b0" in report.mismatches[0].first, str(report)
