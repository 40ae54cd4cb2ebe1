"""Packed weights on their way from memory: while a group of columns is computed, the panels of the next group are asked for.

A product by weights reads each of them once a call, so that they come from the cache that all cores share, or from memory. Asked for
one after the other, they take a third of the time of a product of 128 rows. Each tile of rows therefore asks for its share of the
panels that the next columns read, a little in each step of the reduction.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import tirx
from tvm.ir import Var

from dync.backends.tvm.schedule import loops
from dync.backends.tvm.schedule.loops import Expr, Stmt, constant, index
from dync.backends.tvm.schedule.tiles import Blocks

SMALLEST = 1 << 17
"""Bytes of weights under which they stay in the cache of one core from call to call."""
MOST_TILES = 64
"""Tiles of rows that read the same panels, from which on it does not matter how the first one gets them."""


@dataclass(frozen=True, eq=False)
class Ask:
    """What one tile asks for: from each of `starts`, in elements of the weights, `step` more at each step of the reduction."""

    weights: Var
    starts: tuple[Var, ...]
    step: Expr

    def at(self, k: Expr) -> list[Stmt]:
        places = [[*[index(0)] * (len(self.weights.shape) - 1), start + k * self.step] for start in self.starts]
        return [tirx.Evaluate(tirx.call_intrin("void", "tirx.prefetch", tirx.address_of(self.weights[*p]), 0, 2, 1)) for p in places]


@dataclass(frozen=True, eq=False)
class Stream:
    """Panels [panels, ..., lanes] of weights, `depth` steps of the reduction in each."""

    weights: Var
    panels: int
    depth: int
    lanes: int

    @staticmethod
    def of(weights: Var) -> Stream | None:
        """None where they are too few."""
        shape = [constant(s) for s in weights.shape]
        if None in shape:
            return None
        depth = loops.product(shape[1:-1])
        small = loops.product(shape) * tvm.DataType(str(weights.dtype)).bits // 8 < SMALLEST
        return None if small else Stream(weights, shape[0], depth, shape[-1])

    def ask(
        self, panel: Expr, vectors: int, visit: Expr | int, visits: Expr | int, block: Expr, blocks: Blocks
    ) -> tuple[list[Stmt], Ask] | None:
        """For a tile of `vectors` panels from `panel` on in a block of the reduction, the one numbered `visit` of `visits`: what to bind
        before, and the asking."""
        known = constant(visits)
        if known is not None and known > MOST_TILES:
            return None
        steps = blocks.step if blocks.count > 1 else self.depth
        many = index(visits) if isinstance(visits, int) else visits
        step, share = Var("step", loops.INDEX), Var("share", loops.INDEX)
        first = visit * tirx.floordiv(index(steps * self.lanes), many)
        bound = [tirx.Bind(step, tirx.floordiv(many + (self.lanes - 1), many)), tirx.Bind(share, first)]
        starts = []
        for v in range(vectors):
            after = panel + (vectors + v)
            turn = tirx.floormod(block + tirx.floordiv(after, self.panels), blocks.count)  # after the last panel, the next block
            start = Var("start", loops.INDEX)
            place = (tirx.floormod(after, self.panels) * self.depth + turn * steps) * self.lanes
            bound.append(tirx.Bind(start, place + share))
            starts.append(start)
        return bound, Ask(self.weights, tuple(starts), step)
