"""Programs as text, and the digest of that text."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support import programs
from support.programs import diamond

from dync.ir.flow import DictTree, Leaf, ListTree, OpaqueTree, RecordTree, TupleTree
from dync.ir.text import digest, print_program, tree_text
from dync.ir.types import Ref, Span, lit

PROGRAMS = ("early_exit", "diamond", "rolled_loop", "switch", "raising", "stateful", "hits")


@pytest.mark.parametrize("name", PROGRAMS)
def test_print(name, golden):
    golden(print_program(getattr(programs, name)(), spans=False))


def test_spans_show_the_file_by_its_last_name():
    line = next(line for line in print_program(diamond()).splitlines() if "aten.neg" in line)
    number = next(i for i, text in enumerate(Path(programs.__file__).read_text().splitlines(), 1) if "(-x,)" in text)
    assert line.endswith(f"  # programs.py:{number}")


def test_printing_is_deterministic():
    assert print_program(diamond()) == print_program(diamond()) and digest(diamond()) == digest(diamond())


def test_digests_tell_programs_apart():
    assert len({digest(getattr(programs, n)()) for n in PROGRAMS}) == len(PROGRAMS)


def test_the_digest_sees_no_spans_names_of_nodes_history_or_weight_values():
    program = diamond()
    for node in program.blocks[0].graph.nodes:
        node.meta["span"] = Span("elsewhere.py", 999)
    program.blocks[1].graph.find_nodes(op="call_function", target=torch.ops.aten.mean.default)[0].name = "other"
    program = replace(program, history=("more",), weights={"scale": torch.zeros(4)})
    assert digest(program) == digest(diamond())


@pytest.mark.parametrize(
    "edit",
    [
        lambda p: replace(p, name="other"),
        lambda p: replace(p, weights={"scale": torch.zeros(4, dtype=torch.float64)}),
        lambda p: replace(p, blocks=p.blocks[:-1]),
        lambda p: (
            [
                setattr(n, "args", (n.args[0], 2.0))
                for n in p.blocks[3].graph.find_nodes(op="call_function", target=torch.ops.aten.add.Tensor)
            ]
            and p
        ),
    ],
)
def test_the_digest_sees_what_a_program_does(edit):
    assert digest(edit(diamond())) != digest(diamond())


def test_trees_print_as_python():
    tree = TupleTree(
        (
            ListTree((Leaf(Ref("x")), Leaf(lit("x")))),
            DictTree((lit("k"),), (Leaf(lit(float("inf"))),), "OrderedDict"),
            RecordTree("namedtuple", "m:Out", ("a",), (TupleTree((Leaf(lit(None)),)),)),
            OpaqueTree("torch.dtype", "torch.int8"),
        )
    )
    assert tree_text(tree) == "([x, 'x'], OrderedDict{'k': float('inf')}, Out(a=(None,)), <torch.dtype torch.int8>)"
