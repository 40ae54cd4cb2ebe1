"""torch-mlir and IREE: a kernel becomes one function on tensors, compiled ahead of time; the weights stay outside, as named parameters.

    worker.py     the compiler's own process: ONNX block → torch-mlir → linalg → IREE → bytecode
    compiler.py   that process as seen from here
    mlir.py       the text around blocks
    flags.py      what IREE is told
    legal.py      ONNX in the words that torch-mlir and IREE compute right
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dync.backends.base import Available, BlockCode, Declined, Kernel, Target, unfit
from dync.errors import BackendError

if TYPE_CHECKING:
    from dync.backends.onnx.translate import Translation

PACKAGES = {"torch_mlir": "torch-mlir", "iree.compiler": "iree-base-compiler", "iree.runtime": "iree-base-runtime", "onnx": "onnx"}
"""What it takes, and what it is called when one installs it."""
MODULE = "module.vmfb"
ENTRY = "main"


class TorchMlir:
    """Compiles kernels. Declines what cannot be had with exactly eager's meaning."""

    name = "torch-mlir"

    def __init__(self) -> None:
        self._last: tuple[Kernel, Translation | Declined] | None = None

    def available(self) -> Available | Declined:
        from importlib.metadata import PackageNotFoundError, version

        from dync.backends.torch_mlir.flags import PTX
        from dync.runtime.device import present

        missing = [p for m, p in PACKAGES.items() if not _there(m)]
        if missing:
            return Declined(f"{' and '.join(missing)} not installed: pip install {' '.join(missing)}")
        try:
            versions = f"{version('torch-mlir')}, IREE {version('iree-base-compiler')}"
        except PackageNotFoundError:
            versions = "unknown"
        return Available(versions, ("cpu", *(f"cuda:{a}" for a in PTX)), ("cpu", "cuda") if present() else ("cpu",))

    def supports(self, kernel: Kernel, target: Target) -> Declined | None:
        """None, or the first operator that cannot be had, and its source line."""
        from dync.backends.torch_mlir.flags import PTX

        if target.kind == "cuda" and target.arch and target.arch not in PTX:
            return Declined(f"no code for {target}: IREE makes it for {', '.join(PTX)}")
        if refused := unfit(kernel) or (_empties(kernel) if target.kind == "cuda" else None):
            return refused
        found = self._translation(kernel)
        return found if isinstance(found, Declined) else None

    def compile(self, kernel: Kernel, target: Target, threads: int = 0) -> BlockCode:
        """IREE bytecode. Raises BackendError with what the compiler says, and the operator and line that it says it of."""
        from hashlib import sha256

        from dync.backends.torch_mlir.compiler import COMPILER, CompilerError

        refused = self.supports(kernel, target)
        found = refused or self._translation(kernel)
        if isinstance(found, Declined):
            raise BackendError(f"{kernel.name}: {found.reason} ({found.span})")
        job, names, outputs = _job(found, target)
        try:
            code = COMPILER.compile(job)
        except CompilerError as error:
            raise BackendError(f"{kernel.name}: {said(str(error), found)}") from error
        key = sha256(code).hexdigest()
        weights = {n: found.weights[n] for n in names}
        settings: dict[str, object] = {"parameters": weights, "device": target.kind, "outputs": outputs}
        if sizes_from_data(found):
            settings["in_order"] = True
        if copied := own(found, kernel):
            settings["copied"] = copied
        if found.feeds:
            settings["feeds"] = list(found.feeds.values())
        if found.copies:
            arguments = [*(f"i{i}" for i in range(len(kernel.inputs))), *found.feeds]
            settings["copies"] = [[i, arguments.index(n)] for i, n in found.copies]
        used = (*weights.values(), *found.feeds.values())
        return BlockCode("iree", key, {MODULE: code}, used, settings, ("iree.runtime",))

    def _translation(self, kernel: Kernel) -> Translation | Declined:
        from dync.backends.onnx.translate import translate
        from dync.backends.torch_mlir.legal import legal

        if self._last is None or self._last[0] is not kernel:
            found = translate(kernel)
            self._last = (kernel, found if isinstance(found, Declined) else legal(found))
        return self._last[1]


def _empties(kernel: Kernel) -> Declined | None:
    """IREE 3.13 starts a kernel of no threads for a tensor without elements, which CUDA refuses."""
    from dync.backends.kernels import empty_size

    found = empty_size(kernel)
    return found and Declined(f"{found[0]} may be 0, on which IREE's code for CUDA fails", found[1])


def sizes_from_data(found: Translation) -> bool:
    """Whether data decide about sizes. On several threads such code of IREE 3.13 reads what is not written yet, as indices."""
    import onnx

    return any(n.op_type == "NonZero" for n in onnx.load_model_from_string(found.model).graph.node)


def own(found: Translation, kernel: Kernel) -> list[int]:
    """Arguments that the code must be given copies of."""
    import onnx

    from dync.backends.torch_mlir.legal import scattered

    written = scattered(onnx.load_model_from_string(found.model))
    return [i for i, n in enumerate([*(f"i{i}" for i in range(len(kernel.inputs))), *found.feeds]) if n in written]


def _there(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _job(found: Translation, target: Target) -> tuple[Any, list[str], list[str]]:
    """What the compiler is to do, the weights of its module, and the dtypes of its outputs."""
    import onnx

    from dync.backends.torch_mlir import mlir
    from dync.backends.torch_mlir.bounds import results as results_of
    from dync.backends.torch_mlir.flags import flags
    from dync.backends.torch_mlir.worker import Job

    model, names = bare(onnx.load_model_from_string(found.model), found.weights)
    inputs, results = mlir.onnx_types(model.graph.input), mlir.onnx_types(results_of(model))
    own, weights = inputs[: len(inputs) - len(names)], inputs[len(inputs) - len(names) :]
    lines = [mlir.weight_global(n, t) for n, t in zip(names, weights, strict=True)]
    lines.append(mlir.declaration("block", inputs, results))
    lines.append(f"func.func @{ENTRY}({', '.join(f'%i{i}: {t}' for i, t in enumerate(own))}) -> ({', '.join(results)}) {{")
    lines += [mlir.load_weight(n, t) for n, t in zip(names, weights, strict=True)]
    arguments = [*(f"%i{i}" for i in range(len(own))), *(f"%{n}" for n in names)]
    lines.append(mlir.call("block", "%r", arguments, inputs, results))
    lines.append(f"return {', '.join(mlir.values_of('%r', len(results)))} : {', '.join(results)}\n}}")
    ways = flags([n.op_type for n in model.graph.node], target)
    return Job("\n".join(lines), {"block": model.SerializeToString()}, ways), names, mlir.dtypes(results_of(model))


def bare(model: Any, weights: Any) -> tuple[Any, list[str]]:
    """The model with its weights as its last inputs, and their names."""
    import onnx

    kept = [i for i in model.graph.initializer if i.name not in weights]
    outside = [i for i in model.graph.initializer if i.name in weights]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.input.extend(onnx.helper.make_tensor_value_info(i.name, i.data_type, list(i.dims)) for i in outside)
    return model, [i.name for i in outside]


def said(text: str, found: Translation) -> str:
    """The compiler's first complaint, with the operator and line of the ONNX node that it names."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    name = next((m.group(1) for m in re.finditer(r'"(n\d+)"', text) if m.group(1) in found.origin), None)
    node = found.origin.get(name) if name else None
    where = f"{node.target} at {node.meta.get('span')}: " if node is not None else ""
    return f"{where}{next((line for line in lines if 'error' in line or 'failed' in line), lines[0] if lines else 'no reason given')[:300]}"
