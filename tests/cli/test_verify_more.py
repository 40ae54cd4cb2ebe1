"""`dync verify` with recorded calls, more sides and a JUnit file: each is used, or the verb says why not."""

import json
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from dync.cli import invoke

MODEL = """
import torch
from torch import nn


class Exits(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed({seed})
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        y = self.a(x)
        if y.sum().item() > {limit}:
            return y
        if y.max().item() > 0.3:
            y = y + 1
        return self.b(torch.relu(y))


def example_inputs():
    return (torch.randn(1, 8),)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    (folder / "recorded_model.py").write_text(MODEL.format(seed=0, limit=0.0))
    (folder / "far_model.py").write_text(MODEL.format(seed=0, limit=1.0))
    path = list(sys.path)
    assert invoke(["compile", str(folder / "recorded_model.py"), "-o", str(folder / "a.dync"), "--backend", "onnxruntime", "--strict"]) == 0
    yield folder
    sys.path[:] = path


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "path", list(sys.path))


def report(capsys, *more, want=0):
    assert invoke(["verify", "a.dync", "--budget", "12", "--json", *more]) == want
    return json.loads(capsys.readouterr().out)


def test_stacked_calls_of_a_file_are_all_compared(capsys):
    np.savez("calls.npz", x=np.random.default_rng(0).normal(size=(5, 1, 8)).astype("float32"))
    assert report(capsys, "--data", "calls.npz")["given"] == 6  # the example, and five


def test_one_call_of_a_file(capsys):
    np.savez("one.npz", x=np.ones((1, 8), "float32"))
    assert report(capsys, "--data", "one.npz")["given"] == 2


@pytest.mark.parametrize(
    "arrays, said",
    [
        ({"x": np.zeros(8, "float32")}, "x has 1 dimensions"),
        ({"x": np.zeros((0, 1, 8), "float32")}, "holds no call"),
        ({"y": np.zeros((1, 8), "float32")}, "no input 'y'"),
        ({"x": np.zeros((2, 1, 7), "float32")}, "inputs[1]"),
        ({"x": np.zeros((1, 8), "float64")}, "float64"),
    ],
)
def test_calls_that_do_not_fit_are_refused(capsys, arrays, said):
    np.savez("odd.npz", **arrays)
    assert invoke(["verify", "a.dync", "--data", "odd.npz"]) == 2
    assert said in capsys.readouterr().err


def test_a_missing_file_is_refused(capsys):
    assert invoke(["verify", "a.dync", "--data", "absent.npz"]) == 2
    assert "no such file: absent.npz" in capsys.readouterr().err


def test_more_sides_run_on_the_same_calls(capsys):
    found = report(capsys, "--also", "oracle,interpret,eager,onnxruntime/onnx")
    assert found["ok"] and found["sides"] == ["compiled", "oracle", "eager", "onnxruntime/onnx", "interpret"]


def test_an_unknown_side_is_refused(capsys):
    assert invoke(["verify", "a.dync", "--also", "nope"]) == 2
    assert "unknown side 'nope'; known: oracle, interpret" in capsys.readouterr().err


def test_sides_of_another_program_are_refused(capsys):
    """The Program of far_model.py is another one: nothing could be compared with what was asked for."""
    assert invoke(["verify", "a.dync", "--against", "far_model.py", "--also", "oracle"]) == 1
    assert "cannot compare with oracle" in capsys.readouterr().err
    assert invoke(["verify", "a.dync", "--against", "far_model.py"]) == 1
    assert "the control flow of far_model.py is not the artifact's" in capsys.readouterr().out


def test_the_junit_file_has_a_case_for_each_outcome(capsys):
    found = report(capsys, "--junit", "report.xml")
    cases = ElementTree.parse("report.xml").getroot().findall("testcase")
    decisions = [c for c in cases if c.get("classname") == "decision"]
    assert len(decisions) == len(found["decisions"]) == 4


def test_without_its_backend_nothing_is_ok(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert invoke(["verify", "a.dync", "--budget", "12"]) not in (0, 3)
    said = capsys.readouterr()
    assert "onnxruntime" in said.err and "same as eager" not in said.out


def test_a_side_whose_backend_is_missing_is_not_left_out(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tvm", None)
    assert invoke(["verify", "a.dync", "--budget", "12", "--also", "tvm"]) not in (0, 3)
    said = capsys.readouterr()
    assert "tvm" in said.err and "same as eager" not in said.out


def test_a_path_that_no_call_took_is_named_and_fails_where_coverage_is_required(capsys):
    assert invoke(["verify", "a.dync", "--budget", "1", "--require-coverage", "--junit", "few.xml"]) == 3
    assert "not reached: decision" in capsys.readouterr().out
    cases = ElementTree.parse("few.xml").getroot().findall("testcase")
    never = [c for c in cases if c.find("skipped") is not None]
    assert never and len(never) < len(cases)


def test_a_program_that_lost_a_path_is_not_ok(home, capsys):
    """The branch to one exit is gone from the compiled program: calls that take it in eager differ."""
    (home / "one_exit.py").write_text(MODEL.format(seed=0, limit=float("inf")).replace("inf", "1e30"))
    assert invoke(["compile", "one_exit.py", "-o", "one.dync", "--backend", "onnxruntime", "--strict", "--verify", "off"]) == 0
    capsys.readouterr()
    assert invoke(["verify", "one.dync", "--against", "recorded_model.py", "--budget", "12"]) == 1
    assert "same as eager" not in capsys.readouterr().out
