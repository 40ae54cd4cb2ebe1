"""Runs a bundle on this machine's GPU: `python tests/gpu/replay.py FILE` names what differs from eager. Needs no compiler."""

from __future__ import annotations

import copy
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from gpu.bundle import Block, Bundle, Program, read

TOLERANCE = {"float64": 1e-7, "float32": 2e-4, "float16": 1e-2}
"""Relative to max(|eager|, root mean square of eager's tensor, 0.01), as in dync.backends.check."""


WORKERS = 8


def difference(want: Any, got: Any, where: str = "result") -> str:
    """Where two values differ beyond tolerance; "" where they do not."""
    if hasattr(want, "dtype") or hasattr(got, "dtype"):
        a, b = np.asarray(want), np.asarray(got)
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{where}: {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
        if a.dtype.kind not in "fc":
            return "" if np.array_equal(a, b) else f"{where}: {int((a != b).sum())} of {a.size} differ"
        with np.errstate(all="ignore"):
            finite = a[np.isfinite(a)].astype(np.float64)
            scale = np.maximum(np.abs(a), max(float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0, 1e-2))
            wrong = ~((a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= TOLERANCE[a.dtype.name] * scale))
            worst = np.nanmax(np.abs(a - b) / scale) if wrong.any() else 0
        return f"{where}: {int(wrong.sum())} of {a.size} differ, by up to {worst:.3g}" if wrong.any() else ""
    if isinstance(want, float) and isinstance(got, (int, float)):
        return difference(np.float64(want).astype(np.float32), np.float64(got).astype(np.float32), where)
    if isinstance(want, dict):
        return difference(list(want), list(got), f"keys of {where}") or difference(list(want.values()), list(got.values()), where)
    if isinstance(want, (list, tuple)):
        if len(want) != len(got):
            return f"{where}: {len(want)} and {len(got)} items"
        return next((d for i, (x, y) in enumerate(zip(want, got, strict=True)) if (d := difference(x, y, f"{where}[{i}]"))), "")
    return "" if type(want) is type(got) and want == got or hasattr(want, "__dict__") else f"{where}: {want!r} and {got!r}"


def block(one: Block) -> str:
    """Where the block's code differs from eager, "" where it does not."""
    from dync.runtime.device import host
    from dync.runtime.loaders import load
    from dync.runtime.store import Weights

    weights = Weights(one.weights, "numpy", one.written)
    kernel = load("b0", one.entry, one.members, weights, 1, "numpy")
    discrete = ""
    for inputs, results, after in one.runs:
        weights.reset()
        given = copy.deepcopy(inputs)
        made = [host(r) for r in kernel(*given)]
        now = [*(weights.numpy(n) for n in one.written), *(given[i] for i in one.places)]
        found = difference(results, made) or difference(after, now, "written")
        if found and (discrete or not found.endswith("differ")):  # one tie may be broken otherwise, as in dync.backends.check
            return found
        discrete = discrete or found
    return ""


def program(one: Program) -> str:
    """Where the program's calls differ from eager's, "" where they do not."""
    from dync.runtime.program import load
    from dync.runtime.tensors import same

    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.dync"
        path.write_bytes(one.artifact)
        runtime = load(path)
    return _calls(runtime, one, same) or (_calls(runtime, one, on_gpu) if torch_with_cuda() else "")


@cache
def torch_with_cuda() -> bool:
    try:
        return bool(import_module("torch").cuda.is_available())
    except ImportError:
        return False


def on_gpu(value: Any) -> Any:
    """A copy of `value` with torch's tensors on the GPU for numpy's arrays."""
    from dync.runtime.tensors import to_torch

    return mapped(value, lambda v: to_torch(v.copy()).cuda() if isinstance(v, np.ndarray) else v)


def on_cpu(value: Any) -> Any:
    """`value` with numpy's arrays for torch's tensors, which have to be on the GPU."""
    from dync.runtime.tensors import is_torch, to_numpy

    return mapped(value, lambda v: to_numpy(v.cpu()) if is_torch(v) and v.is_cuda else v)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {k: mapped(v, change) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(mapped(v, change) for v in value)
    return change(value)


def _calls(runtime: Any, one: Program, form: Callable[[Any], Any]) -> str:
    runtime.reset_state()
    for number, (args, kwargs, (kind, expected), after) in enumerate(one.calls):
        args, kwargs = form((args, kwargs))
        if "torch" in sys.modules:  # a block of the program runs in it, and may draw
            sys.modules["torch"].manual_seed(0)
        try:
            said, made = "gives", on_cpu(runtime(*args, **kwargs))
        except Exception as error:  # what the model raises is what it does
            said, made = "raises", error
        if said != kind:
            return f"call {number}, {form.__name__}: {said} {made!r}, eager {kind} {expected!r}"
        if kind == "raises":
            if expected not in [c.__name__ for c in type(made).__mro__]:
                return f"call {number}, {form.__name__}: raises {made!r}, eager {expected}"
        elif found := difference(expected, made) or difference(after, on_cpu((args, kwargs)), "arguments"):
            return f"call {number}, {form.__name__}: {found}"
    return ""


def failures(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """(name, what is wrong) of all that differs, by several processes: code that crashes ends one of them alone."""
    items = [*((block, b) for b in bundle.blocks), *((program, p) for p in bundle.programs)]
    with ThreadPoolExecutor(WORKERS) as pool:
        for found in pool.map(lambda n: list(_in_child(items[n::WORKERS])), range(WORKERS)):
            yield from found


def _in_child(items: Sequence[tuple[Any, Any]]) -> Iterator[tuple[str, str]]:
    context, at = get_context("fork"), 0
    while at < len(items):
        mine, theirs = context.Pipe()
        child = context.Process(target=_run, args=(items[at:], theirs))
        child.start()
        theirs.close()
        try:
            while at < len(items):
                found = mine.recv()
                at += 1
                if found:  # what failed may have left the device in a state in which all else fails
                    yield items[at - 1][1].name, found
                    break
        except EOFError:
            yield items[at][1].name, "the process crashed"
            at += 1
        mine.close()
        child.kill()
        child.join()


def _run(items: Sequence[tuple[Any, Any]], pipe: Any) -> None:
    for run, one in items:
        try:
            found = run(one)
        except Exception as error:  # shown, and the others still run
            found = f"{type(error).__name__}: {error}\n{''.join(traceback.format_tb(error.__traceback__)[-2:])}".strip()
        pipe.send(found)


def main(arguments: Sequence[str]) -> int:
    bundle, start, wrong = read(Path(arguments[0])), time.perf_counter(), 0
    for name, found in failures(bundle):
        wrong += 1
        print(f"{name}: {found}", flush=True)
    count = f"{len(bundle.blocks)} blocks and {len(bundle.programs)} programs for {bundle.arch}"
    print(f"{count}: {wrong} differ, {time.perf_counter() - start:.0f} s")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
