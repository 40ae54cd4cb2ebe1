"""What is known before the run is computed now: scalars, sizes, decisions on constants, small tensors made of weights alone.

before                                          after
    %0 = aten.t(@w)                                 y = aten.mm(x, @w.t)
    y = aten.mm(x, %0)                              return y
    host p: bool = 3 > 2
    branch p ? b1() : b2()

A tensor is not folded when it leaves the block or is written: each run must make it anew. A view of a weight stays one, in the weight's
memory: matrix products round by how their operands lie.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import msgspec
import torch
from torch._ops import OpOverload
from torch.fx import Node
from torch.fx.node import map_arg

from dync.ir.effects import identity, is_pure, roots, written
from dync.ir.flow import Branch, Jump, Switch
from dync.ir.program import Block, Program
from dync.ir.rewrite import copy_graph, drop_results, replace_values
from dync.ir.scalars import EFFECTS, SCALAR_OPS
from dync.ir.text import digest
from dync.ir.types import Lit, Operand, lit
from dync.passes.base import Pass, PassResult
from dync.passes.graph.dead_code import DeadCode

_SCALAR_FUNCTIONS = {op.function for op in SCALAR_OPS.values()}


@dataclass(frozen=True)
class Fold(Pass):
    """Folds constants; `limit` is the most elements that a new constant tensor may have, where it does not replace a weight."""

    name: ClassVar[str] = "fold"
    limit: Annotated[int, msgspec.Meta(ge=0)] = 4096

    def apply(self, program: Program) -> PassResult:
        before, names = program, dict[str, str]()
        while (made := self._round(program, names)) is not program:
            program = made
        if program is not before:
            program = DeadCode().apply(program).program
        return PassResult(program, digest(program) != digest(before))

    def _round(self, program: Program, names: dict[str, str]) -> Program:
        weights = dict(program.weights)
        frozen = frozenset(weights) - frozenset(program.written_weights)
        blocks = tuple(_Graph(b, weights, frozen, self.limit, names).folded() for b in program.blocks)
        if any(a is not b for a, b in zip(blocks, program.blocks)):
            program = replace(program, blocks=blocks, weights=weights)
        known = _known_values(program)
        if known:
            program = _without_known(replace_values(program, known), frozenset(known))
        exits = tuple(_decided(b) for b in program.blocks)
        return program if all(a is b for a, b in zip(exits, program.blocks)) else replace(program, blocks=exits)


class _Graph:
    """Folds within one block; adds the tensors that it makes to `weights`, and their names, by the call that makes them, to `names`."""

    def __init__(
        self, block: Block, weights: dict[str, torch.Tensor], frozen: frozenset[str], limit: int, names: dict[str, str]
    ) -> None:
        self.block, self.weights, self.frozen, self.limit, self.names = block, weights, frozen | set(names.values()), limit, names
        self.graph = copy_graph(block.graph)
        self.reads = {str(n.target): n for n in self.graph.find_nodes(op="get_attr")}
        memory = roots(self.graph)
        outside = [*self.graph.output_node().all_input_nodes, *(w for n in self.graph.nodes for w in written(n))]
        self.kept = {r for n in outside for r in memory[n]}
        self.memory = memory

    def folded(self) -> Block:
        changed = False
        for node in list(self.graph.nodes):
            if node.op == "call_function" and node.users and is_pure(node):
                changed |= self._scalar(node) or self._tensor(node)
        return replace(self.block, graph=self.graph) if changed else self.block

    def _scalar(self, node: Node) -> bool:
        value = node.meta.get("val")
        if node.target in _SCALAR_FUNCTIONS and not node.all_input_nodes:
            value = _evaluate(node)
        elif node.target is not torch.ops.aten.sym_size.int:
            return False
        if not isinstance(value, (bool, int, float)) or isinstance(value, torch.Tensor):
            return False
        node.replace_all_uses_with(value)  # type: ignore[arg-type]
        self.graph.erase_node(node)
        return True

    def _tensor(self, node: Node) -> bool:
        fake = node.meta.get("val")
        if not isinstance(fake, torch.Tensor) or not isinstance(node.target, OpOverload) or self.memory[node] & self.kept:
            return False
        sources = node.all_input_nodes
        if not all(n.op == "get_attr" and n.target in self.frozen for n in sources):
            return False
        if not self._worth(fake, sources) or fake.device.type == "meta":
            return False
        call = str((node.target, map_arg((node.args, node.kwargs), lambda n: str(n.target))))
        name = self.names.get(call)
        if name is None:
            with torch.no_grad():
                value = node.target(*self._real(node.args), **self._real(node.kwargs))
            name = self._stored(value) or self._name(node, sources)
            if name in self.weights and name not in self.frozen:
                return False
            self.names[call] = name
            self.weights.setdefault(name, value)
        made = self._read(name, node)
        node.replace_all_uses_with(made)
        self.graph.erase_node(node)
        self.frozen |= {name}
        return True

    def _read(self, name: str, node: Node) -> Node:
        """What reads a weight, in front of a node that has the weight's value."""
        if name in self.reads:
            if node < self.reads[name]:
                node.prepend(self.reads[name])
            return self.reads[name]
        with self.graph.inserting_before(node):
            made = self.reads[name] = self.graph.create_node("get_attr", name)
        made.meta = dict(node.meta)
        self.memory[made] = frozenset((made,))
        return made

    def _stored(self, value: torch.Tensor) -> str | None:
        """The weight that a tensor is, as where a view of a weight shows all of it."""
        place = identity(value) if value.layout == torch.strided else None
        return next((n for n, w in self.weights.items() if w.layout == torch.strided and identity(w) == place), None)

    def _worth(self, fake: torch.Tensor, sources: list[Node]) -> bool:
        static = all(isinstance(n, int) for n in fake.shape)
        return bool(sources) and static and fake.numel() <= self.limit

    def _real(self, value: Any) -> Any:
        return map_arg(value, lambda n: self.weights[str(n.target)])

    def _name(self, node: Node, sources: list[Node]) -> str:
        stem = f"{sources[0].target}.{node.target._opname}"  # type: ignore[union-attr]
        return next(n for i in range(len(self.weights) + 1) if (n := f"{stem}{i or ''}") not in self.weights)


