"""Each backend, host and file that `dync compile` offers, on one network from the command line: compile, verify, run."""

import json
import sys

import numpy as np
import pytest
import torch

from dync import registry
from dync.backends.base import Declined
from dync.cli import invoke

MODEL = """
import torch
from torch import nn


class Refiner(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.step, self.early, self.late, self.threshold = nn.Linear(8, 8), nn.Linear(8, 3), nn.Linear(8, 3), 0.5

    def forward(self, x):
        y = self.early(x)
        if y.max().item() > self.threshold:
            return y
        left = 2.0
        while left > 0.5:
            x = torch.relu(self.step(x)) + 0.1 * x
            left = left * 0.5
        for _ in range(3):
            if x.mean().item() < 0.3:
                x = x + 0.05
        return self.late(x)


def example_inputs():
    return (torch.randn(2, 8),)
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    (tmp_path / "refiner_model.py").write_text(MODEL)
    np.save(tmp_path / "x.npy", np.linspace(-1, 1, 16, dtype="float32").reshape(2, 8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "refiner_model", raising=False)


def needs(backend):
    answer = registry.backend(backend).available()
    if isinstance(answer, Declined):
        pytest.skip(f"{backend} is not available: {answer.reason}")


def eager():
    from importlib import import_module

    sys.path.insert(0, ".")
    with torch.no_grad():
        return import_module("refiner_model").Refiner()(torch.from_numpy(np.load("x.npy"))).numpy()


def runs(capsys, *options):
    """The manifest's words of what compile was asked for, after verify and run agreed with eager."""
    given = ["-o", "a.dync", "--param", "threshold=0.5:0..1", "--strict", "--verify", "off", *options]
    assert invoke(["compile", "refiner_model.py", *given]) == 0
    assert invoke(["verify", "a.dync", "--budget", "60", "--cover", "decisions", "--require-coverage"]) == 0
    assert invoke(["run", "a.dync", "--input", "x=@x.npy", "-o", "y.npz"]) == 0
    np.testing.assert_allclose(np.load("y.npz")["out"], eager(), rtol=1e-4, atol=1e-5)
    capsys.readouterr()
    assert invoke(["inspect", "a.dync", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("backend", registry.BACKENDS)
def test_every_backend(backend, capsys):
    needs(backend)
    slow = backend == "inductor"  # ten seconds a block
    found = runs(capsys, "--backend", f"eager,b0={backend}" if slow else backend, "--host", "python")
    assert {k["backend"] for k in found["kernels"]} == {backend, *(["eager"] if slow else [])}


@pytest.mark.parametrize("host", registry.HOSTS)
def test_every_host(host, capsys):
    backend = registry.ENGINES[host][0] if host in registry.ENGINES else "onnxruntime"
    needs(backend)
    found = runs(capsys, "--backend", backend, "--host", host)
    assert found["meta"]["host"] == host
    code = [found["engine"]] if host in registry.ENGINES else found["kernels"]
    assert 1000 < found["code_bytes"] <= sum(k["size"] for k in code)


@pytest.mark.part(2)
@pytest.mark.parametrize("name", ["m.onnx", "m.vmfb", "m.mlir", "m.so"])
def test_every_file_for_others(name, tmp_path):
    needs({"m.onnx": "onnxruntime", "m.so": "tvm"}.get(name, "torch-mlir"))
    assert invoke(["compile", "refiner_model.py", "-o", name, "--strict"]) == 0
    assert (tmp_path / name).stat().st_size > 1000


def test_cuda_is_compiled_without_a_device_and_says_so_when_run(capsys):
    needs("torch-mlir")
    options = ["--target", "cuda:sm_80", "--backend", "torch-mlir"]
    assert invoke(["compile", "refiner_model.py", "-o", "a.dync", *options]) == 0
    assert "not verified" in capsys.readouterr().err or torch.cuda.is_available()
    if not torch.cuda.is_available():
        assert invoke(["run", "a.dync", "--input", "x=@x.npy", "-o", "y.npz"]) == 5
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert last.startswith("device error: compiled for CUDA; this machine has no CUDA device")
