"""What a graph node writes, what it may alias, whether it is pure: all read from operator schemas."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Graph, Node

HIDDEN_WRITES = ("aten::native_batch_norm", "aten::cudnn_batch_norm", "aten::miopen_batch_norm")
"""Write running_mean and running_var when training, though their schemas do not say so."""


_HIDDEN_VIEWS = frozenset({"aten::_unsafe_view", "aten::unsafe_split", "aten::unsafe_split_with_sizes", "aten::unsafe_chunk"})
"""Give views of their first argument, though their schemas do not say so."""


def identity(t: torch.Tensor) -> tuple[Any, ...]:
    """Equal for strided tensors over the same memory in the same form: tied weights."""
    return (t.untyped_storage()._cdata, t.storage_offset(), tuple(t.shape), t.stride(), t.dtype)


def written(node: Node) -> tuple[Node, ...]:
    """The argument nodes that `node` writes in place."""
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return ()
    found = [v for a, v in arguments(node) if a.alias_info is not None and a.alias_info.is_write]
    if node.target._schema.name in HIDDEN_WRITES:
        named = {a.name: v for a, v in arguments(node)}
        found += [named.get("running_mean"), named.get("running_var")] if named["training"] else []
    return tuple(n for value in found for n in nodes_in(value))


def arguments(node: Node) -> Iterator[tuple[torch._C.Argument, Any]]:
    """The schema's arguments that are given, each with its value."""
    assert isinstance(node.target, OpOverload)
    for i, argument in enumerate(node.target._schema.arguments):
        if i < len(node.args):
            yield argument, node.args[i]
        elif argument.name in node.kwargs:
            yield argument, node.kwargs[argument.name]


def nodes_in(value: Any) -> tuple[Node, ...]:
    """The nodes of an argument, lists included."""
    if isinstance(value, Node):
        return (value,)
    return tuple(n for v in value for n in nodes_in(v)) if isinstance(value, (list, tuple)) else ()


def aliased(node: Node) -> tuple[Node, ...]:
    """The argument nodes whose memory the node's result may share: views, in-place results, getitem."""
    if node.op != "call_function":
        return ()
    if node.target is operator.getitem:
        return nodes_in(node.args[0])
    if not isinstance(node.target, OpOverload):
        return ()
    if node.target._schema.name in _HIDDEN_VIEWS:
        return nodes_in(node.args[0])
    returned = {s for r in node.target._schema.returns if r.alias_info for s in r.alias_info.before_set | r.alias_info.after_set}
    shares = [
        v
        for a, v in arguments(node)
        if a.alias_info is not None and ("*" in a.alias_info.after_set or returned & (a.alias_info.before_set | a.alias_info.after_set))
    ]
    return tuple(n for value in shares for n in nodes_in(value))


def roots(graph: Graph) -> dict[Node, frozenset[Node]]:
    """For each node, the nodes whose memory it may be: itself where it is new, else the roots of what it aliases.

    Reads of one weight are one memory (that of the first read), and so are the same item of one operation's results.
    """
    found: dict[Node, frozenset[Node]] = {}
    first: dict[Any, Node] = {}
    for node in graph.nodes:
        shared = aliased(node)
        if node.target is operator.getitem and not aliased(shared[0]):
            shared = ()
        if shared:
            found[node] = frozenset().union(*(found[n] for n in shared))
        elif node.op == "get_attr" or node.target is operator.getitem:
            found[node] = frozenset((first.setdefault((node.op, node.target, node.args), node),))
        else:
            found[node] = frozenset((node,))
    return found


def mutated(graph: Graph) -> tuple[Node, ...]:
    """The placeholders and get_attr nodes whose memory the graph may write, in order of first write."""
    memory = roots(graph)
    return tuple(
        dict.fromkeys(
            r
            for node in graph.nodes
            for target in written(node)
            for r in sorted(memory[target], key=str)
            if r.op in ("placeholder", "get_attr")
        )
    )


def is_random(node: Node) -> bool:
    """Whether the node draws from a random generator."""
    return isinstance(node.target, OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags


def is_pure(node: Node) -> bool:
    """Whether nothing is lost when the node's result is not used: no write, no random draw, no check, and it has a result."""
    if node.op in ("placeholder", "output"):
        return False
    if not isinstance(node.target, OpOverload):
        return True
    return not written(node) and not is_random(node) and bool(node.target._schema.returns) and not node.target._schema.is_mutable
