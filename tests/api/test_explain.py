"""What a decision became, read from control flow alone."""

import torch

from dync.explain import constructs, explain, reachable
from dync.ir.flow import Branch, Decision, DictTree, Edge, Flow, FlowBlock, Jump, Raise, Return, Signature, Switch, TupleTree
from dync.ir.types import Ref, Span
from dync.report import Refusal

SPAN = Span("m.py", 2, 4, 2, 9)
SOURCES = {"m.py": "def f(x):\n    if x > 0:\n"}


def flow(**exits) -> Flow:
    made = tuple(FlowBlock(n, (), (), (), (), e) for n, e in exits.items())
    return Flow("m", Signature((), TupleTree(()), DictTree((), ()), ()), made)


def branch(then, orelse, span=SPAN, text="x > 0"):
    return Branch(Ref("p"), Edge(then), Edge(orelse), Decision(text, span))


def jump(target):
    return Jump(Edge(target))


END = Return(TupleTree(()))
STOP = Raise("builtins:ValueError", ())


def became(**exits) -> list[str]:
    return [c.became for c in constructs(flow(**exits), SOURCES)]


def test_branches_that_join_and_those_that_do_not():
    assert became(a=branch("b", "c"), b=jump("d"), c=jump("d"), d=END) == ["branch"]
    assert became(a=branch("b", "c"), b=jump("c"), c=END) == ["branch"]
    assert became(a=branch("b", "c"), b=END, c=END) == ["early return"]
    assert became(a=branch("b", "c"), b=STOP, c=END) == ["raise"]
    assert became(a=branch("b", "c"), b=END, c=STOP) == ["raise"]


def test_loops_and_switches():
    assert became(a=jump("h"), h=branch("b", "e"), b=jump("h"), e=END) == ["loop"]
    assert became(a=Switch(Ref("i"), ((0, Edge("b")), (1, Edge("c"))), Decision("i", SPAN)), b=END, c=END) == ["switch"]
    in_a_loop = constructs(flow(h=branch("b", "e"), b=branch("c", "d", Span("m.py", 9)), c=jump("d"), d=jump("h"), e=END), SOURCES)
    assert [c.became for c in in_a_loop] == ["loop", "branch"]


def test_an_unrolled_decision_is_one_construct():
    found = constructs(flow(a=branch("b", "c"), b=jump("c"), c=branch("d", "e"), d=END, e=END), SOURCES)
    assert [(c.became, c.blocks, c.line) for c in found] == [("branch and early return", ("a", "c"), "    if x > 0:")]


def test_reachable():
    found = reachable(flow(a=jump("h"), h=branch("b", "e"), b=jump("h"), e=END))
    assert found["a"] == {"h", "b", "e"} and found["h"] == {"h", "b", "e"} and found["e"] == frozenset()


def test_a_whole_explanation_is_text_with_carets():
    from support.programs import early_exit

    program = early_exit()
    first = program.blocks[0].name
    text = str(explain(program, {first: ("eager", (Refusal("onnxruntime", "no kernel for aten.foo", SPAN),))}))
    assert "early return" in text and "onnxruntime: no kernel for aten.foo (m.py:2:5)" in text


class Unfinished(torch.nn.Module):
    def forward(self, x):
        scale = None
        return x if x.sum() > 0 else scale * 2


def test_states_and_paths_without_code_are_listed():
    from programs.forms import CacheGrows
    from programs.harness import call_of, load

    import dync

    found = dync.explain(load(CacheGrows), *call_of(CacheGrows, 0), backend="eager")
    assert found.states == ("cache = None", "cache = float32[size_cache_0, 4]")
    (state,) = (c for c in found.constructs if c.became == "switch")
    assert state.text == "the state that the last call left" and state.line.strip() == "def forward(self, x):"
    assert "a call begins with state 1: cache = float32[size_cache_0, 4]" in str(found)
    (trap,) = dync.explain(Unfinished(), (torch.ones(2),), backend="eager").traps
    assert ": no code for this path: TypeError when it was captured: unsupported operand type(s)" in trap
