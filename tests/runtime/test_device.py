"""Programs on a device, with the CPU in its place: IREE's and TVM's own memory there, what is copied when, and writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import dync
from dync.ir.types import TensorType
from dync.runtime import guards
from dync.runtime.device import DeviceTensor, on_host, put, there
from dync.runtime.loaders import tvm_device
from dync.runtime.package import KernelEntry, Package
from dync.runtime.program import Runtime

STAND_IN = {"tvm": "cpu:0", "iree": "local-sync"}
"""Loader → a device of its library that is the CPU by another name."""


class Counted:
    """A memory that counts what goes through it."""

    def __init__(self) -> None:
        self.up = self.down = 0

    def upload(self, array: Any) -> Any:
        self.up += 1
        return array.copy()

    def download(self, held: Any, dtype: Any) -> Any:
        self.down += 1
        return held.copy()


def test_a_tensor_is_copied_when_it_is_read_and_once():
    memory, array = Counted(), np.ones(3, np.float32)
    tensor = DeviceTensor(array)
    assert tensor.host() is array and (memory.up, memory.down) == (0, 0)
    assert there(tensor, memory) is there(tensor, memory) and memory.up == 1
    made = DeviceTensor(None, memory, np.full(3, 2.0), np.dtype(np.float32))
    assert made.shape == (3,) and memory.down == 0
    assert made.host() is made.host() and memory.down == 1
    assert np.from_dlpack(made)[0] == 2 and torch.from_dlpack(made)[0] == 2 and memory.down == 1


def test_an_array_that_somebody_owns_is_written():
    memory, array = Counted(), np.ones(3)
    mine, made = DeviceTensor(array), DeviceTensor(None, memory, np.ones(3), np.dtype(np.float64))
    for tensor in (mine, made):
        tensor.host()
        put(tensor, memory, np.full(3, 5.0))
        assert there(tensor, memory)[0] == 5 and tensor.host()[0] == 5
    assert array[0] == 5
    put(array, memory, np.full(3, 6.0))
    assert array[0] == 6


def test_what_a_kernel_on_the_cpu_writes_is_read_by_the_device():
    memory, entry = Counted(), KernelEntry("eager", results=(TensorType("float64", (2,)),))

    def kernel(x: Any) -> Any:
        x += 1
        return [x * 2]

    tensor = DeviceTensor(None, memory, np.zeros(2), np.dtype(np.float64))
    (result,) = on_host(kernel, entry, [0])(tensor)
    assert there(tensor, memory)[0] == 1 and there(result, memory)[0] == 2


def test_another_memory_reads_over_the_host():
    one, other = Counted(), Counted()
    tensor = DeviceTensor(None, one, np.zeros(2), np.dtype(np.float64))
    assert there(tensor, other)[0] == 0 and (one.down, other.up) == (1, 1)


class Cached(nn.Module):
    """Branches, a cache that grows, a buffer and an argument written in place, a block for the CPU alone."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.cache, self.calls = nn.Linear(4, 4), None, 0
        self.register_buffer("total", torch.zeros(4))

    def forward(self, x, out):
        h = self.inner(x)
        if h.mean() > 0:
            h = torch.relu(h)
            out.add_(1)
        else:
            out[0] = h.sum()
        self.total += h.sum(0)
        self.cache = h if self.cache is None else torch.cat([self.cache, h])
        self.calls += 1
        chosen = h[h[:, 0] > 0]
        if chosen.shape[0] > 1:
            return chosen.sum(), self.cache
        return h.cumsum(0), self.cache


def on_stand_in(package: Package) -> Package:
    """The package as if its kernels were compiled for a device."""
    kernels = {n: replace(k, settings={**k.settings, "device": STAND_IN[k.loader]}) if k.loader in STAND_IN else k
               for n, k in package.kernels.items()}  # fmt: skip
    assert any(k.settings.get("device") in STAND_IN.values() for k in kernels.values())
    return replace(package, kernels=kernels, meta={**package.meta, "target": "cuda"})


