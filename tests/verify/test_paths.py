"""What there is to cover in a flow, and what a run covered of it."""

import torch
from support.programs import CASES, diamond, early_exit, rolled_loop, switch

from dync.ir.interpret import interpret
from dync.verify.paths import back_edges, describe, loop_counts, outcomes, paths, route, shorten, steps


def test_each_decision_has_both_outcomes_and_each_switch_all_cases():
    assert [(o.block, o.label, o.target) for o in outcomes(early_exit().flow)] == [("b0", "true", "b1"), ("b0", "false", "b2")]
    assert [o.label for o in outcomes(switch().flow)] == ["case 0", "case 1", "case 2"]


def test_paths_are_all_named_and_bounded():
    found, complete = paths(diamond().flow, 10)
    assert complete and [describe(p) for p in found] == ["b0 true", "b0 false"]
    assert paths(diamond().flow, 1) == (found[:1], False)


def test_a_loop_has_paths_with_zero_one_and_two_rounds():
    flow = rolled_loop().flow
    found, complete = paths(flow, 10)
    assert complete and sorted(sum(name == "body" for name, _ in p) for p in found) == [0, 1, 2]
    assert back_edges(flow) == {("body", "head")}


def test_long_runs_are_shortened_to_an_enumerated_path():
    program = rolled_loop()
    known, _ = paths(program.flow, 10)
    backs = back_edges(program.flow)
    for scale, amount, rounds in ((0.1, "zero", 0), (0.8, "one", 1), (1.5, "many", 2), (1000.0, "many", 2)):
        path = steps(program.flow, interpret(program, (torch.ones(3) * scale,))[1])
        assert shorten(backs, path) in known and [n for n, _ in shorten(backs, path)].count("body") == rounds
        assert loop_counts(backs, path) == (("head", amount),)


def test_runs_of_every_sample_follow_enumerated_paths():
    for case in CASES.values():
        program = case.program()
        known, _ = paths(program.flow, 50)
        for args in case.samples:
            try:
                _, trace = interpret(program, args)
            except ValueError:
                continue
            assert shorten(back_edges(program.flow), steps(program.flow, trace)) in known


def test_route_goes_to_the_outcome():
    assert route(rolled_loop().flow, "head", "false") == (("entry", ""), ("head", "false"))
    assert route(diamond().flow, "nowhere", "true") == ()
