"""A compiled program as data: what is compiled in memory, saved as an artifact, and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dync.ir.flow import Flow
from dync.ir.types import ValueType
from dync.runtime.weights import Layout


def _empty() -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class KernelEntry:
    """How one block's kernel is loaded.

    loader: a name of dync.runtime.loaders. members: names in Package.members; the loader sees their last parts. settings: small
    JSON-able facts for the loader. weights: names in Package.weights that it reads. mutates: those weights and inputs that it writes.
    needs: packages that running needs. inputs, results: types of the kernel's values, filled in by the runtime from the flow.
    """

    loader: str
    members: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=_empty)
    weights: tuple[str, ...] = ()
    mutates: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    inputs: tuple[ValueType, ...] = ()
    results: tuple[ValueType, ...] = ()


@dataclass(frozen=True)
class Package:
    """flow: the control flow. kernels: block name → how its kernel is loaded, for every block that has one.

    members: "blocks/<key>/<file>", or "host/<file>" of an engine → bytes or a memory view. weights: each tensor once, as torch
    tensors, numpy arrays, or dync.runtime.weights.Raw. report: what the compilation did, JSON-able. meta: target, versions and the
    like, JSON-able. sources: the user's files that spans point into. coverage: what verification proved, JSON-able.
    """

    flow: Flow
    kernels: Mapping[str, KernelEntry]
    members: Mapping[str, Any] = field(default_factory=_empty)
    weights: Mapping[str, Any] = field(default_factory=_empty)
    report: Any = None
    meta: Mapping[str, Any] = field(default_factory=_empty)
    sources: Mapping[str, str] = field(default_factory=_empty)
    coverage: Any = None
    regions: tuple[tuple[str, ...], ...] = ()
    """Blocks that are one kernel together, that of the first of them (see dync.host.regions)."""
    engine: KernelEntry | None = None
    """The whole flow as one piece of code, for hosts that keep the control flow in an engine; there are no `kernels` then."""
    layouts: Mapping[str, Layout] = field(default_factory=_empty)
    """How weights of a file lay in memory, where not row by row. torch tensors lie as they do."""
