"""Where an artifact's model came from, so that `dync verify` and `dync bench` can find it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dync.errors import CaptureError, UsageError

if TYPE_CHECKING:
    from dync.examples import Examples
    from dync.ir.program import Program
    from dync.runtime.package import Package
    from dync.source import ModelSource


class Origin(msgspec.Struct, frozen=True):
    """MODEL as it was written on the command line, and the options that built it. Paths are as given, never made absolute."""

    model: str
    init: dict[str, Any] = {}
    weights: str = ""
    seed: int = 0
    inputs: tuple[str, ...] = ()
    archive: str = ""

    @classmethod
    def of(
        cls, source: ModelSource, init: Mapping[str, object], weights: Path | None, seed: int, inputs: Sequence[str], archive: Path | None
    ) -> Origin:
        """The origin of a model that was opened with these options."""
        return cls(source.spec, dict(init), str(weights or ""), seed, tuple(inputs), str(archive or ""))

    def open(self) -> tuple[ModelSource, Examples]:
        """The model and its example inputs. Raises UsageError when they are not where they were."""
        from dync.examples import examples
        from dync.source import open_model

        source = open_model(self.model, self.init, Path(self.weights) if self.weights else None, self.seed)
        return source, examples(source, self.inputs, Path(self.archive) if self.archive else None, self.seed)


def origin_of(meta: Mapping[str, Any], against: str | None, init: Mapping[str, object], weights: Path | None, seed: int) -> Origin:
    """The model to compare with: the one named, or else the one that the artifact says it came from.

    The example inputs are the artifact's own in both cases. Raises UsageError when neither is there.
    """
    recorded = meta.get("origin")
    own = msgspec.convert(recorded, Origin) if recorded else None
    if against is not None:
        return Origin(against, dict(init), str(weights or ""), seed, own.inputs if own else (), own.archive if own else "")
    if own is None:
        raise UsageError("the artifact does not say which model it came from: name it with --against MODEL")
    return own


def program_of(package: Package, source: ModelSource, found: Examples) -> tuple[Program | None, str]:
    """The Program that an artifact was made from, captured again; None and why when this model has another control flow, or none."""
    from dync.api import capture
    from dync.build import rewrite
    from dync.options import CompileOptions

    params = {p.name: (p.default, p.low, p.high) for p in package.flow.signature.params}
    try:
        program = capture(source.model, found.args, found.kwargs, found.dynamic_shapes, params or None)
    except (CaptureError, UsageError) as error:
        return None, f"{source.spec} cannot be captured as the artifact was: {str(error).splitlines()[0]}"
    program = rewrite(program, CompileOptions.parse(passes=str(package.meta.get("passes", "default"))))
    if program.flow != package.flow:
        return None, f"the control flow of {source.spec} is not the artifact's: another model, or one that was changed since"
    return program, ""
