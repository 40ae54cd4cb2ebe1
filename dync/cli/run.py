"""`dync run ART --input x=@x.npy -o y.npz`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from dync.cli.console import constant, emit, near, number, pairs, steps
from dync.cli.words import Json
from dync.errors import DyncError, GuardError, UsageError
from dync.examples import read_arrays
from dync.ir.classes import record_fields
from dync.ir.flow import Signature
from dync.ir.opaque import Opaque
from dync.ir.trees import build
from dync.progress import stage
from dync.report import table
from dync.runtime.files import replacing
from dync.runtime.program import load

if TYPE_CHECKING:
    import numpy as np


RAISED = 1
"""Exit code when the model raises."""


class Leaf(msgspec.Struct, frozen=True):
    """One leaf of the result, by its path."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class RunReport(msgspec.Struct, frozen=True):
    """What one run did."""

    artifact: str
    path: tuple[str, ...]
    decisions: tuple[str, ...]
    outputs: tuple[Leaf, ...]
    written: str = ""

    def __str__(self) -> str:
        lines = [f"path: {' > '.join(self.path)}", *(f"  {d}" for d in self.decisions)]
        lines += table(("output", "dtype", "shape"), [(o.name, o.dtype, str(list(o.shape))) for o in self.outputs])
        return "\n".join([*lines, *([f"written to {self.written}"] if self.written else [])])


def run(
    artifact: Path, *,
    input: Annotated[list[str], Parameter(help="A value by its name, x=@x.npy, or a number, n=3; repeatable.")] = [],  # noqa: B006
    inputs: Annotated[Path | None, Parameter(help="Values by name, file.npz.")] = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"], help="Where the result's leaves go, .npz.")] = None,
    param: Annotated[list[str], Parameter(help="Value of a run-time parameter, threshold=0.8; repeatable.")] = [],  # noqa: B006
    json: Json = False,
) -> int:  # fmt: skip
    """Run an artifact on arrays from files; the leaves of a nested result are stored under their paths: "y", "exit", "out[0]"."""
    if output is not None and output.suffix != ".npz":
        raise UsageError(f"cannot write {output}: results are stored as .npz")
    if output is not None and not output.resolve().parent.is_dir():
        raise UsageError(f"cannot write {output}: there is no folder {output.parent}")
    with steps(2):
        with stage("load", str(artifact)):
            runtime = load(artifact)
        signature = runtime.flow.signature
        for name, text in pairs(param, "--param").items():
            _set(runtime, name, text)
        with stage("run", runtime.flow.name) as running:
            args, kwargs = call(signature, values(input, inputs))
            try:
                result, trace = runtime.traced(*args, **kwargs)
            except DyncError:
                raise
            except Exception as error:  # the model's own
                where = next((n for n in getattr(error, "__notes__", ()) if n.startswith("raised by")), "raised by the model")
                print(near(f"{type(error).__name__}: {error} ({where})"), file=sys.stderr)
                return RAISED
            running.note = f"{len(trace.path)} blocks"
    leaves = dict(named_leaves(result))
    if output is not None:
        write_npz(output, leaves)
    emit(
        RunReport(
            str(artifact), trace.path, tuple(f"{d.text} = {d.value}" for d in trace.decisions),
            tuple(Leaf(n, str(v.dtype), v.shape) for n, v in leaves.items()), str(output or ""),
        ), json,
    )  # fmt: skip
    return 0


def _set(runtime: Any, name: str, text: str) -> None:
    known = [p.name for p in runtime.flow.signature.params]
    if name not in known:
        raise UsageError(f"unknown run-time parameter {name!r}; known: {', '.join(known) or 'none'}")
    runtime.params[name] = number(text, f"--param {name}")


def values(texts: list[str], archive: Path | None) -> dict[str, Any]:
    """Values by path: arrays from an .npz, then "x=@x.npy" and "n=3"."""
    found: dict[str, Any] = dict(read_arrays(archive)) if archive else {}
    for text in texts:
        name, sign, value = text.partition("=@")
        if sign:
            arrays = read_arrays(Path(value))
            if len(arrays) != 1:
                raise UsageError(f"--input {text}: {value} holds {len(arrays)} arrays; give one, or all with --inputs")
            found[name.strip()] = next(iter(arrays.values()))
        else:
            found |= {n: constant(v) for n, v in pairs([text], "--input").items()}
    return found


def call(signature: Signature, given: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(args, kwargs) with the given values at their paths; leaves that were fixed at capture keep their value. Raises UsageError."""
    fixed = {f.path: f.value.python for f in signature.fixed}
    known = [*(i.path for i in signature.inputs), *fixed, *(p.name for p in signature.params if p.place == "argument")]
    defaults: dict[str, Any] = fixed | {p.name: p.default for p in signature.params if p.place == "argument"}
    unknown = [n for n in given if n not in known]
    missing = [i.path for i in signature.inputs if i.path not in given]
    if unknown:
        raise UsageError(f"no input {unknown[0]!r}; inputs: {', '.join(known)}")
    if missing:
        raise UsageError(f'no value for the input {missing[0]!r}; give it with --input "{missing[0]}=@{missing[0]}.npy"')
    at = {**defaults, **given}
    return build(signature.args, at.__getitem__), build(signature.kwargs, at.__getitem__)


def named_leaves(result: Any, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The leaves of a nested result by their path: "y", "out[0]", "exit"; None and a dtype have no leaf, a single value is "out"."""
    if isinstance(result, Opaque):
        return
    inside = fields_of(result)
    if inside is not None:
        for key, value in inside.items():
            yield from named_leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(result, (list, tuple)):
        for number, value in enumerate(result):
            yield from named_leaves(value, f"{path or 'out'}[{number}]")
    elif result is not None:
        yield path or "out", _array(result, path or "value")


def fields_of(value: Any) -> Mapping[Any, Any] | None:
    """What a dict, named tuple, dataclass or plain object holds by name; None for anything else."""
    if isinstance(value, Mapping):
        return value
    return record_fields(value)


def _array(value: Any, name: str) -> np.ndarray:
    import numpy as np

    array = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    if array.dtype == object:
        raise GuardError(f"the result's {name} is a {type(value).__name__}, which .npz cannot hold")
    return array


def write_npz(path: Path, leaves: Mapping[str, np.ndarray]) -> None:
    """Write all of the file or nothing."""
    import zipfile

    import numpy as np

    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for leaf, value in leaves.items():
            with archive.open(f"{leaf}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(value), allow_pickle=False)
