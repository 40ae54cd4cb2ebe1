"""Planted faults: Programs that are wrong in one place, to see whether verification finds them.

Each kind is one function, Program → wrong Programs with a word on where. None is planted where it is proved that no call shows it.
Some are equivalent nevertheless (a branch whose arms agree, rows that nothing reads): the survivors are for people to explain.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import torch
from torch.fx import Graph, Node

from dync.ir.flow import (
    Branch,
    DictTree,
    Edge,
    Exit,
    HostOp,
    Jump,
    Leaf,
    ListTree,
    Raise,
    RecordTree,
    Return,
    Switch,
    Tree,
    TupleTree,
    edges,
)
from dync.ir.program import Block, Program
from dync.ir.scalars import COMPARISONS
from dync.ir.types import Lit, Operand, Ref, ScalarType, TensorType, Value, ValueType, lit
from dync.verify.proofs import acts


@dataclass(frozen=True)
class Mutant:
    """A program with one planted fault: its kind, where it is, and the wrong program."""

    kind: str
    where: str
    program: Program

    def __str__(self) -> str:
        return f"{self.kind} at {self.where}"


def mutants(program: Program, seed: int = 0, limit: int | None = None) -> tuple[Mutant, ...]:
    """Faults of all kinds; with `limit`, a seeded choice that takes from each kind in turn."""
    made = {kind: [Mutant(kind, where, wrong) for where, wrong in make(program)] for kind, make in KINDS.items()}
    right = acts(program)
    if limit is None:
        return tuple(m for found in made.values() for m in found if acts(m.program) != right)
    rng = random.Random(f"dync-mutate-{seed}")
    for found in made.values():
        rng.shuffle(found)
    in_turn = (m for row in itertools.zip_longest(*made.values()) for m in row if m is not None)
    return tuple(itertools.islice((m for m in in_turn if acts(m.program) != right), limit))


Wrong = Iterator[tuple[str, Program]]


def _with(program: Program, block: Block, **changes: Any) -> Program:
    """The program with fields of one block's flow, or its graph, replaced."""
    graph = changes.pop("graph", block.graph)
    new = Block(msgspec.structs.replace(block.flow, **changes), graph)
    return program.with_blocks(tuple(new if b is block else b for b in program.blocks), f"planted fault in {block.name}")


def swapped_branch(program: Program) -> Wrong:
    """if p: A else: B → if p: B else: A"""
    for block in program.blocks:
        exit = block.flow.exit
        if isinstance(exit, Branch) and exit.then != exit.orelse:
            yield block.name, _with(program, block, exit=msgspec.structs.replace(exit, then=exit.orelse, orelse=exit.then))


def inverted_predicate(program: Program) -> Wrong:
    """if p → if not p"""
    for block in program.blocks:
        exit = block.flow.exit
        if isinstance(exit, Branch):
            wrong = Value(f"{block.name}_wrong", ScalarType("bool"))
            host = (*block.flow.host, HostOp(wrong, "not_", (exit.predicate,)))
            yield block.name, _with(program, block, host=host, exit=msgspec.structs.replace(exit, predicate=Ref(wrong.name)))


def constant_predicate(program: Program) -> Wrong:
    """if p → if True, if False"""
    for block in program.blocks:
        exit = block.flow.exit
        if isinstance(exit, Branch) and exit.then != exit.orelse:
            for value in (True, False):
                yield f"{block.name} {value}", _with(program, block, exit=msgspec.structs.replace(exit, predicate=Lit(value)))


def shifted_predicate(program: Program) -> Wrong:
    """a > b → a > b + d, both ways; d is 1 for ints, else a tenth of b or 0.1"""
    for block in program.blocks:
        for i, op in enumerate(block.flow.host):
            if op.op not in COMPARISONS or len(op.args) != 2:
                continue
            for sign in (1, -1):
                yield f"{block.name}.{op.result.name} {sign:+d}", _with(program, block, host=_shifted(block, i, op, sign))


def _shifted(block: Block, at: int, op: HostOp, sign: int) -> tuple[HostOp, ...]:
    right = op.args[1]
    if isinstance(right, Lit) and isinstance(right.python, (int, float)):
        step = sign if isinstance(right.python, int) and not isinstance(right.python, bool) else sign * max(0.1, abs(right.python) * 0.1)
        return (*block.flow.host[:at], msgspec.structs.replace(op, args=(op.args[0], lit(right.python + step))), *block.flow.host[at + 1 :])
    moved = Value(f"{block.name}_moved", ScalarType("float"))
    add = HostOp(moved, "add", (right, lit(0.1 * sign)))
    return (*block.flow.host[:at], add, msgspec.structs.replace(op, args=(op.args[0], Ref(moved.name))), *block.flow.host[at + 1 :])


