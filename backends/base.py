"""What a backend is: it says which blocks it takes, and turns one into code that a runtime loader runs.

A backend sees a `Kernel`: one block's graph in functional ATen form, with its weights. It never sees control flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dync.ir.types import UNKNOWN, Span, Value

if TYPE_CHECKING:
    import torch
    from torch.fx import Graph


@dataclass(frozen=True)
class Declined:
    """A "no" with its reason and, where there is one, the source line that it comes from."""

    reason: str
    span: Span = UNKNOWN


@dataclass(frozen=True)
class Available:
    """The backend can be used here; `version` is that of the library behind it."""

    version: str
    can_compile: tuple[str, ...] = ("cpu",)
    can_run: tuple[str, ...] = ("cpu",)


@dataclass(frozen=True)
class Target:
    """Where code is to run: kind "cpu" or "cuda", arch "" for this machine, or e.g. "sm_90", "x86-64-v3"."""

    kind: str = "cpu"
    arch: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.arch}" if self.arch else self.kind


@dataclass(frozen=True)
class Functional:
    """What a kernel that writes computes, without the writes: its own results come first in `graph`.

    copies: (input or weight, index of the result that it must hold after the run).
    """

    graph: Graph
    copies: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Kernel:
    """A block as a backend sees it.

    graph: as in dync.ir.program, functional but for `mutates`. inputs/results: names and types in placeholder/output order.
    weights: the tensors that get_attr nodes name. mutates: inputs or weights written in place (most backends decline these).
    """

    name: str
    graph: Graph
    inputs: tuple[Value, ...]
    results: tuple[Value, ...]
    weights: Mapping[str, torch.Tensor]
    mutates: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[int, int | None]] = field(default_factory=dict[str, "tuple[int, int | None]"])
    """Inclusive bounds of the size symbols in the types."""
    written: frozenset[str] = frozenset()
    """Weights that some block of the program writes in place: code must read them anew at each call."""
    functional: Functional | None = None
    """For a kernel that mutates: the same without writes, where there is such a form and its inputs share no memory."""
    captured: Graph | None = None
    """`graph` with the in-place operations of the model, where it has some on memory of its own: its results have eager's bits."""
    keeps_views: bool = False
    """Results must be views where the graph makes views: another block writes memory that they share."""


def unfit(kernel: Kernel) -> Declined | None:
    """Why code whose results are memory of its own cannot stand for the kernel; None where it can."""
    if kernel.keeps_views:
        return Declined("its results are views of memory that another block writes, compiled code's are copies")
    if kernel.mutates and kernel.functional is None:
        return Declined(f"writes {', '.join(kernel.mutates)} in place")
    if not kernel.results and not kernel.mutates:
        return Declined("computes nothing")
    return None


@dataclass(frozen=True)
class BlockCode:
    """Compiled code of one kernel.

    loader: name of the runtime loader (dync.runtime.loaders). members: file name → bytes, stored in the artifact; a
    loader gets them back as memory views. weights: names that the loader needs at run time from the weights file.
    settings: small JSON-able facts for the loader. Equal `key`s mean equal code, stored once.
    """

    loader: str
    key: str
    members: Mapping[str, bytes]
    weights: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    needs: tuple[str, ...] = ()
    """Packages that running needs, e.g. ("onnxruntime",)."""


class Backend(Protocol):
    """A compiler for kernels. Importing a backend's module must be cheap: foreign toolchains are imported inside methods."""

    name: str

    def available(self) -> Available | Declined:
        """Whether the backend can be used on this machine, or why not and what to install."""
        ...

    def supports(self, kernel: Kernel, target: Target) -> Declined | None:
        """None when the backend claims the kernel; otherwise why not, naming operator and source line. Does not compile."""
        ...

    def compile(self, kernel: Kernel, target: Target, threads: int = 0) -> BlockCode:
        """Code for the kernel. Raises BackendError when the compiler fails."""
        ...
