"""How a product is cut: tiles of rows x vectors that fit the registers, chunks of them and blocks of the reduction that fit a cache."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from tvm import tirx

from dync.backends.tvm.schedule.loops import Expr, constant, index
from dync.backends.tvm.schedule.machine import Machine

CACHE = 1 << 19
"""Bytes of the left side of a product that may be read again for each group of columns: a part of a core's own cache."""
DEPTH = 768
"""Steps of a block of the reduction: enough that sums are not often stored and loaded again."""


@dataclass(frozen=True)
class Rows:
    """Tiles of `size` rows from `start`, one after the other, `count` of them; in `edge` ones some taps reach outside. before: how
    many tiles there are before them."""

    start: Expr | int
    size: int
    count: Expr | int = 1
    edge: bool = False
    when: Expr | None = None
    before: Expr | int = 0


@dataclass(frozen=True)
class Columns:
    """Tiles of `vectors` x `lanes` columns from `start`, `count` of them."""

    start: Expr | int
    vectors: int
    lanes: int
    count: Expr | int = 1


@dataclass(frozen=True)
class Blocks:
    """A product taken `count` blocks of at most `step` steps of its reduction one after the other, and `tiles` tiles of rows at a time."""

    count: int
    step: int
    tiles: int


def blocks(rows: int | None, depth: int, size: int, width: int) -> Blocks:
    """For tiles of `size` rows; width: bytes of an element. Of dynamically many rows, 64 are thought of."""
    most = CACHE // width
    count = 1 if depth <= 2 * DEPTH or (rows or 64) * depth <= most else -(-depth // DEPTH)
    step = -(-depth // count)
    return Blocks(count, step, max(4, most // (step * size)))


def chunks(tiles: list[Rows], most: int) -> tuple[Expr | int, Callable[[Expr], list[Rows]]]:
    """How many chunks of at most `most` full tiles there are, and the tiles of each; what is no full tile belongs to the last."""
    if not tiles or tiles[0].edge:
        return 1, lambda _: tiles
    first, *rest = tiles
    full = constant(first.count)
    if full is not None:
        count = -(-full // most)
        most = -(-full // count)
    else:
        count = tirx.max(tirx.floordiv(first.count + (most - 1), most), 1)
    whole: Any = count
    if constant(count) == 1:
        return 1, lambda _: tiles

    def chunk(c: Expr) -> list[Rows]:
        here = tirx.min(first.count - c * most, index(most))
        last = c == whole - 1
        others = [replace(r, when=last if r.when is None else tirx.all(last, r.when), before=here) for r in rest]
        return [replace(first, start=first.start + c * (most * first.size), count=here), *others]

    return count, chunk


@cache
def shape(rows: int | None, vectors: int | None, machine: Machine) -> tuple[int, int]:
    """Rows and vectors of a tile: the fewest cycles of a core that does two multiplications and two loads a cycle, four deep."""
    registers = machine.registers
    best, fewest = (1, 1), float("inf")
    for v in range(1, min(vectors or 4, 8) + 1):
        for r in range(1, min(rows or 16, 16) + 1):
            if r * v + v + 1 > registers - (registers > 16):
                continue
            cost = _cycles(rows or 64 * r, r, lambda n, v=v: _column_cycles(vectors or 64 * v, v, n, machine))
            per = cost / ((rows or 64 * r) * (vectors or 64 * v))
            if per < fewest - 1e-9:
                best, fewest = (r, v), per
    return best


def _cycles(rows: int, size: int, columns: Callable[[int], float]) -> float:
    full, rest = divmod(rows, size)
    return full * columns(size) + (columns(rest) if rest else 0)


def _column_cycles(vectors: int, size: int, rows: int, machine: Machine) -> float:
    full, rest = divmod(vectors, size)
    return full * _tile_cycles(rows, size, machine) + (_tile_cycles(rows, rest, machine) if rest else 0)


def _tile_cycles(rows: int, vectors: int, machine: Machine) -> float:
    """Cycles of one step of the reduction: a number of each row and `vectors` are loaded, and two lines asked for."""
    loads = (rows + vectors + 2 * machine.asks) / 2
    fed = vectors * machine.bits / 8 / machine.feed + rows / 4
    return max(rows * vectors / 2, loads, 4.0, fed) + 0.02 * (rows + vectors)


def static_rows(count: int, size: int, low: int, high: int) -> list[Rows]:
    """Tiles over `count` rows, of which those in [low, high) need no look at edges."""
    tiles: list[Rows] = []
    for start in range(0, count, size):
        this = min(size, count - start)
        edge = start < low or start + this > high
        last = tiles[-1] if tiles else None
        if last and not edge and not last.edge and last.size == this:
            tiles[-1] = replace(last, count=int(last.count) + 1)
        else:
            tiles.append(Rows(start, this, 1, edge, before=start // size))
    return tiles


def dynamic_rows(extent: Expr, size: int) -> Iterator[Rows]:
    """Full tiles, then what is left in pieces of 8, 4, 2 and 1."""
    rest = tirx.floormod(extent, size)
    start, full = extent - rest, tirx.floordiv(extent, size)
    yield Rows(index(0), size, full)
    for piece in (8, 4, 2, 1):
        if piece < size:
            taken = tirx.floormod(tirx.floordiv(rest, piece), 2)
            yield Rows(start, piece, 1, when=taken > 0, before=full)
            start = start + taken * piece


def columns_of(extent: Expr, vectors: int, lanes: int) -> list[Columns]:
    """Full tiles, a tile of the vectors left, and one of the lanes left."""
    known = constant(extent)
    if known is None:
        full = tirx.floordiv(extent, vectors * lanes)
        start = full * (vectors * lanes)
        return [Columns(index(0), vectors, lanes, full), Columns(start, 1, 1, extent - start)]
    full, left = divmod(known // lanes, vectors)
    found = [Columns(0, vectors, lanes, full)] if full else []
    if left:
        found.append(Columns(full * vectors * lanes, left, lanes))
    if known % lanes:
        found.append(Columns(known // lanes * lanes, 1, known % lanes))
    return found
