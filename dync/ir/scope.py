"""Where values are defined and seen: control-flow graph, dominators, definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dync.ir.flow import edges
from dync.ir.meta import symbol_names, values
from dync.ir.program import Block, Program
from dync.ir.types import Value, ValueType


@dataclass(frozen=True)
class Scope:
    """A program with what is known of its blocks. Blocks that are not reached dominate nothing and see only themselves."""

    program: Program

    @cached_property
    def blocks(self) -> dict[str, Block]:
        return {b.name: b for b in self.program.blocks}

    @cached_property
    def types(self) -> dict[str, ValueType]:
        return {v.name: v.type for v in values(self.program)}

    @cached_property
    def symbols(self) -> Mapping[Any, str]:
        return symbol_names(self.program)

    @cached_property
    def reached(self) -> frozenset[str]:
        """Names of the blocks that some way from the entry leads to."""
        found, todo = set(), [self.program.blocks[0].name]
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += [e.target for e in edges(self.blocks[name].flow.exit)]
        return frozenset(found)

    @cached_property
    def _parents(self) -> dict[str, str]:
        import networkx

        graph = networkx.DiGraph((b.name, e.target) for b in self.program.blocks for e in edges(b.flow.exit))
        entry = self.program.blocks[0].name
        graph.add_node(entry)
        return {k: v for k, v in networkx.immediate_dominators(graph, entry).items() if k != v and v is not None}

    def dominators(self, block: str) -> tuple[str, ...]:
        """The block itself and the blocks through which every way to it leads, nearest first."""
        chain = [block]
        while chain[-1] in self._parents:
            chain.append(self._parents[chain[-1]])
        return tuple(chain)

    @cached_property
    def entry_values(self) -> tuple[Value, ...]:
        p = self.program
        return (*(i.value for i in p.signature.inputs), *(r.value for r in p.signature.params), *(s.value for s in p.slots))

    def before(self, block: str) -> frozenset[str]:
        """Names that the block's kernel may read: entry values, its params, everything that its dominators define."""
        above = self.dominators(block)[1:]
        return frozenset(v.name for v in (*self.entry_values, *self.blocks[block].flow.params)) | {
            v.name for b in above for v in defined(self.blocks[b])
        }


def defined(block: Block) -> tuple[Value, ...]:
    """The values that a block binds: params, results, results of host operations."""
    return (*block.flow.params, *block.flow.results, *(h.result for h in block.flow.host))
