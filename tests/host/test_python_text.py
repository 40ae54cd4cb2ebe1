"""What the Python host prints: expressions, names, structures, golden modules; and flows that it refuses."""

from __future__ import annotations

import math
import random

import pytest
from host.random_flows import random_flow
from host.test_python_fuzz import compare
from msgspec.structs import replace
from support.programs import CASES, early_exit, rolled_loop, stateful

import dync.host.python as host
from dync.host.expressions import PRECEDENCE, Expression, apply, literal, negated, variable
from dync.host.python import generate
from dync.ir.flow import (
    Decision,
    DictTree,
    Edge,
    Flow,
    FlowBlock,
    HostOp,
    Input,
    Jump,
    Leaf,
    ListTree,
    OpaqueTree,
    Raise,
    RecordTree,
    Return,
    Signature,
    Switch,
    TupleTree,
)
from dync.ir.interned import intern
from dync.ir.scalars import SCALAR_OPS, TEXTS
from dync.ir.types import Lit, Ref, ScalarType, Span, TensorType, Value, lit
from dync.runtime.program import BUILTINS

INT, TENSOR = ScalarType("int"), TensorType("float32", (2,))


def one_block(exit, host=(), results=(), inputs=("x",)) -> Flow:
    values = (Value("x", TENSOR), Value("n", INT))
    signature = Signature(
        ("x", "n"), TupleTree((Leaf(Ref("x")), Leaf(Ref("n")))), DictTree((), ()), tuple(Input(v, v.name) for v in values)
    )
    return Flow("one", signature, (FlowBlock("b0", (), inputs, results, host, exit),))


def body(flow: Flow, trace: bool = False) -> str:
    return generate(flow, trace).source.split("\n\n\n")[1]


def test_expressions_mean_what_they_say() -> None:
    """Random expressions over every infix operation: the text evaluates to what the operations give, one by one."""
    rng = random.Random(1)
    infix = [n for n in PRECEDENCE if n not in ("pow", "truediv", "floordiv", "mod", "lshift", "rshift", *TEXTS)] + [
        "select",
        "min",
        "abs",
        "int",
        "bool",
    ]
    for _ in range(3000):
        values = {"a": rng.randrange(-9, 9), "b": rng.random() < 0.5, "c": rng.randrange(5)}
        pool: list[tuple[Expression, object]] = [(variable(n), v) for n, v in values.items()]
        pool += [(literal(Lit(v)), v) for v in (-3, 2, True)]
        for _ in range(rng.randrange(1, 7)):
            op = rng.choice(infix)
            arity = 3 if op == "select" else 1 if op in ("neg", "pos", "invert", "not_", "abs", "int", "bool") else 2
            picked = [rng.choice(pool) for _ in range(arity)]
            pool.append((apply(op, tuple(e for e, _ in picked)), SCALAR_OPS[op].function(*(v for _, v in picked))))
        text, value = pool[-1][0].text, pool[-1][1]
        assert eval(text, {}, values) == value, text
        assert eval(negated(pool[-1][0]), {}, values) == (not value)


@pytest.mark.parametrize(
    ("ops", "text"),
    [
        ((("add", "a", "b"), ("mul", 0, "c")), "(a + b) * c"),
        ((("mul", "a", "b"), ("add", 0, "c")), "a * b + c"),
        ((("sub", "b", "c"), ("sub", "a", 0)), "a - (b - c)"),
        ((("sub", "a", "b"), ("sub", 0, "c")), "a - b - c"),
        ((("neg", "a"), ("pow", 0, "b")), "(-a) ** b"),
        ((("pow", "a", "b"), ("neg", 0)), "-a ** b"),
        ((("pow", "a", "b"), ("pow", 0, "c")), "(a ** b) ** c"),
        ((("lt", "a", "b"), ("eq", 0, "c")), "(a < b) == c"),
        ((("lt", "a", "b"), ("and_", 0, "c")), "(a < b) & c"),
        ((("gt", "a", "b"), ("not_", 0)), "not a > b"),
        ((("not_", "a"), ("add", 0, "b")), "(not a) + b"),
        ((("math.sqrt", "a"), ("add", 0, "b")), "math.sqrt(a) + b"),
        ((("select", "a", "b", "c"), ("add", 0, "b")), "(b if a else c) + b"),
        ((("max", "a", "b"), ("abs", 0)), "abs(max(a, b))"),
    ],
)
def test_parentheses(ops, text) -> None:
    made: list[Expression] = []
    for op, *args in ops:
        made.append(apply(op, tuple(made[a] if isinstance(a, int) else variable(a) for a in args)))
    assert made[-1].text == text


