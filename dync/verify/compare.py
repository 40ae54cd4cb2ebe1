"""Whether two results are the same: exact structure and types, every leaf within a tolerance per dtype. NaN equals NaN.

    |expected - got| <= absolute * max(1, largest finite |expected| of the leaf) + ulp * eps(dtype) * |expected|

The absolute part is in units of the leaf's own scale, because rounding errors of sums follow the largest terms.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from dync.ir.classes import record_fields


@dataclass(frozen=True)
class Tolerance:
    """What a floating dtype may differ by: `ulp` units in the last place of the element, `absolute` of the leaf's scale."""

    ulp: float
    absolute: float


DEFAULTS: Mapping[str, Tolerance] = MappingProxyType(
    {
        "float64": Tolerance(4096, 1e-10),
        "float32": Tolerance(512, 1e-5),
        "float16": Tolerance(16, 2e-3),
        "bfloat16": Tolerance(8, 1e-2),
        "complex128": Tolerance(4096, 1e-10),
        "complex64": Tolerance(512, 1e-5),
    }
)
EPS = {name: torch.finfo(getattr(torch, name)).eps for name in DEFAULTS}
"""Largest acceptable relative step; all other dtypes are compared exactly."""


@dataclass(frozen=True)
class Tolerances:
    """Tolerance by dtype name; `atol` and `rtol`, where given, replace every dtype's own."""

    atol: float | None = None
    rtol: float | None = None
    table: Mapping[str, Tolerance] = field(default_factory=lambda: DEFAULTS)

    def of(self, dtype: str) -> tuple[float, float]:
        """(absolute, relative) of a floating dtype."""
        own = self.table[dtype]
        return (own.absolute if self.atol is None else self.atol, own.ulp * EPS[dtype] if self.rtol is None else self.rtol)


@dataclass(frozen=True)
class Difference:
    """One place where two results differ. `absolute` and `ulp` are the largest of the leaf, None where it is no number."""

    where: str
    what: str
    absolute: float | None = None
    ulp: float | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Error:
    """The largest error of a leaf that is within tolerance or not."""

    where: str
    absolute: float = 0.0
    ulp: float = 0.0
    dtype: str = ""

    def __str__(self) -> str:
        return f"{self.absolute:.3g} absolute, {self.ulp:.3g} ULP ({self.dtype} {self.where})" if self.dtype else "0"


NO_ERROR = Error("")


def worse(a: Error, b: Error) -> Error:
    """The one with more units in the last place."""
    return b if (b.ulp, b.absolute) > (a.ulp, a.absolute) else a


@dataclass(frozen=True)
class Comparison:
    """All differences, and the worst numeric error over all leaves."""

    differences: tuple[Difference, ...]
    worst: Error

    @property
    def same(self) -> bool:
        return not self.differences


def compare(expected: Any, got: Any, tolerances: Tolerances = Tolerances(), where: str = "result") -> Comparison:
    """Compares two trees; `where` is the root's name in messages."""
    differences: list[Difference] = []
    worst = NO_ERROR
    for found in _walk(expected, got, where, tolerances):
        if isinstance(found, Difference):
            differences.append(found)
        else:
            worst = worse(worst, found)
    return Comparison(tuple(differences), worst)


def class_name(value: Any) -> str:
    """Name of the value's class; classes rebuilt from an artifact keep it, but not their module."""
    return type(value).__qualname__.rpartition(".")[2]


def _walk(expected: Any, got: Any, where: str, tolerances: Tolerances) -> Iterator[Difference | Error]:
    if isinstance(expected, torch.Tensor) and isinstance(got, torch.Tensor):
        yield from _tensors(expected.detach(), got.detach(), where, tolerances)
    elif type(expected) is not type(got) and class_name(expected) != class_name(got):
        yield Difference(where, f"{class_name(expected)} {_brief(expected)} in eager, {class_name(got)} {_brief(got)} here")
    elif (fields := record_fields(expected)) is not None:
        yield from _records(fields, record_fields(got) or {}, where, tolerances)
    elif isinstance(expected, Mapping):
        yield from _mappings(expected, got, where, tolerances)
    elif isinstance(expected, deque) and expected.maxlen != got.maxlen:
        yield Difference(where, f"a `maxlen` of {expected.maxlen} in eager, of {got.maxlen} here")
    elif isinstance(expected, (list, tuple, deque)):
        if len(expected) != len(got):
            yield Difference(where, f"length {len(expected)} in eager, {len(got)} here")
        else:
            for i, (a, b) in enumerate(zip(expected, got)):
                yield from _walk(a, b, f"{where}[{i}]", tolerances)
    elif isinstance(expected, float):
        yield from _tensors(
            torch.tensor(expected, dtype=torch.float64), torch.tensor(got, dtype=torch.float64), where, tolerances, "float32"
        )
    elif hasattr(expected, "__array_interface__"):
        import numpy as np

        yield from _walk(torch.from_numpy(np.array(expected)), torch.from_numpy(np.array(got)), where, tolerances)
    elif expected is not got and (expected == got) is not True:
        yield Difference(where, f"{_brief(expected)} in eager, {_brief(got)} here")


