"""Placement on the command line: blocks forced, no cache, and what inspect and targets say about it."""

import json

import pytest

from dync.backends.cache import default_folder
from dync.cli import invoke

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x):
        return self.a(x) if x.sum() > 0 else x

def example_inputs():
    return (torch.ones(1, 4),)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text(MODEL)


def test_a_block_is_forced_and_inspect_says_so(here, capsys):
    words = ["compile", "net.py", "-o", "a.dync", "--verify", "off", "--backend", "onnxruntime,b0=eager", "--budget", "5"]
    assert invoke([*words, "--no-cache"]) == 0 and not default_folder().exists()
    capsys.readouterr()
    assert invoke(words) == 0 and default_folder().exists()
    assert "chosen for this block; needs torch at run time" in capsys.readouterr().out
    assert invoke(["inspect", "a.dync", "--json"]) == 0
    kernels = {k["block"]: k for k in json.loads(capsys.readouterr().out)["kernels"]}
    assert kernels["b0"]["backend"] == "eager" and kernels["b0"]["reason"] == "chosen for this block"
    assert all(k["backend"] == "onnxruntime" for b, k in kernels.items() if b != "b0")


def test_an_unknown_block_is_named(here, capsys):
    assert invoke(["compile", "net.py", "-o", "a.dync", "--backend", "zz=eager"]) == 2
    assert "there is no block zz with code; there are: b0" in capsys.readouterr().err


def test_targets_say_why_not_and_what_needs_torch(capsys, monkeypatch):
    from dync.backends.onnxruntime import OnnxRuntime

    monkeypatch.setattr(OnnxRuntime, "available", lambda self: (_ for _ in ()).throw(OSError("libonnx.so: no such file")))
    assert invoke(["targets", "--json"]) == 0
    found = {b["name"]: b for b in json.loads(capsys.readouterr().out)["backends"]}
    assert not found["onnxruntime"]["available"] and found["onnxruntime"]["reason"] == "OSError: libonnx.so: no such file"
    assert found["eager"]["needs_torch"] and found["inductor"]["needs_torch"]
