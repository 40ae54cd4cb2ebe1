"""The compiler's process: ONNX blocks and the function that calls them in, IREE bytecode out. Imports neither torch nor dync's passes.

Messages on stdin and stdout are msgpack behind 8 bytes of length. A message that the compiler dies on takes only this process with it.
Lowering is torch-mlir's (ONNX → torch → linalg on tensors); from there on it is IREE's.
"""

# pyright: reportAttributeAccessIssue=false
# MLIR's Python modules are filled in by C++ when they are loaded: their stubs do not know all of it.
from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable, Collection
from functools import cache
from typing import Any, BinaryIO

import msgspec

LEGAL = (
    "aten.flatten.using_ints", "aten.unflatten.int", "aten.adaptive_avg_pool1d", "aten.adaptive_avg_pool2d", "aten.argmax", "aten.argmin",
)  # fmt: skip
"""Operators that are lowered better whole than in parts."""
FUNCTION = (
    "torch-recompose-complex-ops", "torch-reduce-op-variants", f"torch-decompose-complex-ops{{legal-ops={','.join(LEGAL)}}}",
    "canonicalize", "torch-scalarize-shapes", "convert-torch-to-tmtensor", "convert-torch-to-tensor", "convert-torch-to-linalg", "cse",
    "convert-torch-to-scf", "convert-torch-to-arith",
)  # fmt: skip
TO_LINALG = (
    f"builtin.module(torch-onnx-to-torch-backend-pipeline,func.func({','.join(FUNCTION)}),convert-torch-conversion-to-mlprogram,"
    "func.func(canonicalize,resolve-shaped-type-result-dims,cse),torch-func-backend-type-conversion,"
    "func.func(canonicalize,torch-finalizing-backend-type-conversion))"
)
"""torch-mlir's own last pipeline, torch-backend-to-linalg-on-tensors, takes dynamic sizes for 1 in reshapes: these are its passes in the
order in which IREE has them, tensors before linalg."""


LONGEST = 100_000
"""Bytes of complaints that are passed on."""


class Job(msgspec.Struct, frozen=True):
    """main: MLIR text that declares the functions of `blocks` (name → ONNX model, weights as its last inputs) and calls them.

    flags: IREE's, and those to try where it fails with them. constants: global of `main` → its bytes, for code that carries its
    weights. text: give back MLIR, not bytecode.
    """

    main: str
    blocks: dict[str, bytes]
    flags: tuple[tuple[str, ...], ...] = ((),)
    constants: dict[str, bytes] = {}
    text: bool = False


class Answer(msgspec.Struct, frozen=True):
    """code, or what the compiler said against it."""

    code: bytes = b""
    error: str = ""


def serve(read: BinaryIO, write: BinaryIO, run: Callable[[Job], Answer]) -> None:
    """Answers jobs until stdin ends."""
    while head := read.read(8):
        job = msgspec.msgpack.decode(read.read(int.from_bytes(head, "big")), type=Job)
        answer = msgspec.msgpack.encode(run(job))
        write.write(len(answer).to_bytes(8, "big") + answer)
        write.flush()


def run(job: Job) -> Answer:
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    try:
        made = _joined(job, _lowered(job.blocks))
        return Answer(made if job.text else _compiled(made, job.flags))
    except Exception as error:  # noqa: BLE001  torch-mlir's and IREE's errors share no root
        sys.stderr.flush()
        return Answer(error=f"{os.pread(2, LONGEST, 0).decode(errors='replace')}\n{error or type(error).__name__}")


def _lowered(blocks: dict[str, bytes]) -> bytes:
    """One module with a function on builtin tensors for each block, as MLIR bytecode.

    Together, for torch-mlir reads its library of shapes anew for each module: that takes longer than most blocks.
    """
    import onnx
    from torch_mlir import ir
    from torch_mlir.dialects import torch as dialect
    from torch_mlir.extras.onnx_importer import ContextCache, ModelInfo, ModuleCache, NodeImporter
    from torch_mlir.passmanager import PassManager

    with ir.Context() as context, ir.Location.unknown():
        dialect.register_dialect(context)
        module = ir.Module.create()
        known = ContextCache(context)
        kept = ModuleCache(module.operation, known)
        for name, model in blocks.items():
            proto = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), data_prop=True)
            proto.graph.name = name
            NodeImporter.define_function(ModelInfo(proto).main_graph, module.operation, known, kept).import_all()
        for op in module.body:
            op.attributes["torch.assume_strict_symbolic_shapes"] = ir.UnitAttr.get()
        PassManager.parse(TO_LINALG).run(module.operation)
        found = io.BytesIO()
        module.operation.write_bytecode(found)
    return found.getvalue()


