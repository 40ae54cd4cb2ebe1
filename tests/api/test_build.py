"""Placing and compiling: preference, fallback with its reason, strict, and each distinct kernel once."""

import copy
import logging
import random
import sys
import warnings

import pytest
import torch
from torch import nn

import dync
from dync import registry
from dync.backends.base import Available, Declined
from dync.backends.eager import Eager
from dync.build import kernels_of
from dync.errors import BackendError, DeviceError, UsageError
from dync.ir.types import Span
from dync.options import CompileOptions
from dync.place import place
from dync.verify.calls import generators
from dync.workshop import Workshop


class Picky(Eager):
    """Eager under another name, which takes kernels without a relu, and can be told to fail or compute a wrong number."""

    name = "picky"
    compiled: list[str] = []
    fault = ""

    def supports(self, kernel, target):
        if not Picky.fault and any("relu" in str(n.target) for n in kernel.graph.nodes):
            return Declined("no kernel for aten.relu", Span("m.py", 3, 4))
        return None

    def compile(self, kernel, target, threads=0):
        Picky.compiled.append(kernel.name)
        if Picky.fault == "fails":
            raise BackendError("the compiler broke")
        code = super().compile(kernel, target, threads)
        if Picky.fault == "wrong":
            text = code.members["graph.json"].replace(b"aten.relu", b"aten.neg")
            code = type(code)(code.loader, code.key, {"graph.json": text}, code.weights, code.settings)
        return code


class Absent(Picky):
    name = "absent"

    def available(self):
        return Declined("the absent library is not installed: pip install absent")


class Gates(nn.Module):
    def __init__(self, count=3):
        super().__init__()
        torch.manual_seed(0)
        self.gates = nn.ModuleList(nn.Linear(4, 2) for _ in range(count))
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(count))

    def forward(self, x):
        for gate, block in zip(self.gates, self.blocks, strict=True):
            if gate(x).softmax(-1).argmax() == 1:
                x = torch.relu(block(x))
        return x


X = (torch.ones(1, 4),)


