"""The arena of the TVM host's compiled function: no tensor that a register holds is written over, whatever way the flow takes."""

from __future__ import annotations

import random

import pytest

from dync.host.tvm.code import COPY, NULL, Call, Give, Goto, Helper, Label, Number, Routine, Run, Unless
from dync.host.tvm.memory import Block, planned

ONE = Block((100,), (("result", 0),))
HELPERS = {h.name: h for h in (Helper("less", "int64"), Helper("copy", "float32", 2))}


def loop(*body):
    return Routine("main", ("x",), (Label("top"), *body, Unless(9, "end"), Goto("top"), Label("end"), Give(0)))


def test_what_a_loop_makes_of_its_own_last_result_has_two_slots():
    made = planned(loop(Run("f", (0,), ((0, 0),))), {"f": ONE}, {})
    assert made.slots((1, 0)) == (0, 128) and made.size == 256


def test_what_nobody_reads_any_more_needs_no_second_slot():
    made = planned(loop(Run("f", (5,), ((0, 0),))), {"f": ONE}, {})
    assert made.slots((1, 0)) == (0,)


def test_each_register_that_may_hold_an_earlier_result_asks_for_a_slot():
    made = planned(loop(Run("f", (0,), ((0, 1),)), Unless(8, "no"), Call(COPY, (1,), 2), Label("no"), Call(COPY, (1,), 0)), {"f": ONE}, {})
    assert made.holders[(1, 0)] == (0, 2) and len(made.slots((1, 0))) == 3


def test_results_that_are_never_held_at_once_share_their_place():
    code = (Run("f", (0,), ((0, 1),)), Run("f", (1,), ((0, 2),)), Call(NULL, (), 1), Run("f", (2,), ((0, 3),)), Give(3))
    made = planned(Routine("main", ("x",), code), {"f": ONE}, {})
    assert made.offsets[(0, 0)] == made.offsets[(3, 0)] != made.offsets[(1, 0)] and made.size == 256


def program(seed):
    """A random routine of calls, copies and jumps, and its blocks."""
    draw = random.Random(seed)
    registers = range(draw.randrange(3, 8))
    kinds = [("result", 0), ("result", 1), ("argument", 0), ("constant", 0)]
    blocks = {f"f{i}": Block(tuple(draw.choice((1, 64, 300)) for _ in range(2)), tuple(draw.choices(kinds, k=2))) for i in range(3)}
    labels = [f"l{i}" for i in range(draw.randrange(1, 6))]
    code = []
    for label in labels:
        code.append(Label(label))
        for _ in range(draw.randrange(1, 6)):
            to = draw.sample(registers, 2)
            args = tuple(draw.choice(registers) for _ in range(2))
            code.append(draw.choice([
                Run(draw.choice(list(blocks)), args, ((0, to[0]), (1, to[1]))),
                Run(draw.choice(list(blocks)), args, ((1, to[0]),)),
                Run("dync_less_int64_0", args, ((0, to[0]),)),
                Run("dync_copy_float32_2", args[:1], ((0, to[0]),)),
                Call(COPY, (draw.choice([*args, Number(1, "int64")]),), to[0]),
                Call(NULL, (), to[0]),
                Unless(0, draw.choice(labels)),
            ]))  # fmt: skip
        code.append(draw.choice([Goto(draw.choice(labels)), Goto(draw.choice(labels)), Give(0)]))
    return Routine("main", (), tuple(code)), blocks, draw


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_no_tensor_that_a_register_holds_is_written_over(first):
    written = 0
    for seed in range(first, first + 50):
        routine, blocks, draw = program(seed)
        memory = planned(routine, blocks, HELPERS)
        places = {one.name: i for i, one in enumerate(routine.code) if isinstance(one, Label)}
        held: dict[int, tuple[int, int]] = {}
        """Register → the bytes of the arena that are its tensor."""
        at = 0
        for _ in range(300):
            match routine.code[at]:
                case Give():
                    break
                case Goto(label):
                    at = places[label]
                    continue
                case Unless(_, label) if draw.random() < 0.5:
                    at = places[label]
                    continue
                case Call(function, args, to):
                    there = held.get(args[0]) if function == COPY and isinstance(args[0], int) else None
                    held.pop(to, None)
                    if there is not None:
                        held[to] = there
                case Run("dync_copy_float32_2", (source,), ((_, to),)):
                    there = held.get(source)
                    held.pop(to, None)
                    if there is not None:
                        held[to] = there
                case Run(block, args, takes):
                    block = blocks.get(block, Block((1,), (("result", 0),)))
                    kept = {r: t for r, t in held.items() if r in args or r not in {to for _, to in takes}}
                    made = []
                    for i, size in enumerate(block.results):
                        free = [o for o in memory.slots((at, i)) if o not in {start for start, _ in kept.values()}]
                        start, end = free[0], free[0] + size
                        assert end <= memory.size and start % 64 == 0
                        assert all(end <= a or b <= start for a, b in (*kept.values(), *made)), (seed, at)
                        made.append((start, end))
                        written += 1
                    new = {to: made[i] if kind == "result" else held.get(args[i]) if kind == "argument" else None
                           for output, to in takes for kind, i in [block.outputs[output]]}  # fmt: skip
                    held = {r: t for r, t in {**held, **new}.items() if t is not None}
            at += 1
    assert written > 500
