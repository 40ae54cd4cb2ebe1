"""Every program, captured and interpreted, against eager: bit for bit, with types, exceptions, state, inputs and random draws."""

import importlib
import inspect
from pathlib import Path

import pytest
from programs.harness import check, check_oracle, load, refused
from programs.refusals import EXPECTED, KNOWN_WRONG
from torch import nn

SLOW = {"BeamsOfLists", "CaptionBeams", "Detections"}
"""Programs that take a minute and more."""
HERE = Path(__file__).parent
GROUPS = sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith("test_") and p.stem not in ("harness", "data", "refusals"))


def is_program(cls: object, module: str) -> bool:
    """Whether a name of a file is one of its programs: a module with inputs, and a forward of its own or a number of paths."""
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module) and cls.__module__ == module and hasattr(cls, "inputs")):
        return False
    return "forward" in vars(cls) or "PATHS" in vars(cls) and cls.forward.__name__ == "forward"


def programs() -> list[type[nn.Module]]:
    modules = [importlib.import_module(f"programs.{group}") for group in GROUPS]
    return [c for m in modules for c in vars(m).values() if is_program(c, m.__name__)]


PROGRAMS = programs()


def parameter(cls):
    marks = [pytest.mark.xfail(reason=KNOWN_WRONG[cls.__name__], strict=True)] if cls.__name__ in KNOWN_WRONG else []
    marks += [pytest.mark.slow] if cls.__name__ in SLOW else []
    return pytest.param(cls, marks=marks, id=f"{cls.__module__.rpartition('.')[2]}-{cls.__name__}")


@pytest.mark.part(3)
@pytest.mark.parametrize("cls", [parameter(c) for c in PROGRAMS])
def test_program(cls):
    if cls.__name__ in EXPECTED:
        assert refused(cls) == EXPECTED[cls.__name__]
    else:
        check_oracle(cls, check(cls))


def test_there_are_many():
    assert len(PROGRAMS) >= 200
    assert {*EXPECTED, *KNOWN_WRONG} <= {c.__name__ for c in PROGRAMS}


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
