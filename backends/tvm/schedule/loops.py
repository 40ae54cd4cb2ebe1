"""A PrimFunc as a list of stages, and loops built from them: what the rules read and what they write.

A stage is one loop nest of the tensor expression: axes, what is stored, and where. Rules make plain loops of stages; TVM's
own schedule primitives are not used, so that a rule holds for any size, and nothing is analysed twice.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.ir import TensorLoad, Var
from tvm.tirx import BufferStore, For, ForKind
from tvm_ffi.structural import structural_equal, structural_map, structural_walk

Expr = Any
Stmt = Any

INDEX = "int64"
SERIAL, PARALLEL, VECTORIZED, UNROLLED = ForKind.SERIAL, ForKind.PARALLEL, ForKind.VECTORIZED, ForKind.UNROLLED


@dataclass(frozen=True, eq=False)
class Axis:
    var: Var
    extent: Expr
    reduce: bool


@dataclass(frozen=True, eq=False)
class Stage:
    """One nest: `stores` for each point of `axes`, after `inits` where an axis reduces; `lets` are bound before the stores."""

    name: str
    axes: tuple[Axis, ...]
    stores: tuple[BufferStore, ...]
    inits: tuple[BufferStore, ...]
    notes: Mapping[str, Any]
    lets: tuple[Stmt, ...] = ()

    @property
    def spatial(self) -> tuple[Axis, ...]:
        return tuple(a for a in self.axes if not a.reduce)

    @property
    def reduced(self) -> tuple[Axis, ...]:
        return tuple(a for a in self.axes if a.reduce)

    @property
    def target(self) -> Var:
        """The buffer that the first store writes."""
        return self.stores[0].buffer


@dataclass(frozen=True)
class Kernel:
    """stages in the order they run; `inner` are the buffers that only live inside."""

    func: tirx.PrimFunc
    stages: tuple[Stage, ...]
    inner: tuple[Var, ...]


def read(func: tirx.PrimFunc) -> Kernel | None:
    """The stages of a function made of perfect nests; None where it holds anything else (while loops, scans, external calls)."""
    root = func.body
    if not isinstance(root, s_tir.SBlockRealize) or root.block.iter_vars or root.block.match_buffers:
        return None
    body = root.block.body
    parts = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
    stages = [_stage(part) for part in parts]
    if any(s is None for s in stages):
        return None
    return Kernel(func, tuple(s for s in stages if s), tuple(root.block.alloc_buffers))


def _stage(nest: Stmt) -> Stage | None:
    extents: dict[Var, Expr] = {}
    while isinstance(nest, For):
        if nest.kind != SERIAL or not _is(nest.min, 0):
            return None
        extents[nest.loop_var] = nest.extent
        nest = nest.body
    if not isinstance(nest, s_tir.SBlockRealize) or not _is(nest.predicate, 1):
        return None
    block = nest.block
    if block.alloc_buffers or block.match_buffers:
        return None
    axes = []
    for it, value in zip(block.iter_vars, nest.iter_values, strict=True):
        if it.iter_type not in (tirx.IterVar.DataPar, tirx.IterVar.CommReduce):
            return None
        if isinstance(value, Var) and value in extents:
            extent = extents.pop(value)
        elif _is(value, 0):
            extent = tirx.const(1, it.var.ty.dtype)
        else:
            return None
        axes.append(Axis(it.var, extent, it.iter_type == tirx.IterVar.CommReduce))
    body = list(block.body.seq) if isinstance(block.body, tirx.SeqStmt) else [block.body]
    lets = tuple(s for s in body if isinstance(s, tirx.Bind))
    stores = tuple(s for s in body if isinstance(s, BufferStore))
    init = block.init
    inits = () if init is None else tuple(init.seq) if isinstance(init, tirx.SeqStmt) else (init,)
    plain = len(lets) + len(stores) == len(body) and all(isinstance(s, BufferStore) for s in inits)
    if extents or not plain or not stores or list(body[: len(lets)]) != list(lets) or any(_impure(s.value) for s in stores):
        return None
    return Stage(block.name_hint, tuple(axes), stores, inits, dict(block.annotations), lets)


def _is(value: Expr, number: int) -> bool:
    return isinstance(value, tirx.IntImm) and int(value.value) == number


PURE_CALLS = frozenset(
    "abs acos acosh asin asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or bitwise_xor ceil copysign cos cosh erf exp exp10 exp2"
    " floor fmod hypot if_then_else isfinite isinf isnan ldexp likely log log10 log1p log2 nearbyint nextafter popcount pow reinterpret"
    " round rsqrt shift_left shift_right sigmoid sin sinh sqrt tan tanh trunc clz fabs large_uint_imm".split()
)


def _impure(value: Expr) -> bool:
    return any(called(c) not in PURE_CALLS for c in find(value, tvm.ir.Call))


def called(call: tvm.ir.Call) -> str:
    """The last part of the name of the operator that a call calls."""
    return getattr(call.op, "name", "?").rpartition(".")[2]


def find(value: Any, kind: type) -> list[Any]:
    """All nodes of a class inside an expression or statement."""
    found: list[Any] = []

    def note(node: Any) -> None:
        found.append(node)

    structural_walk(value, (kind, note))
    return found


Loads = Mapping[Var, Callable[[Sequence[Expr]], Expr]]
"""Buffer → what a load of it at given indices becomes."""


def substitute(value: Any, variables: Mapping[Var, Expr], loads: Loads | None = None) -> Any:
    """`value` with variables replaced, and each load of a buffer in `loads` replaced by what its function makes of the indices."""

    def variable(v: Var) -> Expr:
        return variables.get(v, v)

    def load(node: TensorLoad) -> Expr:
        made = (loads or {}).get(node.source)
        return node if made is None else made(list(node.indices))

    return structural_map(value, [(Var, variable), (TensorLoad, load)])


def loaded(value: Any) -> list[TensorLoad]:
    return find(value, TensorLoad)


def constant(value: Expr) -> int | None:
    """The number that an extent is, None where it is dynamic."""
    return int(value.value) if isinstance(value, tirx.IntImm) else int(value) if isinstance(value, int) else None


def same(a: Expr, b: Expr) -> bool:
    """Whether two extents are equal for certain."""
    if constant(a) is not None or constant(b) is not None:
        return constant(a) == constant(b)
    return bool(structural_equal(a, b))


def index(number: int) -> Expr:
    return tirx.const(number, INDEX)


def loop(extent: Expr | int, body: Callable[[Expr], Stmt], kind: ForKind = SERIAL, name: str = "i") -> Stmt:
    """A loop from 0; one of a single turn is no loop, one of none is nothing.

    What chooses by its place in a vector is no vector: TVM would undo it, and visit what is bound in it twice, which it forbids.
    """
    if constant(extent) == 0:
        return sequence()
    if constant(extent) == 1:
        return body(index(0))
    var = Var(name, INDEX)
    made = body(var)
    kind = SERIAL if kind == VECTORIZED and _chooses(made, var) else kind
    return For(var, index(0), index(extent) if isinstance(extent, int) else extent, kind, made)


def _chooses(value: Any, var: Var) -> bool:
    """Whether it holds a choice of what is computed that hangs on `var`."""
    choices = [c.args[0] for c in find(value, tvm.ir.Call) if called(c) == "if_then_else"]
    return any(v.same_as(var) for c in choices for v in find(c, Var))


def nest(extents: Sequence[Expr | int], body: Callable[[list[Expr]], Stmt], kind: ForKind = SERIAL) -> Stmt:
    """Loops inside one another."""
    if not extents:
        return body([])
    return loop(extents[0], lambda i: nest(extents[1:], lambda rest: body([i, *rest]), kind), kind)


def collapsed(extents: Sequence[Expr | int], body: Callable[[list[Expr]], Stmt], kind: ForKind) -> Stmt:
    """One loop over all points of several axes, the last axis fastest."""
    kept = [(n, e) for n, e in enumerate(extents) if constant(e) != 1]
    total = product([e for _, e in kept])
    if total == 0:
        return sequence()

    def point(p: Expr) -> Stmt:
        at: list[Expr] = [index(0)] * len(extents)
        rest = p
        for place, (n, extent) in reversed(list(enumerate(kept))):
            at[n] = rest % extent if place else rest
            rest = rest // extent
        return body(at)

    return loop(total, point, kind)


def product(extents: Sequence[Expr | int]) -> Expr | int:
    total: Expr | int = 1
    for e in extents:
        known = constant(e)
        total = total * (e if known is None else known)
    return total


def linear(places: Sequence[tuple[Expr, Expr | int]]) -> Expr | int:
    """The number of a point in row-major order, from its (index, extent) along each axis."""
    total: Expr | int = index(0)
    for place, extent in places:
        total = total * extent + place
    return total


def sequence(*parts: Stmt | None) -> Stmt:
    """Statements one after the other."""
    kept = [p for p in parts if p is not None]
    return kept[0] if len(kept) == 1 else tirx.SeqStmt(kept) if kept else tirx.Evaluate(index(0))


def local(shape: Sequence[int], dtype: str, name: str = "acc") -> Var:
    """A small buffer of constant size that LLVM keeps in registers."""
    return tirx.decl_buffer(list(shape), dtype, name=name, scope="local")


STACKED = {"disable_lower_builtin": tirx.const(True, "bool")}
"""What keeps a buffer on the stack."""
STACK = 1 << 14
"""Bytes that a buffer inside a loop may take on the stack. TVM would allocate from 1024 on, and LLVM keep no tile in registers."""


def allocated(buffer: Var, *parts: Stmt | None) -> Stmt:
    """The statements with a buffer that lives as long as they run."""
    size = product(list(buffer.shape))
    small = isinstance(size, int) and size * tvm.DataType(str(buffer.dtype)).bits // 8 <= STACK
    made = tirx.AllocBuffer(buffer, STACKED) if small else tirx.AllocBuffer(buffer)
    return tirx.SeqStmt([made, *(p for p in parts if p is not None)])


def write(kernel: Kernel, body: Stmt, inner: Sequence[Var]) -> tirx.PrimFunc:
    """The function with a new body; `inner` are the buffers that it allocates as a whole."""
    root = s_tir.SBlock([], [], [], "root", body, alloc_buffers=list(inner))
    return kernel.func.with_body(s_tir.SBlockRealize([], True, root)).with_attr("dync.scheduled", True)


def at(stage: Stage, values: Mapping[Var, Expr], loads: Loads | None = None) -> Stmt:
    """The stage's stores at one point."""
    return sequence(*(substitute(s, values, loads) for s in (*stage.lets, *stage.stores)))


def with_stores(stage: Stage, loads: Loads) -> Stage:
    """The stage with loads of some buffers replaced."""
    return replace(
        stage, stores=tuple(substitute(s, {}, loads) for s in stage.stores), lets=tuple(substitute(s, {}, loads) for s in stage.lets)
    )
