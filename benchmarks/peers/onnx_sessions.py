"""ONNX Runtime sessions for branch-free pieces of a model, for hand-written hosts around them."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from torch import nn

from dync.runtime.loaders.onnxruntime import session_options


def session(module: nn.Module, args: tuple[torch.Tensor, ...], threads: int) -> Callable[..., list[np.ndarray]]:
    """One optimised session of `module`: numpy arrays in, a list of numpy arrays out."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module.eval(), args, dynamo=True, verbose=False)
    assert program is not None
    program.save(buffer)
    options = session_options(onnxruntime, threads)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    one = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in one.get_inputs()]

    def run(*arrays: np.ndarray) -> list[np.ndarray]:
        return one.run(None, dict(zip(names, arrays, strict=True)))

    return run
