"""Regions of a mixed host: kernels with control flow in them, and the same in a form that tells which way it went.

settings: those of the onnxruntime loader, and "trace": {"file", "initializers"} of the model that has the outputs of the way as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dync.host.onnx.convention import MARGINS, PATH, VALUES, asked
from dync.host.regions import Part
from dync.ir.types import TensorType
from dync.runtime import loaders
from dync.runtime.engine import way
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights
from dync.runtime.tensors import Form, to_numpy

WAY = {PATH: TensorType("int64", ("n",)), VALUES: TensorType("int64", ("m",)), MARGINS: TensorType("float64", ("m",))}


def tracing(
    name: str, entry: KernelEntry, part: Part, members: Mapping[str, Any], weights: Weights, threads: int, form: Form
) -> Callable[..., Any]:
    """The region as a function of what takes its trace, then its inputs. Raises BackendError when it cannot be loaded."""
    settings = {**entry.settings, **entry.settings["trace"], "outputs": [*entry.settings["outputs"], *WAY]}
    kernel = loaders.load(name, replace(entry, settings=settings, results=(*entry.results, *WAY.values())), members, weights, threads, form)
    blocks, known = tuple(b.name for b in part.flow.blocks), asked(part.flow)

    def call(note: Callable[..., None], *inputs: Any) -> Any:
        *results, taken, values, margins = kernel(*inputs)
        trace = way(blocks, known, *(to_numpy(v).tolist() for v in (taken, values, margins)))
        note([n for n in trace.path if n in part.blocks], trace.decisions)
        return results

    return call
