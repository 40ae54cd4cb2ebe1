"""Every program, captured and interpreted, against eager: bit for bit, with types, exceptions, state, inputs and random draws."""

import importlib
import inspect
from pathlib import Path

import pytest
from programs.harness import check, check_oracle, load, refused
from programs.refusals import EXPECTED
from torch import nn

HERE = Path(__file__).parent
GROUPS = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in ("test_programs", "harness", "data", "refusals"))


def programs() -> list[type[nn.Module]]:
    found = []
    for group in GROUPS:
        module = importlib.import_module(f"programs.{group}")
        found += [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, nn.Module) and c.__module__ == module.__name__
                  and hasattr(c, "inputs") and ("forward" in vars(c) or "PATHS" in vars(c) and hasattr(c, "forward") and c.forward is not nn.Module().forward)]
    return [c for c in found if getattr(c.forward, "__qualname__", "") != "_forward_unimplemented"]


PROGRAMS = programs()


@pytest.mark.parametrize("cls", PROGRAMS, ids=lambda c: f"{c.__module__.rpartition('.')[2]}-{c.__name__}")
def test_program(cls):
    if cls.__name__ in EXPECTED:
        assert refused(cls) == EXPECTED[cls.__name__]
    else:
        check_oracle(cls, check(cls))


def test_there_are_many():
    assert len(PROGRAMS) >= 200
    assert set(EXPECTED) <= {c.__name__ for c in PROGRAMS}


def test_names_are_unique():
    names = [c.__name__ for c in PROGRAMS]
    assert sorted(n for n in set(names) if names.count(n) > 1) == []


def test_a_wrong_program_is_found():
    """The harness sees a program that is not the model's."""
    from programs.exits import ExitTensor, ExitTuple
    from programs.harness import capture, compare

    program = capture(ExitTuple, load(ExitTuple))
    with pytest.raises(AssertionError, match="ExitTensor, call 0"):
        compare(ExitTensor, program, load(ExitTensor), 3)
