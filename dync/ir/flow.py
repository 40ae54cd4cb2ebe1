"""The control flow of a Program as plain data: what a host walks, what an artifact stores. This file imports no torch.

    flow   ::= inputs, slots, blocks, entry
    block  ::= name(params) { inputs → kernel → results ; host ops ; exit }
    exit   ::= jump(edge) | branch(predicate, edge, edge) | switch(index, {int: edge}, edge) | return(tree, writes) | raise(...)
    edge   ::= target block, operands for its params
    tree   ::= leaf(operand) | list | tuple | dict | record | rows | opaque   the structure of a returned value
    hostop ::= name = op(operands)                        op is a key of scalars.SCALAR_OPS
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Union

import msgspec

from dync.ir.types import UNKNOWN, Lit, Operand, Span, Value

FORM = "form of the state"
"""The slot that numbers the form."""
MISFIT = "the sizes do not fit"
"""How the text of an error begins that torch itself raises about sizes: the class is as in eager, the words are ours."""


class HostOp(msgspec.Struct, frozen=True):
    """Scalar code that the host runs after a block's kernel; `result` is always a scalar."""

    result: Value
    op: str
    args: tuple[Operand, ...]
    span: Span = UNKNOWN


class Edge(msgspec.Struct, frozen=True):
    """A way into `target`; `args` bind its params, one each, in order."""

    target: str
    args: tuple[Operand, ...] = ()


class Decision(msgspec.Struct, frozen=True):
    """What a branch asks, for people: its source text and place; `left` and `right` are the compared scalars, if any."""

    text: str
    span: Span = UNKNOWN
    left: Operand | None = None
    right: Operand | None = None


class Jump(msgspec.Struct, frozen=True, tag="jump"):
    edge: Edge


class Branch(msgspec.Struct, frozen=True, tag="branch"):
    """`predicate` is a bool scalar."""

    predicate: Operand
    then: Edge
    orelse: Edge
    decision: Decision


class Switch(msgspec.Struct, frozen=True, tag="switch"):
    """`index` is an int scalar; a value that is no case takes `default`, or raises IndexError where there is none."""

    index: Operand
    cases: tuple[tuple[int, Edge], ...]
    decision: Decision
    default: Edge | None = None


class Leaf(msgspec.Struct, frozen=True, tag="leaf"):
    operand: Operand


class ListTree(msgspec.Struct, frozen=True, tag="list"):
    items: tuple[Tree, ...]


class TupleTree(msgspec.Struct, frozen=True, tag="tuple"):
    items: tuple[Tree, ...]


class DictTree(msgspec.Struct, frozen=True, tag="dict"):
    """Keys are constants or tuples of them, in order. kind: the name of a class of dicts, or "set" or "frozenset" of the keys."""

    keys: tuple[Key, ...]
    items: tuple[Tree, ...]
    kind: str = "dict"


class RecordTree(msgspec.Struct, frozen=True, tag="record"):
    """A named tuple, dataclass, dict-like dataclass ("mapping"), dict of names, deque, or object that is its attributes (`kind`).

    cls: "module:qualname".

    The original class is used when its module is already imported, else an equivalent of the same name and fields.
    torch.Size is a named tuple without names; a NumPy array ("array") has one item, and of no dimensions it is NumPy's scalar.
    A deque's first field is `maxlen`, the others are numbers.
    """

    kind: Literal["namedtuple", "dataclass", "mapping", "dict", "object", "array", "deque"]
    cls: str
    fields: tuple[str, ...]
    items: tuple[Tree, ...]


