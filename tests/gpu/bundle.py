"""What a machine with a GPU is to run, made on one without: `python tests/gpu/bundle.py FILE [sm_90 [STEP [STEP]]]`.

A file of compiled blocks and programs, each with inputs and what eager PyTorch gives for them. It is read by test_device.py, which needs
dync, numpy and the libraries that run the code, and neither torch nor a compiler.
"""

from __future__ import annotations

import copy
import gzip
import pickle
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from dync.runtime.package import KernelEntry

BACKENDS = ("tvm", "torch-mlir")


@dataclass
class Block:
    """One case of the conformance suite on one backend: runs are (inputs, results, what written inputs and weights hold then)."""

    name: str
    entry: KernelEntry
    members: dict[str, bytes]
    weights: dict[str, Any]
    written: tuple[str, ...]
    places: tuple[int, ...]
    """Inputs that it writes."""
    runs: list[tuple[list[Any], list[Any], list[Any]]]


@dataclass
class Program:
    """An artifact and calls of it, as `_call` gives them; state is kept from call to call."""

    name: str
    artifact: bytes
    calls: list[tuple[Any, Any, Any, Any]]


@dataclass
class Bundle:
    arch: str
    blocks: list[Block] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def plain(value: Any) -> Any:
    """`value` with numpy arrays for torch's tensors."""
    import torch

    from dync.runtime.tensors import to_numpy

    if isinstance(value, torch.Tensor):
        return to_numpy(value).copy()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        made = [plain(v) for v in value]
        return made if isinstance(value, list) else tuple(made)
    return value


def blocks(arch: str, step: int, refused: list[str]) -> Iterator[Block]:
    """Every case that a backend compiles for the architecture."""
    from support.backend_cases import CASES

    from dync import registry
    from dync.backends.base import Declined, Target
    from dync.errors import BackendError

    target = Target("cuda", arch)
    for backend in map(registry.backend, BACKENDS):
        if isinstance(backend.available(), Declined):
            continue
        for name, case in list(CASES.items())[::step]:
            kernel = case.kernel()
            declined = backend.supports(kernel, target)
            if declined is not None:
                refused.append(f"{backend.name} {name}: {declined.reason}")
                continue
            try:
                code = backend.compile(kernel, target)
            except BackendError as error:
                refused.append(f"{backend.name} {name}: {error}")
                continue
            entry = KernelEntry(code.loader, tuple(code.members), code.settings, code.weights, kernel.mutates, (),
                                tuple(v.type for v in kernel.inputs), tuple(v.type for v in kernel.results))  # fmt: skip
            weights = {n: plain(w) for n, w in kernel.weights.items()}
            places = tuple(i for i, v in enumerate(kernel.inputs) if v.name in kernel.mutates)
            written = tuple(n for n in kernel.weights if n in kernel.mutates)
            yield Block(f"{backend.name} {name}", entry, dict(code.members), weights, written, places, runs(kernel, case.examples))


def runs(kernel: Any, examples: Sequence[Any]) -> list[tuple[list[Any], list[Any], list[Any]]]:
    """The inputs that the numeric check would draw, and what eager makes of them."""
    from dync.backends.check import check, copies, eager, written

    found: list[tuple[list[Any], list[Any], list[Any]]] = []

    def record(inputs: Sequence[Any]) -> Sequence[Any]:
        given, mine = copies(inputs), copies(inputs)
        made = eager(kernel, mine)
        assert made is not None
        count = len(kernel.results)
        found.append((plain(given), plain(list(made[:count])), plain([*made[count:], *written(kernel, mine)])))
        for own, theirs in zip(inputs, mine, strict=True):
            if hasattr(own, "copy_"):
                own.copy_(theirs)
        return list(made)

    check(kernel, None, examples, run=record)  # type: ignore[arg-type]
    return found


def programs(arch: str, step: int, refused: list[str]) -> Iterator[Program]:
    """The programs of the front-end suite, each compiled by every backend."""
    from programs.harness import call_of, capture, load
    from programs.test_programs import PROGRAMS

    import dync
    from dync.errors import CaptureError, DyncError

    for cls in PROGRAMS[::step]:
        model = load(cls)
        try:
            program = capture(cls, model)
        except CaptureError:
            continue
        model = load(cls)
        calls = [_call(model, *call_of(cls, seed)) for seed in range(3)]
        for backend in BACKENDS:
            try:
                compiled = dync.compile(program, target=f"cuda:{arch}", backend=backend)
            except DyncError as error:
                refused.append(f"{backend} {cls.__name__}: {error}")
                continue
            with TemporaryDirectory() as folder:
                compiled.save(Path(folder) / "a.dync")
                artifact = (Path(folder) / "a.dync").read_bytes()
            yield Program(f"{backend} {cls.__name__}", artifact, calls)


def _call(model: Any, args: Any, kwargs: Any) -> tuple[Any, Any, Any, Any]:
    """(args, kwargs, ("gives", result) or ("raises", class), what the arguments hold then) of a call of the eager model."""
    import torch

    given = plain(copy.deepcopy((args, kwargs)))
    torch.manual_seed(0)
    try:
        with torch.no_grad():
            result = ("gives", plain(model(*args, **kwargs)))
    except Exception as error:  # what the model raises is what it does
        result = ("raises", type(error).__name__)
    return (*given, result, plain((args, kwargs)))


def write(path: Path, arch: str = "sm_90", step: int = 1, program_step: int = 8) -> Bundle:
    """Every step-th case of the conformance suite, and every program_step-th program of the front end's, by each backend."""
    made = Bundle(arch)
    made.blocks += blocks(arch, step, made.refused)
    made.programs += programs(arch, program_step, made.refused)
    path.write_bytes(gzip.compress(pickle.dumps(made), 5))
    return made


def read(path: Path) -> Bundle:
    return pickle.loads(gzip.decompress(path.read_bytes()))


if __name__ == "__main__":
    from gpu import bundle  # the classes are pickled by the name under which the tests import them

    said = bundle.write(Path(sys.argv[1]), *sys.argv[2:3], *map(int, sys.argv[3:5]))
    print(*said.refused, sep="\n")
    print(f"{len(said.blocks)} blocks and {len(said.programs)} programs for {said.arch}")
