"""Deep networks: neither Python's indentation, its nesting of loops nor its recursion is a limit."""

from __future__ import annotations

import sys
import time

import pytest
from host.random_flows import TENSOR
from host.test_python_fuzz import compare

from dync.host.python import generate
from dync.ir.flow import Branch, Decision, DictTree, Edge, Exit, Flow, FlowBlock, Input, Jump, Leaf, Return, Signature, TupleTree
from dync.ir.types import Ref, ScalarType, Span, Value


def flow(blocks: list[tuple[str, int, Exit]], params: dict[str, str] | None = None) -> Flow:
    """Blocks by name, each reading x and giving v{name} and a bool p{name}; `params` gives blocks a tensor parameter."""
    made = []
    for name, line, exit in blocks:
        own = (Value((params or {})[name], TENSOR),) if name in (params or {}) else ()
        made.append(
            FlowBlock(
                name,
                own,
                ("x", *(v.name for v in own)),
                (Value(f"v{name}", TENSOR), Value(f"p{name}", ScalarType("bool"))),
                (),
                exit,
                span=Span("model.py", line),
            )
        )
    signature = Signature(("x",), TupleTree((Leaf(Ref("x")),)), DictTree((), ()), (Input(Value("x", TENSOR), "x"),))
    return Flow("deep", signature, tuple(made))


def ask(name: str, then: Edge, orelse: Edge) -> Branch:
    return Branch(Ref(f"p{name}"), then, orelse, Decision(f"p of {name}", Span("model.py", 9)))


def gates(count: int) -> Flow:
    blocks, params = [], {}
    for i in range(count):
        blocks.append((f"g{i}", i, ask(f"g{i}", Edge(f"t{i}"), Edge(f"g{i + 1}", (Ref(f"vg{i}"),)))))
        blocks.append((f"t{i}", i, Jump(Edge(f"g{i + 1}", (Ref(f"vt{i}"),)))))
        params[f"g{i + 1}"] = f"j{i + 1}"
    return flow([*blocks, (f"g{count}", count, Return(Leaf(Ref(f"j{count}"))))], params)


def exits(count: int) -> Flow:
    blocks = []
    for i in range(count):
        blocks += [(f"b{i}", i, ask(f"b{i}", Edge(f"e{i}"), Edge(f"b{i + 1}"))), (f"e{i}", i, Return(Leaf(Ref(f"ve{i}"))))]
    return flow([*blocks, (f"b{count}", 0, Return(Leaf(Ref(f"vb{count}"))))])


def exits_to_one_return(count: int) -> Flow:
    blocks = []
    for i in range(count):
        blocks += [(f"b{i}", i, ask(f"b{i}", Edge(f"e{i}"), Edge(f"b{i + 1}"))), (f"e{i}", i, Jump(Edge("end", (Ref(f"ve{i}"),))))]
    return flow([*blocks, (f"b{count}", 0, Jump(Edge("end", (Ref(f"vb{count}"),)))), ("end", 0, Return(Leaf(Ref("r"))))], {"end": "r"})


def nested_ifs(count: int) -> Flow:
    """if a: if b: if c: ...; every else goes to one join."""
    blocks = [(f"b{i}", i, ask(f"b{i}", Edge(f"b{i + 1}"), Edge(f"j{i}", (Ref("x"),)))) for i in range(count)]
    blocks.append((f"b{count}", 0, Jump(Edge(f"j{count - 1}", (Ref(f"vb{count}"),)))))
    joins = [(f"j{i}", i, Jump(Edge(f"j{i - 1}", (Ref(f"vj{i}"),))) if i else Return(Leaf(Ref("vj0")))) for i in reversed(range(count))]
    return flow(blocks + joins, {f"j{i}": f"y{i}" for i in range(count)})


def loops_in_a_row(count: int) -> Flow:
    blocks = []
    for i in range(count):
        blocks += [(f"h{i}", i, ask(f"h{i}", Edge(f"b{i}"), Edge(f"h{i + 1}"))), (f"b{i}", i, Jump(Edge(f"h{i}")))]
    return flow([("start", 0, Jump(Edge("h0"))), *blocks, (f"h{count}", 0, Return(Leaf(Ref(f"vh{count}"))))])


def nested_loops(count: int) -> Flow:
    blocks = [(f"h{i}", i, ask(f"h{i}", Edge(f"h{i + 1}"), Edge(f"x{i}"))) for i in range(count)]
    blocks.append((f"h{count}", 0, Jump(Edge(f"h{count - 1}"))))
    outs = [(f"x{i}", i, Jump(Edge(f"h{i - 1}")) if i else Return(Leaf(Ref("vx0")))) for i in reversed(range(count))]
    return flow([("start", 0, Jump(Edge("h0"))), *blocks, *outs])


def both(count: int) -> Flow:
    """if a and b: X else: Y, again and again."""
    blocks = []
    for i in range(count):
        blocks += [
            (f"a{i}", i, ask(f"a{i}", Edge(f"b{i}"), Edge(f"y{i}"))),
            (f"b{i}", i, ask(f"b{i}", Edge(f"x{i}"), Edge(f"y{i}"))),
            (f"x{i}", i, Jump(Edge(f"a{i + 1}"))),
            (f"y{i}", i, Jump(Edge(f"a{i + 1}"))),
        ]
    return flow([*blocks, (f"a{count}", 0, Return(Leaf(Ref(f"va{count}"))))])


def depth(source: str) -> int:
    return max((len(line) - len(line.lstrip())) // 4 for line in source.splitlines())


@pytest.mark.parametrize(
    ("make", "count", "structured"),
    [
        (gates, 1000, True),
        (exits, 500, True),
        (exits_to_one_return, 500, True),
        (nested_ifs, 12, True),
        (nested_ifs, 300, False),
        (loops_in_a_row, 100, True),
        (nested_loops, 8, True),
        (nested_loops, 40, False),
        (both, 200, True),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_deep_networks_run_within_pythons_limits(make, count, structured) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    try:
        made = make(count)
        start = time.perf_counter()
        module = generate(made)
        assert time.perf_counter() - start < 5
    finally:
        sys.setrecursionlimit(limit)
    assert depth(module.source) <= 32
    assert ("pc = 0" not in module.source) is structured, module.source
    compare(made, count, runs=2)


def test_gates_stay_at_one_level() -> None:
    source = generate(gates(3)).source
    assert depth(source) == 2
    assert "while" not in source


def test_exits_stay_at_one_level() -> None:
    assert depth(generate(exits(20)).source) == 2
    assert depth(generate(exits_to_one_return(20)).source) == 3


def test_text_of_a_conjunction() -> None:
    assert (
        generate(both(1)).source.split("\n\n\n")[1]
        == """\
def run(x, give):
    skip_y0 = False
    va0, pa0 = a0(x)
    del va0
    if pa0:  # model.py:9: p of a0
        vb0, pb0 = b0(x)
        del vb0
        if pb0:  # model.py:9: p of b0
            vx0, px0 = x0(x)
            del vx0
            skip_y0 = True
    if not skip_y0:
        vy0, py0 = y0(x)
        del vy0
    va1, pa1 = a1(x)
    return give(va1)
"""
    )


def test_lines_lead_to_the_users_source() -> None:
    module = generate(exits(2))
    text = module.source.splitlines()
    where = {text[number - 1].strip(): str(span) for number, span in module.lines.items()}
    assert where["vb1, pb1 = b1(x)"] == "model.py:1:1"
    assert where["if pb0:  # model.py:9: p of b0"] == "model.py:9:1"
