"""dynamic_shapes in all of torch.export's forms, read against the example call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dync.errors import UsageError

OPEN = 2**31
"""Upper bounds from here on are none."""


@dataclass(frozen=True)
class Size:
    """A dynamic size: `name` within low..high, or, where `of` is given, `of(size of name)`, written as `text`."""

    name: str
    low: int = 0
    high: int | None = None
    of: Callable[[Any], Any] | None = None
    text: str = ""
    auto: bool = False
    """Whether it may turn out to be fixed."""


def read_dims(tensors: Mapping[str, torch.Tensor], bound: Mapping[str, Any], shapes: Any) -> dict[str, list[Size | None]]:
    """For each tensor, by its key in `tensors`, one entry per dimension: None for a fixed size.

    bound: the example's arguments by name. shapes: a dict by argument name, a sequence in the order of the arguments, or an object of
    torch.export that makes one; per tensor a dict or sequence of Dim, Dim.AUTO, DYNAMIC or STATIC, "name", "name=1..64", int or None;
    lists, tuples, dicts and dataclasses of tensors nest. Raises UsageError that says what does not fit, and where.
    """
    if isinstance(shapes, Sequence) and not isinstance(shapes, str):
        if len(shapes) > len(bound):
            raise UsageError(f"dynamic_shapes has {len(shapes)} entries, the example {len(bound)} arguments ({', '.join(bound)})")
        shapes = dict(zip(bound, shapes))
    if not isinstance(shapes, dict):
        raise UsageError(f"dynamic_shapes is a {type(shapes).__name__}, not a dict by argument name or a sequence")
    unknown = [n for n in shapes if n not in bound]
    if unknown:
        raise UsageError(f"dynamic_shapes names {unknown[0]!r}, which is no argument of the example ({', '.join(bound)})")
    reader = _Reader(tensors)
    for name, part in shapes.items():
        reader.walk(bound[name], part, name)
    reader.check()
    return reader.dims


class _Reader:
    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.tensors = tensors
        self.dims: dict[str, list[Size | None]] = {}
        self.found: list[tuple[Size, int, str]] = []
        self.unnamed = 0

    def walk(self, x: Any, shapes: Any, where: str) -> None:
        if shapes is None:
            return
        if isinstance(x, torch.Tensor):
            self.tensor(x, shapes, where)
        elif isinstance(x, (list, tuple)) and not hasattr(x, "_fields"):
            if not isinstance(shapes, (list, tuple)) or len(shapes) != len(x):
                raise UsageError(f"dynamic_shapes: {where} is a {type(x).__name__} of {len(x)} in the example, not {_short(shapes)}")
            for i, part in enumerate(shapes):
                self.walk(x[i], part, f"{where}[{i}]")
        elif isinstance(x, dict) or hasattr(x, "__dict__") or hasattr(x, "_fields"):
            named: Any = x
            inner = x if isinstance(x, dict) else named._asdict() if hasattr(x, "_fields") else vars(x)
            parts = shapes if isinstance(shapes, dict) else dict(zip(inner, shapes)) if isinstance(shapes, (list, tuple)) else None
            if parts is None or not set(parts) <= set(inner):
                raise UsageError(f"dynamic_shapes: {where} holds {', '.join(map(str, inner))} in the example, not {_short(shapes)}")
            for key, part in parts.items():
                self.walk(inner[key], part, f"{where}[{key!r}]")
        elif isinstance(shapes, (dict, list, tuple)) and not len(shapes):
            return
        else:
            raise UsageError(f"dynamic_shapes: {where} is a {type(x).__name__} in the example, which has no dimensions: write None")

    def tensor(self, x: torch.Tensor, shapes: Any, where: str) -> None:
        if not isinstance(shapes, (dict, list, tuple)):
            raise UsageError(f"dynamic_shapes: {where} is a tensor of {x.dim()} dimensions, which {_short(shapes)} does not describe")
        name = next(n for n, t in self.tensors.items() if t is x)
        per: list[Size | None] = [None] * x.dim()
        for d, dim in shapes.items() if isinstance(shapes, dict) else enumerate(shapes):
            if not isinstance(d, int) or not -x.dim() <= d < x.dim():
                raise UsageError(f"dynamic_shapes: {where} has no dimension {d}")
            per[d] = self.size(dim, x.shape[d], f"{where}.shape[{d}]")
        self.dims[name] = per

    def size(self, dim: Any, size: int, where: str) -> Size | None:
        if dim is None or type(dim) is int:
            if type(dim) is int and dim != size:
                raise UsageError(f"dynamic_shapes: {where} is {size} in the example, not {dim}")
            return None
        if hasattr(dim, "root") and hasattr(dim, "fn"):
            made = Size(dim.root.__name__, *_range(dim.root), dim.fn, str(dim.__name__))
        elif isinstance(dim, str):
            made = _written(dim, where)
        elif hasattr(dim, "__name__") and hasattr(dim, "min"):
            made = Size(dim.__name__, *_range(dim))
        elif type(dim).__name__ == "_DimHint":
            if "STATIC" in repr(dim):
                return None
            self.unnamed += 1
            made = Size(f"D{self.unnamed}", *_range(dim), auto="AUTO" in repr(dim))
        else:
            raise UsageError(f"dynamic_shapes: {where} is {_short(dim)}; write a torch.export.Dim, Dim.AUTO, a name, a size or None")
        self.found.append((made, size, where))
        return made

    def check(self) -> None:
        """Raises UsageError where the example does not fit the sizes: ranges, one size for one name, derived sizes."""
        plain: dict[str, tuple[Size, int, str]] = {}
        for one, size, where in self.found:
            if one.of is not None:
                continue
            first = plain.setdefault(one.name, (one, size, where))
            if (first[0].low, first[0].high) != (one.low, one.high):
                raise UsageError(f"dynamic_shapes: {one.name} is {_text(first[0])} for {first[2]} and {_text(one)} for {where}")
            if first[1] != size:
                raise UsageError(f"dynamic_shapes: {one.name} is {first[1]} by {first[2]} in the example, and {size} by {where}")
            if size < one.low or one.high is not None and size > one.high:
                raise UsageError(f"dynamic_shapes: {where} is {size} in the example, outside {_text(one)}")
        for one, size, where in self.found:
            if one.of is None:
                continue
            if one.name not in plain:
                raise UsageError(f"dynamic_shapes: {where} is {one.text}, but no dimension is {one.name} itself")
            root = plain[one.name]
            if one.of(root[1]) != size:
                raise UsageError(f"dynamic_shapes: {where} is {size} in the example, but {one.text} is {one.of(root[1])} by {root[2]}")


def _range(dim: Any) -> tuple[int, int | None]:
    low, high = getattr(dim, "min", None), getattr(dim, "max", None)
    return 0 if low is None else int(low), None if high is None or high >= OPEN else int(high)


def _written(text: str, where: str) -> Size:
    found = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(?:=\s*(\d+)\s*\.\.\s*(\d*)\s*)?", text)
    if found is None:
        raise UsageError(f'dynamic_shapes: {where} is {text!r}; write a name, or "name=1..64"')
    return Size(found[1], int(found[2] or 0), int(found[3]) if found[3] else None)


def _text(size: Size) -> str:
    return f"{size.low}..{'' if size.high is None else size.high}"


def _short(x: Any) -> str:
    return f"{type(x).__name__} {x!r}"[:60]
