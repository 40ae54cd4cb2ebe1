"""Example inputs of a model: from `--input "x:f32[N=1..64,3,32,32]"`, `--inputs file.npz`, or `example_inputs()` of its file.

spec ::= argument ":" dtype "[" dim ("," dim)* "]"         dim ::= size | NAME | NAME "=" low ".." [high]
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dync.errors import UsageError
from dync.source import ModelSource, seed_everything, users_code

if TYPE_CHECKING:
    import torch

DTYPES: Mapping[str, str] = {
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64",
    "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "u8": "uint8", "bool": "bool", "c64": "complex64",
}  # fmt: skip
INT_RANGE = (0, 10)
"""Random integers are drawn from here, high end excluded: small enough to index most tables."""


@dataclass(frozen=True)
class NamedDim:
    """A dynamic dimension, bounds inclusive; `high` None is open."""

    name: str
    low: int = 1
    high: int | None = None


@dataclass(frozen=True)
class InputSpec:
    """One `--input`: an argument of forward, its dtype (torch's name) and its dims."""

    name: str
    dtype: str
    dims: tuple[int | NamedDim, ...]


@dataclass(frozen=True)
class Examples:
    """What capture is called with; `dynamic_shapes` in torch.export's form, None when every size is fixed."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    dynamic_shapes: dict[str, Any] | None = None


def parse_input(text: str) -> InputSpec:
    """An InputSpec from its text. Raises UsageError that shows the form."""
    found = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*:\s*(\w+)\s*\[(.*)\]\s*", text)
    if found is None:
        raise UsageError(f'cannot read --input {text!r}; write it as "x:f32[N=1..64,3,32,32]"')
    name, dtype, dims = found.groups()
    if DTYPES.get(dtype, dtype) not in DTYPES.values():
        raise UsageError(f"--input {name}: unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    return InputSpec(name, DTYPES.get(dtype, dtype), tuple(_dim(d.strip(), text) for d in dims.split(",") if dims.strip()))


def _dim(text: str, whole: str) -> int | NamedDim:
    if text.isdecimal():
        return int(text)
    found = re.fullmatch(r"([A-Za-z]\w*)(?:\s*=\s*(\d+)\s*\.\.\s*(\d*))?", text)
    if found is None:
        raise UsageError(f"--input {whole!r}: cannot read the dimension {text!r}; write a size, N, or N=1..64")
    name, low, high = found.groups()
    dim = NamedDim(name, int(low) if low else 1, int(high) if high else None)
    if dim.high is not None and dim.high < dim.low:
        raise UsageError(f"--input {whole!r}: the range of {name} is empty: {low}..{high}")
    return dim


def examples(source: ModelSource, specs: Sequence[str] = (), archive: Path | None = None, seed: int = 0) -> Examples:
    """The example inputs of a model: `specs` and `archive` (an .npz) where given, else `example_inputs()` of its file.

    With both, the archive gives the values and the specs the dynamic dims. Raises UsageError when there are none, or an argument lacks.
    """
    seed_everything(seed)
    if not specs and archive is None:
        return _from_file(source)
    parsed = tuple(parse_input(s) for s in specs)
    dims = _dims(parsed)
    values: dict[str, Any] = {s.name: _random(s, _sizes(dims)) for s in parsed}
    if archive is not None:
        values |= _from_archive(archive, source)
    args, kwargs = _bound(source, values)
    return Examples(args, kwargs, _dynamic_shapes(parsed, dims, values))


def _from_file(source: ModelSource) -> Examples:
    function = getattr(source.namespace, "example_inputs", None)
    if function is None:
        names = ", ".join(inspect.signature(source.model.forward).parameters)
        raise UsageError(
            f'no example inputs: define example_inputs() in {source.file}, or pass --input "x:f32[1,3,32,32]" or --inputs file.npz '
            f"(forward takes: {names})"
        )
    with users_code("in example_inputs()", source.file):
        found = function()
    if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], tuple) and isinstance(found[1], dict):
        return Examples(found[0], found[1])
    if not isinstance(found, tuple):
        raise UsageError(
            f"{source.file}: example_inputs() returned a {type(found).__name__}; return a tuple of arguments, or (args, kwargs)"
        )
    return Examples(found)


def _from_archive(path: Path, source: ModelSource) -> dict[str, Any]:
    import torch

    names = list(inspect.signature(source.model.forward).parameters)
    found = read_arrays(path)
    named = {names[int(n[4:])] if re.fullmatch(r"arr_\d+", n) and int(n[4:]) < len(names) else n: v for n, v in found.items()}
    try:
        return {n: torch.from_numpy(v) for n, v in named.items()}
    except TypeError as error:
        raise UsageError(f"{path}: {error}") from None


def read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an .npz (by name) or .npy (as "arr_0") file; never unpickles. Raises UsageError."""
    import zipfile

    import numpy as np

    try:
        found = np.load(path, allow_pickle=False)
        return {n: found[n] for n in found.files} if isinstance(found, np.lib.npyio.NpzFile) else {"arr_0": found}
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is no .npy or .npz file of plain arrays: {str(error).splitlines()[0]}") from None


def _dims(specs: Sequence[InputSpec]) -> dict[str, NamedDim]:
    """The dynamic dims of all specs; one range a name."""
    found: dict[str, NamedDim] = {}
    for dim in (d for s in specs for d in s.dims if isinstance(d, NamedDim)):
        before = found.setdefault(dim.name, dim)
        if before != dim and NamedDim(dim.name) not in (before, dim):
            raise UsageError(f"dimension {dim.name} has two ranges: {_range(before)} and {_range(dim)}")
        if before == NamedDim(dim.name):
            found[dim.name] = dim
    return found


def _range(dim: NamedDim) -> str:
    return f"{dim.low}..{'' if dim.high is None else dim.high}"


def _sizes(dims: Mapping[str, NamedDim]) -> dict[str, int]:
    """A size for each dynamic dim: small, not 1 where another will do, and different from one another where the ranges allow."""
    sizes: dict[str, int] = {}
    for name, dim in dims.items():
        high = dim.high if dim.high is not None else dim.low + 8 + len(dims)
        choices = [n for n in range(max(dim.low, 2), high + 1) if n not in sizes.values()]
        sizes[name] = choices[0] if choices else high
    return sizes


def _random(spec: InputSpec, sizes: Mapping[str, int]) -> torch.Tensor:
    import torch

    shape = [sizes[d.name] if isinstance(d, NamedDim) else d for d in spec.dims]
    dtype = getattr(torch, spec.dtype)
    if dtype == torch.bool:
        return torch.rand(shape) < 0.5
    return torch.randn(shape, dtype=dtype) if dtype.is_floating_point or dtype.is_complex else torch.randint(*INT_RANGE, shape, dtype=dtype)


def _bound(source: ModelSource, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Values by name as (args, kwargs) of forward: positional as far as they go without a gap, the rest by keyword."""
    parameters = inspect.signature(source.model.forward).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    plain = {n: p for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    unknown = [n for n in values if n not in plain]
    if unknown and not takes_any:
        raise UsageError(f"forward of {source.spec} has no argument {unknown[0]!r}; it takes: {', '.join(parameters)}")
    missing = [n for n, p in plain.items() if p.default is p.empty and n not in values]
    if missing:
        raise UsageError(f'no example for the argument {missing[0]!r} of {source.spec}; pass --input "{missing[0]}:f32[...]" too')
    args: list[Any] = []
    for name, parameter in plain.items():
        if name not in values or parameter.kind is parameter.KEYWORD_ONLY:
            break
        args.append(values[name])
    positional = list(plain)[: len(args)]
    return tuple(args), {n: v for n, v in values.items() if n not in positional}


def _dynamic_shapes(specs: Sequence[InputSpec], dims: Mapping[str, NamedDim], values: Mapping[str, Any]) -> dict[str, Any] | None:
    if not dims:
        return None
    from torch.export import Dim

    made = {n: Dim(n, min=d.low, max=d.high) for n, d in dims.items()}
    shapes: dict[str, Any] = dict.fromkeys(values)
    for spec in specs:
        if len(spec.dims) != values[spec.name].dim():
            raise UsageError(f"--input {spec.name} has {len(spec.dims)} dims, the array given for it {values[spec.name].dim()}")
        shapes[spec.name] = {i: made[d.name] for i, d in enumerate(spec.dims) if isinstance(d, NamedDim)}
    return shapes
