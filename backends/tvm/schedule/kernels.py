"""One fused kernel: its stages are read, cheap ones computed in place, and each of the others gets the loops of its rule."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

import tvm
from tvm import tirx
from tvm.ir import Var

from dync.backends.tvm.schedule import contract, functions, loops, rows
from dync.backends.tvm.schedule.inline import inlined
from dync.backends.tvm.schedule.loops import Stage, Stmt
from dync.backends.tvm.schedule.machine import Machine


def schedule(mod: tvm.IRModule, machine: Machine) -> tvm.IRModule:
    """All PrimFuncs of a module. What no rule reads is left as it is."""
    new = {}
    for name, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc) and not (func.attrs and func.attrs.get("dync.scheduled")):
            new[name] = kernel(func, machine)
    for name, func in new.items():
        mod[name] = func
    return mod


def kernel(func: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc:
    read = loops.read(func)
    if read is None:
        return func
    stages = inlined(read)
    fused = _fused(stages)
    inner = [b for b in read.inner if any(_touches(s, b) for s in stages) and not any(s.target.same_as(b) for s in fused)]
    parts: list[Stmt] = []
    waiting: list[Stage] = []

    def flush(inner: list[Var]) -> list[Var]:
        if not waiting:
            return inner
        made, inner = rows.grouped(waiting, stages, inner, machine)
        parts.append(made)
        waiting.clear()
        return inner

    for stage in stages:
        if stage in fused:
            continue
        source = next((c for c, post in fused.items() if post is stage), stage)
        said = contract.spec(source)
        if said is None:
            waiting.append(stage)
            continue
        inner = flush(inner)
        parts.append(contract.contract(source, said, stage if stage is not source else None, machine))
    inner = flush(inner)
    return loops.write(read, functions.expanded(loops.sequence(*parts)), inner)


def _fused(stages: list[Stage]) -> dict[Stage, Stage]:
    """Contractions → the one stage that reads their product, where it can be computed from registers."""
    found: dict[Stage, Stage] = {}
    for stage in stages:
        if contract.spec(stage) is None:
            continue
        readers = [s for s in stages if s is not stage and any(n.source.same_as(stage.target) for n in loops.loaded(s.stores[0]))]
        if len(readers) == 1 and readers[0] not in found.values() and contract.takes(stage, readers[0]):
            found[stage] = readers[0]
    return found


def _touches(stage: Stage, buffer: Var) -> bool:
    stores = (*stage.stores, *stage.lets)
    return any(s.buffer.same_as(buffer) for s in stage.stores) or any(n.source.same_as(buffer) for s in stores for n in loops.loaded(s))