def _joined(job: Job, lowered: bytes) -> bytes:
    """The whole module, as MLIR bytecode or text."""
    from iree.compiler import ir

    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse(job.main)
        code = ir.Module.parse(lowered)
        kept = [_define(module, job.blocks, op) for op in list(code.body)]  # moved operations hang on where they came from
        for name, data in job.constants.items():
            _fill(module, name, data)
        module.operation.verify()
        found = io.BytesIO()
        if job.text:
            found.write(module.operation.get_asm(assume_verified=True).encode())
        else:
            module.operation.write_bytecode(found)
        del kept
        return found.getvalue()


@cache
def _process_flags() -> None:
    """IREE 3.13 otherwise keeps command buffers from call to call, and on some paths of a program gives them too few buffers."""
    from iree.compiler import api

    api._initializeGlobalCL("dync", "--iree-hal-memoization=false")


def _compiled(module: bytes, ways: tuple[tuple[str, ...], ...]) -> bytes:
    """IREE's bytecode, made with the first flags that it succeeds with."""
    from iree.compiler import api

    flags, *others = ways
    _process_flags()
    session = api.Session()
    session.set_flags("--iree-input-type=tm_tensor", *flags)
    invocation = session.invocation()
    invocation.enable_console_diagnostics()
    if not invocation.parse_source(api.Source.wrap_buffer(session, module)) or not invocation.execute():
        if others:
            return _compiled(module, tuple(others))
        raise ValueError("IREE refuses the module")
    output = api.Output.open_membuffer()
    invocation.output_vm_bytecode(output)
    return bytes(output.map_memory())


def _define(module: Any, blocks: Collection[str], op: Any) -> Any:
    """Takes in a function or global of the lowered blocks. A block's comes in the place of its declaration, whose result types may say
    less."""
    from iree.compiler import ir

    name, shim = _symbol(op), None
    if name in blocks:
        declared = next(d for d in module.body if _symbol(d) == name)
        wanted, found = (ir.FunctionType(ir.TypeAttr(f.attributes["function_type"]).value) for f in (declared, op))
        declared.operation.erase()
        op.attributes["sym_name"] = ir.StringAttr.get(f"{name}.code")
        shim = ir.Module.parse(_cast(name, wanted, found))
        module.body.append(list(shim.body)[1].detach_from_parent())
    op.attributes["sym_visibility"] = ir.StringAttr.get("private")
    module.body.append(op.detach_from_parent())
    return shim


def _cast(name: str, wanted: Any, found: Any) -> str:
    """A declaration, and a function of the declared type around it: lowering knows more sizes of its results, and the code may have one
    result more, which says whether all its indices were in range."""
    inputs = ", ".join(f"%a{i}: {t}" for i, t in enumerate(wanted.inputs))
    given = [f"%c{i}" if t != f else f"%a{i}" for i, (t, f) in enumerate(zip(wanted.inputs, found.inputs, strict=True))]
    lines = [f"{g} = tensor.cast %a{i} : {t} to {f}"
             for i, (g, t, f) in enumerate(zip(given, wanted.inputs, found.inputs, strict=True)) if t != f]
    count = len(found.results)
    results = [f"%r#{i}" for i in range(count)] if count > 1 else ["%r"] * count
    left = f"%r{f':{count}' if count > 1 else ''} = " if count else ""
    lines.append(f"{left}func.call @{name}.code({', '.join(given)}) : {found}")
    if count > len(wanted.results):
        lines += [f"%in_range = tensor.extract {results[-1]}[] : {found.results[-1]}", 'cf.assert %in_range, "an index is out of range"']
    ends = [f"%o{i}" if t != f else r for i, (t, f, r) in enumerate(zip(wanted.results, found.results, results))]
    lines += [f"{e} = tensor.cast {r} : {f} to {t}"
              for e, r, t, f in zip(ends, results, wanted.results, found.results) if t != f]
    types = ", ".join(map(str, wanted.results))
    lines.append(f"return {', '.join(ends)} : {types}" if count else "return")
    declared = f"func.func private @{name}.code({', '.join(map(str, found.inputs))}) -> ({', '.join(map(str, found.results))})\n"
    return f"{declared}func.func private @{name}({inputs}) -> ({types}) {{\n" + "\n".join(lines) + "\n}"


def _fill(module: Any, name: str, data: bytes) -> None:
    """Gives a global its value."""
    from iree.compiler import ir

    held = next(op for op in module.body if _symbol(op) == name)
    type = ir.RankedTensorType(ir.TypeAttr(held.attributes["type"]).value)
    held.attributes["initial_value"] = ir.DenseResourceElementsAttr.get_from_buffer(memoryview(data), f"weight_{name}", type)


def _symbol(op: Any) -> str:
    from iree.compiler import ir

    return ir.StringAttr(op.attributes["sym_name"]).value if "sym_name" in op.attributes else ""


if __name__ == "__main__":
    answers, printed = os.fdopen(os.dup(1), "wb"), tempfile.TemporaryFile()
    for stream in (1, 2):  # the compilers print their complaints
        os.dup2(printed.fileno(), stream)
    serve(sys.stdin.buffer, answers, run)
