"""Fast code without tuning: Relax modules in, the same with kernels that are packed, fused and scheduled by rules."""

from __future__ import annotations

import tvm

CONFIG = {"tirx.disable_storage_rewrite": True}
"""What a PassContext must say when the result is built: else TVM puts two tiles into one buffer, and LLVM keeps neither in registers."""


def optimise(mod: tvm.IRModule, target: tvm.target.Target, threads: int = 1) -> tvm.IRModule:
    """`mod` with its operators legalised, fused and scheduled for the CPU `target`; threads: 1 makes code without parallel loops.

    "main" takes inputs, then parameters; its attribute `num_input` says how many are inputs (all of them without it). What depends
    on parameters alone moves to a function "main_transform_params", from a tuple of the parameters to a tuple of what "main" then
    takes in their place: a loader calls it once. It is there only if "main" has parameters.
    """
    from tvm.relax import backend
    from tvm.relax import transform as t

    from dync.backends.tvm.schedule import graph, kernels, machine, normalisation

    machine = machine.of(target, threads)
    has_parameters = "num_input" in (mod["main"].attrs or {}) and int(mod["main"].attrs["num_input"]) < len(mod["main"].params)
    before = [t.CanonicalizeBindings(), t.DeadCodeElimination()]
    ready = [t.DecomposeOpsForInference(), t.CanonicalizeBindings(), t.DeadCodeElimination()]
    after = [
        backend.DispatchSortScan(), t.LegalizeOps(normalisation.FORMS), t.AnnotateTIROpPattern(), t.FoldConstant(), t.FuseOps(),
        t.FuseTIR(), t.DeadCodeElimination(),
    ]  # fmt: skip
    with target:
        mod = tvm.transform.Sequential(before)(mod)
        mod = graph.rewritten(mod, machine)
        mod = tvm.transform.Sequential(ready)(mod)
        mod = tvm.transform.Sequential(after)(_lifted(mod) if has_parameters else mod)
        return kernels.schedule(mod, machine)


def _lifted(mod: tvm.IRModule) -> tvm.IRModule:
    """`mod` with what depends on parameters alone moved out of "main"; as it is where that is all there is, which TVM gets wrong."""
    from dync.backends.tvm.door import relax

    made = relax.transform.LiftTransformParams()(mod)
    body = made["main"].body
    bound = {b.var for block in body.blocks for b in block.bindings}
    return made if body.body in bound or not isinstance(body.body, relax.Var) else mod