def _records(expected: dict[str, Any], got: dict[str, Any], where: str, tolerances: Tolerances) -> Iterator[Difference | Error]:
    if expected.keys() != got.keys():
        yield Difference(where, f"fields {list(expected)} in eager, {list(got)} here")
        return
    for name, value in expected.items():
        yield from _walk(value, got[name], f"{where}.{name}", tolerances)


def _mappings(expected: Mapping[Any, Any], got: Mapping[Any, Any], where: str, tolerances: Tolerances) -> Iterator[Difference | Error]:
    if list(expected) != list(got):
        yield Difference(where, f"keys {list(expected)} in eager, {list(got)} here")
        return
    for key in expected:
        yield from _walk(expected[key], got[key], f"{where}[{key!r}]", tolerances)


def _tensors(
    expected: torch.Tensor, got: torch.Tensor, where: str, tolerances: Tolerances, precision: str = ""
) -> Iterator[Difference | Error]:
    for name, a, b in (
        ("dtype", expected.dtype, got.dtype),
        ("shape", tuple(expected.shape), tuple(got.shape)),
        ("device", expected.device.type, got.device.type),
    ):
        if a != b:
            yield Difference(where, f"{name} {a} in eager, {b} here")
            return
    dtype = precision or str(expected.dtype).removeprefix("torch.")
    if dtype not in EPS:
        wrong = (expected != got).sum().item() if expected.numel() else 0
        if wrong:
            yield Difference(where, f"{wrong} of {expected.numel()} {dtype} elements differ, {_first(expected, got, expected != got)}")
        return
    yield from _floats(expected, got, where, dtype, tolerances)


def _floats(expected: torch.Tensor, got: torch.Tensor, where: str, dtype: str, tolerances: Tolerances) -> Iterator[Difference | Error]:
    if not expected.numel():
        return
    wide = torch.complex128 if expected.is_complex() else torch.float64
    a, b = expected.to(wide), got.to(wide)
    same = (a == b) | (a.isnan() & b.isnan())
    finite = a.isfinite() & b.isfinite()
    error = torch.where(same, 0.0, torch.where(finite, (a - b).abs(), math.inf))
    size = torch.where(a.isfinite(), a.abs(), 0.0)
    scale = max(1.0, float(size.max()))
    absolute, relative = tolerances.of(dtype)
    bad = error > absolute * scale + relative * size
    steps = error / (EPS[dtype] * torch.maximum(size, torch.tensor(torch.finfo(getattr(torch, dtype)).tiny / EPS[dtype])))
    where_scaled = error / (EPS[dtype] * scale)
    found = Error(where, float(error.max()), float(torch.minimum(steps, where_scaled).max()), dtype)
    yield found
    if bad.any():
        size = f"{found.absolute:.3g} ({found.ulp:.3g} ULP)"
        what = f"{int(bad.sum())} of {bad.numel()} {dtype} elements differ by up to {size}, {_first(expected, got, bad)}"
        yield Difference(where, what, found.absolute, found.ulp)


def _first(expected: torch.Tensor, got: torch.Tensor, bad: torch.Tensor) -> str:
    index = tuple(bad.nonzero()[0].tolist())
    at = f"at {list(index)} " if index else ""
    return f"{at}{expected[index].item()!r} in eager, {got[index].item()!r} here"


def _brief(value: Any) -> str:
    """A value in a few words: tensors by type and shape."""
    match value:
        case torch.Tensor():
            return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        case dict():
            text = "{" + ", ".join(f"{k!r}: {_brief(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            text = "(" + ", ".join(map(_brief, value)) + ")"
        case _ if (fields := record_fields(value)) is not None:
            text = "(" + ", ".join(f"{n}={_brief(v)}" for n, v in fields.items()) + ")"
        case _:
            text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