def _evaluate(node: Node) -> Any:
    try:
        return node.target(*node.args, **node.kwargs)  # type: ignore[operator]
    except (ArithmeticError, ValueError, TypeError):
        return None  # fails at run time, where the model does


def _known_values(program: Program) -> dict[str, Operand]:
    """Host results of constants alone, and kernel results that are constants."""
    known: dict[str, Operand] = {}
    for block in program.blocks:
        for op in block.flow.host:
            args = [known.get(getattr(a, "name", ""), a) for a in op.args]
            if op.op not in EFFECTS and all(isinstance(a, Lit) for a in args):
                try:
                    known[op.result.name] = lit(SCALAR_OPS[op.op].function(*(a.python for a in args)))  # type: ignore[union-attr]
                except (ArithmeticError, ValueError, TypeError):
                    continue  # raises at run time, as the model does
        for result, value in zip(block.flow.results, block.outputs):
            if not isinstance(value, Node):
                known[result.name] = lit(value)  # type: ignore[arg-type]
    return known


def _without_known(program: Program, known: frozenset[str]) -> Program:
    def strip(block: Block) -> Block:
        host = tuple(h for h in block.flow.host if h.result.name not in known)
        block = block if host == block.flow.host else replace(block, flow=msgspec.structs.replace(block.flow, host=host))
        return drop_results(block, lambda n: n not in known)

    return replace(program, blocks=tuple(map(strip, program.blocks)))


def _decided(block: Block) -> Block:
    """The block with a jump where its exit decides on a constant."""
    match block.flow.exit:
        case Branch(predicate=Lit() as constant, then=then, orelse=orelse):
            edge = then if constant.python else orelse
        case Switch(index=Lit() as constant, cases=cases, default=default):
            edge = dict(cases).get(constant.python, default)  # type: ignore[arg-type]
        case _:
            return block
    return block if edge is None else replace(block, flow=msgspec.structs.replace(block.flow, exit=Jump(edge)))
