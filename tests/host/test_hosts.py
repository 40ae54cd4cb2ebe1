"""Every program and every model of the zoo on each host: the same as `interpret`, or declined with a reason. Makes docs/hosts.md."""

from __future__ import annotations

import copy
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from programs.harness import call_of, capture, load
from programs.test_programs import PROGRAMS
from torch import nn

import dync
from dync import registry
from dync.backends.base import Declined as Refused
from dync.errors import CaptureError
from dync.host.base import Declined
from dync.hosts import in_engine
from dync.ir.classes import record_fields
from dync.ir.interpret import run
from dync.models import ZOO
from dync.options import CompileOptions
from dync.runtime.program import Runtime
from dync.verify.calls import seed_all
from dync.verify.clock import steady

DOCS = Path(__file__).parents[2] / "docs" / "hosts.md"
CALLS = 2
ROWS: dict[str, dict[str, str]] = {}
"""Program → host → what the table says."""
ENGINES = {"onnx": "onnxruntime", "mixed": "onnxruntime", "torch-mlir": "torch-mlir", "tvm": "tvm"}
"""Columns of the table: hosts, each with the backend of its blocks."""
EIGHTH = 8
"""Of the programs, one in so many runs on the hosts whose compilers take seconds."""
PART = 4
"""Of the programs, one in so many runs in the test suite; all of them with --update-golden, which makes the table."""
QUICK = ("fashion-exits", "mowst", "liquid", "emoe", "jei-dnn", "duo-llm", "rbqe", "blockdrop")
"""The models of the zoo that are captured and compiled in a few seconds."""
QUICK_HOSTS = ("onnx", "mixed")
HEAD = """# Hosts

Which host carries which program, and why not: written by `pytest tests/host/test_hosts.py --update-golden`, which runs
each program on several inputs and compares result, exception, written inputs, path and decisions with `dync.ir.interpret`.
The Python host carries every program that can be captured, and runs each of these in the same test. "same" means that the whole
program is one model of ONNX Runtime, one module of IREE, one library of TVM, with the results of `interpret`; anything else is the
reason for which `--host` refuses it. The mixed host runs regions of the program in ONNX Runtime, each as one model, and the rest in
Python: "regions" are as `interpret` too. `--host auto` measures. The hosts whose compilers take seconds run one program in eight: an
empty cell was not run. Larger models of the zoo, which take longer to compile, are not in the table.
"""


def difference(a: Any, b: Any, where: str = "result") -> str:
    """Where two values differ beyond numeric error, "" when they do not."""
    if type(a) is not type(b):
        return f"{where}: {type(a).__name__} and {type(b).__name__}"
    if isinstance(a, torch.Tensor):
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return f"{where}: {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
        if not a.is_floating_point():
            return "" if torch.equal(a, b) else f"{where}: other values"
        return "" if torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-4, equal_nan=True) else f"{where}: {a} and {b}"
    if isinstance(a, (np.ndarray, np.generic)):
        return difference(torch.from_numpy(np.array(a)), torch.from_numpy(np.array(b)), where)
    if isinstance(a, float):
        return "" if a == pytest.approx(b, rel=1e-4, abs=1e-5, nan_ok=True) else f"{where}: {a} and {b}"
    if isinstance(a, dict):
        return difference(list(a), list(b), f"keys of {where}") or difference(list(a.values()), list(b.values()), where)
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return f"{where}: {len(a)} and {len(b)} items"
        return next((d for i, (x, y) in enumerate(zip(a, b, strict=True)) if (d := difference(x, y, f"{where}[{i}]"))), "")
    if (fields := record_fields(a)) is not None:
        return difference(fields, record_fields(b), where)
    if isinstance(a, BaseException):
        return "" if isinstance(a, IndexError) else difference(a.args, b.args, "exception")
    return "" if a == b else f"{where}: {a!r} and {b!r}"


def called(compiled: Any, args: Any, kwargs: Any, traced: bool) -> tuple[Any, ...]:
    """(result, exception, arguments afterwards, trace)."""
    args, kwargs = copy.deepcopy((args, kwargs))
    try:
        result, trace = compiled.traced(*args, **kwargs) if traced else (compiled(*args, **kwargs), None)
        return result, None, (args, kwargs), trace
    except Exception as error:  # the program's own exception is part of what it does
        return None, error, (args, kwargs), getattr(error, "trace", None)


def mismatch(compiled: Any, program: Any, args: Any, kwargs: Any) -> str:
    given = copy.deepcopy((args, kwargs))
    seed_all(0)
    want = run(program, *given)
    for traced in (True, False):
        compiled.reset_state()
        seed_all(0)
        result, error, after, trace = called(compiled, args, kwargs, traced)
        if traced:
            assert trace is not None
            if trace.path != want.trace.path:
                return f"path {trace.path} and {want.trace.path}"
            if [(d.block, d.text, d.value) for d in trace.decisions] != [(d.block, d.text, d.value) for d in want.trace.decisions]:
                return "decisions"
            for mine, theirs in zip(trace.decisions, want.trace.decisions, strict=True):
                if found := difference(theirs.margin, mine.margin, "margin"):
                    return found
        found = difference(want.error, error, "exception") or difference(want.result, result) or difference(given, after, "arguments")
        if found:
            return found
    return ""


def built(program: Any, backend: str) -> Any:
    """The program with its blocks compiled by a backend, and for torch where that refuses: for every host."""
    from dync.build import compile_blocks, kernels_of
    from dync.place import place
    from dync.workshop import Workshop

    options = CompileOptions.parse(backend=backend, threads=1, passes="none")
    kernels = kernels_of(program)
    shop = Workshop(options, tuple(kernels.values()))
    return compile_blocks(program, place(kernels, shop), shop)