class RowsTree(msgspec.Struct, frozen=True, tag="rows"):
    """A list, tuple, deque, set or dict (`kind`) whose length is known only at run time: item i is `element` over row i of the columns.
    The items of a dict are pairs; its kind may be one of DictTree's, or "Counter"; a deque's may have its `maxlen`, "deque:5".

    element: its leaves are Ref("0"), Ref("1"), ..., one a column. columns: for each, what its rows are: "tensor"; "number", Python's;
    "choice", the place of a constant among `choices`, of which there is a tuple for each column if any has them; "ragged:d",
    tensors that differ in size along dimension d; "empty:list", which holds nothing; "row:pool", the number of an object or list in a
    pool of a StateForm, -1 for None; "maybe:tensor" and its like, which may be None: bools that say where it is not, and then as without;
    or "lists:number", "tuples:tensor" and their like, a container of such rows. items: the
    columns' tensors as leaves; a ragged column, or one of containers, has two, its rows one after another along dimension 0, where d is
    moved to, and their int64 sizes.
    """

    kind: str
    element: Tree
    columns: tuple[str, ...]
    items: tuple[Leaf, ...]
    choices: tuple[tuple[Tree, ...], ...] = ()


class OpaqueTree(msgspec.Struct, frozen=True, tag="opaque"):
    """A constant of another type, by its text.

    kind: "torch.dtype", "torch.device", "torch.Size", "slice", "range", "ellipsis", "absent", "enum", "class", "bytes",
    "complex", "given" (the caller's own container at a path of the arguments).
    """

    kind: str
    text: str


class ScalarTree(msgspec.Struct, frozen=True, tag="scalar"):
    """What an operation of `dync.ir.scalars` makes of the items."""

    op: str
    items: tuple[Tree, ...]


class OneOfTree(msgspec.Struct, frozen=True, tag="one_of"):
    """One of the items behind the first, which is a number and says which: 0 for the next."""

    items: tuple[Tree, ...]


Key = Union[Lit, TupleTree, OpaqueTree]
Tree = Union[Leaf, ListTree, TupleTree, DictTree, RecordTree, RowsTree, OpaqueTree, ScalarTree, OneOfTree]


class Write(msgspec.Struct, frozen=True):
    """At a return or raise, the state slot `slot` takes the value of `tree`."""

    slot: str
    tree: Tree


class Return(msgspec.Struct, frozen=True, tag="return"):
    tree: Tree
    writes: tuple[Write, ...] = ()
    span: Span = UNKNOWN


class Raise(msgspec.Struct, frozen=True, tag="raise"):
    """The model's own exception: class "builtins:ValueError", positional arguments as trees.

    fields: names of its attributes, whose values are the last of `args`.
    """

    cls: str
    args: tuple[Tree, ...]
    writes: tuple[Write, ...] = ()
    span: Span = UNKNOWN
    fields: tuple[str, ...] = ()


Exit = Union[Jump, Branch, Switch, Return, Raise]


class FlowBlock(msgspec.Struct, frozen=True):
    """One block without its graph.

    params: bound by every incoming edge. inputs: names of the values its kernel reads, in order (own params, entry inputs,
    or values of dominating blocks). results: what its kernel defines. mutates: the inputs and weights that it writes in place.
    A block with no kernel (an empty graph) has neither inputs nor results.
    """

    name: str
    params: tuple[Value, ...]
    inputs: tuple[str, ...]
    results: tuple[Value, ...]
    host: tuple[HostOp, ...]
    exit: Exit
    mutates: tuple[str, ...] = ()
    span: Span = UNKNOWN


class Input(msgspec.Struct, frozen=True):
    """A dynamic leaf of the call: `path` is where it stands in (args, kwargs), e.g. "x", "batch['mask']", "args[0][1]"."""

    value: Value
    path: str


class Fixed(msgspec.Struct, frozen=True):
    """A leaf of the call that was fixed at capture; another value at run time is a GuardError."""

    path: str
    value: Lit
    kind: str


class RunParam(msgspec.Struct, frozen=True):
    """A run-time parameter (a threshold): a float or int scalar within [low, high]; `place` is the argument or attribute."""

    name: str
    value: Value
    default: float | int | bool
    low: float | int
    high: float | int
    place: Literal["argument", "attribute"] = "attribute"


