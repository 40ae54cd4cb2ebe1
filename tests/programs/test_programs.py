"""Every program, captured and interpreted, against eager: bit for bit, with types, exceptions, state, inputs and random draws."""

import importlib
import inspect
from pathlib import Path

import pytest
from programs.harness import check
from torch import nn

HERE = Path(__file__).parent
GROUPS = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in ("test_programs", "harness", "data", "refusals"))


def programs() -> list[type[nn.Module]]:
    found = []
    for group in GROUPS:
        module = importlib.import_module(f"programs.{group}")
        found += [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, nn.Module) and c.__module__ == module.__name__
                  and hasattr(c, "inputs") and ("forward" in vars(c) or "PATHS" in vars(c) and c.forward is not nn.Module.forward)]
    return found


PROGRAMS = programs()


@pytest.mark.parametrize("cls", PROGRAMS, ids=lambda c: f"{c.__module__.rpartition('.')[2]}-{c.__name__}")
def test_program(cls):
    check(cls)
