"""Bisection comes close to a threshold from both sides."""

import torch
from support.programs import CASES

from dync.ir.interpret import interpret
from dync.verify.boundary import between, close
from dync.verify.calls import Call


def test_two_calls_end_up_beside_the_threshold():
    program = CASES["early_exit"].program()

    def run(call):
        return interpret(program, call.args, params=call.params)[1]

    a, b = (Call((torch.ones(2, 4) * s,), params={"threshold": 0.0}) for s in (1.0, -1.0))
    b = Call(b.args, params={"threshold": 9.0})
    low, high = close(program.flow, run, "b0", a, b)
    assert run(low).decisions[0].value != run(high).decisions[0].value
    assert run(low).decisions[0].margin < 0.01 and run(high).decisions[0].margin < 0.01


def test_calls_of_other_sizes_are_not_mixed():
    signature = CASES["diamond"].program().signature
    assert between(signature, Call((torch.ones(2, 4),)), Call((torch.ones(3, 4),)), 0.5) is None
    assert torch.equal(between(signature, Call((torch.ones(2, 4),)), Call((torch.zeros(2, 4),)), 0.25).args[0], torch.full((2, 4), 0.75))