class DimRange(msgspec.Struct, frozen=True):
    """A named dynamic dimension of the inputs, inclusive bounds."""

    name: str
    low: int
    high: int | None


class Slot(msgspec.Struct, frozen=True):
    """State carried from call to call: an attribute of the model (dotted path). `value` is what the entry block reads."""

    name: str
    value: Value
    initial: Tree


class StateForm(msgspec.Struct, frozen=True):
    """One structure that the model's written attributes may have between calls.

    attributes: dotted path → tree over slot names and constants; an attribute left out is absent. dims: sizes that may vary.
    pools: name → the objects, or lists, of which attributes hold the numbers. Their kind is "objects", or that of the lists: then `element`
    is an item, and each column one of containers.
    """

    attributes: tuple[tuple[str, Tree], ...]
    dims: tuple[DimRange, ...] = ()
    pools: tuple[tuple[str, RowsTree], ...] = ()


class Signature(msgspec.Struct, frozen=True):
    """How a call is bound. names: forward's positional parameter names; args/kwargs: the example's structure, leaves named by path.

    written: paths of the caller's containers that calls write; the result has one more part for each (dync/ir/given.py).
    """

    names: tuple[str, ...]
    args: Tree
    kwargs: Tree
    inputs: tuple[Input, ...]
    fixed: tuple[Fixed, ...] = ()
    params: tuple[RunParam, ...] = ()
    dims: tuple[DimRange, ...] = ()
    defaults: tuple[tuple[str, Lit], ...] = ()
    written: tuple[str, ...] = ()


class Flow(msgspec.Struct, frozen=True):
    """A Program without graphs and weights. blocks[0] is the entry; order is a topological order but for loop back edges.

    forms: empty where each slot is one attribute. With more than one, the int slot FORM says which of them the slots hold.
    """

    name: str
    signature: Signature
    blocks: tuple[FlowBlock, ...]
    slots: tuple[Slot, ...] = ()
    forms: tuple[StateForm, ...] = ()

    def block(self, name: str) -> FlowBlock:
        return next(b for b in self.blocks if b.name == name)


def edges(exit: Exit) -> tuple[Edge, ...]:
    """The ways out of an exit, then before else, cases in order, default last."""
    match exit:
        case Jump():
            return (exit.edge,)
        case Branch():
            return (exit.then, exit.orelse)
        case Switch():
            return tuple(e for _, e in exit.cases) + ((exit.default,) if exit.default else ())
        case _:
            return ()


def map_edges(exit: Exit, new: Callable[[Edge], Edge]) -> Exit:
    """The exit with every edge replaced."""
    match exit:
        case Jump():
            return Jump(new(exit.edge))
        case Branch():
            return msgspec.structs.replace(exit, then=new(exit.then), orelse=new(exit.orelse))
        case Switch():
            return msgspec.structs.replace(
                exit, cases=tuple((n, new(e)) for n, e in exit.cases), default=exit.default and new(exit.default)
            )
        case _:
            return exit


def leaves(tree: Tree) -> tuple[Operand, ...]:
    """The operands of a tree, left to right."""
    match tree:
        case Leaf():
            return (tree.operand,)
        case OpaqueTree():
            return ()
        case _:
            return tuple(o for t in tree.items for o in leaves(t))


def exit_operands(exit: Exit) -> tuple[Operand, ...]:
    """Every operand that an exit reads, edge arguments included."""
    own: tuple[Operand, ...] = ()
    match exit:
        case Branch():
            own = (exit.predicate, *(o for o in (exit.decision.left, exit.decision.right) if o is not None))
        case Switch():
            own = (exit.index, *(o for o in (exit.decision.left, exit.decision.right) if o is not None))
        case Return():
            own = (*leaves(exit.tree), *(o for w in exit.writes for o in leaves(w.tree)))
        case Raise():
            own = (*(o for t in exit.args for o in leaves(t)), *(o for w in exit.writes for o in leaves(w.tree)))
        case _:
            pass
    return own + tuple(a for e in edges(exit) for a in e.args)


