"""Every backend over every case: equal to eager within tolerance, or declined with operator and line; never silently wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support import backend_cases
from support.backend_cases import CASES
from support.kernels import kernel as made

import dync
from dync import registry
from dync.backends.base import Backend, Declined, Kernel, Target
from dync.backends.cache import with_weights
from dync.backends.check import check, open_code
from dync.backends.kernels import renamed_weights, structure_key

BFLOAT16 = {f"bfloat16-{n}": "bfloat16 value that goes in or out" for n in ("linear", "norm", "conv", "moves", "compare")}
RANDOM = dict.fromkeys(("rand", "bernoulli", "multinomial", "dropout-training"), "random")
ATEN = {
    "as-strided-in-its-layout": "known only at run time",
    "conv-padding-dynamic": "known only at run time",
    "int-div-by-tensor": "integer division by a run-time value",
    "median": "no translation",
    "embedding-bag": "no translation",
    "max-pool-ceil-drops": "ceil_mode",
    "complex": "element type complex64",
    **BFLOAT16,
    **RANDOM,
}
"""What the shared translations of ATen decline."""
ORT = ATEN | {"float64-conv": "no CPU kernel of Conv for float64", "float64-gelu": "no CPU kernel of Gelu for float64"}
IREE = {
    "maximum-int": "int16",
    "float-floor-div": "a remainder of floats",
    "float-floor-div-zero": "a remainder of floats",
    "pow-tensor": "exponent",
    "int-pow": "a power of integers",
    "pad": "padding by a negative",
    "pad-modes": "reflect padding",
    "zero-size": "without elements",
    "conv2d-same below-autograd": "padding before a convolution",
    "avg-pool-ceil": "ceil_mode",
    "interpolate-linear1d": "rank 3",
    "grid-sample": "grid sampling",
    **{f"scatter-reduce-{n}{a}": "scatter by maximum or minimum" for n in ("amax", "amin") for a in ("", "-alone")},
    "unique": "unique",
    "unique-counts": "unique",
    "moe": "sizes that data decides",
    "lstm-bidirectional": "in two directions",
    "gru-bidirectional composite": "in two directions",
    "float64-mlp": "Tanh of float64",
}
DECLINED = {"eager": {}, "tvm": ATEN, "onnxruntime": ORT, "torch-mlir": ORT | IREE}
"""backend → case, or case and form → part of the reason. What is not here must compile. Writes left in a graph are declined too."""
FEW = {"inductor": ("conv-bn-relu", "item-bool")}
"""Backends that take seven seconds and more a case: one case a family (matrix products and dynamic sizes, convolutions, norms and
reductions, sorting, numbers), in one form. The numeric check stands behind all the others when a block is compiled."""


PARTS = {"torch-mlir": 12, "tvm": 6, "inductor": 4}
"""Backends of whose cases one in so many runs in a run that is not to be slow: of the suite's time theirs took a fifth."""


@pytest.fixture(scope="module", params=[pytest.param(b, marks=pytest.mark.part(PARTS.get(b, 1))) for b in registry.BACKENDS], autouse=True)
def backend(request: pytest.FixtureRequest) -> Backend:
    made = registry.backend(request.param)
    answer = made.available()
    if isinstance(answer, Declined):
        pytest.skip(f"{request.param} is not available: {answer.reason}")
    return made


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def kernel(name: str, composite: bool) -> Kernel:
    return CASES[name].kernel(composite)


