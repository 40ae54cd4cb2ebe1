"""interpret(program) is eager, on every path of every hand-built program."""

import copy

import pytest
import torch
from support.builder import Builder
from support.programs import CASES, early_exit, leaf, raising, rolled_loop, stateful, switch, to

from dync.errors import GuardError
from dync.ir.flow import HostOp, Jump, Return
from dync.ir.interpret import StepLimitError, interpret, run
from dync.ir.types import Ref, ScalarType, Value, lit


def outcome(call, args):
    try:
        return call(copy.deepcopy(args))
    except ValueError as error:
        return type(error), error.args


def same(a, b):
    """Equal structure, types and bits."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("name", CASES)
def test_equals_eager_bit_for_bit(name):
    program, paths = CASES[name].program(), set()
    for args in CASES[name].samples:
        assert same(outcome(lambda a: interpret(program, a)[0], args), outcome(lambda a: CASES[name].eager(*a), args))
        paths.add(run(program, args).trace.path)
    assert len(paths) >= 2


def test_the_trace_says_path_value_and_margin():
    _, trace = interpret(early_exit(), CASES["early_exit"].samples[2])
    (decision,) = trace.decisions
    assert trace.path == ("b0", "b2") and (decision.block, decision.value) == ("b0", False)
    assert decision.margin == abs(early_exit_score(*CASES["early_exit"].samples[2]))


def early_exit_score(x):
    h = torch.relu(x @ CASES["early_exit"].program().weights["first.weight"])
    return (h.max() - h.mean() * 3).item()


def test_run_parameters_move_the_decision():
    args = CASES["early_exit"].samples[2]
    assert interpret(early_exit(), args, params={"threshold": -9.0})[1].path == ("b0", "b1")
    with pytest.raises(GuardError, match="no run-time parameter 'treshold'; there are: threshold"):
        interpret(early_exit(), args, params={"treshold": 1.0})


def test_a_loop_repeats_its_blocks_in_the_path():
    assert interpret(rolled_loop(), (torch.tensor([3.0, 0, 0]),))[1].path == ("entry", "head", "body", "head", "body", "head", "done")


def test_an_index_without_case_is_an_index_error():
    with pytest.raises(IndexError, match=r"experts\[k\]: index 7 out of range"):
        interpret(switch(), (torch.ones(2, 3), torch.tensor(7)))


def test_a_raise_keeps_class_arguments_and_trace():
    end = run(raising(), (torch.tensor([-1.0, -2.0]),))
    assert type(end.error) is ValueError and end.error.args == ("negative", -3.0) and end.trace.path == ("b0", "b1")


def test_state_lives_in_the_mapping_and_the_program_stays_as_it_was():
    program, state, x = stateful(), {}, torch.ones(2, 3)
    interpret(program, (x,), state=state)
    assert torch.equal(x, torch.tensor([[2.0] * 3, [1.0] * 3]))
    (_, total, count), _ = interpret(program, (x,), state=state)
    assert count == 2 == state["count"] and torch.equal(state["seen"], total) and torch.equal(total, torch.full((3,), 5.0))
    assert torch.equal(program.weights["seen"], torch.zeros(3))
    assert interpret(program, (x,))[0][2] == 1


def test_an_endless_loop_stops_at_the_limit():
    b = Builder("endless", {"x": "float32[2]"})
    b.block("b0", None, (), Jump(to("b1")))
    b.block("b1", None, (), Jump(to("b1")))
    with pytest.raises(StepLimitError, match="endless: stopped after 50 blocks, last b1"):
        interpret(b.program(), (torch.ones(2),), limit=50)


def test_host_errors_are_pythons_own():
    b = Builder("divide", {"k": "int64[]"})
    op = HostOp(Value("q", ScalarType("float")), "truediv", (lit(1), Ref("n")))
    b.block("b0", lambda k: (k.item(),), ("n",), Return(leaf("q")), host=(op,))
    assert interpret(b.program(), (torch.tensor(4),))[0] == 0.25
    with pytest.raises(ZeroDivisionError):
        interpret(b.program(), (torch.tensor(0),))


def test_another_call_is_a_guard_error():
    with pytest.raises(GuardError, match="argument 'x' is missing"):
        interpret(early_exit(), ())