def swapped_cases(program: Program) -> Wrong:
    """switch: cases a and b take each other's way"""
    for block in program.blocks:
        exit = block.flow.exit
        if isinstance(exit, Switch):
            for i, j in itertools.combinations(range(len(exit.cases)), 2):
                cases = list(exit.cases)
                cases[i], cases[j] = (cases[i][0], cases[j][1]), (cases[j][0], cases[i][1])
                if cases[i][1] != exit.cases[i][1]:
                    yield (
                        f"{block.name} {cases[i][0]},{cases[j][0]}",
                        _with(program, block, exit=msgspec.structs.replace(exit, cases=tuple(cases))),
                    )


def off_by_one(program: Program) -> Wrong:
    """i + 1 → i + 2, and the like: integer constants of host code that counts"""
    for block in program.blocks:
        for i, op in enumerate(block.flow.host):
            for j, arg in enumerate(op.args):
                if isinstance(arg, Lit) and type(arg.python) is int and op.op not in COMPARISONS:
                    args = (*op.args[:j], lit(arg.python + 1), *op.args[j + 1 :])
                    yield (
                        f"{block.name}.{op.result.name}",
                        _with(
                            program, block, host=(*block.flow.host[:i], msgspec.structs.replace(op, args=args), *block.flow.host[i + 1 :])
                        ),
                    )


def types(program: Program) -> dict[str, ValueType]:
    """The type of every value."""
    signature = program.signature
    values = [*(i.value for i in signature.inputs), *(p.value for p in signature.params), *(s.value for s in program.slots)]
    for b in program.blocks:
        values += [*b.flow.params, *b.flow.results, *(op.result for op in b.flow.host)]
    return {v.name: v.type for v in values}


def dropped_block(program: Program) -> Wrong:
    """y = f(x) → y = x where their types are equal, else y = 0 * f(x)"""
    for block in program.blocks:
        placeholders = dict(zip(block.flow.inputs, block.graph.find_nodes(op="placeholder")))
        known = types(program)
        for i, result in enumerate(block.flow.results):
            if not isinstance(result.type, TensorType):
                continue
            same = [n for n in block.flow.inputs if known[n] == result.type and n not in block.flow.mutates]
            graph = copy.deepcopy(block.graph)
            output = graph.output_node()
            names = {n.name: n for n in graph.nodes}
            results = list(output.args[0])  # type: ignore[arg-type]
            if not same and result.type.dtype == "bool" or not isinstance(results[i], Node):
                continue
            with graph.inserting_before(output):
                instead = names[placeholders[same[0]].name] if same else graph.call_function(torch.ops.aten.mul.Tensor, (results[i], 0))
            if instead is results[i]:
                continue
            instead.meta.setdefault("val", results[i].meta.get("val"))
            instead.meta.setdefault("span", results[i].meta.get("span"))
            results[i] = instead
            output.args = (tuple(results),)
            yield f"{block.name}.{result.name}", _with(program, block, graph=graph)


def changed_constant(program: Program) -> Wrong:
    """x * 3 → x * 3.5: a number among the arguments of an arithmetic operation"""
    for block in program.blocks:
        for node in block.graph.nodes:
            if node.op != "call_function" or str(node.target).split(".")[-2:][0] not in ARITHMETIC:
                continue
            for i, arg in enumerate(node.args):
                if type(arg) is float or type(arg) is int and "alpha" not in node.kwargs:
                    graph = copy.deepcopy(block.graph)
                    twin = next(n for n in graph.nodes if n.name == node.name)
                    twin.args = (*twin.args[:i], arg + (1 if type(arg) is int else 0.5), *twin.args[i + 1 :])
                    yield f"{block.name}.{node.name}", _with(program, block, graph=graph)


ARITHMETIC = frozenset({"mul", "add", "sub", "div", "clamp", "gt", "lt", "ge", "le"})


def wrong_weight(program: Program) -> Wrong:
    """A stale weight (an earlier, slightly different one), and two weights of one shape in each other's place"""
    for name, weight in program.weights.items():
        if weight.is_floating_point() and weight.numel():
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)).to(weight)
            size = float(weight.detach().abs().mean()) or 1.0
            yield f"{name} stale", replace(program, weights={**program.weights, name: weight.detach() + 0.2 * size * noise})
    shapes: dict[tuple[Any, ...], list[str]] = {}
    for name, weight in program.weights.items():
        shapes.setdefault((weight.dtype, *weight.shape), []).append(name)
    for names in shapes.values():
        for a, b in zip(names, names[1:]):
            if not torch.equal(program.weights[a], program.weights[b]):
                yield f"{a} and {b} swapped", replace(program, weights={**program.weights, a: program.weights[b], b: program.weights[a]})


def wrong_output(program: Program) -> Wrong:
    """return (a, b) → return (b, a); a constant leaf changed; a list or tuple in the other's place"""
    for block in program.blocks:
        exit = block.flow.exit
        if isinstance(exit, Return):
            for where, tree in _wrong_trees(exit.tree, types(program)):
                yield f"{block.name} {where}", _with(program, block, exit=msgspec.structs.replace(exit, tree=tree))


