"""Every hand-built program is legal; for each invariant there is a program broken on purpose."""

import copy
from dataclasses import replace

import msgspec
import pytest
import torch
from support import programs
from support.builder import Builder, asks
from support.programs import diamond, early_exit, hits, leaf, rolled_loop, stateful, switch, to

from dync.ir.flow import Branch, DimRange, Edge, HostOp, Jump, Return, TupleTree, Write
from dync.ir.types import Ref, ScalarType, Span, TensorType, Value, lit
from dync.ir.verify import INVARIANTS, STRUCTURE, InvariantError, breaches, verify

PROGRAMS = ("early_exit", "diamond", "rolled_loop", "switch", "raising", "stateful", "hits")


@pytest.mark.parametrize("name", PROGRAMS)
def test_hand_built_programs_are_legal(name):
    verify(getattr(programs, name)())


def change(program, block, graph=None, **fields):
    """The program with other flow fields in one block; `graph` edits a copy of its graph in place."""

    def edit(b):
        made = copy.deepcopy(b.graph)
        if graph:
            graph(made)
        return replace(b, flow=msgspec.structs.replace(b.flow, **fields), graph=made)

    return replace(program, blocks=tuple(edit(b) if b.name == block else b for b in program.blocks))


def nodes(graph):
    return [n for n in graph.nodes if n.op == "call_function"]


def call_cond(graph):
    graph.output_node().prepend(made := graph.call_function(torch.cond, (True,)))
    made.meta |= {"span": Span("x", 1), "val": 1.0}


def call_module(graph):
    graph.output_node().prepend(made := graph.create_node("call_module", "linear"))
    made.meta |= {"span": Span("x", 1), "val": 1.0}


def use_before_definition(graph):
    nodes(graph)[0].prepend(nodes(graph)[-1])


def no_output(graph):
    graph.output_node().args = ((),)


def drop(key):
    return lambda graph: nodes(graph)[0].meta.pop(key)


def with_weight(program, name, tensor):
    return replace(program, weights={**program.weights, name: tensor})


def signature(program, **fields):
    return replace(program, signature=msgspec.structs.replace(program.signature, **fields))


def flat(n, kind="float32"):
    return Value("z", TensorType(kind, n))


