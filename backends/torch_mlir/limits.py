"""What torch-mlir or IREE refuses, or computes otherwise than ONNX says, by operator: found by the conformance cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dync.backends.base import Declined

if TYPE_CHECKING:
    from dync.backends.onnx.translate import Translation


def limit(found: Translation) -> Declined | None:
    """The first node of a translated kernel that has no exact form here; None where all have."""
    return None
