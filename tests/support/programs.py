"""Small Programs for tests, each with the eager function that it stands for and sample arguments that cover its paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from support.builder import Builder, asks

from dync.ir.flow import (
    Branch,
    DictTree,
    DimRange,
    Edge,
    HostOp,
    Jump,
    Leaf,
    ListTree,
    Raise,
    Return,
    RunParam,
    Slot,
    Switch,
    TupleTree,
    Write,
)
from dync.ir.program import Program
from dync.ir.types import Ref, ScalarType, TensorType, Value, lit


class Case(NamedTuple):
    """eager(*args) gives what the program must return on `args`."""

    program: Callable[[], Program]
    eager: Callable[..., Any]
    samples: tuple[tuple[Any, ...], ...]


def weight(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


W1, W2, SCALE = weight(4, 4), weight(4, 3, seed=1), weight(4, seed=2)


def leaf(value: Any) -> Leaf:
    return Leaf(Ref(value)) if isinstance(value, str) else Leaf(lit(value))


def to(block: str, *names: str) -> Edge:
    return Edge(block, tuple(map(Ref, names)))


def branch(predicate: str, then: Edge, orelse: Edge, left: Any = None, right: Any = None) -> Branch:
    return Branch(Ref(predicate), then, orelse, asks(predicate, left, right))


def early_exit() -> Program:
    """Two returns of different structure, on a threshold that is a run-time parameter."""
    threshold = RunParam("threshold", Value("threshold", ScalarType("float")), 0.0, -10.0, 10.0)
    b = Builder("early_exit", {"x": "float32[2, 4]"}, {"first.weight": W1, "last.weight": W2}, params=(threshold,))

    def stem(x, first__weight):
        h = torch.relu(x @ first__weight)
        return h, (h.max() - h.mean() * 3).item()

    def head(h, last__weight):
        return (torch.softmax(h @ last__weight, -1),)

    ask = HostOp(Value("confident", ScalarType("bool")), "gt", (Ref("score"), Ref("threshold")))
    b.block("b0", stem, ("h", "score"), branch("confident", to("b1"), to("b2"), "score", "threshold"), host=(ask,))
    b.block("b1", None, (), Return(leaf("h")))
    b.block("b2", head, ("y",), Return(DictTree((lit("logits"), lit("exits")), (leaf("y"), TupleTree((leaf("h"), leaf(2)))))))
    return b.program()


def early_exit_eager(x):
    h = torch.relu(x @ W1)
    if (h.max() - h.mean() * 3).item() > 0.0:
        return h
    return {"logits": torch.softmax(h @ W2, -1), "exits": (h, 2)}


def diamond() -> Program:
    """A join with a tensor and a float parameter; the dimension N is dynamic."""
    b = Builder("diamond", {"x": "float32[N, 4]"}, {"scale": SCALE}, dims=(DimRange("N", 1, 64),))
    b.block("b0", lambda x: (x.sum().item() > 0,), ("p",), branch("p", to("b1"), to("b2")))
    b.block("b1", lambda x, scale: (x * scale, x.mean().item()), ("y1", "m1"), Jump(to("b3", "y1", "m1")))
    b.block("b2", lambda x: (-x,), ("y2",), Jump(Edge("b3", (Ref("y2"), lit(3.0)))))
    b.block("b3", lambda x, y, m: (x + y * m,), ("z",), Return(TupleTree((leaf("z"), leaf("m")))), {"y": "float32[N, 4]", "m": "float"})
    return b.program()


def diamond_eager(x):
    y, m = (x * SCALE, x.mean().item()) if x.sum() > 0 else (-x, 3.0)
    return x + y * m, m


def rolled_loop() -> Program:
    """while x.norm() > 1 and i < 20: x = x / 2; i += 1, rolled, with a counter kept by the host."""
    b = Builder("rolled_loop", {"x": "float32[3]"})
    b.block("entry", None, (), Jump(Edge("head", (Ref("x"), lit(0)))))
    small = HostOp(Value("small", ScalarType("bool")), "lt", (Ref("i"), lit(20)))
    go = HostOp(Value("go", ScalarType("bool")), "and_", (Ref("big"), Ref("small")))
    b.block(
        "head",
        lambda y: (y.norm().item() > 1,),
        ("big",),
        branch("go", to("body"), to("done")),
        {"y": "float32[3]", "i": "int"},
        host=(small, go),
    )
    step = HostOp(Value("j", ScalarType("int")), "add", (Ref("i"), lit(1)))
    b.block("body", lambda y: (y / 2,), ("half",), Jump(to("head", "half", "j")), host=(step,))
    b.block("done", None, (), Return(ListTree((leaf("y"), leaf("i")))))
    return b.program()


def rolled_loop_eager(x):
    i = 0
    while x.norm() > 1 and i < 20:
        x, i = x / 2, i + 1
    return [x, i]


def switch() -> Program:
    """Three experts by index; any other index is an IndexError."""
    b = Builder("switch", {"x": "float32[2, 3]", "k": "int64[]"})
    b.block(
        "b0",
        lambda k: (k.item(),),
        ("which",),
        Switch(Ref("which"), ((0, to("b1")), (1, to("b2")), (2, to("b3", "x"))), asks("experts[k]")),
    )
    b.block("b1", lambda x: (x + 1,), ("e1",), Jump(to("b3", "e1")))
    b.block("b2", lambda x: (x.exp(),), ("e2",), Jump(to("b3", "e2")))
    b.block("b3", lambda e: (e.sum(0),), ("s",), Return(leaf("s")), {"e": "float32[2, 3]"})
    return b.program()


def switch_eager(x, k):
    return [lambda: x + 1, lambda: x.exp(), lambda: x][int(k)]().sum(0)


def raising() -> Program:
    """Raises ValueError("negative", sum) where x sums to less than zero."""
    b = Builder("raising", {"x": "float32[2]"})
    b.block(
        "b0",
        lambda x: (x.sum().item(),),
        ("s",),
        branch("bad", to("b1"), to("b2"), "s", 0),
        host=(HostOp(Value("bad", ScalarType("bool")), "lt", (Ref("s"), lit(0))),),
    )
    b.block("b1", None, (), Raise("builtins:ValueError", (Leaf(lit("negative")), leaf("s"))))
    b.block("b2", lambda x: (x.sqrt(),), ("r",), Return(leaf("r")))
    return b.program()


def raising_eager(x):
    s = x.sum().item()
    if s < 0:
        raise ValueError("negative", s)
    return x.sqrt()


def stateful() -> Program:
    """A counter and a running mean kept from call to call (slots), a buffer and an input written in place."""
    count = Slot("count", Value("count", ScalarType("int")), leaf(0))
    mean = Slot("mean", Value("mean", TensorType("float32", (3,))), leaf("mean0"))
    b = Builder("stateful", {"x": "float32[2, 3]"}, {"mean0": torch.zeros(3), "seen": torch.zeros(3)}, slots=(count, mean))

    def update(x, mean, seen):
        seen.add_(x.sum(0))
        x[0].mul_(2)
        return mean * 0.5 + x.mean(0) * 0.5, seen * 1.0

    more = HostOp(Value("more", ScalarType("int")), "add", (Ref("count"), lit(1)))
    b.block(
        "b0",
        update,
        ("after", "total"),
        Return(TupleTree((leaf("after"), leaf("total"), leaf("more"))), (Write("count", leaf("more")), Write("mean", leaf("after")))),
        host=(more,),
        mutates=("x", "seen"),
    )
    return b.program()


def hits() -> Program:
    """A size that depends on the data: rows picked by nonzero, N dynamic, and a branch on their number."""
    b = Builder("hits", {"x": "float32[N, 4]"}, {"w": W2}, dims=(DimRange("N", 1, 64),))

    def pick(x):
        rows = (x[:, 0] > 0).nonzero().squeeze(1)
        return rows, rows.shape[0]

    b.block(
        "b0",
        pick,
        ("rows", "n"),
        branch("some", to("b1"), to("b2")),
        host=(HostOp(Value("some", ScalarType("bool")), "gt", (Ref("n"), lit(0))),),
    )
    b.block("b1", lambda x, rows, w: (x[rows] @ w,), ("y",), Return(TupleTree((leaf("y"), leaf("n")))))
    b.block("b2", None, (), Return(leaf(None)))
    return b.program()


def hits_eager(x):
    rows = (x[:, 0] > 0).nonzero().squeeze(1)
    return (x[rows] @ W2, rows.shape[0]) if rows.shape[0] else None


CASES: dict[str, Case] = {
    "early_exit": Case(
        early_exit,
        early_exit_eager,
        ((torch.ones(2, 4),), (torch.full((2, 4), -1.0),), (weight(2, 4, seed=5) * 9,), (weight(2, 4, seed=6),)),
    ),
    "diamond": Case(diamond, diamond_eager, ((torch.ones(2, 4),), (-torch.ones(3, 4),))),
    "rolled_loop": Case(rolled_loop, rolled_loop_eager, ((torch.ones(3) * 9,), (torch.zeros(3),), (torch.full((3,), float("inf")),))),
    "switch": Case(switch, switch_eager, tuple((torch.ones(2, 3) * (k + 1), torch.tensor(k)) for k in range(3))),
    "raising": Case(raising, raising_eager, ((torch.ones(2),), (-torch.ones(2),))),
    "hits": Case(hits, hits_eager, ((torch.ones(3, 4),), (-torch.ones(3, 4),), (weight(6, 4),))),
}
