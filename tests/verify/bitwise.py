"""Random networks, bit for bit: the captured program, and the join-free one where it is small, against eager.

`python tests/verify/bitwise.py FIRST COUNT` runs many networks and names those that fail.
"""

from __future__ import annotations

import copy
import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from dync.errors import CaptureError
from dync.ir.flow import Branch, Switch
from dync.ir.interpret import interpret
from dync.ir.program import Program
from dync.ir.verify import verify
from dync.verify.calls import seed_all
from dync.verify.fuzz.check import load_file
from dync.verify.fuzz.generate import FEATURES, generate

sys.path.insert(0, str(Path(__file__).parents[1]))
from programs.harness import Ran, assert_same_run, cyclic, generators, snapshot  # noqa: E402

ORACLE_DECISIONS = 6
"""Most decisions of a program for which the tree of all its paths is made too."""


def build(seed: int, folder: Path, features: frozenset[str] = FEATURES) -> ModuleType:
    path = folder / f"bitwise_network_{seed}.py"
    path.write_text(generate(seed, features).source)
    return load_file(path)


def compare(module: ModuleType) -> str:
    """ "same", or the code of a refusal. Raises AssertionError where the program is not the model."""
    model, calls = module.build(), module.inputs()
    capture = importlib.import_module("dync.capture").capture
    try:
        program = capture(model, calls[0])
    except CaptureError as error:
        return error.diagnostics[0].code
    compare_runs(program, model, calls)
    decisions = [b for b in program.blocks if isinstance(b.flow.exit, (Branch, Switch))]
    if len(decisions) <= ORACLE_DECISIONS and not cyclic(program):
        compare_runs(capture(model, calls[0], joins=False), model, calls)
    return "same"


def compare_runs(program: Program, model: nn.Module, calls: list[tuple[Any, ...]]) -> None:
    """Results, exceptions, written inputs, random draws and state over calls that follow one another."""
    verify(program)
    eager, state = copy.deepcopy(model), {}
    for number, call in enumerate(calls):
        want = run(lambda args: eager(*args), number, call)
        got = run(lambda args: interpret(program, args, {}, state=state)[0], number, call)
        assert_same_run(want, got, f"call {number}")
        now = snapshot(eager)
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(now[name]), torch.as_tensor(value)), f"call {number}: state {name}"


def run(function: Any, seed: int, call: tuple[Any, ...]) -> Ran:
    args = copy.deepcopy(call)
    seed_all(seed)
    result, error = None, None
    try:
        with torch.no_grad():
            result = function(args)
    except Exception as e:  # noqa: BLE001  the network's own
        error = e
    return Ran(result, error, (args, {}), generators(), "", [])


def main(first: int, count: int) -> int:
    """How many networks fail."""
    torch.set_num_threads(1)
    found: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            try:
                said = compare(build(seed, Path(folder)))
            except Exception as error:  # noqa: BLE001  a fault of any kind is what is looked for
                said = "FAILED"
                print(f"{seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            found[said] = found.get(said, 0) + 1
    print(found)
    return found.get("FAILED", 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])) > 0)
