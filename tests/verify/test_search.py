"""Inputs that drive decisions the other way are found, by gradient and by mutation, and impossible paths are named."""

import pytest
import torch
from support.builder import Builder
from support.programs import CASES, HostOp, Ref, Return, ScalarType, Value, branch, leaf, lit, to

from dync.ir.interpret import interpret, run
from dync.verify.calls import Call
from dync.verify.evolve import evolve
from dync.verify.inputs import Sampler
from dync.verify.paths import paths, steps
from dync.verify.search import descend


@pytest.mark.parametrize("name", ["early_exit", "diamond", "raising", "hits"])
def test_gradient_takes_every_path_from_any_start(name):
    case = CASES[name]
    program = case.program()
    for path in paths(program.flow, 10)[0]:
        for args in case.samples:
            found = descend(program, path, Call(args), 200)
            assert found.call is not None, (path, found)
            done = run(program, found.call.args, params=found.call.params)
            assert steps(program.flow, done.trace) == path


def test_gradient_unrolls_a_loop_to_two_rounds():
    program = CASES["rolled_loop"].program()
    for path in paths(program.flow, 10)[0]:
        found = descend(program, path, Call((torch.full((3,), 0.9),)), 200)
        assert found.call is not None and steps(program.flow, interpret(program, found.call.args)[1]) == path


def test_mutation_finds_integer_cases():
    program = CASES["switch"].program()
    sampler = Sampler(program.signature, 0)
    for path in paths(program.flow, 10)[0]:
        found = evolve(
            program.flow, lambda c: interpret(program, c.args)[1], path, [Call((torch.ones(2, 3), torch.tensor(0)))], _ranged(sampler), 200
        )
        assert found.call is not None and steps(program.flow, interpret(program, found.call.args)[1]) == path


def _ranged(sampler):
    sampler.ranges["k"] = (0, 2)
    return sampler


def twice() -> object:
    b = Builder("twice", {"x": "float32[2]"})
    b.block(
        "b0",
        lambda x: (x.sum().item(),),
        ("s",),
        branch("p", to("b1"), to("b2"), "s", 0),
        host=(HostOp(Value("p", ScalarType("bool")), "gt", (Ref("s"), lit(0))),),
    )
    b.block("b1", None, (), branch("p", to("b3"), to("b2"), "s", 0))
    b.block("b2", None, (), Return(leaf(2)))
    b.block("b3", None, (), Return(leaf(3)))
    return b.program()


def test_a_path_that_answers_one_question_in_two_ways_is_impossible():
    program = twice()
    found = descend(program, (("b0", "true"), ("b1", "false"), ("b2", "")), Call((torch.ones(2),)), 10)
    assert found.call is None and "already decided" in found.impossible


def test_a_decision_on_weights_alone_is_impossible():
    b = Builder("fixed", {"x": "float32[2]"}, {"w": torch.ones(2)})
    b.block("b0", lambda w: ((w.sum() > 0).item(),), ("p",), branch("p", to("b1"), to("b2")))
    b.block("b1", None, (), Return(leaf("x")))
    b.block("b2", None, (), Return(leaf(None)))
    found = descend(b.program(), (("b0", "false"), ("b2", "")), Call((torch.ones(2),)), 10)
    assert "always True" in found.impossible


def test_a_threshold_is_moved_where_inputs_cannot():
    case = CASES["early_exit"]
    program = case.program()
    start = Call((torch.zeros(2, 4),), params={"threshold": 0.5})
    found = descend(program, (("b0", "true"), ("b1", "")), start, 200)
    assert found.call is not None and found.call.params["threshold"] < 0