BROKEN = [
    ("names_are_unique_identifiers", "two blocks are called 'b1'", lambda: change(early_exit(), "b2", name="b1")),
    (
        "names_are_unique_identifiers",
        "two values are called 'h'",
        lambda: change(early_exit(), "b2", results=(Value("h", TensorType("float32", (2, 3))),)),
    ),
    (
        "names_are_unique_identifiers",
        "value name 'class' is no identifier",
        lambda: change(rolled_loop(), "body", results=(Value("class", TensorType("float32", (3,))),)),
    ),
    ("names_are_unique_identifiers", "'w' is both an input and a weight", lambda: change(hits(), "b1", inputs=("w", "rows"))),
    ("edges_lead_to_blocks", "b1: no block 'b9'", lambda: change(switch(), "b1", exit=Jump(to("b9", "e1")))),
    ("edges_lead_to_blocks", "the entry b0 has params", lambda: change(switch(), "b0", params=(flat(()),))),
    ("edges_lead_to_blocks", "there is no block", lambda: replace(switch(), blocks=())),
    ("every_block_is_reached", "b2 is reached from nowhere", lambda: change(early_exit(), "b0", exit=Jump(to("b1")))),
    ("uses_are_dominated", "b3 reads 'y1', which does not dominate it", lambda: change(diamond(), "b3", inputs=("x", "y1", "m"))),
    ("uses_are_dominated", "b3: exit reads 'm1', which does not dominate it", lambda: change(diamond(), "b3", exit=Return(leaf("m1")))),
    ("uses_are_dominated", "b0 reads 'h', which does not dominate it", lambda: change(early_exit(), "b0", inputs=("h",))),
    (
        "uses_are_dominated",
        "head: go reads 'small', which does not dominate it",
        lambda: change(rolled_loop(), "head", host=rolled_loop().block("head").flow.host[::-1]),
    ),
    ("uses_are_dominated", "exit reads 'nowhere'", lambda: change(switch(), "b3", exit=Return(TupleTree((leaf("nowhere"),))))),
    ("edges_fit_params", "b1 -> b3: 1 arguments for 2 params", lambda: change(diamond(), "b1", exit=Jump(to("b3", "y1")))),
    (
        "edges_fit_params",
        "b1 -> b3: m1 of type float for y: float32[N, 4]",
        lambda: change(diamond(), "b1", exit=Jump(to("b3", "m1", "m1"))),
    ),
    (
        "edges_fit_params",
        "b2 -> b3: 3 of type int for m: float",
        lambda: change(diamond(), "b2", exit=Jump(Edge("b3", (Ref("y2"), lit(3))))),
    ),
    (
        "edges_fit_params",
        "b1 -> b3: y1 of type float32[N, 4] for y: float64[N, 4]",
        lambda: change(diamond(), "b3", params=(Value("y", TensorType("float64", ("N", 4))), Value("m", ScalarType("float")))),
    ),
    (
        "edges_fit_params",
        "for y: float32[2, 4]",
        lambda: change(diamond(), "b3", params=(Value("y", TensorType("float32", (2, 4))), Value("m", ScalarType("float")))),
    ),
    (
        "predicates_are_scalars",
        "h of type float32[2, 4] decides, which must be bool",
        lambda: change(early_exit(), "b0", exit=Branch(Ref("h"), to("b1"), to("b2"), asks("h"))),
    ),
    (
        "predicates_are_scalars",
        "1 of type int decides",
        lambda: change(early_exit(), "b0", exit=Branch(lit(1), to("b1"), to("b2"), asks("h"))),
    ),
    (
        "predicates_are_scalars",
        "which of type float decides, which must be int",
        lambda: change(switch(), "b0", results=(Value("which", ScalarType("float")),)),
    ),
    (
        "host_operations_are_known",
        "no scalar operation 'eval'",
        lambda: change(raising(), "b0", host=(HostOp(Value("bad", ScalarType("bool")), "eval", (Ref("s"),)),)),
    ),
    (
        "host_operations_are_known",
        "bad = lt has 1 operands for 2",
        lambda: change(raising(), "b0", host=(HostOp(Value("bad", ScalarType("bool")), "lt", (Ref("s"),)),)),
    ),
    (
        "writes_name_slots",
        "b0 writes 'ema', which is no slot",
        lambda: change(stateful(), "b0", exit=Return(leaf("after"), (Write("ema", leaf("after")),))),
    ),
    (
        "leaves_of_the_call_are_inputs",
        "argument leaf 'z' is bound to no input",
        lambda: signature(switch(), args=TupleTree((leaf("x"), leaf("k"), leaf("z")))),
    ),
    (
        "leaves_of_the_call_are_inputs",
        "input k reads 'k', which is no argument leaf",
        lambda: signature(switch(), args=TupleTree((leaf("x"),))),
    ),
    (
        "symbols_are_bound",
        "uses u9, which is bound nowhere before",
        lambda: change(hits(), "b1", results=(Value("y", TensorType("float32", ("2*u9", 3))),)),
    ),
    (
        "symbols_are_bound",
        "input x: float32[2*N, 4] uses N",
        lambda: signature(
            diamond(),
            dims=(DimRange("M", 1, 2),),
            inputs=(msgspec.structs.replace(diamond().signature.inputs[0], value=Value("x", TensorType("float32", ("2*N", 4)))),),
        ),
    ),
    ("graphs_are_branch_free_aten", "calls cond, neither an operator nor a scalar function", lambda: change(hits(), "b1", call_cond)),
    ("graphs_are_branch_free_aten", "linear is a call_module", lambda: change(hits(), "b1", call_module)),
    ("graphs_are_branch_free_aten", "which is not before it", lambda: change(hits(), "b1", use_before_definition)),
    ("placeholders_are_inputs", "b1: 2 placeholders for 1 inputs", lambda: change(hits(), "b1", inputs=("x",))),
    (
        "placeholders_are_inputs",
        "rows is declared int64[u0], its node computes float32[N, 4]",
        lambda: change(hits(), "b1", inputs=("rows", "x")),
    ),
    ("placeholders_are_inputs", "an input is listed twice", lambda: change(hits(), "b1", inputs=("x", "x"))),
    ("outputs_are_results", "the graph returns () for 1 results", lambda: change(hits(), "b1", no_output)),
    (
        "outputs_are_results",
        "y is declared float32[5, 3], its node computes float32[u0, 3]",
        lambda: change(hits(), "b1", results=(Value("y", TensorType("float32", (5, 3))),)),
    ),
    ("nodes_say_where_and_what", "index has no span", lambda: change(hits(), "b1", drop("span"))),
    ("nodes_say_where_and_what", "index has no val", lambda: change(hits(), "b1", drop("val"))),
    ("weights_are_those_read", "no weight 'scale'", lambda: replace(diamond(), weights={})),
    ("weights_are_those_read", "weight 'spare' is never read", lambda: with_weight(diamond(), "spare", torch.ones(1))),
    (
        "tied_weights_are_stored_once",
        "weights 'scale' and 'tied' are one tensor",
        lambda: with_weight(diamond(), "tied", diamond().weights["scale"].detach()),
    ),
    ("mutates_is_what_is_written", "'seen' is written, which mutates does not list", lambda: change(stateful(), "b0", mutates=("x",))),
    ("mutates_is_what_is_written", "'x' is written, which mutates does not list", lambda: change(stateful(), "b0", mutates=("seen",))),
    ("mutates_is_what_is_written", "mutates lists 'x', which is not written", lambda: change(hits(), "b1", mutates=("x",))),
]

raising = programs.raising


@pytest.mark.parametrize("invariant, text, program", BROKEN, ids=[f"{i}-{n}" for n, (i, _, _) in enumerate(BROKEN)])
def test_a_broken_program_is_told(invariant, text, program):
    found = breaches(program())
    assert any(name == invariant and text in line for name, line in found), found


def test_each_invariant_has_a_broken_program():
    assert {i for i, _, _ in BROKEN} == {f.__name__ for f in (*STRUCTURE, *INVARIANTS)}


def test_all_breaches_are_told_at_once():
    with pytest.raises(InvariantError) as caught:
        verify(with_weight(change(hits(), "b1", mutates=("x",)), "spare", torch.ones(1)))
    assert str(caught.value).startswith("hits: 2 broken invariants\n") and len(caught.value.breaches) == 2


def test_a_tensor_inside_a_graph_binds_its_sizes():
    def pick(x):
        rows = x.nonzero()
        return (torch.cat([rows, rows.new_zeros(2, 1)]),)

    b = Builder("inner", {"x": "float32[5]"})
    b.block("b0", pick, ("r",), Return(leaf("r")))
    assert str(b.blocks[0].flow.results[0].type) == "int64[u0 + 2, 1]" and breaches(b.program()) == ()


def test_weights_that_share_storage_but_not_place_are_two():
    both = torch.ones(8)
    program = with_weight(diamond(), "scale", both[:4])
    assert breaches(with_weight(program, "spare", both[4:])) == (("weights_are_those_read", "weight 'spare' is never read"),)
