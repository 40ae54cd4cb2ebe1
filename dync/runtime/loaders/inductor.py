"""Kernels as AOTI packages of torch, run on torch tensors.

members: model.pt2. settings: "weights", the code's own weight name → the package's, in the order of its last arguments; "copies",
(index of an output, index of an argument) pairs: what the block writes in place, which the code gives as outputs after the results.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from dync.errors import BackendError
from dync.ir.types import ScalarType
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights

FORM = "torch"


def load(entry: KernelEntry, members: Mapping[str, Any], weights: Weights, settings: Mapping[str, Any], threads: int) -> Callable[..., Any]:
    """The package as a callable; `threads` were fixed when it was compiled. Raises BackendError when torch refuses it, or a call fails."""
    aoti: Any = import_module("torch._C._aoti")
    with tempfile.TemporaryDirectory(prefix="dync-") as folder:
        path = Path(folder) / "model.pt2"
        path.write_bytes(members["model.pt2"])
        try:
            package = aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)
        except RuntimeError as error:
            raise BackendError(f"torch cannot load the block: {str(error).splitlines()[0]}") from error
    own = [weights.torch(name) for name in settings["weights"].values()]
    # Code reads memory as it was laid out at compile time; weights that calls write keep their own memory.
    given = [w if name in weights.written else w.contiguous() for name, w in zip(settings["weights"].values(), own, strict=True)]
    copies = [(int(result), int(place)) for result, place in settings.get("copies", ())]
    items = [i for i, t in enumerate(entry.results) if isinstance(t, ScalarType)]
    count, run = len(entry.results), package.boxed_run

    def call(*inputs: Any) -> Any:
        try:
            results = run([*(v.contiguous() for v in inputs), *given])
        except RuntimeError as error:
            raise BackendError(f"inductor's code failed on a block: {str(error).splitlines()[0]}") from error
        for result, place in copies:
            (inputs[place] if place < len(inputs) else given[place - len(inputs)]).copy_(results[result])
        for i in items:
            results[i] = results[i].item()
        return results[:count]

    return call
