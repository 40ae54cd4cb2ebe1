"""What no example shows: NaN, infinities and negative zeros, and sums of so many numbers that their order matters."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dync

NAN, INF = math.nan, math.inf
BACKENDS = ("onnxruntime", "tvm", "torch-mlir")


def compiled(model, args, backend):
    pytest.importorskip({"torch-mlir": "torch_mlir"}.get(backend, backend))
    run = dync.compile(model, args, backend=backend, host="python", budget=0)
    assert {b.backend for b in run.report.blocks} == {backend}, run.report
    return run


class Orders(nn.Module):
    def forward(self, x):
        return (*x.topk(3, 1), *x.topk(3, 1, largest=False), *x.sort(dim=1, stable=True), *x.sort(dim=1, descending=True, stable=True))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("length", (9, 40))
def test_nan_is_the_largest_of_all(backend, length):
    run, generator = compiled(Orders(), (torch.randn(4, length),), backend), torch.Generator().manual_seed(length)
    for _ in range(20):
        x = torch.randint(-3, 3, (4, length), generator=generator).float()
        for value in (NAN, INF, -INF, -0.0):
            x[torch.rand(4, length, generator=generator) < 0.15] = value
        wanted, found = Orders()(x), run(x)
        for i in range(0, 8, 2):
            assert torch.allclose(wanted[i], found[i], equal_nan=True)
        for i in (5, 7):  # of equal elements topk may give any
            assert torch.equal(wanted[i], found[i])


class Products(nn.Module):
    def forward(self, x):
        return x * 0, 0 * x + 1, F.softshrink(x), torch.lerp(x, -x, 0.0), torch.addcmul(x, x, x, value=0), x * torch.zeros(3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_times_infinity_is_nan(backend):
    run = compiled(Products(), (torch.randn(3),), backend)
    for x in (torch.tensor([NAN, INF, -INF]), torch.tensor([1.0, -2.0, NAN])):
        for wanted, found in zip(Products()(x), run(x), strict=True):
            assert torch.allclose(wanted, found, equal_nan=True)


class Scatters(nn.Module):
    def forward(self, x, i):
        return torch.zeros(3).scatter_reduce(0, i, x, "amax"), torch.full((3,), NAN).scatter_reduce(0, i, x, "amin", include_self=False)


@pytest.mark.parametrize("backend", ("onnxruntime", "tvm"))
def test_nan_is_the_maximum_of_what_is_scattered(backend):
    run, i = compiled(Scatters(), (torch.randn(4), torch.tensor([1, 1, 2, 0])), backend), torch.tensor([1, 1, 2, 1])
    for x in (torch.tensor([NAN, 1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, NAN, 3.0])):
        for wanted, found in zip(Scatters()(x, i), run(x, i), strict=True):
            assert torch.allclose(wanted, found, equal_nan=True)


class Sums(nn.Module):
    def forward(self, x):
        return x.mean(), x.var(), x.sum(-1), x.norm(), x.abs().sum((0, -1), keepdim=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", ((2, 500_000), (3, 512, 512), (1, 10_007)), ids=str)
def test_long_sums_are_as_near_as_eagers(backend, shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 1000
    run = compiled(Sums(), (x,), backend)
    for exact, found in zip(Sums()(x.double()), run(x), strict=True):
        assert torch.allclose(exact, found.double(), rtol=5e-5), (exact, found)


class Resampled(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=0.29, mode="linear"), F.interpolate(x, scale_factor=1.1, mode="linear")


@pytest.mark.parametrize("backend", ("onnxruntime", "tvm"))
def test_resampled_sizes_are_counted_in_double(backend):
    sizes = {"x": {2: torch.export.Dim("n", min=4, max=400)}}
    run = dync.compile(Resampled(), (torch.randn(1, 2, 40),), backend=backend, host="python", budget=0, dynamic_shapes=sizes)
    assert {b.backend for b in run.report.blocks} == {backend}
    for n in (4, 5, 9, 10, 40, 90, 100, 200):  # 1.1 times 5 is 5: nothing moves; 0.29 times 100 is 28 in double
        x = torch.randn(1, 2, n)
        for wanted, found in zip(Resampled()(x), run(x), strict=True):
            assert wanted.shape == found.shape and torch.allclose(wanted, found, atol=1e-5)
