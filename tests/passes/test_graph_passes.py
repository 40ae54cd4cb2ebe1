"""Passes on hand-built programs: before → after as text, and the same results as before on every sample."""

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec
import pytest
import torch
from support.builder import Builder, asks
from support.programs import CASES, branch, diamond, leaf, rolled_loop, stateful, to

from dync.ir.flow import DimRange, Edge, HostOp, Jump, Return, Switch, TupleTree
from dync.ir.interpret import run
from dync.ir.text import print_program
from dync.ir.types import Ref, ScalarType, Value, lit
from dync.ir.verify import verify
from dync.passes.base import Pass, PassError, PassResult, pipeline_text, run_pass, run_passes
from dync.passes.graph.common_subexpression import CommonSubexpression
from dync.passes.graph.dead_code import DeadCode
from dync.passes.graph.fold import Fold
from dync.passes.graph.merge import Merge

ALL = (DeadCode(), Merge(), CommonSubexpression(), Fold())
FLOAT, INT, BOOL = ScalarType("float"), ScalarType("int"), ScalarType("bool")


def host(name, op, type, *args):
    return HostOp(Value(name, type), op, tuple(Ref(a) if isinstance(a, str) else lit(a) for a in args))


def check(program, one, *samples, golden=None):
    """Applies a pass, compares the outcome with the untouched program on samples, and the text with the golden one."""
    before = print_program(program, spans=False)
    result = run_pass(one, program)
    assert print_program(program, spans=False) == before, "the given program was edited"
    for args in samples:
        old, new = run(program, copy.deepcopy(args)), run(result.program, copy.deepcopy(args))
        torch.testing.assert_close(new.result, old.result, rtol=0, atol=0)
    if golden:
        golden(f"before\n\n{before}\nafter\n\n{print_program(result.program, spans=False)}")
    return result


def wasteful():
    b = Builder("wasteful", {"x": "float32[3]"}, {"w": torch.ones(3), "v": torch.ones(3)})
    b.block(
        "b0",
        lambda x, v: (x.neg(), (x * v).exp(), x.sum().item()),
        ("y", "unused", "s"),
        Jump(to("b1", "y", "s", "unused")),
        host=(host("t", "mul", FLOAT, "s", 2), host("q", "truediv", FLOAT, 1, "s")),
    )
    b.block(
        "b1",
        lambda p, w: (p + w, torch.rand(3), p.exp()),
        ("z", "noise", "e"),
        Return(leaf("z")),
        {"p": "float32[3]", "r": "float", "u": "float32[3]"},
    )
    return b.program()


def test_dead_code(golden):
    result = check(wasteful(), DeadCode(), (torch.ones(3),), golden=golden)
    text = print_program(result.program)
    assert "aten.rand" in text and "q: float = 1 / s" in text and "weight v" not in text


def test_dead_code_drops_what_only_a_loop_feeds():
    b = Builder("ring", {"x": "float32[3]"})
    b.block("entry", None, (), Jump(Edge("head", (Ref("x"), lit(0), Ref("x")))))
    b.block(
        "head",
        lambda y: (y.norm().item() > 1,),
        ("big",),
        branch("big", to("body"), to("done")),
        {"y": "float32[3]", "i": "int", "k": "float32[3]"},
    )
    b.block(
        "body", lambda y, k: (y / 2, k + 1), ("half", "more"), Jump(to("head", "half", "j", "more")), host=(host("j", "add", INT, "i", 1),)
    )
    b.block("done", None, (), Return(leaf("y")))
    made = check(b.program(), DeadCode(), (torch.ones(3) * 8,)).program
    assert [p.name for p in made.block("head").flow.params] == ["y"] and made.block("body").flow.host == ()


def test_dead_code_keeps_writes_and_what_they_need():
    assert not run_pass(DeadCode(), stateful()).changed


