"""Types of values, and where things came from. Plain data: this file imports no torch.

    type    ::= tensor(dtype, shape, device) | scalar(kind) | object(python type)
    shape   ::= (dim, ...)          dim ::= int | "expression over symbols", e.g. "N", "2*N", "u3 + 1"
    operand ::= ref(value name) | lit(python constant)
"""

from __future__ import annotations

import math
from typing import Literal, Union

import msgspec


class Span(msgspec.Struct, frozen=True):
    """A place in the user's source; lines count from 1, columns from 0. `why` names the pass for made-up code."""

    file: str = "<unknown>"
    line: int = 0
    col: int = 0
    end_line: int = 0
    end_col: int = 0
    why: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col + 1}"


UNKNOWN = Span()

Dim = Union[int, str]


class TensorType(msgspec.Struct, frozen=True, tag="tensor"):
    """A tensor. dtype is torch's name without "torch." ("float32", "int64", "bool"); symbols in shape are sizes >= 0."""

    dtype: str
    shape: tuple[Dim, ...]
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


class ScalarType(msgspec.Struct, frozen=True, tag="scalar"):
    """A Python number whose value is known only at run time: int is 64-bit, float is double precision."""

    kind: Literal["int", "float", "bool"]

    def __str__(self) -> str:
        return self.kind


class ObjectType(msgspec.Struct, frozen=True, tag="object"):
    """An opaque Python object that only host operations touch, such as a list that grows inside a rolled loop."""

    kind: str

    def __str__(self) -> str:
        return f"object<{self.kind}>"


ValueType = Union[TensorType, ScalarType, ObjectType]


class Value(msgspec.Struct, frozen=True):
    """A named value. Names are Python identifiers, unique in a Program (static single assignment)."""

    name: str
    type: ValueType
    span: Span = UNKNOWN


class Ref(msgspec.Struct, frozen=True, tag="ref"):
    """A use of a value by name."""

    name: str

    def __str__(self) -> str:
        return self.name


class Lit(msgspec.Struct, frozen=True, tag="lit"):
    """A Python constant: None, bool, int, float or str. Build with `lit`, read with `.python`: JSON has no inf or nan."""

    value: Union[bool, int, float, str, None]
    kind: Literal["plain", "nonfinite"] = "plain"

    @property
    def python(self) -> bool | int | float | str | None:
        return float(self.value) if self.kind == "nonfinite" and self.value is not None else self.value

    def __str__(self) -> str:
        return repr(self.value) if self.kind == "plain" else f"float({self.value!r})"


def lit(value: bool | int | float | str | None) -> Lit:
    """The constant `value` as an operand; non-finite floats are carried as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return Lit(repr(value), "nonfinite")
    return Lit(value)


Operand = Union[Ref, Lit]