def test_constants() -> None:
    assert [literal(lit(v)).text for v in (None, True, 1, -2, 1.5, float("inf"), float("-inf"), float("nan"), "it's")] == [
        "None",
        "True",
        "1",
        "-2",
        "1.5",
        "inf",
        "-inf",
        "nan",
        '"it\'s"',
    ]
    assert apply("pow", (literal(lit(-2)), variable("a"))).text == "(-2) ** a"


def test_golden_modules() -> None:
    assert (
        body(early_exit().flow)
        == """\
def run(x, threshold, give):
    h, score = b0(x)
    if score > threshold:  # hand.py:1: confident
        return give(h)
    y, = b2(h)
    return {'logits': give(y), 'exits': (give(h), 2)}
"""
    )
    assert (
        body(rolled_loop().flow)
        == """\
def run(x, give):
    y = x
    i = 0
    while True:
        big, = head(y)
        if big & (i < 20):  # hand.py:1: go
            y, = body(y)
            i = i + 1
        else:
            return [give(y), i]
"""
    )
    assert (
        body(CASES["raising"].program().flow, trace=True)
        == """\
def run(x, give, enter, decide):
    enter('b0')
    s, = b0(x)
    bad = s < 0
    decide(0, bad, s, 0)
    if bad:  # hand.py:1: bad
        enter('b1')
        raise ValueError_b1('negative', s)
    enter('b2')
    r, = b2(x)
    return give(r)
"""
    )
    assert "    state['count'] = more\n    state['mean'] = after\n    return (give(after), give(total), more)\n" in body(stateful().flow)


def test_plain_path_pays_nothing_for_tracing() -> None:
    source = generate(CASES["diamond"].program().flow).source
    assert "enter" not in source and "decide" not in source


def test_structures() -> None:
    point = RecordTree("namedtuple", "geometry:Point", ("a", "b"), (Leaf(Ref("x")), Leaf(Ref("n"))))
    size = OpaqueTree("torch.Size", "(2,)")
    tree = ListTree((point, size, DictTree((lit("k"),), (Leaf(lit(2)),), "OrderedDict"), TupleTree(()), TupleTree((Leaf(lit(None)),))))
    module = generate(one_block(Return(tree), inputs=()))
    assert "return [Point(give(x), n), build(), build_1(2), (), (None,)]" in module.source
    assert module.builders["Point"] == replace(point, items=(Leaf(Ref("0")), Leaf(Ref("1"))))
    deep = Leaf(Ref("n"))
    for _ in range(300):
        deep = ListTree((deep,))
    compile(generate(one_block(Return(deep), inputs=())).source, "deep", "exec")


def test_names_that_would_be_code_or_hide_something() -> None:
    names = ["give", "int", "lambda", "x y", "naïve", "__class__", "import os; os._exit(1)", "b0", "state", "run", "math"]
    results = tuple(Value(n, INT) for n in names)
    host_ops = tuple(HostOp(Value(f"h{i}", INT), "int", (Ref(n),)) for i, n in enumerate(names))
    flow = one_block(Return(ListTree(tuple(Leaf(Ref(f"h{i}")) for i in range(len(names))))), host_ops, results)
    flow = replace(flow, name="a\nb", blocks=(replace(flow.blocks[0], name="b0"),))
    module = generate(flow)
    space = {module.kernels["b0"]: lambda x: tuple(range(len(names))), "math": math}
    exec(module.source, space)
    assert space["run"](0, 0, lambda v: v) == list(range(len(names)))


def test_wide_switch_is_a_match() -> None:
    blocks = [
        FlowBlock(
            "b0", (), ("x",), (Value("k", INT),), (), Switch(Ref("k"), tuple((i, Edge(f"c{i}")) for i in range(12)), Decision("m[k]"))
        )
    ]
    blocks += [FlowBlock(f"c{i}", (), ("x",), (Value(f"r{i}", TENSOR),), (), Jump(Edge("end", (Ref(f"r{i}"),)))) for i in range(12)]
    blocks += [FlowBlock("end", (Value("y", TENSOR),), ("y",), (Value("z", TENSOR),), (), Return(Leaf(Ref("z"))))]
    flow = replace(one_block(Return(Leaf(lit(1)))), blocks=tuple(blocks))
    assert "    match k:  # m[k]\n        case 0:\n            y, = c0(x)\n" in generate(flow).source
    for seed in range(8):
        compare(flow, seed, runs=4)