def row(program: Any, calls: list[tuple[Any, Any]], hosts: Collection[str]) -> dict[str, str]:
    """Host → "same", "regions", or the reason of its refusal; fails on a difference there, or on the Python host."""
    made = {b: built(program, b) for b in dict.fromkeys(ENGINES[h] for h in hosts) if available(b)}
    return {h: cell(program, calls, h, made[ENGINES[h]]) for h in hosts if ENGINES[h] in made}


def available(backend: str) -> bool:
    return not isinstance(registry.backend(backend).available(), Refused)


def cell(program: Any, calls: list[tuple[Any, Any]], host: str, made: Any) -> str:
    from dync.whole import plain_model

    python = Runtime(made.package({}))
    package = in_engine(made, host, made.package({}))
    runs = {"python": python}
    if not isinstance(package, Declined):
        runs[host] = Runtime(package)
    if host == "onnx" and host in runs:
        plain_model(package)  # checked by onnx.checker
    for name, compiled in runs.items():
        for args, kwargs in calls:
            with steady(program.flow, nn.Module()):
                found = mismatch(compiled, program, args, kwargs)
            excused = found and (name != "python" and flipped(compiled, python, args, kwargs) or on_edge(program, args, kwargs))
            assert not found or excused, f"{name}: {found}"
    if isinstance(package, Declined):
        return str(package).partition(" (/")[0].replace("\n", " ").replace("|", "/")
    return "regions" if package.regions else "same"


def on_edge(program: Any, args: Any, kwargs: Any) -> bool:
    """Whether a decision is within numeric error of its threshold: `interpret` goes another way when inputs change by a millionth."""

    def shaken(value: Any) -> Any:
        return value * (1 + 1e-6 * torch.randn_like(value)) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    paths = {run(program, *torch.utils._pytree.tree_map(shaken, copy.deepcopy((args, kwargs)))).trace.path for _ in range(20)}
    return len(paths) > 1


def flipped(compiled: Any, python: Any, args: Any, kwargs: Any) -> bool:
    """Whether the Python host goes the same other way with the same blocks: a decision within the blocks' numeric error."""
    for one in (compiled, python):
        one.reset_state()
    mine, theirs = (called(c, args, kwargs, traced=True) for c in (compiled, python))
    return mine[3] == theirs[3] and not difference(theirs[0], mine[0])


def told(name: str, said: dict[str, str], update: bool) -> None:
    ROWS[name] = said
    if not update:
        known = table().get(name, {})
        assert {h: known.get(h) for h in said} == said, f"docs/hosts.md says otherwise of {name}"


def hosts_for(name: str) -> Collection[str]:
    """By the name, so that a new program changes nothing of the others."""
    return [h for h, backend in ENGINES.items() if backend == "onnxruntime" or crc32(name.encode()) % EIGHTH == 0]


@pytest.fixture
def update(request):
    return request.config.getoption("--update-golden")


def pytest_generate_tests(metafunc):
    if "cls" in metafunc.fixturenames:
        every = 1 if metafunc.config.getoption("--update-golden") else PART
        chosen = [c for c in PROGRAMS if crc32(c.__name__.encode()) % every == 0]
        metafunc.parametrize("cls", chosen, ids=[f"{c.__module__.rpartition('.')[2]}-{c.__name__}" for c in chosen])


@pytest.mark.part(5)
def test_program(cls, update):
    model = load(cls)
    try:
        program = capture(cls, model)
    except CaptureError:
        pytest.skip("cannot be captured")
    calls = [call_of(cls, seed) for seed in range(CALLS)]
    told(f"{cls.__module__.rpartition('.')[2]}: {cls.__name__}", row(program, calls, hosts_for(cls.__name__)), update)


@pytest.mark.parametrize("name", QUICK)
def test_model(name, update):
    module, _, function = ZOO[name].partition(":")
    home = import_module(module)
    given = home.example_inputs()
    program = dync.capture(getattr(home, function)(), given)
    varied = home.varied_inputs() if hasattr(home, "varied_inputs") else [given]
    told(f"models: {name}", row(program, [(args, {}) for args in varied[:CALLS]], QUICK_HOSTS), update)


def test_table(update):
    """The table has a row for each program that there is, and says of how many it says "same"."""
    known = {f"{c.__module__.rpartition('.')[2]}: {c.__name__}" for c in PROGRAMS} | {f"models: {n}" for n in QUICK}
    if update:
        there = table() if DOCS.exists() else {}
        rows = {n: said for n, said in sorted((there | ROWS).items()) if n in known}
        head = f"{HEAD}\n{counts(rows)}\n\n| program | {' | '.join(ENGINES)} |\n|---{'|---' * len(ENGINES)}|\n"
        lines = [f"| {n} | {' | '.join(said.get(h, '') for h in ENGINES)} |" for n, said in rows.items()]
        DOCS.write_text(head + "\n".join(lines) + "\n")
    found = table()
    assert ROWS.keys() <= found.keys() <= known
    assert counts(found) in DOCS.read_text()


def counts(rows: dict[str, dict[str, str]]) -> str:
    ran = {h: [said[h] for said in rows.values() if h in said] for h in ENGINES if h != "mixed"}
    return "Run whole: " + ", ".join(f"{cells.count('same')} of {len(cells)} programs on {h}" for h, cells in ran.items()) + "."


def table() -> dict[str, dict[str, str]]:
    """Program → host → what docs/hosts.md says."""
    cells = [r[2:-2].split(" | ") for r in DOCS.read_text().splitlines() if r.startswith("| ") and " | " in r]
    return {c[0]: {h: said for h, said in zip(cells[0][1:], c[1:], strict=True) if said} for c in cells[1:]}
