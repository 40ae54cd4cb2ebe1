"""PyTorch's own ways to run a model: eager, torch.compile, TorchScript with freezing."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.peers import Refused, reason


def eager(model: nn.Module, args: tuple) -> Callable[..., Any]:
    return model


def torch_compile(model: nn.Module, args: tuple) -> Callable[..., Any]:
    """torch.compile as it comes, graph breaks included."""
    torch._dynamo.reset()
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    compiled = torch.compile(copy.deepcopy(model))
    try:
        compiled(*args)
    except Exception as error:  # whatever dynamo, inductor or the C++ compiler raise
        raise Refused(reason(error)) from error
    return compiled


def torchscript(model: nn.Module, args: tuple) -> Callable[..., Any]:
    """torch.jit.script, frozen and optimised for inference."""
    try:
        compiled = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.script(copy.deepcopy(model))))
        for _ in range(3):
            compiled(*args)
    except Exception as error:  # the script compiler raises RuntimeError, NotSupportedError, OSError and others
        raise Refused(reason(error)) from error
    return compiled
