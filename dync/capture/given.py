"""The containers among the arguments: what a call writes into them is given back with the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dync.capture.heap import StaticHeap
from dync.capture.outputs import tree_of
from dync.ir.flow import Tree


class GivenContainers:
    """Those of one attempt. They are part of the static heap, so that a place in one of them is written and joined as any other."""

    def __init__(self, heap: StaticHeap, places: list[tuple[int, Any]]) -> None:
        self.heap, self.places = heap, places

    def put(self, containers: Mapping[str, Any]) -> None:
        """Takes those of a new attempt, by path. No code writes a tuple."""
        self.heap.give({path: x for path, x in containers.items() if not isinstance(x, tuple)})

    @property
    def written(self) -> list[int]:
        """Numbers of the containers that some path writes."""
        return sorted({n for n, _ in self.places if n >= self.heap.own})

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self.heap.names[n] for n in self.written)

    def path(self, x: Any) -> str | None:
        """Where a container of the caller's stands."""
        n = self.heap.index.get(id(x), -1)
        return self.heap.names[n] if n >= self.heap.own else None

    def returned(self, x: Any) -> str | None:
        """As `path`, of a container that some path writes or writes into; of another the caller gets a copy."""
        path = self.path(x)
        return path if path is not None and any(w == path or w.startswith((path + ".", path + "[")) for w in self.paths) else None

    def parts(self, leaf: Callable[[Any, str], Any]) -> tuple[Tree, ...]:
        """What the written containers hold now. Raises Unrepresentable."""
        made = []
        for n in self.written:
            own = self.heap.objects[n]
            made.append(tree_of(own, leaf, self.heap.names[n], given=lambda x, own=own: None if x is own else self.path(x)))
        return tuple(made)

    def changed(self) -> str | None:
        """The path of the first container that does not hold what it held when the call began."""
        return next((self.heap.names[n] for n, *_ in self.heap.changes() if n >= self.heap.own), None)