@pytest.mark.parametrize(
    "backend, kind", (("tvm", "numpy"), ("tvm", "torch"), ("torch-mlir", "numpy"), ("tvm", "there"), ("torch-mlir", "there"))
)
def test_programs(backend: str, kind: str, monkeypatch: pytest.MonkeyPatch):
    """there: torch tensors on the device."""
    if not next(b for b in dync.targets().backends if b.name == backend).available:
        pytest.skip(f"{backend} is not here")
    torch.manual_seed(0)
    model = Cached().eval()
    example = (torch.randn(3, 4), torch.zeros(2))
    compiled = dync.compile(model, example, backend=backend, host="python")
    runtime = Runtime(on_stand_in(compiled.package))
    if kind == "there":
        monkeypatch.setattr(guards, "resides", lambda value, target: True)
    for seed in range(6):
        torch.manual_seed(seed)
        x, out = torch.randn(3, 4), torch.zeros(2)
        mine: Any = (x.numpy().copy(), out.numpy().copy()) if kind == "numpy" else (x.t().clone().t(), out.clone())
        with torch.no_grad():
            want = model(x, out)
        got, trace = runtime.traced(*mine) if seed % 2 else (runtime(*mine), None)
        assert all(isinstance(g, np.ndarray if kind == "numpy" else torch.Tensor) for g in got)
        for a, b in zip((*want, out, model.total), (*got, mine[1], runtime.state["total"]), strict=True):
            assert torch.allclose(a, torch.as_tensor(b), atol=1e-5)
        assert runtime.state["calls"] == model.calls and tuple(runtime.state["cache"].shape) == tuple(model.cache.shape)
        assert trace is None or trace.path
    runtime.reset_state()
    assert runtime.state["calls"] == 0 and runtime.state["cache"] is None and not np.asarray(runtime.state["total"]).any()


def test_a_region_of_views_is_not_for_a_device():
    class Views(nn.Module):
        def forward(self, x):
            y = x.view(-1)
            if x.sum() > 0:
                y[0] = 5.0
            return x + 1

    with pytest.raises(dync.errors.BackendError, match="where views of what the device has are copies"):
        dync.compile(Views(), (torch.ones(2, 2),), target="cuda:sm_80")


class Two(nn.Module):
    """Gives an argument back, one of its own twice, and one that it writes."""

    def forward(self, x, y):
        h = x * 2 + y
        y.add_(h)
        return x, h, h, y, h.sum() > 0


def test_tensors_there_stay_there(monkeypatch: pytest.MonkeyPatch):
    compiled = dync.compile(Two(), (torch.ones(2, 3), torch.ones(2, 3)), backend="tvm", host="python")
    runtime = Runtime(on_stand_in(compiled.package))
    monkeypatch.setattr(guards, "resides", lambda value, target: True)
    monkeypatch.setattr(tvm_device.DeviceMemory, "upload", None)
    monkeypatch.setattr(tvm_device.DeviceMemory, "download", None)
    x, y = torch.randn(2, 3), torch.randn(3, 2).t()[:, :]
    want = x * 2 + y, y + x * 2 + y
    a, h, again, b, positive = runtime(x, y)
    assert a is x and b is y and h is again
    assert torch.allclose(h, want[0]) and torch.allclose(y, want[1]) and positive == (want[0].sum() > 0)
    kept = h.clone()
    h.zero_()
    assert torch.equal(runtime(x, y.clone())[1], x * 2 + y) and not torch.equal(kept, h)
    with pytest.raises(dync.errors.GuardError, match=r"argument 'x': float64\[2, 3\] given"):
        runtime(x.double(), y)
    with pytest.raises(dync.errors.GuardError, match="argument 'x' shares memory with 'y'"):
        runtime(y, y)
    with pytest.raises(dync.errors.GuardError, match="argument 'x': a tensor of layout torch.sparse_coo given"):
        runtime(x.to_sparse(), y)
