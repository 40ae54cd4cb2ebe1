"""Constants of a returned value that are no number, string or container, as text and back. This file imports no torch."""

from __future__ import annotations

import ast
import enum
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from dync.errors import ArtifactError
from dync.ir.classes import loaded_class
from dync.ir.flow import OpaqueTree


class Absent:
    """Stands for an attribute that is not there."""

    def __repr__(self) -> str:
        return "absent"

    def __deepcopy__(self, memo: object) -> Absent:
        return self


ABSENT = Absent()


class Opaque(NamedTuple):
    """Stands for a constant whose own library or class is not loaded, e.g. a torch.dtype in a process without torch."""

    kind: str
    text: str


@dataclass(frozen=True)
class Given:
    """Stands for the caller's own container at a path of the arguments."""

    path: str


def to_opaque(value: Any) -> OpaqueTree | None:
    """`value` as an opaque constant, or None when it is of no such kind."""
    if isinstance(value, Opaque):
        return OpaqueTree(value.kind, value.text)
    if isinstance(value, enum.Enum):
        return OpaqueTree("enum", f"{type(value).__module__}:{type(value).__qualname__}.{value.name}")
    if isinstance(value, type) and loaded_class(name := f"{value.__module__}:{value.__qualname__}") is value:
        return OpaqueTree("class", name)
    if value is Ellipsis:
        return OpaqueTree("ellipsis", "...")
    if isinstance(value, (slice, range, bytes, complex)):
        return OpaqueTree(type(value).__name__, repr(value))
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, (torch.dtype, torch.device)):
        return OpaqueTree(f"torch.{type(value).__name__}", str(value))
    if torch is not None and isinstance(value, torch.Size):
        return OpaqueTree("torch.Size", repr(tuple(int(n) for n in cast("Any", value))))
    return None


def from_opaque(tree: OpaqueTree) -> Any:
    """The constant; where its library is not loaded an `Opaque` (a plain tuple for torch.Size). Raises ArtifactError on a bad text."""
    try:
        return _read(tree)
    except (ValueError, SyntaxError, TypeError) as error:
        raise ArtifactError(f"no {tree.kind} reads as {tree.text!r}") from error


def _read(tree: OpaqueTree) -> Any:
    torch, text = sys.modules.get("torch"), tree.text
    match tree.kind:
        case "ellipsis":
            return ...
        case "absent":
            return ABSENT
        case "given":
            return Given(text)
        case "slice" | "range":
            return {"slice": slice, "range": range}[tree.kind](*ast.literal_eval(text.removeprefix(tree.kind)))
        case "bytes":
            return bytes(ast.literal_eval(text))
        case "complex":
            return complex(text)
        case "enum":
            return _member(text) or Opaque("enum", text)
        case "class":
            return loaded_class(text) or Opaque("class", text)
        case "torch.Size":
            sizes = tuple(ast.literal_eval(text.removeprefix("torch.Size")))
            return torch.Size(sizes) if torch else sizes
        case "torch.device":
            return torch.device(text) if torch else Opaque(tree.kind, text)
        case "torch.dtype":
            found = getattr(torch, text.removeprefix("torch."), None) if torch else Opaque(tree.kind, text)
            if torch and not isinstance(found, torch.dtype):
                raise ValueError(text)
            return found
        case kind:
            raise ValueError(kind)


def _member(text: str) -> enum.Enum | None:
    name, _, member = text.rpartition(".")
    found = loaded_class(name)
    return found.__members__.get(member) if isinstance(found, type) and issubclass(found, enum.Enum) else None
