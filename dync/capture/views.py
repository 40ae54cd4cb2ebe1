"""Views of dicts whose keys are known only at run time, and walks over them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from dync.capture.lists import Grown, Walked
from dync.capture.tape import of_model


class View(Walked):
    """`d.keys()`, `d.values()` or `d.items()`: shows what the dict holds at any time."""

    __slots__ = ("of", "part")
    KIND = "dictionary"
    """What Python's error calls it that changes while it is walked."""

    def __init__(self, of: Any, part: str) -> None:
        self.of, self.part = of, part

    @property
    def length(self) -> Any:
        return self.of.length

    def sequence(self, kind: str = "list") -> Grown:
        return self.of.sequence(self.part, kind)

    def walk(self) -> Walk:
        return Walk(self)

    def at(self, index: Any) -> Any:
        item = self.sequence().at(index)
        if self.part != "values":
            key = item if self.part == "keys" else item[0]
            self.of.engine.surely(self.of.key_columns, self.of.parts(key))
        return item

    def __contains__(self, item: Any) -> bool:
        return item in (self.of if self.part == "keys" else self.sequence())

    def __len__(self) -> int:
        return len(self.of)

    def __bool__(self) -> bool:
        return bool(self.of)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.walk())

    def __eq__(self, other: object) -> Any:
        return self.of.refuse("a comparison")

    __hash__ = None  # type: ignore[assignment]


class Walk(Walked):
    """One walk over a view. A dict that changes its size meanwhile is an error, as in Python."""

    __slots__ = ("view", "begun", "n")

    def __init__(self, view: View) -> None:
        self.view, self.begun, self.n = view, tuple(view.of.key_columns), view.length

    @property
    def length(self) -> Any:
        of = self.view.of
        if all(a is b for a, b in zip(of.key_columns, self.begun, strict=True)):
            return self.n
        if of.length != self.n:
            raise of_model(RuntimeError(f"{self.view.KIND} changed size during iteration"))
        if not of.engine.is_longer(of.key_columns, list(self.begun)) and not self._same(of):
            of.engine.trap("a key is taken out and another put in while a dict is walked")
        return self.n

    def _same(self, of: Any) -> Any:
        equal = [of._do(torch.all, of._do(torch.eq, a, b)) for a, b in zip(of.key_columns, self.begun)]
        return all(of._do(torch.Tensor.item, e) for e in equal)

    def at(self, index: Any) -> Any:
        return self.view.at(index)

    def sequence(self, kind: str = "list") -> Grown:
        return self.view.sequence(kind)

    def steps(self, n: int) -> Iterator[Any]:
        """For a number of keys that is known at capture."""
        for i in range(n):
            assert self.length is not None
            yield self.at(i)
        assert self.length is not None

    def __iter__(self) -> Iterator[Any]:
        of = self.view.of
        n = of.engine.known_int(self.n)
        return of.refuse(f"walking its {self.view.part} here") if n is None else self.steps(n)

    __getitem__ = at