def test_dead_code_drops_writes_that_nobody_sees():
    def unseen(x):
        copy = x.clone()
        copy[0].add_(1)
        copy[x > 0] = 0.0
        return (x + 1,)

    def seen(x):
        total = torch.zeros(3)
        row = total[:2]
        row.add_(x[:2].exp())
        row.mul_(2)
        return (total + 1,)

    b = Builder("writes", {"x": "float32[3]"})
    b.block("b0", unseen, ("y",), Jump(to("b1")))
    b.block("b1", seen, ("z",), Jump(to("b2")))
    b.block("b2", lambda y: (y.clone().relu_(),), ("unread",), Return(TupleTree((leaf("y"), leaf("z")))))
    made = check(b.program(), DeadCode(), (torch.tensor([1.0, -1.0, 2.0]),)).program
    writes = [str(n.target) for block in made.blocks for n in block.graph.nodes if "_." in str(n.target)]
    assert writes == ["aten.add_.Tensor", "aten.mul_.Tensor"] and not made.block("b2").flow.inputs


def test_dead_code_removes_blocks_that_nothing_reaches():
    program = diamond()
    first = program.blocks[0]
    only = replace(first, flow=msgspec.structs.replace(first.flow, exit=Jump(to("b2"))))
    program = replace(program, blocks=(only, *program.blocks[1:]))
    made = DeadCode().apply(program).program
    verify(made)
    assert [b.name for b in made.blocks] == ["b0", "b2", "b3"] and not made.weights


def row():
    b = Builder("row", {"x": "float32[3]"}, {"w": torch.arange(3.0)})
    b.block("b0", lambda x, w: (x.exp() * w,), ("h",), Jump(Edge("b1", (Ref("h"), lit(2), Ref("x")))))
    b.block("b1", lambda y, n, x2: (y.neg(), x2 * n), ("z", "d"), Jump(to("b2")), {"y": "float32[3]", "n": "int", "x2": "float32[3]"})
    b.block("b2", lambda z, y, d, w: (z + y + w, d), ("r", "same"), Return(TupleTree((leaf("r"), leaf("n"), leaf("same")))))
    return b.program()


def test_merge(golden):
    assert [b.name for b in check(row(), Merge(), (torch.ones(3),), golden=golden).program.blocks] == ["b0"]


def test_merge_keeps_a_param_of_a_wider_type_that_other_blocks_read():
    """What is left of a loop that turns once: the graphs behind its header were made for any size."""
    b = Builder("once", {"x": "float32[3]"}, dims=(DimRange("u0", 0, None),))
    b.block("b0", lambda x: (x + 1,), ("first",), Jump(Edge("b1", (Ref("first"),))))
    b.block("b1", lambda rows: (rows.sum().item() > 0,), ("big",), branch("big", to("b2"), to("b3")), {"rows": "float32[u0]"})
    b.block("b2", lambda rows: (rows * 2,), ("twice",), Return(leaf("twice")))
    b.block("b3", lambda rows: (rows - 1,), ("less",), Return(leaf("less")))
    made = check(b.program(), Merge(), (torch.ones(3),), (-2 * torch.ones(3),)).program
    verify(made)


def test_merge_bypasses_blocks_that_only_pass_on():
    b = Builder("pass_on", {"x": "float32[3]"})
    b.block("b0", lambda x: (x.sum().item() > 0, x.exp()), ("p", "e"), branch("p", to("b1", "e"), to("b2")))
    b.block("b1", None, (), Jump(to("b3", "a")), {"a": "float32[3]"})
    b.block("b2", None, (), Jump(to("b3", "x")))
    b.block("b3", lambda y: (y + 1,), ("z",), Return(leaf("z")), {"y": "float32[3]"})
    made = check(b.program(), Merge(), (torch.ones(3),), (-torch.ones(3),)).program
    assert [b.name for b in made.blocks] == ["b0", "b3"]


def test_merge_leaves_a_kernel_that_reads_a_host_result():
    b = Builder("apart", {"x": "float32[3]"})
    b.block("b0", lambda x: (x.sum().item(),), ("s",), Jump(to("b1")), host=(host("t", "mul", FLOAT, "s", 2),))
    b.block("b1", lambda x, t: (x * t,), ("z",), Return(leaf("z")))
    assert not check(b.program(), Merge(), (torch.ones(3),)).changed


