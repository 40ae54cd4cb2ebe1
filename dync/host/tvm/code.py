"""Code of TVM's virtual machine as data. Imports no TVM.

    operand      ::= register (int) | Int | Number | Nothing | Text | Weight
    instruction  ::= Run(block, operands, takes) | Call(builtin, operands, register)
                   | Unless(register, label) | Goto(label) | Give(register) | Label(name)
A routine's parameters are its first registers. A block is compiled code or a helper; a builtin is what the process has by that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from dync.host.onnx.graph import Type

MAIN, TRACED, SAYS = "main", "traced", "dync"
ENTER, DECIDE = "dync.enter", "dync.decide"
"""What `traced` calls, of the process around it: (number of the block), (value, left, right) of a decision, or (value)."""
FAILED = -1
"""The exit where a block's code found an index out of range. Those below are errors of numbers."""
COPY, ITEM, TUPLE, TEST, NULL = (
    f"vm.builtin.{n}" for n in ("copy", "tuple_getitem", "make_tuple", "read_if_cond", "null_value")
)  # fmt: skip
"""What the machine has of its own. COPY gives the same object once more, not its bytes."""


@dataclass(frozen=True)
class Int:
    """A plain integer."""

    value: int


@dataclass(frozen=True)
class Number:
    """A 0-d tensor that is a constant."""

    value: bool | int | float
    dtype: str


@dataclass(frozen=True)
class Nothing:
    """A tensor without elements, or the number 0, to stand where none is asked for."""

    type: Type


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Weight:
    """Tensor `index` of group `group` of weights, as the code of a block takes them."""

    group: int
    index: int


Operand = Union[int, Int, Number, Nothing, Text, Weight]


@dataclass(frozen=True)
class Run:
    """Runs a block's code. takes: (index of an output, register) pairs."""

    block: str
    args: tuple[Operand, ...]
    takes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Call:
    function: str
    args: tuple[Operand, ...] = ()
    to: int | None = None


@dataclass(frozen=True)
class Unless:
    """Goes to the label where the register holds 0."""

    condition: int
    label: str


@dataclass(frozen=True)
class Goto:
    label: str


@dataclass(frozen=True)
class Give:
    """Ends the function with what the register holds."""

    register: int


@dataclass(frozen=True)
class Label:
    name: str


Instruction = Union[Run, Call, Unless, Goto, Give, Label]


@dataclass(frozen=True)
class Routine:
    """A function of the machine. weights: the register of its last parameter, the groups of weights, if it takes them."""

    name: str
    params: tuple[str, ...]
    code: tuple[Instruction, ...]
    weights: int | None = None


@dataclass(frozen=True)
class Helper:
    """A small function on tensors that the code calls: "cast" and "copy" of one, "equal" and "less" of two numbers.

    dtype, rank: of what it takes; to: the dtype of what it gives.
    """

    kind: str
    dtype: str
    rank: int = 0
    to: str = ""

    @property
    def name(self) -> str:
        return f"dync_{self.kind}_{self.dtype}_{self.rank}{f'_{self.to}' if self.to else ''}"
