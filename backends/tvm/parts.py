"""Lowered modules as parts of one program: each with names of its own, and small functions that only a program's control flow needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dync.backends.tvm.build import PACKER, joined, lowered
from dync.backends.tvm.builder import converted
from dync.backends.tvm.chains import CHECKS, Chain
from dync.backends.tvm.door import relax, te, tirx, tvm
from dync.backends.tvm.memory import borrowed
from dync.backends.tvm.pipeline import RAW


@dataclass(frozen=True)
class Part:
    """One function with all that it calls. functions: by global variable. packer: the function that makes of its weights what it takes,
    "" if there is none. weights: how many tensors it takes behind the inputs. shared: see memory.borrowed. glue, chain: see chains."""

    name: str
    functions: dict[Any, Any]
    packer: str
    weights: int
    shared: tuple[int, ...]
    glue: Mapping[str, Any]
    chain: Chain | None

    def only(self, root: str) -> Part:
        """The part with one of its functions and what that calls."""
        import tvm_ffi

        names = {v.name_hint: v for v in self.functions}
        found: dict[Any, Any] = {}
        left = [names[root]]
        glue = self.glue if root == self.name else {}
        if glue:
            left += [v for v, f in self.functions.items() if RAW in (f.attrs or {})]
        while left:
            var = left.pop()
            if var not in found:
                found[var] = self.functions[var]
                tvm_ffi.structural_walk(found[var], (tvm.ir.GlobalVar, lambda v: left.append(names[v.name_hint])), order="post")
        return replace(self, functions=found, glue=glue)


def part(name: str, module: Any, aim: Any, threads: int) -> Part:
    """A translated module, lowered, whose "main" is called `name`, and every other function `name`_…"""
    inputs = int((module["main"].attrs or {}).get("num_input", len(module["main"].params)))
    made = lowered(module, aim, threads, name)
    module = made.module
    names = [v.name_hint for v in module.get_global_vars()]
    new = {n: tvm.ir.GlobalVar(name if n == "main" else f"{name}_{n}") for n in names}
    functions: dict[Any, Any] = {}
    for var, function in module.functions.items():
        if isinstance(function, relax.Function):
            function = joined(unchecked(function), new)
        functions[new[var.name_hint]] = function.with_attr("global_symbol", new[var.name_hint].name_hint)
    packer = new[PACKER].name_hint if PACKER in new else ""
    main = module["main"]
    return Part(name, functions, packer, len(main.params) - inputs, tuple(borrowed(main)), made.glue, made.chain)


def unchecked(function: Any) -> Any:
    """The function without checks of its parameters: only blocks call it, and kernels check what they are given once more.

    A check that reads sizes into the function's heap stays.
    """
    parameters = list(function.params)
    bound = {b.var: b.value for block in function.body.blocks for b in block.bindings}

    def idle(value: Any) -> bool:
        if not isinstance(value, relax.Call) or getattr(value.op, "global_symbol", "") not in CHECKS or value.args[0] not in parameters:
            return False
        heap = getattr(bound.get(value.args[1]), "op", None)
        return value.op.global_symbol == CHECKS[0] or getattr(heap, "name", "") == "relax.null_value"

    blocks = [relax.BindingBlock([b for b in block.bindings if not idle(b.value)]) for block in function.body.blocks]
    body = relax.SeqExpr(blocks, function.body.body)
    return relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs)


def helper(kind: str, dtype: str, rank: int, to: str) -> Any:
    """A module whose "main" gives a tuple of one tensor: "cast" or "copy" of a tensor, "equal" or "less" of two."""
    sizes = [tirx.Var(f"n{i}", "int64") for i in range(rank)]
    two = kind in ("equal", "less")
    names = ("a", "b") if two else ("a",)
    params = [relax.Var(n, relax.TensorType(relax.ShapeExpr(sizes), dtype)) for n in names]
    functions: dict[str, Any] = {
        "copy": lambda a: a, "cast": lambda a: converted(a, to), "equal": lambda a, b: a == b, "less": lambda a, b: a < b,
    }  # fmt: skip

    def compute(*tensors: Any) -> Any:
        return te.compute(tensors[0].shape, lambda *i: functions[kind](*(t(*i) for t in tensors)), name=kind)

    bb = relax.BlockBuilder()
    with bb.function("main"):
        with bb.dataflow():
            made = bb.emit_output(relax.Tuple([bb.emit_te(compute, *params)]))
        bb.emit_func_output(made, params)
    return bb.finalize()