@pytest.mark.parametrize("form", ("below-autograd", "composite"))
@pytest.mark.parametrize("name", CASES)
def test_equal_or_declined(backend: Backend, name: str, form: str):
    if name not in FEW.get(backend.name, (name,)) or backend.name in FEW and form == "composite":
        pytest.skip(f"{backend.name} compiles too slowly for all cases: FEW has one of each family")
    case, found = CASES[name], kernel(name, form == "composite")
    declined = backend.supports(found, Target())
    table = DECLINED.get(backend.name, {})
    expected = table.get(name) or table.get(f"{name} {form}")
    if declined is not None:
        assert expected and expected in declined.reason or "writes in place" in declined.reason, declined.reason
        assert any(str(n.target).split(".")[-1] in declined.reason or str(n.target) in declined.reason for n in found.graph.nodes)
        assert Path(declined.span.file) == Path(case.function.__code__.co_filename) and declined.span.line > 0
        return
    assert expected is None, f"{name} is listed as declined, and is not"
    if form == "composite" and structure_key(found) == structure_key(kernel(name, False)):
        return
    code = backend.compile(found, Target())
    check(found, code, case.examples, run=open_code(found, code, threads=1))


def test_cases_are_checked_on_inputs_that_eager_takes(backend: Backend):
    """No case passes because nothing could be drawn for it."""
    if backend.name != "eager":
        pytest.skip("the cases are the same for all")
    import math

    unchecked = [
        n
        for n in CASES
        if math.isnan(check(kernel(n, False), backend.compile(kernel(n, False), Target()), CASES[n].examples))
    ]
    assert not unchecked


INDICES: dict[str, Callable[..., Any]] = {
    "embedding": lambda x, i: F.embedding(i, x),
    "gather": lambda x, i: x.gather(0, i[:, None]),
    "index_select": lambda x, i: x.index_select(0, i),
    "index_add": lambda x, i: x.index_add(0, i, x[:2]),
    "index_copy": lambda x, i: x.index_copy(0, i, x[:2]),
    "scatter": lambda x, i: x.scatter(0, i[:, None], 2.0),
    "scatter_add": lambda x, i: x.scatter_add(0, i[:, None], x),
    "bincount": lambda x, i: torch.bincount(i, minlength=13)[:4] + 0 * x[:, 0].long(),
    "one_hot": lambda x, i: F.one_hot(i, 4) * x[:2, :1],
    "cross_entropy": lambda x, i: F.cross_entropy(x.t()[:2], i),
    "masked_scatter": lambda x, i: x.masked_scatter(torch.arange(12).view(4, 3) < i.max(), x.flatten()[:9]),
    "take": lambda x, i: x.take(i),
    "index": lambda x, i: x[i],
}
"""By name, functions of float32 [4, 3] and two indices, each below 4 (`take`: 12; `masked_scatter`: 9, or its source is too short)."""


@pytest.mark.parametrize("name", INDICES)
def test_indices_that_eager_refuses_are_refused(backend: Backend, name: str):
    """Those below zero too, where torch does not count from the end."""
    if backend.name in FEW:
        pytest.skip(f"{backend.name} compiles too slowly")
    function = INDICES[name]
    found = made(function, {"x": "float32[4, 3]", "i": "int64[2]"}, composite=True)
    if declined := backend.supports(found, Target()):
        pytest.skip(declined.reason)
    run = open_code(found, backend.compile(found, Target()), threads=1)
    x = torch.rand(4, 3)
    for i in map(torch.tensor, ((3, 0), (1, 2), (0, 4), (-1, 2), (-5, 1), (3, 12), (-13, 0))):
        try:
            expected = function(x, i)
        except (IndexError, RuntimeError):
            with pytest.raises((dync.DyncError, IndexError, RuntimeError)):
                run([x.clone(), i])
        else:
            torch.testing.assert_close(run([x.clone(), i])[0], expected)


def test_negative_repeats_are_refused(backend: Backend):
    if backend.name in FEW:
        pytest.skip(f"{backend.name} compiles too slowly")
    x = torch.rand(3, 2)
    run = dync.compile(lambda x, n: x.repeat_interleave(n, 0), (x, torch.tensor([1, 2, 0])), backend=backend.name, host="python")
    for n in ([0, 0, 0], [3, 0, 1]):
        torch.testing.assert_close(run(x, torch.tensor(n)), x.repeat_interleave(torch.tensor(n), 0))
    for n in ([1, -1, 3], [-2, 0, 0]):
        with pytest.raises((dync.DyncError, RuntimeError)):
            run(x, torch.tensor(n))


