"""Numbers that Python refuses to compute: compiled code raises what eager raises, in every host that carries them."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import nn

import dync
from dync.errors import BackendError, HostError
from dync.ir.raising import read, told
from dync.ir.types import Span

NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 3.0, 1e9, 800.0, 1e200, -1e200, math.inf, -math.inf, math.nan)
FLOATS = {
    "div": lambda a, b: a / b, "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "pow": lambda a, b: a**b,
    "square": lambda a, b: a**2, "root": lambda a, b: abs(b) ** 0.5, "by": lambda a, b: 2.0**b,
    "sqrt": lambda a, b: math.sqrt(a), "exp": lambda a, b: math.exp(a), "log": lambda a, b: math.log(b),
    "int": lambda a, b: int(a), "floor": lambda a, b: math.floor(a), "ceil": lambda a, b: math.ceil(b), "trunc": lambda a, b: math.trunc(b),
    "round": lambda a, b: round(a),
}  # fmt: skip
INTS = {"div": lambda a, b: a / b, "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "pow": lambda a, b: a**0.5}
pytestmark = pytest.mark.part(2)
HOSTS = [("onnxruntime", "python"), ("onnxruntime", "onnx"), ("tvm", "python"), ("tvm", "tvm")]


class Computes(nn.Module):
    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def forward(self, x):
        a, b = x.tolist()
        return torch.ones(2, dtype=torch.float64) * self.operation(a, b)


def outcome(run, x):
    try:
        return run(x)
    except Exception as error:
        return type(error), error.args


def beyond(wanted):
    """Results that compiled numbers cannot be: complex ones, and integers of more than 64 bits."""
    if isinstance(wanted, torch.Tensor):
        return wanted.is_complex() or wanted.abs().gt(2.0**62).any()
    return wanted[1] in (("int too big to convert",), ("can't convert negative int to unsigned",))


def check(operation, dtype, numbers, backend, host):
    pytest.importorskip({"tvm": "tvm"}.get(backend, backend))
    model = Computes(operation)
    run = dync.compile(model, (torch.tensor(numbers[2:4], dtype=dtype),), backend=backend, host=host, budget=0)
    assert {b.backend for b in run.report.blocks} == {backend}, run.report
    for pair in product(numbers, repeat=2):
        x = torch.tensor(pair, dtype=dtype)
        wanted, found = outcome(model, x), outcome(run, x)
        if isinstance(found, tuple) and found[0] is BackendError:
            assert beyond(wanted), (pair, wanted, found)
        elif isinstance(wanted, torch.Tensor):
            assert isinstance(found, torch.Tensor), (pair, found)
            assert torch.allclose(wanted, found.to(wanted.dtype), rtol=1e-9, equal_nan=True), (pair, found)
        else:
            assert found == wanted, (pair, wanted, found)


@pytest.mark.parametrize("backend,host,name", [(*h, n) for h in HOSTS for n in FLOATS if h[1] != "python" or n in ("div", "int")])
def test_floats(name, backend, host):
    check(FLOATS[name], torch.float64, NUMBERS, backend, host)


@pytest.mark.parametrize("backend,host", [h for h in HOSTS if h[1] != "python"])
@pytest.mark.parametrize("name", INTS)
def test_integers(name, backend, host):
    check(INTS[name], torch.int64, (0, 7, 3, -7, -3, 2), backend, host)


class Writes(nn.Module):
    def forward(self, x, kept):
        kept.add_(1)
        a, b = x.tolist()
        return kept * (a / b)


@pytest.mark.parametrize("backend,host", HOSTS)
def test_what_was_written_stays_written(backend, host):
    pytest.importorskip({"tvm": "tvm"}.get(backend, backend))
    model, example = Writes(), (torch.ones(2), torch.zeros(2))
    if host != "python":
        with pytest.raises(HostError, match="what is written in place before a number raises would be lost"):
            dync.compile(model, example, backend=backend, host=host, budget=0)
        return
    run = dync.compile(model, example, backend=backend, host=host, budget=0)
    for pair in ((1.0, 2.0), (1.0, 0.0)):
        given, own = torch.zeros(2), torch.zeros(2)
        x = torch.tensor(pair)
        wanted, found = outcome(lambda x, given=given: model(x, given), x), outcome(lambda x, own=own: run(x, own), x)
        assert torch.equal(wanted, found) if isinstance(wanted, torch.Tensor) else wanted == found
        assert torch.equal(given, own)


class Turns(nn.Module):
    """Blocks that raise before a join, in a loop, and on one side of a decision."""

    def forward(self, x):
        a, b = x.tolist()
        c = math.sqrt(a) if b > 1 else a
        turns = 0
        while c < 3 and turns < 4:
            c, turns = c + 1 / (4 - turns), turns + 1
            if c > 2.5:
                c = c / (b - 2)
        return torch.ones(2) * c, turns


@pytest.mark.parametrize("backend,host", [h for h in HOSTS if h[1] != "python"])
def test_traces_of_calls_that_raise(backend, host):
    """They hold the way to the block in which it happens, as in the Python host."""
    pytest.importorskip({"tvm": "tvm"}.get(backend, backend))
    model, example = Turns(), (torch.tensor([1.0, 0.5], dtype=torch.float64),)
    plain = dync.compile(model, example, backend="eager", host="python")
    run = dync.compile(model, example, backend=backend, host=host, budget=0)
    found = set()
    for pair in ((1.0, 0.5), (-1.0, 2.0), (2.0, 2.0), (1.0, 2.0), (0.0, 0.5)):
        x = torch.tensor(pair, dtype=torch.float64)
        ways = []
        for one in (plain, run):
            try:
                result, trace = one.traced(x)
                ways.append((result[0].tolist(), result[1], trace.path, [d.value for d in trace.decisions]))
            except (ValueError, ZeroDivisionError) as error:
                ways.append((type(error), error.args, error.trace.path, [d.value for d in error.trace.decisions]))
        assert ways[0] == ways[1]
        found.add(ways[0][0] if isinstance(ways[0][0], type) else None)
    assert found == {None, ValueError, ZeroDivisionError}


def test_text_is_read_back():
    for error in (ZeroDivisionError("division by zero"), OverflowError(34, "it's \"too\" large"), BackendError("beyond")):
        said = told(error, Span("dir (x)/it's.py", 7))
        text = f"Name:'b1/n3{said}' Status Message: idx=1"
        found = read(text, True)
        assert type(found) is type(error) and found.args == error.args and found.__notes__ == ["raised by the model at dir (x)/it's.py:7"]
        assert not hasattr(read(text, False), "__notes__")
    for text in ("", "Name:'n3 raises SystemExit(1) at m.py:1'", "Name:'n3 raises ValueError(exit()) at m.py:1'"):
        assert read(text, True) is None
