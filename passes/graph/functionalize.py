"""In-place operations become functional ones: a write makes a new value, carried back through views into what they show.

before                                          after
    graph(x):                                       graph(x):
        %0 = aten.exp(x)                                %0 = aten.exp(x)
        %1 = aten.select.int(%0, 0, 1)                  %1 = aten.select.int(%0, 0, 1)
        %2 = aten.mul_.Tensor(%1, 2)                    %2 = aten.mul.Tensor(%1, 2)
        return [%0]                                     %3 = aten.select_scatter(%0, %2, 0, 1)
                                                        return [%3]

The rule is by schema: the functional variant of an operation that writes its arguments is the overload of the name
without its underscore with the same arguments. After torch.functionalization (PyTorch, aten/src/ATen/FunctionalTensorWrapper).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from dync.ir.effects import aliased, is_pure, roots, written
from dync.ir.rewrite import call
from dync.ir.types import UNKNOWN, Span
from dync.passes.graph.variants import functional_variant, new_values, resizes
from dync.passes.graph.views import MAYBE, RESHAPES, SAME, UNDO, Step, is_item, item_of


@dataclass(frozen=True)
class Functional:
    """A graph without writes, the given one's results first.

    copies: (input or weight, index of the result that holds its new value), to be copied back after a run.
    shared: (index of a result, input or weight written) where the two were one memory; as results they are apart.
    """

    graph: Graph
    copies: tuple[tuple[str, int], ...]
    shared: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Refused:
    """Why a graph cannot be made functional, and the line that it comes from."""

    reason: str
    span: Span = UNKNOWN


class _RefusedError(Exception):
    def __init__(self, reason: str, node: Node) -> None:
        self.refused = Refused(reason, node.meta.get("span", UNKNOWN))


def functionalize(graph: Graph) -> Functional | Refused:
    """The graph without in-place operations; as it is where it has none.

    Assumes that no two of its inputs share memory. Placeholders are named by their targets, as `copies` names them.
    """
    if not any(written(n) for n in graph.nodes):
        return Functional(graph, ())
    try:
        return _Functionalizer(graph).run()
    except _RefusedError as error:
        return error.refused


@dataclass(frozen=True)
class _Handle:
    """A tensor that is, or is a view of, written memory."""

    memory: Node
    steps: tuple[Step, ...]


class _Functionalizer:
    def __init__(self, graph: Graph) -> None:
        self.old, self.new = graph, Graph()
        self.memory = roots(graph)
        self.env: dict[Node, Any] = {}
        self.handles: dict[Node, _Handle] = {}
        self.objects: dict[Node, Node] = {}  # the node that made the tensor which an in-place operation gives back
        self.current: dict[Node, Node] = {}
        self.written: set[Node] = set()
        self.shown: dict[_Handle, Node] = {}  # what views show since their memory was written last
        self.last: dict[Node, int] = {}
        self.at = 0
        self.span = UNKNOWN
        for i, node in enumerate(graph.nodes):
            for target in written(node):
                self.last.update(dict.fromkeys(self.memory[target], i))

    def run(self) -> Functional:
        for at, node in enumerate(self.old.nodes):
            self.at, self.span = at, node.meta.get("span", UNKNOWN)
            if node.op == "output":
                return self._finish(node)
            self._step(node)
        raise AssertionError("graph without output")

    def _step(self, node: Node) -> None:
        if written(node):
            self._write(node)
        elif self._is_listed(node):
            pass  # its items are views of their own
        elif self._is_tracked(node):
            self.handles[node] = self._handle(node)
        else:
            self._copy(node)

    def _is_tracked(self, node: Node) -> bool:
        """Whether memory that the node may share is still going to be written, or was, and this is not just one more view of it."""
        again = not aliased(node) or self._is_new_item(node)
        return any(self.last.get(r, -1) > self.at or (again and r in self.written) for r in self.memory[node])

    def _is_new_item(self, node: Node) -> bool:
        return is_item(node) and not aliased(aliased(node)[0])

    def _is_listed(self, node: Node) -> bool:
        return isinstance(node.meta.get("val"), (list, tuple)) and bool(aliased(node)) and self._is_tracked(node)

    def _copy(self, node: Node) -> None:
        made = self.new.create_node(node.op, node.target, self._read(node.args), self._read(node.kwargs), node.name)
        made.meta = dict(node.meta)
        self.env[node] = made

    def _read(self, value: Any) -> Any:
        return map_arg(value, lambda n: self.env[n] if n in self.env and self._object(n) not in self.handles else self._value(self._of(n)))

    def _object(self, node: Node) -> Node:
        return self.objects.get(node, node)

    def _of(self, node: Node) -> _Handle:
        return self.handles[self._object(node)]

    def _emit(self, target: Callable[..., Any], *args: Any, like: Node, **kwargs: Any) -> Node:
        return call(self.new, target, args, kwargs, like, self.span, "functionalize")

    def _handle(self, node: Node) -> _Handle:
        """A handle on the node's memory: its own where it is new, else one step further than what it views."""
        if not aliased(node) or self._is_new_item(node):
            (memory,) = self.memory[node]
            if memory not in self.current:
                self._copy(node)
                self.current[memory] = self.env[node]
            return _Handle(memory, ())
        source, steps = self._view(node)
        if self._object(source) not in self.handles or len(self.memory[node]) > 1:
            raise _RefusedError(f"{node.target} may show one of several tensors, one of which is written later", node)
        seen = self._of(source)
        return _Handle(seen.memory, seen.steps + steps)

    def _view(self, node: Node) -> tuple[Node, tuple[Step, ...]]:
        if is_item(node):
            item = item_of(node)
            if item is None:
                raise _RefusedError(f"an item of {node.args[0].target} is or shares memory that is written", node)  # type: ignore[union-attr]
            source, target, args = item
            return source, (Step(target, self._read(args), {}, node),)
        target: Any = node.target
        if target in SAME:
            return aliased(node)[0], ()
        if target._opname in MAYBE:
            raise _RefusedError(f"{target} gives a view or a copy, and what it shows is written later", node)
        return aliased(node)[0], (Step(target, self._read(node.args[1:]), self._read(dict(node.kwargs)), node),)

    def _value(self, handle: _Handle) -> Node:
        """What the handle's views show now."""
        if not handle.steps:
            return self.current[handle.memory]
        if handle not in self.shown:
            step, source = handle.steps[-1], self._value(_Handle(handle.memory, handle.steps[:-1]))
            target = torch.ops.aten.reshape.default if step.target in RESHAPES else step.target
            self.shown[handle] = self._emit(target, source, *step.args, like=step.like, **step.kwargs)
        return self.shown[handle]

    def _write(self, node: Node) -> None:
        targets, variant = written(node), functional_variant(node)
        if torch.Tag.inplace_view in getattr(node.target, "tags", ()):
            return self._reshape_object(node, targets[0], variant)
        if variant is None:
            raise _RefusedError(f"{node.target} has no functional variant", node)
        for target in targets:
            if len(self.memory[target]) > 1:
                raise _RefusedError(f"{node.target} writes one of several tensors", node)
        if resizes(node):
            raise _RefusedError(f"{node.target} gives its out= another shape", node)
        made, values = new_values(self._emit, node, variant, self._read, [self._value(self._of(t)) for t in targets])
        for target, value in zip(targets, values, strict=True):
            self._store(self._of(target), value, node)
        if made is not None:
            self.env[node] = made
        else:
            self.objects[node] = self._object(targets[0])

    def _reshape_object(self, node: Node, target: Node, variant: Any) -> None:
        """An operation such as squeeze_: one tensor object becomes another view of its memory; other views stay as they are."""
        own, seen = self._object(target), self._of(target)
        if variant is None or not variant._schema.arguments[0].alias_info or own.op in ("placeholder", "get_attr"):
            raise _RefusedError(f"{node.target} changes the shape of a tensor in place", node)
        step = Step(variant, self._read(node.args[1:]), self._read(dict(node.kwargs)), node)
        self.handles[own] = seen if variant in SAME else _Handle(seen.memory, (*seen.steps, step))
        self.objects[node] = own

    def _store(self, handle: _Handle, value: Node, node: Node) -> None:
        """The handle's memory gets the value that shows `value` through the handle's views."""
        shown = {handle: value}
        for length in range(len(handle.steps), 0, -1):
            step, source = handle.steps[length - 1], _Handle(handle.memory, handle.steps[: length - 1])
            if step.target not in UNDO:
                raise _RefusedError(f"{node.target} writes through {step.target}", node)
            value = UNDO[step.target](self._emit, self._value(source), value, step)
            shown[source] = value
        self.shown = {h: v for h, v in self.shown.items() if h.memory is not handle.memory} | shown
        self.current[handle.memory] = value
        self.written.add(handle.memory)

    def _finish(self, output: Node) -> Functional:
        outside = {m: str(m.target) for m in self.current if m.op in ("placeholder", "get_attr") and m in self.written}
        old: Any = output.args[0]
        results = list(self._read(old))
        shared = tuple((i, outside[m]) for i, n in enumerate(old) if isinstance(n, Node) for m in self.memory[n] if m in outside)
        copies = tuple((name, len(results) + i) for i, name in enumerate(outside.values()))
        made = self.new.output((*results, *(self.current[m] for m in outside)))
        made.meta = dict(output.meta)
        for node in reversed(list(self.new.nodes)):
            if node.op == "call_function" and not node.users and is_pure(node):
                self.new.erase_node(node)
        return Functional(self.new, copies, shared)
