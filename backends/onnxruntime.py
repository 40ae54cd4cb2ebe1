"""ONNX Runtime on the CPU: a kernel becomes one ONNX model; the weights stay outside and are handed over when it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dync.backends.base import Available, BlockCode, Declined, Kernel, Target, unfit
from dync.errors import BackendError

if TYPE_CHECKING:
    import torch

    from dync.backends.onnx.translate import Translation


class OnnxRuntime:
    """Compiles kernels through dync.backends.onnx. Declines what it cannot give exactly eager's meaning."""

    name = "onnxruntime"

    def __init__(self) -> None:
        self._found: dict[int, tuple[Kernel, Translation | Declined]] = {}

    def available(self) -> Available | Declined:
        from importlib.metadata import PackageNotFoundError, version
        from importlib.util import find_spec

        missing = [p for p in ("onnxruntime", "onnx") if find_spec(p) is None]
        if missing:
            return Declined(f"{' and '.join(missing)} not installed: pip install {' '.join(missing)}")
        try:
            return Available(version("onnxruntime"))
        except PackageNotFoundError:
            return Available("unknown")

    def supports(self, kernel: Kernel, target: Target) -> Declined | None:
        """None, or the first operator without an ONNX form and its source line."""
        if target.kind != "cpu":
            return Declined(f"the onnxruntime backend compiles for the CPU, not for {target}")
        if refused := unfit(kernel):
            return refused
        found = self._translation(kernel)
        return found if isinstance(found, Declined) else None

    def compile(self, kernel: Kernel, target: Target, threads: int = 0) -> BlockCode:
        """One ONNX model, opened once to be sure that ONNX Runtime takes it. Raises BackendError with operator and line."""
        from hashlib import sha256

        refused = self.supports(kernel, target)
        found = refused or self._translation(kernel)
        if isinstance(found, Declined):
            raise BackendError(f"{kernel.name}: {found.reason} ({found.span})")
        _open(kernel, found)
        key = sha256(found.model).hexdigest()
        return BlockCode(
            "onnxruntime", key, {"model.onnx": found.model}, (*found.weights.values(), *found.feeds.values()), _settings(kernel, found),
            ("onnxruntime",),
        )  # fmt: skip

    def _translation(self, kernel: Kernel) -> Translation | Declined:
        from dync.backends.onnx.translate import translate

        if id(kernel) not in self._found:
            self._found[id(kernel)] = (kernel, translate(kernel))
        return self._found[id(kernel)][1]


def _settings(kernel: Kernel, found: Translation) -> dict[str, object]:
    """What the loader is told: see dync.runtime.loaders.onnxruntime."""
    settings: dict[str, object] = {
        "inputs": [f"i{i}" for i in range(len(kernel.inputs))],
        "outputs": [f"o{i}" for i in range(found.outputs)],
        "initializers": dict(found.weights),
    }
    if found.feeds:
        settings["feeds"] = dict(found.feeds)
    if found.copies:
        settings["copies"] = [[i, name] for i, name in found.copies]
    return settings


def _open(kernel: Kernel, found: Translation) -> None:
    """Loads the model without optimising it; what ONNX Runtime refuses names the ATen node that it came from."""
    import re

    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    values = [_ort_value(kernel.weights[w]) for w in found.weights.values()]
    options.add_external_initializers(list(found.weights), values)
    try:
        try:
            ort.InferenceSession(found.model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as error:  # noqa: BLE001  a process whose runtime made the shared thread pool must use it everywhere
            if "global thread pool" not in str(error):
                raise
            options.use_per_session_threads = False
            options.intra_op_num_threads = options.inter_op_num_threads = 0
            ort.InferenceSession(found.model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # noqa: BLE001  the foreign toolchain's own exception classes share no root
        name = re.search(r"\b(n\d+)\b", str(error))
        node = found.origin.get(name.group(1)) if name else None
        where = f" for {node.target} at {node.meta.get('span')}" if node is not None else ""
        raise BackendError(f"{kernel.name}: ONNX Runtime refuses the model{where}: {str(error).splitlines()[0]}") from error


def _ort_value(tensor: torch.Tensor) -> Any:
    """A weight as ONNX Runtime takes it, without a copy."""
    import onnxruntime as ort
    import torch

    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(tensor.view(torch.uint16).numpy(), 16)
    return ort.OrtValue.ortvalue_from_numpy(tensor.numpy())
