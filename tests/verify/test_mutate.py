"""Planted faults are found, those that change nothing are known by name, and every kind is planted somewhere."""

import sys
from pathlib import Path

import pytest
import torch
from support.builder import Builder
from support.programs import CASES, Return, branch, leaf, stateful, to
from torch import nn

from dync.verify.mutate import KINDS, Mutant, mutants
from dync.verify.run import verify

sys.path.insert(0, str(Path(__file__).parent))
from stand_in import Walked  # noqa: E402
from test_routes import Counting, counting  # noqa: E402
from test_verify import model_of  # noqa: E402

EQUIVALENT: set[tuple[str, str]] = set()
"""Mutants that no input can tell from the original, with the reason beside each."""


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = 0
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x):
        self.seen.add_(x.sum(0))
        x[0].mul_(2)
        self.mean = self.mean * 0.5 + x.mean(0) * 0.5
        self.count += 1
        return self.mean, self.seen * 1.0, self.count


def case(name):
    return (
        (Stateful(), stateful(), None)
        if name == "stateful"
        else (model_of(name), CASES[name].program(), CASES[name].samples if name == "switch" else None)
    )


@pytest.mark.parametrize("name", [*sorted(CASES), "stateful"])
def test_planted_faults_are_found(name):
    model, program, given = case(name)
    survivors = []
    for mutant in mutants(program, limit=25):
        report = verify(model, Walked(mutant.program, shown=program), given, budget=40, patience=1)
        if report.ok:
            survivors.append((name, str(mutant)))
    assert set(survivors) == {e for e in EQUIVALENT if e[0] == name}


def test_the_faithful_stateful_program_passes_and_its_state_is_carried():
    report = verify(Stateful(), Walked(stateful()), budget=10)
    assert report.ok and report.runs == 6, str(report)


def test_every_kind_is_planted_somewhere():
    planted = {m.kind for name in (*CASES, "stateful") for m in mutants(case(name)[1])}
    assert planted == set(KINDS)


def test_the_choice_is_seeded():
    program = CASES["diamond"].program()
    assert [str(m) for m in mutants(program, 1, 5)] == [str(m) for m in mutants(program, 1, 5)]


def test_none_is_planted_where_it_is_proved_that_no_call_shows_it():
    """In `counting` b2 is never left by false, nor b4 by true: what changes those ways alone is left out."""
    program = counting()
    planted = {str(m) for m in mutants(program)}
    every = [Mutant(kind, where, wrong) for kind, make in KINDS.items() for where, wrong in make(program)]
    left_out = [m for m in every if str(m) not in planted]
    told = {str(m) for m in left_out}
    assert told >= {"constant predicate at b2 True", "constant predicate at b4 False", "shifted predicate at b4.three +1"}
    assert planted >= {"constant predicate at b2 False", "inverted predicate at b4", "swapped branch at b2"}
    for m in left_out:
        report = verify(Counting(), Walked(m.program, shown=program), budget=40, patience=1)
        assert report.ok, str(m)


def test_a_block_that_no_call_comes_to_holds_no_fault():
    b = Builder("dead", {"x": "float32[2]"})
    b.block("b0", lambda x: (x.sum().item() > 0,), ("p",), branch("p", to("b1"), to("b2")))
    b.block("b1", None, (), branch("p", to("b2"), to("b3")))
    b.block("b2", lambda x: (x * 2,), ("y",), Return(leaf("y")))
    b.block("b3", lambda x: (x * 3,), ("z",), Return(leaf("z")))
    blocks = {m.where.split()[0].split(".")[0] for m in mutants(b.program())}
    assert blocks == {"b0", "b1", "b2"}
