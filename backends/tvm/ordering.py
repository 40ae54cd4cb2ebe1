"""Orders that TVM leaves open, settled: bindings with each size symbol read before it is used, and size computations by their slot."""

from __future__ import annotations

from typing import Any

import tvm_ffi

from dync.backends.tvm.door import relax, tirx, tvm


def ordered(module: Any) -> Any:
    """The module with the bindings of "main" put in order."""
    main = module["main"]
    body = relax.SeqExpr([_block(b) for b in main.body.blocks], main.body.body)
    module["main"] = relax.Function(main.params, body, main.ret_ty, main.is_pure, main.attrs)
    return module


def _block(block: Any) -> Any:
    bindings = list(block.bindings)
    maker: dict[Any, int] = {}
    for i, binding in enumerate(bindings):
        maker[binding.var] = i
        if isinstance(binding, relax.MatchCast):
            for var in _variables(binding.ty):
                maker.setdefault(var, i)
    done: list[Any] = []
    seen: set[int] = set()
    stack = [(i, False) for i in reversed(range(len(bindings)))]
    while stack:
        i, ready = stack.pop()
        if ready:
            done.append(bindings[i])
        elif i not in seen:
            seen.add(i)
            stack.append((i, True))
            needs = {maker[v] for v in (*_variables(bindings[i].value), *_variables(bindings[i].var.ty)) if v in maker}
            stack += [(n, False) for n in sorted(needs - {i}, reverse=True)]
    return (relax.DataflowBlock if isinstance(block, relax.DataflowBlock) else relax.BindingBlock)(done)


def _variables(tree: Any) -> list[Any]:
    found: list[Any] = []
    tvm_ffi.structural_walk(tree, (tvm.ir.Var, found.append), order="post")
    return found


def steady(module: Any) -> Any:
    """The lowered module with the size computations in order: VMShapeLower emits them by address, otherwise in each process.

    Each of its functions reads slots that hold given sizes and writes each of the others once, so that all orders are equal.
    """
    for name, function in module.functions.items():
        if name.name_hint.startswith("shape_func") and isinstance(function.body, tirx.SeqStmt):
            stores = list(function.body.seq)
            if all(isinstance(s, tirx.BufferStore) for s in stores):
                module[name] = function.with_body(tirx.SeqStmt(sorted(stores, key=lambda s: int(s.indices[0]))))
    return module
