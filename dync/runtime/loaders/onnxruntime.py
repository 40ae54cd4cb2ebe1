"""Kernels as ONNX models, run by ONNX Runtime on numpy arrays.

members: model.onnx. settings: "inputs" and "outputs", the model's names in the kernel's order; "initializers", external initialiser →
weight, handed over without a copy; "feeds", model input → weight, for weights that calls write; "copies", (index of an output, model
input) pairs: what the block writes in place, which the model gives as outputs after the results.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from dync.errors import BackendError
from dync.ir.types import ScalarType
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights
from dync.runtime.tensors import is_numpy, to_numpy
from dync.runtime.weights import Array, Raw

FORM = "numpy"
_DTYPES = {"int": np.int64, "float": np.float64, "bool": np.bool_}
SLOWER = ("SkipLayerNormFusion",)
"""Rewrites of ONNX Runtime that cost time: its fused kernel takes 88 µs where Add and LayerNormalization take 19 (64 x 256, one thread)."""
_BFLOAT16 = 16
"""onnx.TensorProto.BFLOAT16."""
_pool_lock = threading.Lock()
_pool_threads: int | None = None


def load(entry: KernelEntry, members: Mapping[str, Any], weights: Weights, settings: Mapping[str, Any], threads: int) -> Callable[..., Any]:
    """The model as a callable. Raises BackendError when ONNX Runtime refuses it, or a call fails in it."""
    ort: Any = import_module("onnxruntime")

    initializers: Mapping[str, str] = settings.get("initializers", {})
    written = sorted(set(initializers.values()) & set(weights.written))
    if written:
        raise BackendError(f"weight {written[0]!r} is written by calls: the model must take it as an input")
    opened, kept = session(ort, bytes(members["model.onnx"]), {n: weights.raw(w) for n, w in initializers.items()}, threads)
    feeds = {n: weights.numpy(w) for n, w in settings.get("feeds", {}).items()}
    copies = [(i, name) for i, name in settings.get("copies", ())]
    return _caller(opened, kept, tuple(settings["inputs"]), list(settings["outputs"]), feeds, copies, entry)


def session(ort: Any, model: bytes, initializers: Mapping[str, Any], threads: int) -> tuple[Any, list[Any]]:
    """The model opened on the CPU, and what must stay alive with it. Raises BackendError when ONNX Runtime refuses it."""
    options = session_options(ort, threads)
    arrays = [_array(tensor) for tensor in initializers.values()]
    values = [_value(ort, a, t) for a, t in zip(arrays, initializers.values(), strict=True)]
    if values:
        options.add_external_initializers(list(initializers), values)
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(SLOWER))
        return session, [arrays, values]
    except Exception as error:  # ONNX Runtime's exception classes share no root
        raise BackendError(f"ONNX Runtime cannot load the block: {str(error).splitlines()[0]}") from error


def session_options(ort: Any, threads: int) -> Any:
    """Options for a session in this process: threads of its own, or the shared pool's once there is one."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if _shared_pool(ort, threads):
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return options


def _shared_pool(ort: Any, threads: int) -> bool:
    """Whether sessions use the process-wide pool. The first program that wants more than one thread sizes it, for good:
    after that ONNX Runtime takes no session with threads of its own, so later programs share it whatever they ask for."""
    global _pool_threads
    with _pool_lock:
        if _pool_threads is None and threads != 1 and hasattr(ort, "set_global_thread_pool_sizes"):
            try:
                ort.set_global_thread_pool_sizes(threads, 1)
                _pool_threads = threads
            except Exception:  # sized by someone else in this process
                _pool_threads = -1
        return _pool_threads is not None


def _array(tensor: Any) -> Array:
    if isinstance(tensor, Raw):
        return np.frombuffer(tensor.data, np.uint16 if tensor.dtype == "bfloat16" else np.uint8).reshape(tensor.shape)
    if not is_numpy(tensor) and str(tensor.dtype) == "torch.bfloat16":
        import torch

        return tensor.detach().contiguous().view(torch.uint16).numpy()
    return np.require(to_numpy(tensor), requirements="C")


def _value(ort: Any, array: Array, tensor: Any) -> Any:
    if str(tensor.dtype).removeprefix("torch.") == "bfloat16":
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _caller(
    session: Any, kept: Any, names: tuple[str, ...], outputs: list[str], feeds: Mapping[str, Array], copies: list[tuple[int, str]],
    entry: KernelEntry
) -> Callable[..., Any]:
    """session.run without its checks of every name: the names are ours. `kept` holds the memory of the weights alive."""
    run = session._sess.run
    dtypes = [(i, _DTYPES[t.kind]) for i, t in enumerate(entry.inputs) if isinstance(t, ScalarType)]
    count = len(entry.results)
    items = [i for i, t in enumerate(entry.results) if isinstance(t, ScalarType)]

    def call(*inputs: Any) -> Any:
        feed = dict(zip(names, inputs, strict=True))
        for i, dtype in dtypes:
            feed[names[i]] = np.array(inputs[i], dtype)
        feed.update(feeds)
        try:
            results = run(outputs, feed, None)
        except Exception as error:  # ONNX Runtime's exception classes share no root
            raise BackendError(f"ONNX Runtime failed on a block: {str(error).splitlines()[0]}") from error
        for i, name in copies:
            np.copyto(feed[name], results[i])
        for i in items:
            results[i] = results[i].item()
        return results[:count]

    def call_plain(*inputs: Any) -> Any:
        try:
            return run(outputs, dict(zip(names, inputs, strict=True)), None)
        except Exception as error:  # ONNX Runtime's exception classes share no root
            raise BackendError(f"ONNX Runtime failed on a block: {str(error).splitlines()[0]}") from error

    made = call if dtypes or items or feeds or copies else call_plain
    made.__dict__["kept"] = (session, kept)
    return made
