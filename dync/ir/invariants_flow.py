"""Invariants of control flow and names. Each function yields one line per breach."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterator

from dync.ir.flow import Branch, Raise, Return, Switch, edges, exit_operands, leaves
from dync.ir.meta import values
from dync.ir.scalars import SCALAR_OPS
from dync.ir.scope import Scope, defined
from dync.ir.types import Lit, Operand, Ref, ScalarType, TensorType, ValueType


def names_are_unique_identifiers(s: Scope) -> Iterator[str]:
    blocks, values_ = [b.name for b in s.program.blocks], [v.name for v in values(s.program)]
    for what, names in (("block", blocks), ("value", values_)):
        yield from (f"two {what}s are called {n!r}" for n, count in Counter(names).items() if count > 1)
        yield from (f"{what} name {n!r} is no identifier" for n in dict.fromkeys(names) if not n.isidentifier() or keyword.iskeyword(n))
    for block in s.program.blocks:
        yield from (f"{block.name}: {n!r} is both an input and a weight" for n in sorted(set(block.flow.inputs) & set(block.weights)))


def edges_lead_to_blocks(s: Scope) -> Iterator[str]:
    if not s.program.blocks:
        yield "there is no block"
        return
    for block in s.program.blocks:
        yield from (f"{block.name}: no block {e.target!r}" for e in edges(block.flow.exit) if e.target not in s.blocks)
    if s.program.blocks[0].flow.params:
        yield f"the entry {s.program.blocks[0].name} has params"


def every_block_is_reached(s: Scope) -> Iterator[str]:
    yield from (f"{b.name} is reached from nowhere" for b in s.program.blocks if b.name not in s.reached)


def uses_are_dominated(s: Scope) -> Iterator[str]:
    for block in s.program.blocks:
        seen = s.before(block.name)
        yield from (f"{block.name} reads {n!r}, which does not dominate it" for n in block.flow.inputs if n not in seen)
        seen = seen | {r.name for r in block.flow.results}
        for op in block.flow.host:
            yield from (f"{block.name}: {op.result.name} reads {n!r}, which does not dominate it" for n in _names(op.args) if n not in seen)
            seen = seen | {op.result.name}
        yield from (
            f"{block.name}: exit reads {n!r}, which does not dominate it" for n in _names(exit_operands(block.flow.exit)) if n not in seen
        )


def _names(operands: tuple[Operand, ...]) -> list[str]:
    return list(dict.fromkeys(o.name for o in operands if isinstance(o, Ref)))


def edges_fit_params(s: Scope) -> Iterator[str]:
    for block in s.program.blocks:
        for edge in edges(block.flow.exit):
            params = s.blocks[edge.target].flow.params
            if len(edge.args) != len(params):
                yield f"{block.name} -> {edge.target}: {len(edge.args)} arguments for {len(params)} params"
                continue
            for arg, param in zip(edge.args, params, strict=True):
                given = s.types.get(arg.name) if isinstance(arg, Ref) else _literal_type(arg)
                if (given is not None or isinstance(arg, Lit)) and not fits(given, param.type):
                    yield f"{block.name} -> {edge.target}: {arg} of type {given} for {param.name}: {param.type}"


def _literal_type(constant: Lit) -> ValueType | None:
    kind = type(constant.python).__name__
    return ScalarType(kind) if kind in ("bool", "int", "float") else None  # type: ignore[arg-type]


def fits(given: ValueType | None, wanted: ValueType) -> bool:
    """Whether a value of type `given` may stand where `wanted` is declared: same dtype, device, rank and static dims."""
    match wanted:
        case TensorType():
            return (
                isinstance(given, TensorType)
                and (given.dtype, given.device, len(given.shape)) == (wanted.dtype, wanted.device, len(wanted.shape))
                and all(isinstance(w, str) or g == w for g, w in zip(given.shape, wanted.shape))
            )
        case ScalarType():
            return given == wanted
        case _:
            return True


def predicates_are_scalars(s: Scope) -> Iterator[str]:
    for block in s.program.blocks:
        match block.flow.exit:
            case Branch(predicate=operand):
                kind = "bool"
            case Switch(index=operand):
                kind = "int"
            case _:
                continue
        type = s.types.get(operand.name) if isinstance(operand, Ref) else _literal_type(operand)
        if type is not None and type != ScalarType(kind):  # type: ignore[arg-type]
            yield f"{block.name}: {operand} of type {type} decides, which must be {kind}"


def host_operations_are_known(s: Scope) -> Iterator[str]:
    for block in s.program.blocks:
        for op in block.flow.host:
            if op.op not in SCALAR_OPS:
                yield f"{block.name}: no scalar operation {op.op!r}"
            elif len(op.args) != (arity := SCALAR_OPS[op.op].arity):
                yield f"{block.name}: {op.result.name} = {op.op} has {len(op.args)} operands for {arity}"


def writes_name_slots(s: Scope) -> Iterator[str]:
    slots = {t.name for t in s.program.slots}
    for block in s.program.blocks:
        exit = block.flow.exit
        if isinstance(exit, (Return, Raise)):
            yield from (f"{block.name} writes {w.slot!r}, which is no slot" for w in exit.writes if w.slot not in slots)


def leaves_of_the_call_are_inputs(s: Scope) -> Iterator[str]:
    g = s.program.signature
    bound = {i.path for i in g.inputs} | {f.path for f in g.fixed} | {p.name for p in g.params}
    named = [o.name for tree in (g.args, g.kwargs) for o in leaves(tree) if isinstance(o, Ref)]
    yield from (f"argument leaf {n!r} is bound to no input" for n in named if n not in bound)
    yield from (f"input {i.value.name} reads {i.path!r}, which is no argument leaf" for i in g.inputs if i.path not in named)


def symbols_are_bound(s: Scope) -> Iterator[str]:
    known = {d.name for d in s.program.signature.dims} | _bare(v.type for v in s.entry_values)
    yield from (
        f"input {v.name}: {v.type} uses {n}, which is bound nowhere" for v in s.entry_values for n in _symbols(v.type) if n not in known
    )
    binds = {b.name: _bare(v.type for v in defined(b)) | _sizes(s, b.name) for b in s.program.blocks}
    for block in s.program.blocks:
        bound = known.union(*(binds[b] for b in s.dominators(block.name)))
        for value in defined(block):
            yield from (
                f"{block.name}: {value.name}: {value.type} uses {n}, which is bound nowhere before"
                for n in _symbols(value.type)
                if n not in bound
            )


def _symbols(type: ValueType) -> list[str]:
    return [n for d in getattr(type, "shape", ()) if isinstance(d, str) for n in re.findall(r"[A-Za-z_]\w*(?!\w*\()", d)]


def _bare(types) -> set[str]:
    return {d for t in types for d in getattr(t, "shape", ()) if isinstance(d, str) and d.isidentifier()}


def _sizes(s: Scope, block: str) -> set[str]:
    """Symbols that integer nodes of the block's graph stand for, or that are a size of one of its tensors."""
    from dync.ir.meta import dim

    found = [n.meta.get("val") for n in s.blocks[block].graph.nodes]
    sizes = [d for v in found for d in (getattr(v, "shape", ()) or (v,)) if type(d).__name__ == "SymInt"]
    return {d for size in sizes if isinstance(d := dim(size, s.symbols), str) and d.isidentifier()}
