"""Tools for rewriting Programs: copies of graphs, new nodes with types, values replaced by others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from dync.ir.fakes import computed
from dync.ir.flow import (
    Branch,
    Decision,
    DictTree,
    Edge,
    Exit,
    FlowBlock,
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
    Write,
)
from dync.ir.program import Block, Program
from dync.ir.types import Lit, Operand, Ref, Span


def copy_graph(graph: Graph) -> Graph:
    """The same graph in new nodes, metadata included; it may be edited."""
    made = Graph()
    made.output(made.graph_copy(graph, {})).meta.update(graph.output_node().meta)
    return made


def append_graph(target: Graph, source: Graph, inputs: Mapping[Node, Any]) -> tuple[Any, ...]:
    """Copies `source`'s nodes in front of `target`'s output; `inputs` stand for its placeholders. Returns what stands for its outputs."""
    env: dict[Node, Any] = dict(inputs)
    with target.inserting_before(target.output_node()):
        for node in source.nodes:
            if node.op == "output":
                break
            if node not in env:
                made = target.create_node(
                    node.op, node.target, map_arg(node.args, env.__getitem__), map_arg(node.kwargs, env.__getitem__), node.name
                )
                made.meta = dict(node.meta)
                env[node] = made
    return tuple(env[o] if isinstance(o, Node) else o for o in source.output_node().args[0])  # type: ignore[union-attr]


def call(
    graph: Graph, target: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], like: Node, span: Span, why: str
) -> Node:
    """A new call at the graph's insertion point, of the shape of `like`.

    `span` is that of the node it was made from, `why` names the pass that makes it.
    """
    node = graph.call_function(target, args, dict(kwargs))
    node.meta["span"] = msgspec.structs.replace(span, why=why)
    node.meta["val"] = computed(target, args, kwargs, like.meta["val"])
    return node


def drop_results(block: Block, keep: Callable[[str], bool]) -> Block:
    """The block without the results that are not kept; the nodes behind them stay."""
    pairs = [(r, o) for r, o in zip(block.flow.results, block.outputs) if keep(r.name)]
    if len(pairs) == len(block.flow.results):
        return block
    graph = copy_graph(block.graph)
    by_name = {n.name: n for n in graph.nodes}
    graph.output_node().args = (tuple(by_name[o.name] if isinstance(o, Node) else o for _, o in pairs),)
    return replace(block, flow=msgspec.structs.replace(block.flow, results=tuple(r for r, _ in pairs)), graph=graph)


Replace = Callable[[Operand], Operand]


def replace_values(program: Program, values: Mapping[str, Operand]) -> Program:
    """The program with each named value's uses replaced by another operand; the definitions stay where they are.

    A result that only passes such a value on is replaced too, and dropped.
    """
    values = dict(values)
    dropped: set[str] = set()
    for block in program.blocks:
        passed = block.names
        for result, node in zip(block.flow.results, block.outputs):
            if passed.get(node) in values:  # type: ignore[arg-type]
                values[result.name] = values[passed[node]]  # type: ignore[index]
                dropped.add(result.name)

    def final(operand: Operand) -> Operand:
        while isinstance(operand, Ref) and operand.name in values:
            operand = values[operand.name]
        return operand

    return replace(program, blocks=tuple(_replace_in(drop_results(b, lambda n: n not in dropped), final) for b in program.blocks))


def _replace_in(block: Block, final: Replace) -> Block:
    flow = replace_operands(block.flow, final)
    named = {n: final(Ref(n)) for n in flow.inputs}
    if all(o == Ref(n) for n, o in named.items()):
        return block if flow == block.flow else replace(block, flow=flow)
    graph, first = copy_graph(block.graph), {}
    for node, name in zip(graph.find_nodes(op="placeholder"), flow.inputs, strict=True):
        operand = named[name]
        if isinstance(operand, Lit):
            node.replace_all_uses_with(operand.python)  # type: ignore[arg-type]
        elif operand.name in first:
            node.replace_all_uses_with(first[operand.name])
        else:
            first[operand.name], node.target = node, operand.name
            continue
        graph.erase_node(node)
    mutates = tuple(dict.fromkeys(o.name for m in flow.mutates if isinstance(o := named.get(m, Ref(m)), Ref)))
    return Block(msgspec.structs.replace(flow, inputs=tuple(first), mutates=mutates), graph)


def replace_operands(flow: FlowBlock, new: Replace) -> FlowBlock:
    """The flow block with every operand of its host operations and exit replaced."""
    host = tuple(HostOp(h.result, h.op, tuple(map(new, h.args)), h.span) for h in flow.host)
    return msgspec.structs.replace(flow, host=host, exit=replace_in_exit(flow.exit, new))


def replace_in_exit(exit: Exit, new: Replace) -> Exit:
    """The exit with every operand replaced."""
    change = msgspec.structs.replace
    match exit:
        case Jump():
            return Jump(_edge(exit.edge, new))
        case Branch():
            return Branch(new(exit.predicate), _edge(exit.then, new), _edge(exit.orelse, new), _decision(exit.decision, new))
        case Switch():
            default = exit.default and _edge(exit.default, new)
            return Switch(new(exit.index), tuple((n, _edge(e, new)) for n, e in exit.cases), _decision(exit.decision, new), default)
        case Return():
            return change(exit, tree=_tree(exit.tree, new), writes=_writes(exit.writes, new))
        case Raise():
            return change(exit, args=tuple(_tree(t, new) for t in exit.args), writes=_writes(exit.writes, new))


def _edge(edge: Edge, new: Replace) -> Edge:
    return Edge(edge.target, tuple(map(new, edge.args)))


def _decision(decision: Decision, new: Replace) -> Decision:
    left, right = (o if o is None else new(o) for o in (decision.left, decision.right))
    return Decision(decision.text, decision.span, left, right)


def _writes(writes: tuple[Write, ...], new: Replace) -> tuple[Write, ...]:
    return tuple(Write(w.slot, _tree(w.tree, new)) for w in writes)


def _tree(tree: Tree, new: Replace) -> Tree:
    match tree:
        case Leaf():
            return Leaf(new(tree.operand))
        case ListTree() | TupleTree() | DictTree() | RecordTree():
            return msgspec.structs.replace(tree, items=tuple(_tree(t, new) for t in tree.items))
        case _:
            return tree