@pytest.fixture
def picky(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(registry, "TRUSTED", (*registry.TRUSTED, "picky"))
    monkeypatch.setattr(registry, "BACKENDS", {"picky": f"{__name__}:Picky", "absent": f"{__name__}:Absent", **registry.BACKENDS})
    monkeypatch.setattr(
        registry, "load", lambda place, old=registry.load: {"Picky": Picky, "Absent": Absent}.get(place.rpartition(":")[2]) or old(place)
    )
    registry.table.cache_clear()
    Picky.compiled, Picky.fault = [], ""
    yield
    registry.table.cache_clear()


@pytest.fixture(scope="module")
def program():
    return dync.capture(Gates().eval(), X)


def test_auto_prefers_onnxruntime_and_keeps_the_reference_behind_it(program):
    for p in place(kernels_of(program), Workshop(CompileOptions.parse())).values():
        rivals = [c.backend for c in p.choices if not c.fallback]
        assert rivals[0] == "onnxruntime" and "eager" not in rivals and p.choices[0].reason == "preferred"
        assert "eager" in [c.backend for c in p.choices if c.fallback]


def test_a_refused_block_falls_back_with_the_reason(picky, program):
    compiled = dync.compile(program, X, backend="picky")
    by_backend = {b.backend for b in compiled.report.blocks}
    assert by_backend == {"picky", "eager"}
    fallen = next(b for b in compiled.report.blocks if b.backend == "eager")
    assert fallen.reason == "fallback" and str(fallen.refused[0]) == "picky: no kernel for aten.relu (m.py:3:5)"
    assert torch.equal(compiled(*X), Gates().eval()(*X))


def test_strict_makes_a_refusal_an_error(picky, program):
    with pytest.raises(BackendError, match=r"picky: no kernel for aten.relu \(m.py:3:5\)"):
        dync.compile(program, X, backend="picky", strict=True)


@pytest.mark.parametrize("fault,said", [("fails", "the compiler broke"), ("wrong", "in eager|where eager")])
def test_code_that_fails_or_is_wrong_is_never_shipped(picky, program, fault, said):
    Picky.fault = fault
    compiled = dync.compile(program, X, backend="picky")
    assert any(r.backend == "picky" for b in compiled.report.blocks for r in b.refused) and torch.equal(compiled(*X), Gates().eval()(*X))
    with pytest.raises(BackendError, match=said):
        dync.compile(program, X, backend="picky", strict=True)


def test_a_missing_backend_says_what_to_install(picky, program):
    with pytest.raises(BackendError, match="backend absent is not available: the absent library is not installed: pip install absent"):
        dync.compile(program, X, backend="absent")


def test_auto_goes_on_without_a_missing_backend(picky, program, monkeypatch):
    monkeypatch.setattr(registry, "PREFERENCE", ("absent", "eager"))
    compiled = dync.compile(program, X)
    assert {b.backend for b in compiled.report.blocks} == {"eager"} and "pip install absent" in str(compiled.report)


def test_kernels_that_differ_only_in_weights_are_compiled_once(picky, program):
    compiled = dync.compile(program, X, backend="picky")
    assert (
        len(Picky.compiled)
        == len({b.block for b in compiled.report.blocks if b.backend == "picky" and not b.same_as})
        < len(kernels_of(program))
    )
    net = Gates().eval()
    for x in (torch.randn(1, 4) for _ in range(20)):
        assert torch.allclose(compiled(x), net(x))


def test_weights_are_stored_once_and_only_where_needed(program):
    package = dync.compile(program, X, host="python").package
    assert set(package.weights) == {w for k in package.kernels.values() for w in k.weights}
    assert package.meta["target"] == "cpu" and package.meta["dync"] == dync.__version__


def test_a_program_has_its_shapes_and_params_already(program):
    with pytest.raises(UsageError, match="captured already"):
        dync.compile(program, X, params={"threshold": (0, 0, 1)})


def test_reports_outlive_the_artifact(program, tmp_path):
    compiled = dync.compile(program, X)
    compiled.save(tmp_path / "m.dync")
    assert dync.load(tmp_path / "m.dync").report["blocks"][0]["backend"] == compiled.report.blocks[0].backend


def test_available_is_data():
    assert isinstance(Eager().available(), Available)


def test_a_target_that_nothing_was_captured_for(program):
    with pytest.raises(BackendError, match="eager: captured on cpu: to run it on cuda"):
        dync.compile(program, X, target="cuda", backend="eager")


def test_a_target_that_nothing_compiles_for(program):
    with pytest.raises(BackendError, match="no backend compiles for cuda:sm_20 here"):
        dync.compile(program, X, target="cuda:sm_20")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_code_for_a_device_that_is_not_here_can_be_saved_and_says_so_when_called(program, tmp_path):
    pytest.importorskip("iree.compiler")
    compiled = dync.compile(program, X, target="cuda:sm_80", backend="torch-mlir")
    compiled.save(tmp_path / "m.dync")
    for call in (compiled, compiled.traced):
        with pytest.raises(DeviceError, match="no CUDA device"):
            call(*X)
    with pytest.raises(DeviceError, match="no CUDA device"):
        dync.load(tmp_path / "m.dync")
    with pytest.raises(DeviceError, match="no CUDA device"):
        copy.deepcopy(compiled)(*X)


class Noisy(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            print("positive")
        else:
            print("negative", file=sys.stderr)
            logging.getLogger("model").warning("negative")
            warnings.warn("negative", stacklevel=1)
        return x * random.random() + torch.rand(3)


@pytest.mark.parametrize("sign", (1.0, -1.0))
def test_nothing_shows_of_the_runs_that_measure(sign, capfd, caplog, recwarn):
    x = torch.full((3,), sign)
    before = generators()
    compiled = dync.compile(Noisy(), (x,))
    assert generators() == before
    assert capfd.readouterr() == ("", "") and not caplog.records and not recwarn.list
    compiled(x)
    out, err = capfd.readouterr()
    assert (out, err) == (("positive\n", "") if sign > 0 else ("", "negative\n")) and len(caplog.records) == len(recwarn.list) == (sign < 0)