def test_merge_runs_no_write_before_a_host_operation_that_may_fail():
    def build(op):
        b = Builder("order", {"x": "float32[3]"})
        b.block("b0", lambda x: (x.sum().item(),), ("s",), Jump(to("b1")), host=(host("t", op, FLOAT, 1, "s"),))
        b.block("b1", lambda x: (x.add_(1).sum(),), ("z",), Return(TupleTree((leaf("z"), leaf("t")))), mutates=("x",))
        return b.program()

    assert not run_pass(Merge(), build("truediv")).changed
    assert check(build("mul"), Merge(), (torch.ones(3),)).program.blocks[0].flow.mutates == ("x",)


def test_common_subexpression(golden):
    b = Builder("common", {"x": "float32[2, 3]", "y": "float32[3]"}, {"w": torch.ones(3)})

    def body(x, y, w):
        early = x.sum(0) + y.exp() * 1.0 + y.exp() * 1 + x[0] + x[0]
        x[0].mul_(2)
        left, right = torch.zeros(3), torch.zeros(3)
        return early + x.sum(0) + torch.rand(3) * 0 + torch.rand(3) * 0 + w.neg() + w.neg(), left, right

    b.block("b0", body, ("r", "left", "right"), Return(TupleTree((leaf("r"), leaf("left"), leaf("right")))), mutates=("x",))
    text = print_program(check(b.program(), CommonSubexpression(), (torch.ones(2, 3), torch.ones(3)), golden=golden).program)
    assert {op: text.count(op) for op in ("aten.zeros", "aten.rand", "aten.sum", "aten.exp", "aten.neg", "aten.mul.Tensor(")} == {
        "aten.zeros": 2,
        "aten.rand": 2,
        "aten.sum": 2,
        "aten.exp": 1,
        "aten.neg": 1,
        "aten.mul.Tensor(": 4,
    }


def test_a_written_tensor_is_not_merged_with_its_twin():
    b = Builder("twins", {"x": "float32[3]"})

    def body(x):
        a, c = x * 2, x * 2
        a.add_(1)
        return (a + c,)

    b.block("b0", body, ("r",), Return(leaf("r")))
    assert not check(b.program(), CommonSubexpression(), (torch.ones(3),)).changed


def test_fold(golden):
    b = Builder("constants", {"x": "float32[2, 3]"}, {"w": torch.arange(12.0).view(4, 3), "g": torch.ones(4)})
    b.block(
        "b0",
        lambda x, w, g: (x @ w.t() * (g + 1).sqrt(), x.shape[0] * 1),
        ("y", "n"),
        branch("p", to("b1"), to("b2")),
        host=(host("m", "add", INT, 2, 3), host("p", "gt", BOOL, "m", 4)),
    )
    b.block("b1", lambda y: (y.exp(),), ("e",), Return(TupleTree((leaf("e"), leaf("m")))))
    b.block("b2", None, (), Return(leaf("y")))
    made = check(b.program(), Fold(), (torch.ones(2, 3),), golden=golden).program
    assert [b.name for b in made.blocks] == ["b0", "b1"]


def test_fold_takes_a_switch_on_a_constant():
    b = Builder("chosen", {"x": "float32[3]"})
    b.block("b0", None, (), Switch(lit(1), ((0, to("b1")), (1, to("b2"))), asks("experts[1]")))
    b.block("b1", lambda x: (x + 1,), ("e1",), Return(leaf("e1")))
    b.block("b2", lambda x: (x.exp(),), ("e2",), Return(leaf("e2")))
    assert [b.name for b in check(b.program(), Fold(), (torch.ones(3),)).program.blocks] == ["b0", "b2"]


def test_fold_leaves_failing_scalars_written_weights_and_what_leaves():
    b = Builder("left", {"x": "float32[3]"}, {"w": torch.ones(3), "v": torch.ones(3), "big": torch.ones(5000)})

    def body(x, w, v, big):
        w.add_(1)
        return x + w.neg(), v.neg(), big.neg().sum() + x

    b.block(
        "b0",
        body,
        ("y", "fresh", "s"),
        Return(TupleTree((leaf("y"), leaf("fresh"), leaf("s"), leaf("q")))),
        host=(host("q", "truediv", FLOAT, 1, 0),),
        mutates=("w",),
    )
    assert not run_pass(Fold(), b.program()).changed


