"""Kernels as ONNX models, run by ONNX Runtime on numpy arrays.

members: model.onnx, or what settings call "file". settings: "inputs" and "outputs", the model's names in the kernel's order;
"initializers", external initialiser → weight, handed over without a copy; "feeds", model input → weight, for weights that calls write;
"copies", (index of an output, model input) pairs: what the block writes in place, which the model gives as outputs after the results.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from dync.errors import BackendError
from dync.ir.raising import read
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


def load(entry: KernelEntry, members: Mapping[str, Any], weights: Weights, settings: Mapping[str, Any], threads: int) -> Callable[..., Any]:
    """The model as a callable. Raises BackendError when ONNX Runtime refuses it, or a call fails in it."""
    ort: Any = import_module("onnxruntime")

    initializers: Mapping[str, str] = settings.get("initializers", {})
    written = sorted(set(initializers.values()) & set(weights.written))
    if written:
        raise BackendError(f"weight {written[0]!r} is written by calls: the model must take it as an input")
    model = bytes(members[settings.get("file", "model.onnx")])
    opened, kept = session(ort, model, {n: weights.raw(w) for n, w in initializers.items()}, threads)
    feeds = {n: weights.numpy(w) for n, w in settings.get("feeds", {}).items()}
    copies = [(i, name) for i, name in settings.get("copies", ())]
    return _caller(opened, kept, tuple(settings["inputs"]), list(settings["outputs"]), feeds, copies, entry)


def session(ort: Any, model: bytes, initializers: Mapping[str, Any], threads: int, alone: bool = False) -> tuple[Any, list[Any]]:
    """The model opened on the CPU, and what must stay alive with it. Raises BackendError when ONNX Runtime refuses it."""
    options = session_options(ort, threads, alone)
    arrays = [_array(tensor) for tensor in initializers.values()]
    values = [_value(ort, a, t) for a, t in zip(arrays, initializers.values(), strict=True)]
    if values:
        options.add_external_initializers(list(initializers), values)
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(SLOWER))
        return session, [arrays, values]
    except Exception as error:  # ONNX Runtime's exception classes share no root
        raise BackendError(f"ONNX Runtime cannot load the block: {str(error).splitlines()[0]}") from error


def session_options(ort: Any, threads: int, alone: bool = False) -> Any:
    """Options for a session with threads of its own: the process-wide pool would forbid other users of ONNX Runtime theirs.

    alone: the only session of a program. The threads of others do not spin when idle: they would take the cores from one another.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what fails is raised
    options.intra_op_num_threads, options.inter_op_num_threads = threads or _cores(), 1
    if not alone:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    """A function that does what this kernel needs in a call and no more: session.run without its checks of every name, which are ours.

    `kept` holds the memory of the weights alive.
    """
    fail = partial(failed, "on a block", "trace" in entry.settings)
    space: dict[str, Any] = {
        "run": session._sess.run, "outputs": outputs, "array": np.array, "copyto": np.copyto, "failed": fail,
        **{f"n{i}": name for i, name in enumerate(names)}, **{f"w{i}": name for i, name in enumerate(feeds)},
        **{f"v{i}": value for i, value in enumerate(feeds.values())},
    }  # fmt: skip
    numbers = {i: t.kind for i, t in enumerate(entry.inputs) if isinstance(t, ScalarType)}
    space |= {kind: dtype for kind, dtype in _DTYPES.items()}
    feed = [f"n{i}: array(i{i}, {numbers[i]})" if i in numbers else f"n{i}: i{i}" for i in range(len(names))]
    feed += [f"w{i}: v{i}" for i in range(len(feeds))]
    places = {name: f"i{i}" for i, name in enumerate(names)} | {name: f"v{i}" for i, name in enumerate(feeds)}
    body = [f"copyto({places[name]}, r[{i}])" for i, name in copies]
    body += [f"r[{i}] = r[{i}].item()" for i, t in enumerate(entry.results) if isinstance(t, ScalarType)]
    lines = [
        f"def call({', '.join(f'i{i}' for i in range(len(names)))}):", "    try:", f"        r = run(outputs, {{{', '.join(feed)}}}, None)",
        "    except Exception as error:", "        raise failed(error) from error",
        *("    " + line for line in body), f"    return r[:{len(entry.results)}]" if copies else "    return r",
    ]  # fmt: skip
    exec("\n".join(lines), space)
    made = space["call"]
    made.__dict__["kept"] = (session, kept)
    return made


def failed(where: str, placed: bool, error: Exception) -> Exception:
    """What to raise where ONNX Runtime fails: the error that a number raises in the model, or BackendError.

    placed: no code is shared by several lines of the model, so the error may say its line.
    """
    return read(str(error), placed) or BackendError(f"ONNX Runtime failed {where}: {str(error).splitlines()[0]}")
