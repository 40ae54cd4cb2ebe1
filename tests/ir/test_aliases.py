"""What may share memory across blocks."""

import torch
from support.builder import Builder
from support.programs import diamond, leaf, stateful, to

from dync.ir.aliases import keeps_aliases, memory, overlaps
from dync.ir.flow import Jump, Return, Slot, Write
from dync.ir.interpret import interpret
from dync.ir.types import Ref, TensorType, Value
from dync.passes.base import run_pass
from dync.passes.graph.fold import Fold


def test_views_and_params_carry_memory_across_blocks():
    b = Builder("views", {"x": "float32[2, 3]"})
    b.block("b0", lambda x: (x[0], x[0] * 2, x.exp()), ("v", "n", "e"), Jump(to("b1", "v", "n")))
    b.block(
        "b1",
        lambda p, x, q, e: (p.add_(1) + x[1] + q + e,),
        ("r",),
        Return(leaf("r")),
        {"p": "float32[3]", "q": "float32[3]"},
        mutates=("p",),
    )
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
    b.block(
        "b0",
        lambda x, cache, start: (cache.mul_(2) + x, start + x),
        ("r", "s"),
        Return(leaf("r"), (Write("cache", leaf("s")),)),
        mutates=("cache",),
    )
    program = b.program()
    assert memory(program)["cache"] == {"cache", "@start", "b0.add_1"}
    assert overlaps(program.blocks[0], memory(program)) == (("cache", "start"),)


def test_separate_memory_overlaps_nothing():
    program = stateful()
    assert overlaps(program.blocks[0], memory(program)) == ()
    assert Ref("x").name in memory(program)["x"]


def buffer_view():
    """A view of a buffer, made in one block, is written in another."""
    b = Builder("buffer_view", {"x": "float32[4]"}, {"buffer": torch.zeros(3, 4)})
    b.block("b0", lambda buffer, x: (buffer[1], x.exp()), ("row", "e"), Jump(to("b1")))
    b.block("b1", lambda row, e: (row.add_(1) + e,), ("r",), Jump(to("b2")), mutates=("row",))
    b.block("b2", lambda buffer, x: (buffer.sum() + x,), ("s",), Return(leaf("s")))
    return b.program()


def test_a_weight_written_through_a_view_of_another_block_is_written():
    program = buffer_view()
    assert program.written_weights == ("buffer",) and keeps_aliases(program) == {"b0"}
    state = {}
    for count in (1, 2):
        result, _ = interpret(program, (torch.zeros(4),), state=state)
        assert torch.equal(result, torch.full((4,), 4.0 * count))
    assert torch.equal(program.weights["buffer"], torch.zeros(3, 4))
    assert run_pass(Fold(), program).program.weights.keys() == {"buffer"}


def test_a_slot_that_begins_as_a_weight_leaves_the_weight_as_it_was():
    slot = Slot("ema", Value("ema", TensorType("float32", (3,))), leaf("start"))
    b = Builder("ema", {"x": "float32[3]"}, {"start": torch.zeros(3)}, slots=(slot,))
    b.block("b0", lambda x, ema: (ema.add_(x) * 1,), ("r",), Return(leaf("r")), mutates=("ema",))
    program, state = b.program(), {}
    assert [interpret(program, (torch.ones(3),), state=state)[0][0].item() for _ in "12"] == [1.0, 2.0]
    assert torch.equal(program.weights["start"], torch.zeros(3))


def test_results_that_share_what_is_written_later_must_stay_views():
    def build(write, first):
        b = Builder("pair", {"x": "float32[2, 3]"})
        b.block("b0", first, ("y", "v"), Jump(to("b1")))
        b.block("b1", write, ("r",), Return(leaf("r")), mutates=("y",) if write.__code__.co_name == "writes" else ())
        return keeps_aliases(b.program())

    def writes(y, v):
        y.add_(1)
        return (v + 1,)

    def reads(y, v):
        return (v + y,)

    shared, apart = lambda x: ((y := x * 2), y[0:1]), lambda x: (x * 2, x[0:1] * 2)
    assert build(writes, shared) == {"b0"} and build(writes, apart) == build(reads, shared) == frozenset()
