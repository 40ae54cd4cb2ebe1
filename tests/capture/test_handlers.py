"""Numbers that torch refuses, under handlers of the model and of installed packages."""

import importlib.util

import pytest
import torch
from torch import nn

import dync
from dync.api import capture
from dync.ir.interpret import interpret

PACKAGE = """
import functools
import torch.nn.functional as F

def or_zero(i, w):
    try:
        return F.embedding(i, w)
    except IndexError:
        return w[:1] * 0

def restoring(function):
    @functools.wraps(function)
    def wrapper(self, *args):
        before, self.mode = self.mode, "inside"
        try:
            return function(self, *args)
        finally:
            if before is not None:
                self.mode = before
    return wrapper
"""


@pytest.fixture
def package(tmp_path):
    """An installed package of one module."""
    path = tmp_path / "site-packages" / "handlers.py"
    path.parent.mkdir()
    path.write_text(PACKAGE)
    spec = importlib.util.spec_from_file_location("handlers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Looks(nn.Module):
    def __init__(self, look):
        super().__init__()
        self.look, self.w, self.mode = look, nn.Parameter(torch.randn(4, 3)), "outside"

    def forward(self, i):
        return self.look(i, self.w) + 1


class Counts(Looks):
    """A `finally` of the model's own writes its state."""

    def __init__(self):
        super().__init__(nn.functional.embedding)
        self.calls = 0

    def forward(self, i):
        try:
            return super().forward(i)
        finally:
            self.calls += 1


def test_an_except_of_a_package_takes_the_number(package):
    model = Looks(package.or_zero)
    program = capture(model, (torch.tensor([1]),))
    for i in (1, 9, 3, -1):
        assert torch.equal(interpret(program, (torch.tensor([i]),))[0], model(torch.tensor([i])))


def test_a_finally_of_a_package_asks_nothing(package):
    class Wrapped(Looks):
        forward = package.restoring(Looks.forward)

    program = capture(Wrapped(nn.functional.embedding), (torch.tensor([1]),))
    assert len(program.blocks) == 1
    with pytest.raises(IndexError):
        interpret(program, (torch.tensor([9]),))


def test_a_finally_of_the_model_runs():
    model = Counts()
    compiled = dync.compile(model, (torch.tensor([1]),), backend="eager")
    for i in (1, 9, 3):
        for call in (model, compiled):
            if i == 9:
                with pytest.raises(IndexError):
                    call(torch.tensor([i]))
            else:
                call(torch.tensor([i]))
    assert compiled.state["calls"] == model.calls == 3