def _wrong_trees(tree: Tree, known: Mapping[str, ValueType]) -> Iterator[tuple[str, Tree]]:
    match tree:
        case Leaf(Lit() as constant) if isinstance(constant.python, (int, float)):
            yield "constant", Leaf(lit(not constant.python if isinstance(constant.python, bool) else constant.python + 1))
        case ListTree() | TupleTree() | DictTree() | RecordTree():
            for i, j in itertools.combinations(range(len(tree.items)), 2):
                if tree.items[i] != tree.items[j]:
                    items = list(tree.items)
                    items[i], items[j] = items[j], items[i]
                    yield f"order {i},{j}", msgspec.structs.replace(tree, items=tuple(items))
            if isinstance(tree, (ListTree, TupleTree)):
                yield "container", (TupleTree if isinstance(tree, ListTree) else ListTree)(tree.items)
            for i, item in enumerate(tree.items):
                for where, wrong in _wrong_trees(item, known):
                    yield f"[{i}] {where}", msgspec.structs.replace(tree, items=(*tree.items[:i], wrong, *tree.items[i + 1 :]))
        case _:
            return


def wrong_edge(program: Program) -> Wrong:
    """goto b(x, y) → goto b(y, x), and constants among the arguments changed"""
    known = types(program)

    def kind(operand: Operand) -> Any:
        return known[operand.name] if isinstance(operand, Ref) else type(operand.python)

    for block in program.blocks:
        for at, edge in enumerate(edges(block.flow.exit)):
            for i, j in itertools.combinations(range(len(edge.args)), 2):
                if kind(edge.args[i]) == kind(edge.args[j]) and edge.args[i] != edge.args[j]:
                    args = list(edge.args)
                    args[i], args[j] = args[j], args[i]
                    yield (
                        f"{block.name} edge {at} order {i},{j}",
                        _with(program, block, exit=_with_edge(block.flow.exit, at, Edge(edge.target, tuple(args)))),
                    )
            for i, arg in enumerate(edge.args):
                if isinstance(arg, Lit) and type(arg.python) in (int, float):
                    args = (*edge.args[:i], lit(arg.python + 1), *edge.args[i + 1 :])  # type: ignore[operator]
                    yield (
                        f"{block.name} edge {at} constant {i}",
                        _with(program, block, exit=_with_edge(block.flow.exit, at, Edge(edge.target, args))),
                    )


def _with_edge(exit: Exit, at: int, edge: Edge) -> Exit:
    match exit:
        case Jump():
            return Jump(edge)
        case Branch():
            return msgspec.structs.replace(exit, **{"then" if at == 0 else "orelse": edge})
        case Switch() if at < len(exit.cases):
            cases = (*exit.cases[:at], (exit.cases[at][0], edge), *exit.cases[at + 1 :])
            return msgspec.structs.replace(exit, cases=cases)
        case Switch():
            return msgspec.structs.replace(exit, default=edge)
        case _:
            raise AssertionError(exit)


def lost_effect(program: Program) -> Wrong:
    """A write to state forgotten; an in-place operation done on a copy"""
    for block in program.blocks:
        exit = block.flow.exit
        if isinstance(exit, (Return, Raise)):
            for i, write in enumerate(exit.writes):
                yield (
                    f"{block.name} {write.slot}",
                    _with(program, block, exit=msgspec.structs.replace(exit, writes=(*exit.writes[:i], *exit.writes[i + 1 :]))),
                )
        for name in block.flow.mutates:
            graph = _on_copy(block, name)
            yield f"{block.name} {name}", _with(program, block, graph=graph, mutates=tuple(m for m in block.flow.mutates if m != name))


def _on_copy(block: Block, name: str) -> Graph:
    """The graph with the input or weight `name` cloned before anything writes it."""
    graph = copy.deepcopy(block.graph)
    placeholders = list(graph.find_nodes(op="placeholder"))
    node = (
        placeholders[block.flow.inputs.index(name)]
        if name in block.flow.inputs
        else next(n for n in graph.nodes if n.op == "get_attr" and n.target == name)
    )
    after = node if node.op == "get_attr" else placeholders[-1]
    with graph.inserting_after(after):
        clone = graph.call_function(torch.ops.aten.clone.default, (node,))
    clone.meta |= node.meta
    node.replace_all_uses_with(clone, delete_user_cb=lambda user: user is not clone)
    return graph


KINDS: Mapping[str, Callable[[Program], Wrong]] = {
    "swapped branch": swapped_branch,
    "inverted predicate": inverted_predicate,
    "constant predicate": constant_predicate,
    "shifted predicate": shifted_predicate,
    "swapped cases": swapped_cases,
    "off by one": off_by_one,
    "dropped block": dropped_block,
    "changed constant": changed_constant,
    "wrong weight": wrong_weight,
    "wrong output": wrong_output,
    "wrong edge": wrong_edge,
    "lost effect": lost_effect,
}
