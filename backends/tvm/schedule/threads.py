"""Kernels for GPUs: loops bound to blocks and threads, by TVM's own rules (dlight) where they know the kernel."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir import dlight
from tvm_ffi.structural import structural_walk

from dync.backends.tvm.reductions import INDEPENDENT
from dync.backends.tvm.schedule import loops
from dync.errors import BackendError

DONE = "tirx.is_scheduled"
THREADS = 256
"""In a block of the kernels that no rule of TVM's schedules."""


def on_threads(module: tvm.IRModule, aim: Any, empty: bool) -> tvm.IRModule:
    """All kernels scheduled: by the first rule that can, else each element by a thread. empty: whether a size of the call may be 0.

    Raises BackendError for a kernel that no rule knows: it would run on the CPU, on memory of the device.
    """
    ready = {}
    for name, function in module.functions.items():
        if isinstance(function, tirx.PrimFunc) and not (function.attrs and function.attrs.get(DONE)):
            ready[name] = _scheduled(function, aim, empty).with_attr(DONE, True)
    for name, function in ready.items():
        module[name] = function
    return module


def _scheduled(function: Any, aim: Any, empty: bool) -> Any:
    if _writes_nothing(function):
        return function.with_body(tirx.Evaluate(tirx.const(0, "int32")))
    if (made := _launched(function)) is not None:
        return made
    rules, kept = dlight.gpu, _in_registers(function)
    by_row = () if empty and _has_symbols(function) else (rules.GEMV(), rules.Reduction(), rules.GeneralReduction())
    for rule in (rules.Matmul(), *by_row, rules.Fallback()):
        try:
            found = rule.apply(kept, aim, False)
        except Exception:  # noqa: BLE001  the rules fail on what they do not know, with exceptions of many classes
            continue
        if found is not None and _all_on_device(found.mod["main"].body):
            return found.mod["main"]
    raise BackendError("TVM has no schedule on a GPU for a kernel of the block")


def _has_symbols(function: Any) -> bool:
    """Whether sizes are known only in a call. TVM starts a kernel of no blocks with one, and rules for rows do not ask if it has a row."""
    return any(not isinstance(n, tirx.IntImm) for p in function.params for n in getattr(p.ty, "shape", ()))


def _writes_nothing(function: Any) -> bool:
    """Whether what the function writes has no elements: CUDA starts no kernel without threads."""
    written: list[Any] = []
    structural_walk(function.body, (tirx.BufferStore, lambda node: written.append(node.buffer)), order="pre")
    return bool(written) and all(any(isinstance(n, tirx.IntImm) and not n.value for n in b.shape) for b in written)


def _all_on_device(node: Any) -> bool:
    """Whether all outermost loops are bound to the device."""
    match node:
        case tirx.SeqStmt():
            return all(map(_all_on_device, node.seq))
        case tirx.For() if node.kind == tirx.ForKind.THREAD_BINDING:
            return True
        case tirx.AttrStmt() if node.attr_key == "thread_extent":
            return True
    inside = getattr(node, "block", None) or getattr(node, "body", None)  # of a realised block, a block, a loop, a let
    return inside is not None and _all_on_device(inside)


def _in_registers(function: Any) -> Any:
    """The function with buffers that one block alone touches in registers: running values that a reduction has beside its result."""
    schedule = s_tir.Schedule(function)
    try:
        top = schedule.get_sblock("root")
    except s_tir.ScheduleError:  # a kernel written by hand
        return function
    users: dict[Any, list[Any]] = {}
    for block in schedule.get_child_blocks(top):
        read = schedule.get(block)
        for i, region in enumerate(read.writes):
            users.setdefault(region.source, []).append((block, i))
        for region in read.reads:
            users.setdefault(region.source, []).append((block, None))
    for buffer in schedule.get(top).alloc_buffers:
        if len({id(b) for b, _ in users.get(buffer, ())}) == 1:
            block, index = users[buffer][0]
            if index is not None:
                schedule.set_scope(block, index, "local")
    return schedule.mod["main"]


def _launched(function: Any) -> Any:
    """A kernel that is written out as loops, statement after statement, each a launch; None for a kernel of blocks."""
    block = getattr(function.body, "block", None)
    if block is None or len(block.alloc_buffers) or _has_blocks(block.body):
        return None
    made = [_launch(s) for s in _statements(block.body)]
    body = made[0] if len(made) == 1 else tirx.SeqStmt(made)
    opaque = s_tir.SBlock(block.iter_vars, block.reads, block.writes, block.name_hint, body)
    return function.with_body(s_tir.SBlockRealize(function.body.iter_values, function.body.predicate, opaque))


def _has_blocks(body: Any) -> bool:
    found: list[Any] = []
    structural_walk(body, (s_tir.SBlock, found.append), order="pre")
    return bool(found)


def _statements(node: Any) -> Iterator[Any]:
    if isinstance(node, tirx.SeqStmt):
        for one in node.seq:
            yield from _statements(one)
    elif isinstance(node, tirx.AttrStmt):  # says that what follows is a sequence
        yield from _statements(node.body)
    else:
        yield node


def _launch(statement: Any) -> Any:
    """One statement on the device: a thread for each turn of its independent loops, in which the others run in their order."""
    nest, body = [], statement
    while isinstance(body, tirx.For):
        nest.append(body)
        body = body.body
    spread = [f for f in nest if INDEPENDENT in f.annotations]
    total: Any = tirx.const(1, "int64")
    for one in spread:
        total = total * one.extent
    block, thread = tirx.Var("block", "int64"), tirx.Var("thread", "int64")
    left: Any = block * THREADS + thread if spread else tirx.const(0, "int64")
    values = {}
    for one in reversed(spread):
        values[one.loop_var] = tirx.floormod(left, one.extent) + one.min
        left = tirx.floordiv(left, one.extent)
    for one in reversed([f for f in nest if f not in spread]):
        body = tirx.For(one.loop_var, one.min, one.extent, tirx.ForKind.SERIAL, body)
    body = loops.substitute(body, values)
    if spread:
        body = tirx.IfThenElse(block * THREADS + thread < total, body, None)
    blocks = tirx.max(tirx.floordiv(total + (THREADS - 1), THREADS), tirx.const(1, "int64"))
    for var, tag, extent in ((thread, "threadIdx.x", tirx.const(THREADS if spread else 1, "int64")), (block, "blockIdx.x", blocks)):
        axis = tirx.IterVar(tvm.ir.Range(tirx.const(0, "int64"), extent), var, 1, tag)  # 1: the index of a thread
        body = tirx.AttrStmt(axis, "thread_extent", extent, body)
    return body
