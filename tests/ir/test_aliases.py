"""What may share memory across blocks."""

import torch
from support.builder import Builder
from support.programs import diamond, leaf, stateful, to

from dync.ir.aliases import memory, overlaps
from dync.ir.flow import Jump, Return, Slot, Write
from dync.ir.types import Ref, TensorType, Value


def test_views_and_params_carry_memory_across_blocks():
    b = Builder("views", {"x": "float32[2, 3]"})
    b.block("b0", lambda x: (x[0], x[0] * 2, x.exp()), ("v", "n", "e"), Jump(to("b1", "v", "n")))
    b.block("b1", lambda p, x, q, e: (p.add_(1) + x[1] + q + e,), ("r",), Return(leaf("r")), {"p": "float32[3]", "q": "float32[3]"}, mutates=("p",))
    program = b.program()
    found = memory(program)
    assert found["v"] == found["p"] == found["x"] == {"x"} and not found["q"] & found["x"] and len({*found["q"], *found["e"]}) == 2
    assert overlaps(program.block("b1"), found) == (("p", "x"),)


def test_a_loop_carries_what_any_of_its_edges_bring():
    b = Builder("loop", {"x": "float32[3]"})
    b.block("b0", None, (), Jump(to("b1", "x")))
    b.block("b1", lambda y: (y + 1,), ("z",), Jump(to("b1", "z")), {"y": "float32[3]"})
    found = memory(b.program())
    assert found["y"] == found["x"] | found["z"] and found["z"] == {"b1.add"}


def test_joins_take_both_sides():
    found = memory(diamond())
    assert found["y"] == found["y1"] | found["y2"] and not found["z"] & found["y"]


def test_a_slot_is_what_it_began_as_and_what_calls_left_in_it():
    slot = Slot("cache", Value("cache", TensorType("float32", (3,))), leaf("start"))
    b = Builder("slots", {"x": "float32[3]"}, {"start": torch.zeros(3)}, slots=(slot,))
    b.block("b0", lambda x, cache, start: (cache.mul_(2) + x, start + x), ("r", "s"), Return(leaf("r"), (Write("cache", leaf("s")),)), mutates=("cache",))
    program = b.program()
    assert memory(program)["cache"] == {"cache", "@start", "b0.add_1"}
    assert overlaps(program.blocks[0], memory(program)) == (("cache", "start"),)


def test_separate_memory_overlaps_nothing():
    program = stateful()
    assert overlaps(program.blocks[0], memory(program)) == ()
    assert Ref("x").name in memory(program)["x"]
