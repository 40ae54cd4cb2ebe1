"""Globals, attributes of classes and what functions hold, where a program keeps such state: what eager calls find there, and leave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from dync.capture.heap import StaticHeap, entries, is_class_data, place_name
from dync.capture.reach import around
from dync.ir.clone import clone


class Outside:
    """What stands outside of the model under `names` of slots; a name of that kind has its module before a colon."""

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        self.names = sorted(n for n in names if ":" in n)
        if self.names:
            found = around(model)
            self.heap = StaticHeap([], found.homes, found.held)
            places = [v for held in self.heap.kept for _, v in held]
            own = {id(t) for t in (*model.parameters(), *model.buffers())}
            self.tensors = [(t, t.detach().clone()) for t in places if isinstance(t, torch.Tensor) and id(t) not in own]

    def values(self) -> Iterator[tuple[str, Any]]:
        """Each place with its name, as it is now."""
        if self.names:
            for n, x in enumerate(self.heap.objects):
                if any(self.heap.names[n] in (name, name.rpartition(".")[0], name.rpartition("[")[0]) for name in self.names):
                    yield from ((place_name(self.heap, n, key), v) for key, v in entries(x) if is_class_data(str(key[-1]), v))
                    if self.heap.names[n] in self.names:
                        yield self.heap.names[n], x

    def copied(self) -> dict[str, Any]:
        return {name: clone(value) for name, value in self.values()}

    def restore(self) -> None:
        """Puts all back to what stood there at first."""
        if self.names:
            self.heap.restore()
            with torch.no_grad():
                for tensor, value in self.tensors:
                    tensor.detach().copy_(value)