def test_all_forms_mean_the_same(monkeypatch) -> None:
    """The dispatching form, which deep graphs get, on the graphs that are usually structured."""
    monkeypatch.setattr(host, "MAX_DEPTH", 1)
    for seed in range(60):
        flow = random_flow(seed, 9, (seed % 5) / 8)
        assert len(flow.blocks) < 3 or "pc = 0" in generate(flow).source or "    if " not in generate(flow).source
        compare(flow, seed)


def test_switch_sides_are_read_when_tracing() -> None:
    compare(random_flow(1000000265, 8, 0.2), 1000000265)


def test_every_construct_is_met_by_the_random_graphs() -> None:
    sources = "".join(generate(random_flow(seed, 15, 0.2)).source for seed in range(80))
    for mark in ("skip_", "to_b", "pc_", "while True", "del ", "continue", "break", "elif", "raise "):
        assert mark in sources, mark


E_INT = Edge("b0")
BROKEN = {
    "the flow has no blocks": lambda f: replace(f, blocks=()),
    "block 'b0' reads 'y', which nothing defines": lambda f: replace(f, blocks=(replace(f.blocks[0], inputs=("y",)),)),
    "two blocks have one name": lambda f: replace(f, blocks=f.blocks * 2),
    "block 'b0' goes to 'b9', which does not exist": lambda f: replace(f, blocks=(replace(f.blocks[0], exit=Jump(Edge("b9"))),)),
    "block 'b0' gives 1 values to 'b0', which takes 0": lambda f: replace(
        f, blocks=(replace(f.blocks[0], exit=Jump(Edge("b0", (lit(1),)))),)
    ),
    "entry block 'b0' has parameters": lambda f: replace(f, blocks=(replace(f.blocks[0], params=(Value("p", INT),)),)),
    "two values have one name": lambda f: replace(f, blocks=(replace(f.blocks[0], results=(Value("x", INT),)),)),
    "unknown host operation 'system'": lambda f: replace(f, blocks=(replace(f.blocks[0], host=(HostOp(Value("h", INT), "system", ()),)),)),
    "host operation 'add' takes 2 operands, not 1": lambda f: replace(
        f, blocks=(replace(f.blocks[0], host=(HostOp(Value("h", INT), "add", (lit(1),)),)),)
    ),
    "block 'b0' writes a slot that does not exist": lambda f: replace(
        f, blocks=(replace(f.blocks[0], exit=Raise("builtins:ValueError", (), (_write(),))),)
    ),
}


def _write():
    from dync.ir.flow import Write

    return Write("s", Leaf(lit(1)))


@pytest.mark.parametrize("message", BROKEN)
def test_flows_that_no_host_can_walk(message) -> None:
    with pytest.raises(ValueError, match=message):
        generate(BROKEN[message](one_block(Return(Leaf(Ref("x"))))))


def test_a_tensor_is_let_go_after_its_last_use() -> None:
    a, b = Value("a", TENSOR), Value("b", TENSOR)
    flow = one_block(Jump(Edge("b1")), results=(a,))
    second = FlowBlock("b1", (), ("a",), (b,), (), Jump(Edge("b2")), span=Span("m.py", 3))
    third = FlowBlock("b2", (), ("b",), (Value("c", TENSOR),), (), Return(Leaf(Ref("c"))))
    assert (
        body(replace(flow, blocks=(flow.blocks[0], second, third)))
        == """\
def run(x, n, give):
    a, = b0(x)
    b, = b1(a)
    del a
    c, = b2(b)
    return give(c)
"""
    )


@pytest.mark.parametrize("op", sorted(TEXTS))
def test_texts_mean_what_they_say(op) -> None:
    """Each operation on texts, written with the names that a host module knows, also of a text that is itself an expression."""
    widths = dict.fromkeys(("str.zfill", "str.ljust", "str.rjust", "str.center"), (9,))
    rest = ({"str.at": (1,), "str.mul": (3,), "str.slice": (1, None), "str.replace": ("b", "c")} | widths).get(op, ("b",))
    args = ("ab b", *rest)[: SCALAR_OPS[op].arity]
    whole = apply("add", (variable("a"), variable("b")))
    if op in ("str.chr", "str.interned"):  # of a number
        numbers = {"a": 90, "b": 7} if op == "str.chr" else {"a": intern("a") + 7, "b": -7}
        assert eval(apply(op, (whole,)).text, {"__builtins__": BUILTINS}, numbers) == "a"
        return
    text = apply(op, (whole, *(literal(Lit(v)) for v in args[1:]))).text
    assert eval(text, {"__builtins__": BUILTINS}, {"a": "ab", "b": " b"}) == SCALAR_OPS[op].function(*args)
