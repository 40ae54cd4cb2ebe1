"""The caller's own containers: which object holds what after a call, as in eager."""

import copy

import pytest
import torch
from torch import nn

import dync
from dync.capture import capture
from dync.ir.interpret import interpret


class Memory:
    def __init__(self):
        self.rows, self.count, self.first = [], 0, None

    def add(self, x):
        self.first = x if self.first is None else self.first
        self.rows.append(x)
        self.count += 1


class Writes(nn.Module):
    def forward(self, x, memory, notes):
        memory.add(x * 2)
        if x.sum() > 0:
            notes["inner"]["seen"] = notes["inner"]["seen"] + x
            return {"memory": memory, "inner": notes["inner"], "notes": notes, "other": notes["other"], "pair": (memory, [memory.rows])}
        notes["inner"]["seen"] = x
        memory.rows.pop(0)
        return [memory]


def arguments(sign):
    memory = Memory()
    memory.add(torch.ones(2))
    return sign * torch.ones(2), memory, {"inner": {"seen": torch.zeros(2)}, "other": [torch.ones(1)]}


def assert_same_objects(args, result):
    """What eager guarantees of Writes, whoever ran it."""
    x, memory, notes = args
    if x.sum() > 0:
        assert result["memory"] is memory and result["inner"] is notes["inner"] and result["notes"] is notes
        assert result["pair"][0] is memory and result["pair"][1][0] is memory.rows
        assert [r.tolist() for r in memory.rows] == [[1, 1], [2, 2]] and notes["inner"]["seen"].tolist() == [1, 1]
    else:
        assert result[0] is memory and [r.tolist() for r in memory.rows] == [[-2, -2]] and notes["inner"]["seen"].tolist() == [-1, -1]
    assert memory.count == 2 and memory.first.tolist() == [1, 1]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_same_objects_hold_the_same(sign):
    model = Writes()
    eager = arguments(sign)
    assert_same_objects(eager, model(*eager))
    program = capture(model, arguments(1))
    given = arguments(sign)
    memory, rows, inner, other = given[1], given[1].rows, given[2]["inner"], given[2]["other"]
    assert_same_objects(given, interpret(program, given)[0])
    assert given[1] is memory and memory.rows is rows and given[2]["inner"] is inner and given[2]["other"] is other
    compiled = dync.compile(program, arguments(1), backend="eager", host="python")
    for call in (compiled, lambda *a: compiled.traced(*a)[0]):
        given = arguments(sign)
        assert_same_objects(given, call(*given))


def test_what_a_call_did_not_write_is_left_alone():
    class Reads(nn.Module):
        def forward(self, x, given):
            return x + given[0]["a"] if x.sum() > 0 else x

    program = capture(Reads(), (torch.ones(2), [{"a": torch.ones(2)}]))
    assert program.signature.written == ()


def test_one_container_given_twice():
    def twice(x, a, b):
        a.append(x)
        return x + len(b)

    compiled = dync.compile(twice, (torch.ones(2), [], []), backend="eager")
    same = []
    with pytest.raises(dync.GuardError, match="'b' is the same list as 'a', which is written"):
        compiled(torch.ones(2), same, same)
    assert same == []


def test_kept_in_the_model_too():
    class Keeps(nn.Module):
        def forward(self, x, cache):
            cache.append(x)
            self.cache = cache
            return self.cache[0] + x

    with pytest.raises(dync.CaptureError, match="DY405"):
        capture(Keeps(), (torch.ones(2), []))


def test_verification_sees_a_part_that_is_wrong():
    """Every leaf of the caller's containers is compared."""
    from dync.verify.calls import Call, CompiledSide, EagerSide, differences
    from dync.verify.compare import Tolerances

    model = Writes()
    compiled = dync.compile(capture(model, arguments(1)), arguments(1), backend="eager", host="python")
    x, memory, notes = arguments(1)
    wanted = EagerSide(model).run(Call((x, memory, notes), {}))
    other = copy.deepcopy((x, memory, notes))
    other[1].rows[0] += 1
    right, wrong = (CompiledSide(compiled).run(Call(a, {})) for a in ((x, memory, notes), other))
    assert differences(wanted, right, Tolerances(0, 0)).same
    assert not differences(wanted, wrong, Tolerances(0, 0)).same
