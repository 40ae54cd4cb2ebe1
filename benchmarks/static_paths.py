"""What dynamism costs: a model of the zoo on one backend against the path that each input takes, compiled as one static graph there."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from importlib import import_module
from statistics import geometric_mean
from typing import Any

from benchmarks.options import Options
from benchmarks.peers import reason
from benchmarks.peers.static_path import static_path
from benchmarks.result import Result
from benchmarks.rows import chosen
from benchmarks.subject import same
from benchmarks.timing import interleave

BACKENDS = ("onnxruntime", "tvm")
ENOUGH = 0.9
PATHS = 3
"""Ways of a model that are compiled as static graphs, at most."""
WIDE: Mapping[str, Mapping[str, int]] = {
    "pabee": {"embedding_size": 128, "hidden_size": 768, "num_heads": 12, "intermediate_size": 3072},
    "emoe": {"d_model": 768, "num_heads": 12, "d_ff": 3072},
    "duo-llm": {"dim": 768, "num_heads": 12, "small": 384, "big": 3072},
}
"""Models of many small blocks, also in the width of BERT base: there a block is milliseconds of work, as in those that were published."""


def run(options: Options) -> Result:
    rows, notes, ok, ratios = [], [], True, {b: [] for b in BACKENDS}
    wide = {f"{n}, 768 wide": (where, WIDE[n]) for n, where in chosen(options.models).items() if n in WIDE}
    for name, (where, sizes) in ({n: (w, {}) for n, w in chosen(options.models).items()} | wide).items():
        for backend in BACKENDS:
            try:
                host, found, right = one(where, sizes, backend, options)
            except Exception as error:  # shown, and the other models still run
                notes.append(f"{name} on {backend} did not run: {reason(error)}")
                continue
            ok &= right
            for blocks, dynamic, static in found:
                ratios[backend].append(static / dynamic)
                rows.append((name, backend, host, blocks, dynamic, static, static / dynamic, "equal" if right else "WRONG"))
    for backend, all_ in ratios.items():
        if all_:
            enough = sum(r >= ENOUGH for r in all_)
            mean = f"{geometric_mean(all_):.3g} of the static graph's speed (geometric mean of {len(all_)} paths)"
            notes.append(f"{backend}: {mean}, {enough} of them at {ENOUGH} or more")
    notes.append("the static graph does all that the call does, what decisions ask included, and is chosen beforehand: a bound, no system")
    columns = ("model", "backend", "host", "blocks on the path", "dync ms", "static graph ms", "static / dync", "against eager")
    return Result("static-paths", "Whole models against the path taken as one static graph", columns, tuple(rows), tuple(notes), ok)


def one(where: str, sizes: Mapping[str, int], backend: str, options: Options) -> tuple[str, list[tuple[int, float, float]], bool]:
    """The host, then for each way (blocks on it, milliseconds of dync's call, of the static graph's), and whether all are right."""
    import dync
    from dync.api import compile_with
    from dync.ir.interpret import interpret
    from dync.options import CompileOptions

    module, _, function = where.partition(":")
    home = import_module(module)
    model, inputs = getattr(home, function)(**sizes).eval(), home.varied_inputs()
    program = dync.capture(model, inputs[0])
    ways: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for args in inputs:
        ways.setdefault(interpret(program, args)[1].path, args)
    compiled = compile_with(CompileOptions.parse(backend=backend, threads=options.threads), program, inputs[0])
    found, right = [], True
    for path, args in list(ways.items())[:PATHS]:
        static = static_path(program, path)
        runs: Mapping[str, Any] = {
            "dync": compiled,
            "static": compile_with(CompileOptions.parse(backend=backend, host="python", threads=options.threads), static, args),
        }
        for name, runner in runs.items():
            runner.reset_state()
            got = runner(*args)
            right &= same(got if name == "dync" else got[0], deepcopy(model)(*args))
        times = interleave(runs, [args], options.seconds)
        found.append((len(path), times["dync"].median, times["static"].median))
    return compiled.report.host, found, right
