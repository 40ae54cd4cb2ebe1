"""What the inputs and outputs of a whole-program model mean. Stored as JSON in its metadata_props, under `KEY`. Imports no onnx.

A call ends at one exit. The output "exit" (int64, 0-d) is its number in `exits`; the other outputs are typed by dtype and rank,
shared by exits that return the like, and empty (tensors of size 0, numbers 0) where the exit taken does not use them.
Python numbers go in and out as 0-d tensors: int64, float64, bool. A run-time parameter is an input with a default.
In the variant for traces there are three more outputs: "trace.path" (int64 [n], indices into `blocks`), "trace.values" (int64 [m])
and "trace.margins" (float64 [m]) of the branches and switches met; a branch that compares nothing gives margin -1.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dync.ir.flow import Branch, Decision, Flow, Signature, Switch, Tree
from dync.ir.types import UNKNOWN, Span

KEY = "dync"
VERSION = 1
EXIT, PATH, VALUES, MARGINS = "exit", "trace.path", "trace.values", "trace.margins"


class Port(msgspec.Struct, frozen=True):
    """An input or output of the model: its name, dtype and rank; `value` is the value of the program that it carries, for inputs."""

    name: str
    dtype: str
    rank: int
    value: str = ""


class ExitRecord(msgspec.Struct, frozen=True):
    """One way to end: the block, and what a caller gets, as trees whose references are names of outputs (or of inputs, for an input
    that is returned itself).

    return: `trees` holds the result. raise: exception class `cls` with arguments `trees`. index: no case of a switch; IndexError
    with `text` and the index, which is the only tree.
    """

    kind: Literal["return", "raise", "index"]
    block: str
    trees: tuple[Tree, ...]
    cls: str = ""
    text: str = ""
    span: Span = UNKNOWN
    scalars: tuple[str, ...] = ()
    """The outputs among the references that are Python numbers."""
    fields: tuple[str, ...] = ()
    """Attributes of an exception, whose values are the last of `trees`."""


class Asked(msgspec.Struct, frozen=True):
    """The decision at the end of a block."""

    block: str
    decision: Decision
    switch: bool = False


class Convention(msgspec.Struct, frozen=True):
    """Everything that a loader needs to call the model as the Python function that it was."""

    name: str
    signature: Signature
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    exits: tuple[ExitRecord, ...]
    blocks: tuple[str, ...]
    decisions: tuple[Asked, ...]
    written: tuple[tuple[str, str], ...] = ()
    """(output, input) pairs: what a call writes in place into an input."""
    errors: tuple[str, ...] = ()
    """Exit -2 - i is error i of dync.ir.raising."""
    version: int = VERSION


def asked(flow: Flow) -> dict[str, Asked]:
    """The decisions of a flow, by block."""
    return {b.name: Asked(b.name, b.exit.decision, isinstance(b.exit, Switch)) for b in flow.blocks if isinstance(b.exit, (Branch, Switch))}


def encode(convention: Convention) -> str:
    """As JSON."""
    return msgspec.json.encode(convention).decode()


def decode(text: str) -> Convention:
    """From JSON. Raises msgspec.ValidationError or DecodeError for text that is none."""
    return msgspec.json.decode(text.encode(), type=Convention)