WHOLE = {
    "slice": lambda w: w[:],
    "view": lambda w: w.view(2, 3),
    "expand": lambda w: w.expand(2, 3),
    "narrow": lambda w: w.narrow(0, 0, 2),
    "and back": lambda w: w.t().t(),
    "in parts": lambda w: torch.cat(w.split(2)),
    "reshaped": lambda w: w.reshape(3, 2).reshape(2, 3),
}


@pytest.mark.parametrize("view", WHOLE.values(), ids=WHOLE)
def test_a_view_that_is_the_weight_folds_to_it(view):
    """And two views that are one, asked for in two ways, to one weight."""
    b = Builder("whole", {"x": "float32[2, 3]"}, {"w": torch.arange(6.0).view(2, 3)})
    b.block("b0", lambda x, w: (view(w) * x + w + w[0] + w.narrow(0, 0, 1).view(3),), ("y",), Return(leaf("y")))
    made = check(b.program(), Fold(), (torch.ones(2, 3),)).program
    assert len(made.weights) == 2 and made.weights["w"].data_ptr() == b.program().weights["w"].data_ptr()


@pytest.mark.parametrize("whole", [Fold(), CommonSubexpression()], ids=["fold", "common-subexpression"])
def test_what_is_written_through_a_view_that_its_schema_hides_is_made_anew(whole):
    b = Builder("hidden", {"x": "float32[2]"}, {"w": torch.arange(4.0)})
    aten = torch.ops.aten

    def body(x, w):
        parts, sizes = aten.unsafe_split.Tensor(w.neg(), 2), aten.unsafe_split_with_sizes.default(w.neg(), [1, 3])
        row, again = aten._unsafe_view.default(w.neg(), [2, 2]), aten._unsafe_view.default(w.neg(), [2, 2])
        return (parts[1].add_(x) + sizes[1][1:].add_(x) + row[0].add_(x) + again[0],)

    b.block("b0", body, ("y",), Return(leaf("y")))
    made = run_pass(whole, b.program()).program
    first, second = (run(made, (torch.ones(2),)).result for _ in "12")
    assert torch.equal(first, run(b.program(), (torch.ones(2),)).result) and torch.equal(first, second)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("passes", [(p,) for p in ALL] + [ALL, ALL[::-1]], ids=pipeline_text)
def test_passes_keep_the_meaning(name, passes):
    program = CASES[name].program()
    made = run_passes(passes, program).program
    for args in CASES[name].samples:
        old, new = run(program, copy.deepcopy(args)), run(made, copy.deepcopy(args))
        torch.testing.assert_close(new.result, old.result, rtol=0, atol=0)
        assert type(new.error) is type(old.error) and [d.value for d in new.trace.decisions] == [d.value for d in old.trace.decisions]


@pytest.mark.parametrize("one", ALL, ids=str)
def test_passes_are_idempotent(one):
    for program in (wasteful(), row(), rolled_loop()):
        assert not run_pass(one, run_pass(one, program).program).changed


def test_passes_are_text():
    assert pipeline_text((DeadCode(), Fold(limit=8), Merge())) == "dead-code,fold{limit=8},merge" and pipeline_text(()) == "none"


@dataclass(frozen=True)
class Lying(Pass):
    name: ClassVar[str] = "lying"
    changed: bool = True

    def apply(self, program):
        return PassResult(program if self.changed else replace(program, name="other"), self.changed)


@dataclass(frozen=True)
class Breaking(Pass):
    name: ClassVar[str] = "breaking"

    def apply(self, program):
        return PassResult(replace(program, blocks=program.blocks[:-1]), True)


@pytest.mark.parametrize(
    "one, message",
    [
        (Lying(), "lying: says changed=True, but its digest is the same"),
        (Lying(False), "lying{changed=False}: says changed=False, but its digest differs"),
        (Breaking(), "breaking: diamond: 2 broken invariants"),
    ],
)
def test_the_runner_checks_the_result(one, message):
    with pytest.raises(PassError) as caught:
        run_pass(one, diamond())
    assert message in str(caught.value)


def test_history_says_which_pass_did_what():
    assert run_passes((Merge(), Merge(), DeadCode()), row()).program.history == ("by hand", "merge", "dead-code")