ROUNDED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": F.gelu, "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "mish": F.mish, "softplus": F.softplus,
    "elu": F.elu, "selu": F.selu, "hardswish": F.hardswish, "logsigmoid": F.logsigmoid, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    "erf": torch.erf, "exp": torch.exp, "expm1": torch.expm1, "log": lambda x: x.abs().log(), "log1p": lambda x: x.abs().log1p(),
    "sqrt": lambda x: x.abs().sqrt(), "rsqrt": lambda x: (x.abs() + 0.1).rsqrt(), "sin": torch.sin, "cos": torch.cos, "atan": torch.atan,
    "sin of large": lambda x: (x * 2**20).sin(), "cos of large": lambda x: (x * 2**26).cos(),
    "cube": lambda x: x**3, "softmax": lambda x: x.softmax(-1), "log_softmax": lambda x: x.log_softmax(-1),
    "logsumexp": lambda x: x.logsumexp(-1), "layer_norm": lambda x: F.layer_norm(x, (33,)), "norm": lambda x: x.norm(dim=-1),
    "mean": lambda x: x.mean(-1), "var": lambda x: x.var(-1),
}  # fmt: skip
"""By name, functions of float32 [16, 33] that engines approximate."""


def test_functions_round_about_as_well_as_eager(backend: Backend):
    """Within some 30 steps of float32 of the true value: a deep model multiplies what one of its functions is off by."""
    x = torch.randn(16, 33, generator=torch.Generator().manual_seed(0)) * 3
    found = made(lambda x: tuple(f(x) for f in ROUNDED.values()), {"x": "float32[16, 33]"}, composite=True)
    assert not backend.supports(found, Target())
    results = open_code(found, backend.compile(found, Target()), threads=1)([x.clone()])
    off = {}
    for (name, function), result in zip(ROUNDED.items(), results, strict=True):
        true = function(x.double())
        off[name] = float(((result.double() - true).abs() / true.abs().clamp(min=1)).max())
    assert {n: v for n, v in off.items() if not v < 4e-6} == {}


def test_awkward_numbers_are_awkward():
    assert backend_cases.AWKWARD.isnan().any() and backend_cases.AWKWARD.isinf().any()


def test_equal_kernels_give_equal_code(backend: Backend):
    if backend.name in FEW:
        pytest.skip(f"{backend.name} compiles too slowly, and its packages hold names of temporary files")
    names = ("mlp", "encoder-layer", "conv-bn-relu")
    for name in names:
        again = CASES[name].kernel()
        first, second = (backend.compile(k, Target()) for k in (kernel(name, False), again))
        assert first.key == second.key and dict(first.members) == dict(second.members)


def test_code_reads_the_weights_of_another_kernel_of_its_structure(backend: Backend):
    def layer(*names: str) -> Kernel:
        scope: dict[str, Any] = {}
        a, seen = names
        exec(f"def layer(x, {a}, {seen}):\n    {seen}.add_(1)\n    return (x @ {a}.t()).relu() + {seen}.sum()", scope)
        return made(scope["layer"], {"x": "float32[2, 4]"}, {a: torch.randn(3, 4), seen: torch.randn(3)}, mutates=(seen,))

    first, second = layer("a", "b"), layer("c", "d")
    assert structure_key(first) == structure_key(second)
    code = with_weights(backend.compile(first, Target()), renamed_weights(first, second))
    assert set(code.weights) == {"c", "d"} and check(second, code, run=open_code(second, code, threads=1)) < 1e-4


def test_weights_stay_outside(backend: Backend):
    big = CASES["mlp"]
    weights = {"a": torch.randn(40000, 4), "b": torch.randn(40000), "c": torch.randn(40000, 3)}
    if backend.name in FEW:
        pytest.skip("test_inductor.py shows it")
    code = backend.compile(type(big)("big", big.function, big.inputs, weights, dims=big.dims).kernel(), Target())
    assert sum(map(len, code.members.values())) < 100_000 and set(code.weights) == set(weights)
