"""What every backend is asked: small functions over all families of operators, with the inputs that go wrong most easily."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from support.kernels import Case
from torch import nn

CASES: dict[str, Case] = {}
NAN, INF = math.nan, math.inf


def w(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def case(name: str, function: Callable[..., Any], inputs: Mapping[str, str] | str = "float32[2, 3, 4]",
    weights: Mapping[str, torch.Tensor] | None = None,
         examples: Any = (), **dims: tuple[int, int | None]) -> None:
    assert name not in CASES, name
    if isinstance(inputs, str):
        inputs = {next(iter(names(function)), "x"): inputs}
    CASES[name] = Case(name, named(function, (*inputs, *(weights or {}))), inputs, weights or {}, tuple(examples), dims)


def names(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except ValueError:
        return []


def named(function: Callable[..., Any], arguments: tuple[str, ...]) -> Callable[..., Any]:
    """`function`, a builtin maybe, behind a signature of exactly these arguments."""
    if isinstance(function, types.FunctionType) and names(function) == list(arguments):
        return function
    scope: dict[str, Any] = {"function": function}
    exec(compile(f"def call({', '.join(arguments)}):\n    return function({', '.join(arguments)})\n", __file__, "exec"), scope)
    return scope["call"]


AWKWARD = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 1e-8, -1e-8, 50.0, -50.0, INF, -INF, NAN])
INTS = torch.tensor([-7, -6, -5, -3, -1, 0, 1, 2, 3, 5, 6, 7])

# -- pointwise -----------------------------------------------------------------------------------------------------------

for _name in ("abs", "neg", "exp", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "erf", "floor", "ceil", "round", "trunc", "sign",
    "reciprocal", "relu",
              "isnan", "isinf", "isfinite", "logical_not", "square", "nan_to_num", "atan", "frac", "signbit", "exp2"):
    case(_name, getattr(torch, _name), "float32[17]", examples=[(AWKWARD,)])
for _name in ("log", "log2", "log10", "log1p", "expm1", "asin", "acos", "sinh", "cosh", "tan", "asinh", "atanh", "erfc"):
    case(_name, getattr(torch, _name), "float32[9]", examples=[(torch.tensor([0.1, 0.5, 0.9, 0.3, -0.3, 0.7, 0.2, 0.4, 0.6]),)])
for _name in ("gelu", "silu", "elu", "celu", "selu", "softplus", "mish", "logsigmoid", "hardtanh", "hardsigmoid", "hardswish", "leaky_relu",
    "relu6",
              "hardshrink", "softshrink", "softsign", "tanhshrink"):
    case(_name, getattr(F, _name), "float32[16]", examples=[(AWKWARD[:16].clone().nan_to_num(0, 30, -30),)])
case("gelu-tanh", lambda x: F.gelu(x, approximate="tanh"))
case("softplus-beta", lambda x: F.softplus(x, beta=2.0, threshold=1.0))
case("leaky-slope", lambda x: F.leaky_relu(x, 0.2))
case("elu-alpha", lambda x: F.elu(x, 0.3))
case("prelu", lambda x, a: F.prelu(x, a), "float32[2, 3, 4]", {"a": torch.tensor([0.1, 0.2, 0.3])})
case("glu", lambda x: F.glu(x, 1), "float32[2, 4, 3]")
case("threshold", lambda x: F.threshold(x, 0.1, 20.0))
case("add-alpha", lambda x, y: torch.add(x, y, alpha=2.5), {"x": "float32[3, 4]", "y": "float32[4]"})
case("sub-alpha-int", lambda x, y: torch.sub(x, y, alpha=3), {"x": "int64[3, 4]", "y": "int64[4]"})
case("rsub", lambda x: 2.5 - x)
case("int-plus-float", lambda x: x + 0.5, "int64[5]")
case("int8-wraps", lambda x: x + x, "int8[3]", examples=[(torch.tensor([100, -100, 127], dtype=torch.int8),)])
case("uint8-wraps", lambda x: (x + x, x - 200, x * 3), "uint8[3]", examples=[(torch.tensor([100, 200, 255], dtype=torch.uint8),)])
case("int32-int64", lambda x, y: x * y, {"x": "int32[3]", "y": "int64[3]"})
case("int-div", lambda x: x / 2, "int64[5]")
case("int-tensor-div", lambda x, y: x / y, {"x": "int64[3]", "y": "int64[3]"},
    examples=[(torch.tensor([1, -7, 9]), torch.tensor([3, 2, 0]))])
case("double-promotes", lambda x, y: x + y, {"x": "float32[3]", "y": "float64[3]"})
case("zero-dim-does-not-promote", lambda x, y: x + y, {"x": "float32[3]", "y": "float64[]"})
case("int-with-float-scalar-tensor", lambda x, y: (x + y, x > y), {"x": "int64[3]", "y": "float32[]"},
    examples=[(torch.tensor([1, 2, 3]), torch.tensor(1.5))])
case("bool-plus", lambda x, y: (x + y, x * y, x + 1, x * 2.0), {"x": "bool[4]", "y": "bool[4]"})
case("floor-div", lambda x: (x // 3, x // -3, torch.div(x, 4, rounding_mode="trunc"), x % 3, x % -3, torch.fmod(x, 3)), "int64[12]",
    examples=[(INTS,)])
case("float-floor-div", lambda x, y: (x // y, x % y, torch.fmod(x, y), torch.div(x, y, rounding_mode="trunc")),
    {"x": "float32[7]", "y": "float32[7]"},
     examples=[(torch.tensor([7.0, -7.0, 7.0, -7.0, 1.0, 0.3, -0.3]), torch.tensor([3.0, 3.0, -3.0, -3.0, 0.1, 0.1, 0.1]))])
case("float-floor-div-zero", lambda x, y: x // y, {"x": "float32[3]", "y": "float32[3]"},
    examples=[(torch.tensor([1.0, -1.0, 0.0]), torch.zeros(3))])
case("int-div-by-tensor", lambda x, y: x // y, {"x": "int64[3]", "y": "int64[3]"},
    examples=[(torch.tensor([5, -5, 7]), torch.tensor([2, 2, -2]))])
case("pow", lambda x: (x**2, x**3, x.abs() ** 0.5, x**-1, x**4.0, 2**x), "float32[5]")
case("pow-tensor", lambda x, y: torch.pow(x.abs(), y), {"x": "float32[5]", "y": "float32[5]"})
case("int-pow", lambda x: (x**2, x**5), "int64[12]", examples=[(INTS,)])
case("clamp", lambda x: (x.clamp(-1, 1), x.clamp(min=0.5), x.clamp(max=0.0)), "float32[17]", examples=[(AWKWARD,)])
case("clamp-int", lambda x: (x.clamp(-2, 4), x.clamp(min=1)), "int64[12]", examples=[(INTS,)])
case("clamp-tensor", lambda x, lo: torch.clamp(x, lo, lo + 1), {"x": "float32[2, 3]", "lo": "float32[3]"})
case("maximum", lambda x, y: (torch.maximum(x, y), torch.minimum(x, y)), {"x": "float32[3]", "y": "float32[3]"},
     examples=[(torch.tensor([NAN, 1.0, INF]), torch.tensor([1.0, NAN, -INF]))])
case("maximum-int", lambda x, y: (torch.maximum(x, y), torch.minimum(x, y)), {"x": "int16[3]", "y": "int16[3]"})
case("lerp", lambda x, y: torch.lerp(x, y, 0.3), {"x": "float32[3]", "y": "float32[3]"})
case("addcmul", lambda x, y: (torch.addcmul(x, y, y, value=0.5), torch.addcdiv(x, y, y.abs() + 1, value=2)),
    {"x": "float32[3]", "y": "float32[3]"})
case("atan2", torch.atan2, {"input": "float32[6]", "other": "float32[6]"},
     examples=[(torch.tensor([1.0, -1.0, 1.0, -1.0, 0.0, 0.5]), torch.tensor([1.0, 1.0, -1.0, -1.0, -1.0, 0.0]))])
case("compare", lambda x, y: (x < y, x <= y, x > y, x >= y, x == y, x != y), {"x": "float32[4]", "y": "float32[4]"},
     examples=[(torch.tensor([1.0, NAN, INF, 2.0]), torch.tensor([1.0, NAN, INF, 3.0]))])
case("compare-int-float", lambda x: (x > 1.5, x == 2, x < 2.5), "int64[4]", examples=[(torch.tensor([1, 2, 3, 4]),)])
case("compare-bool", lambda x, y: (x == y, x != y, x < y), {"x": "bool[4]", "y": "bool[4]"})
case("compare-float32-rounds", lambda x: (x == 0.1, x > 0.1, x >= 0.1), "float32[2]", examples=[(torch.tensor([0.1, 0.2]),)])
case("logic", lambda x, y: (x & y, x | y, x ^ y, ~x), {"x": "bool[4]", "y": "bool[4]"})
case("bits", lambda x, y: (x & y, x | y, x ^ y, ~x, x << 2, x >> 1), {"x": "int64[12]", "y": "int64[12]"}, examples=[(INTS, INTS.flip(0))])
case("logical-of-floats", lambda x, y: (torch.logical_and(x, y), torch.logical_xor(x, y)), {"x": "float32[4]", "y": "float32[4]"},
     examples=[(torch.tensor([0.0, 1.0, NAN, 0.0]), torch.tensor([0.0, 0.0, 1.0, 2.0]))])
case("where", lambda x, y: (torch.where(x > 0, x, y), torch.where(x > 0, x, 0.5), torch.where(x > 0, 1, 0)),
    {"x": "float32[3, 4]", "y": "float32[4]"})
case("masked-fill", lambda x: x.masked_fill(x > 0, -INF))
case("to", lambda x: (x.to(torch.int64), x.bool(), x.double(), x.half(), x.to(torch.uint8)), "float32[4]",
    examples=[(torch.tensor([0.0, 1.9, 2.5, 200.7]),)])
case("int-to", lambda x: (x.to(torch.int8), x.bool(), x.float()), "int64[3]", examples=[(torch.tensor([300, -1, 0]),)])
case("dropout-eval", lambda x: F.dropout(x, 0.5, training=False))
case("round-decimals", lambda x: torch.round(x, decimals=2))
case("norm-nan", lambda x: (x.norm(p=INF), x.norm(p=-INF)), "float32[17]", examples=[(AWKWARD,)])
case("bucketize-nan", lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0])), "float32[17]", examples=[(AWKWARD,)])
case("bucketize-nan-right", lambda x: torch.bucketize(x, torch.tensor([0.0, 1.5]), right=True), "float32[17]", examples=[(AWKWARD,)])
BYTES = torch.tensor([0, 1, 3, 7, 127, 128, 200, 250, 255], dtype=torch.uint8)
case("bytes", lambda x: (x // 2, x % 7, x.abs(), x >> 1, x < 200, x.float(), x / 3, x.max(), x.sum(), x.sign()), "uint8[9]",
     examples=[(BYTES,)])
case("finite-nan", lambda x: (torch.isfinite(x), x == x), "float32[17]", examples=[(AWKWARD,)])
case("truth-nan", lambda x: (x != x, x.bool(), ~(x > 1), x.flip(0) != x, x.count_nonzero()), "float32[17]", examples=[(AWKWARD,)])
case("elu-nan", lambda x: (F.elu(x), F.selu(x)), "float32[17]", examples=[(AWKWARD,)])
case("relu-nan", lambda x: (x * 2).relu(), "float32[17]", examples=[(AWKWARD,)])

# -- scalars -------------------------------------------------------------------------------------------------------------

case("item", lambda x: x.sum().item())
case("item-int", lambda x: (x.sum().item(), x.max().item()), "int64[3]")
case("item-bool", lambda x: (x.sum() > 0).item())
case("item-used", lambda x: x * x.max().item())
case("scalar-input", lambda x, s: x * s + s, {"x": "float32[3]", "s": "float"}, examples=[(torch.ones(3), 0.1)])
case("scalar-int-input", lambda x, n: (x + n, n), {"x": "int64[3]", "n": "int"})
case("scalar-double", lambda x, s: x.double() * s, {"x": "float32[3]", "s": "float"}, examples=[(torch.ones(3), 0.1)])
case("sizes", lambda x: (x.reshape(-1, x.shape[0]), x.shape[0] * 2), "float32[N, 4]", N=(1, 64))
case("size-compared", lambda x: x.sum(0) / x.shape[0], "float32[N, 4]", N=(1, 64))
case("size-floordiv", lambda x: x[: x.shape[0] // 2], "float32[N, 4]", N=(2, 64))

# -- reductions ----------------------------------------------------------------------------------------------------------

case("sum", lambda x: (x.sum(), x.sum(1), x.sum((0, 2), keepdim=True), x.sum(-1, dtype=torch.float64)))
case("sum-int", lambda x: (x.sum(), x.sum(0)), "int32[3, 4]")
case("sum-bool", lambda x: (x.sum(), x.sum(0)), "bool[3, 4]")
case("mean", lambda x: (x.mean(), x.mean(1), x.mean((1, 2), keepdim=True)))
case("mean-of-nothing", lambda x: (x.mean(), x.mean(0), x.sum(0), x.sum()), "float32[0, 3]")
case("mean-dynamic", lambda x: x.mean(0), "float32[N, 3]", N=(0, 64))
case("prod", lambda x: (x.prod(), x.prod(1)))
case("amax", lambda x: (x.amax(1), x.amin((0, 1), keepdim=True), x.max(), x.min()))
case("max-nan", lambda x: (x.max(), x.amax(0), x.min(), x.amin(0), x.max(0), x.argmax(), x.argmin(0)), "float32[4, 5]",
     examples=[(torch.tensor([[1, NAN, 3, 2, 1], [2, 1, 3, 2, 1], [5, NAN, 3, 9, 1], [0, 1, 2, 3, NAN.real]]),)])
case("max-dim", lambda x: (x.max(1), x.min(2, keepdim=True)))
case("max-int", lambda x: (x.max(), x.max(0), x.amin(0)), "int64[3, 4]")
case("argmax", lambda x: (x.argmax(), x.argmax(1), x.argmin(-1, keepdim=True)))
case("argmax-ties", lambda x: (x.argmax(1), x.argmin(1), x.max(1)[1], x.argmax()), "float32[2, 5]",
     examples=[(torch.tensor([[1.0, 3, 3, 0, 0], [2.0, 2, 2, 2, 2]]),)])
case("any-all", lambda x: ((x > 0).any(), (x > 0).all(), (x > 0).any(1), (x > 0).all(2, keepdim=True)))
case("any-of-nothing", lambda x: (x.any(), x.all(), x.any(0), x.all(0)), "bool[0, 3]")
case("var", lambda x: (x.var(), x.std(1), x.var((0, 1), correction=0), x.std(2, keepdim=True)))
case("var-mean", lambda x: torch.var_mean(x, 1))
case("norm", lambda x: (x.norm(), x.norm(dim=1), torch.linalg.vector_norm(x, 1, 2), x.norm(INF), torch.linalg.vector_norm(x, 3.0, 1)))
case("logsumexp", lambda x: (x.logsumexp(1), torch.logsumexp(x, (0, 2), keepdim=True)))
case("logsumexp-inf", lambda x: x.logsumexp(0), "float32[2, 3]", examples=[(torch.tensor([[-INF, INF, 1.0], [-INF, 2.0, 1000.0]]),)])
case("softmax", lambda x: (x.softmax(-1), x.softmax(1), x.log_softmax(0)))
case("softmax-inf", lambda x: x.softmax(-1), "float32[3, 3]",
    examples=[(torch.tensor([[-INF, 0.0, 1.0], [-INF, -INF, -INF], [1e4, 0, -1e4]]),)])
case("softmax-nan", lambda x: (x.softmax(1).max(), x.softmax(1).max(1), x.softmax(0).amax(1), x.log_softmax(1).argmax()), "float32[2, 3]",
     examples=[(torch.tensor([[0.0, 1.0, 2.0], [1.0, NAN, 3.0]]),), (torch.tensor([[NAN, 1.0, 2.0], [1.0, 2.0, 3.0]]),)])
case("softmax-double", lambda x: x.softmax(-1, dtype=torch.float64))
case("entropy", lambda x: -(x.softmax(-1) * x.log_softmax(-1)).sum(-1).mean())
case("cumsum", lambda x: (x.cumsum(1), x.cumsum(-1)))
case("cumsum-int", lambda x: (x.cumsum(0), (x > 0).cumsum(0)), "int32[5]")
case("count-nonzero", lambda x: torch.count_nonzero(x > 0, 1))
case("topk", lambda x: (x.topk(2), x.topk(3, 1, largest=False)), "float32[4, 6]")
case("topk-ties", lambda x: x.topk(3)[0], "float32[2, 5]", examples=[(torch.tensor([[1.0, 3, 3, 0, 3], [2.0, 2, 2, 2, 2]]),)])
case("sort", lambda x: (x.sort(), x.sort(0, descending=True), x.argsort(1)), "float32[4, 6]")
case("sort-stable", lambda x: (x.sort(stable=True), torch.sort(x, stable=True, descending=True)), "int64[6]",
    examples=[(torch.tensor([1, 0, 1, 0, 2, 1]),)])
case("kthvalue", lambda x: x.kthvalue(2, 1), "float32[3, 5]")
case("median", lambda x: x.median(1), "float32[3, 5]")

# -- shapes --------------------------------------------------------------------------------------------------------------

case("views", lambda x: (x.view(6, 4), x.reshape(-1), x.flatten(1), x.unsqueeze(0), x[:, None].squeeze(1), x.permute(2, 0, 1),
    x.transpose(0, 2)))
case("view-dynamic", lambda x: (x.view(x.shape[0], -1), x.flatten(), x.reshape(x.shape[0], 2, -1)), "float32[N, 3, 4]", N=(1, 64))
case("view-two-dynamic", lambda x: x.view(x.shape[0], x.shape[1], 2, 4).transpose(1, 2), "float32[N, S, 8]", N=(1, 64), S=(1, 64))
case("expand", lambda x: (x.expand(5, 3, 4), x.expand(-1, 3, 6, 4) if False else x.expand(2, -1, -1)), "float32[1, 3, 4]")
case("expand-dynamic", lambda x, y: x.expand(y.shape[0], -1) + y, {"x": "float32[1, 4]", "y": "float32[N, 4]"}, N=(1, 64))
case("slices", lambda x: (x[:, 1:], x[..., ::2], x[-1], x[:, -2:-1], x[1:1], x[:100]))
case("select", lambda x: (x[0], x[:, -1], x.select(2, 1)))
case("cat", lambda x, y: (torch.cat([x, y]), torch.cat([x, y, x], 0), torch.stack([x, x], 1)), {"x": "float32[N, 3]", "y": "float32[M, 3]"},
    N=(0, 64), M=(0, 64))
case("cat-promotes", lambda x, y: torch.cat([x, y]), {"x": "float32[2]", "y": "int64[3]"})
case("cat-empty-weight", lambda x, none: torch.cat([none, x.transpose(0, 1)], -2), "float32[2, 3]", {"none": torch.zeros(0)})
case("cat-empty", lambda x, y: torch.cat([x, y]), {"x": "float32[0]", "y": "float32[2, 3]"})
case("split", lambda x: (x.split(2, 1), x.chunk(2, 2), x.unbind(0), x.split([1, 2], 1)), "float32[2, 3, 4]")
case("flip", lambda x: (x.flip(0), x.flip(1, 2)))
case("roll", lambda x: (x.roll(1, 0), x.roll((1, -2), (1, 2)), x.roll(5)))
case("repeat", lambda x: (x.repeat(2, 1, 1), x.repeat(2, 1, 1, 3), x.repeat_interleave(2, 1)))
case("repeat-by-tensor", lambda x, n: torch.repeat_interleave(x, n, dim=0), {"x": "float32[4, 2]", "n": "int64[4]"},
    examples=[(w(4, 2), torch.tensor([2, 0, 1, 3]))])
case("tril", lambda x: (x.tril(), x.triu(1), x.tril(-1)), "float32[4, 5]")
case("diagonal", lambda x: (x.diagonal(), x.diagonal(1), x.diagonal(-1)), "float32[4, 5]")
case("unfold", lambda x: x.unfold(2, 2, 1))
case("pad", lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, 0, 2, 1), value=3.0), F.pad(x, (-1, 1))))
case("pad-modes", lambda x: (F.pad(x, (1, 2), mode="reflect"), F.pad(x, (2, 1), mode="replicate")))
case("pixel-shuffle", lambda x: F.pixel_shuffle(x, 2), "float32[1, 8, 3, 2]")
case("make", lambda x: (torch.zeros(2, 3), torch.full((2,), 7), torch.ones_like(x), torch.arange(5), torch.arange(1, 9, 3), torch.eye(3),
    torch.linspace(0, 1, 5),
                        torch.arange(0, 1, 0.25), x.new_zeros(3), torch.full_like(x, 2.5)))
case("make-dynamic", lambda x: (torch.arange(x.shape[0]), torch.zeros(x.shape[0], 2), torch.ones(x.shape[0], dtype=torch.bool)),
    "float32[N, 4]", N=(0, 64))
case("causal-mask", lambda x: (x @ x.t()).masked_fill((x @ x.t()).new_ones(()).expand(x.shape[0], x.shape[0]).triu(1) > 0, -INF),
    "float32[N, 4]", N=(1, 64))
case("zero-size", lambda x: (x + 1, x.sum(0), x.reshape(0, 6), x.transpose(0, 1), torch.cat([x, x]),
    x @ x.new_ones(3, 2) if False else x.exp()), "float32[0, 2, 3]")
case("zero-size-matmul", lambda x: x @ x.new_ones(3, 2), "float32[N, 3]", N=(0, 9))
case("zero-size-last", lambda x: (x.unsqueeze(-1), x + 1, x.sum(0), x.t()), "float32[3, N]", N=(0, 9))
case("zero-dim", lambda x: (x + 1, x.sum(), x.exp(), x.reshape(1), x.softmax(0), x.unsqueeze(0)), "float32[]")
case("input-returned", lambda x: x)
case("input-twice", lambda x: (x, x, x + 0))
case("nothing-but-constants", lambda x: torch.zeros(3))
case("weight-returned", lambda x, a: (a, x + a), "float32[3]", {"a": w(3)})
case("slice-scatter", lambda x: (torch.slice_scatter(x, torch.ones(2, 2, 4), 1, 1), torch.select_scatter(x, torch.zeros(3, 4), 0, 1)),
    "float32[2, 3, 4]")

# -- linear algebra ------------------------------------------------------------------------------------------------------

case("matmul", lambda x, a: (x @ a, torch.matmul(x[0], a), x[0, 0] @ a), "float32[2, 3, 4]", {"a": w(4, 5)})
case("matmul-batch", lambda x, y: x @ y, {"x": "float32[2, 1, 3, 4]", "y": "float32[5, 4, 2]"})
case("matmul-transposed-vector", lambda x, y, v: (x.t() @ v, v @ x, v @ x.t().contiguous().t(), torch.addmv(v[:3], x[:, :3].t(), v),
    y.mT @ v, v @ y), {"x": "float32[4, 5]", "y": "float32[2, 4, 3]", "v": "float32[4]"})
case("matmul-int", lambda x, y: x @ y, {"x": "int64[2, 3]", "y": "int64[3, 2]"})
case("dot", lambda x, y: torch.dot(x, y), {"x": "float32[5]", "y": "float32[5]"})
case("bmm", lambda x, y: (torch.bmm(x, y), torch.baddbmm(x @ y, x, y, beta=0.5, alpha=2)),
    {"x": "float32[2, 3, 4]", "y": "float32[2, 4, 5]"})
case("addmm", lambda x, a, b: (torch.addmm(b, x, a), torch.addmm(b, x, a, beta=0.5, alpha=2.0), x.t() @ x), "float32[3, 4]",
    {"a": w(4, 5), "b": w(5, seed=1)})
case("linear", lambda x, a, b: F.linear(x, a, b), "float32[N, 4]", {"a": w(5, 4), "b": w(5, seed=1)}, N=(0, 64))
case("linear-3d", lambda x, a, b: F.linear(x, a, b), "float32[N, S, 4]", {"a": w(5, 4), "b": w(5, seed=1)}, N=(1, 64), S=(1, 64))
case("linear-no-bias", lambda x, a: F.linear(x, a), "float32[2, 3, 4]", {"a": w(5, 4)})
case("linear-1d", lambda x, a, b: F.linear(x, a, b), "float32[4]", {"a": w(5, 4), "b": w(5, seed=1)})
case("shared-weight", lambda x, a: F.linear(F.linear(x, a), a.t()), "float32[2, 4]", {"a": w(5, 4)})
case("mlp", lambda x, a, b, c: F.relu(F.linear(x, a, b)) @ c, "float32[N, 4]", {"a": w(8, 4), "b": w(8), "c": w(8, 3)}, N=(1, 64))
case("einsum", lambda x, y: (torch.einsum("bij,bjk->bik", x, y), torch.einsum("bij,bjk->ik", x, y), torch.einsum("bij->bj", x)),
     {"x": "float32[2, 3, 4]", "y": "float32[2, 4, 5]"})
case("outer", lambda x: torch.outer(x, x), "float32[4]")
case("cdist", lambda x, y: torch.cdist(x, y), {"x": "float32[3, 4]", "y": "float32[5, 4]"})
case("bilinear", lambda x, y, a: F.bilinear(x, y, a), {"x": "float32[2, 3]", "y": "float32[2, 4]"}, {"a": w(5, 3, 4)})
case("cosine", lambda x, y: F.cosine_similarity(x, y, dim=-1), {"x": "float32[3, 4]", "y": "float32[3, 4]"})
case("normalize", lambda x: F.normalize(x, dim=-1))

# -- attention -----------------------------------------------------------------------------------------------------------

QKV = {"q": "float32[2, 4, 6, 8]", "k": "float32[2, 4, 7, 8]", "v": "float32[2, 4, 7, 8]"}
DEAD = torch.tensor([[True] * 7] * 5 + [[False] * 7])
case("sdpa", lambda q, k, v: F.scaled_dot_product_attention(q, k, v), QKV)
case("sdpa-scale", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.3), QKV)
case("sdpa-causal", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), QKV)
case("sdpa-mask", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m), QKV | {"m": "bool[6, 7]"},
     examples=[(w(2, 4, 6, 8), w(2, 4, 7, 8, seed=1), w(2, 4, 7, 8, seed=2), DEAD)])
case("sdpa-float-mask", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m), QKV | {"m": "float32[1, 1, 6, 7]"})
case("sdpa-dynamic", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
     {"q": "float32[N, 4, S, 8]", "k": "float32[N, 4, S, 8]", "v": "float32[N, 4, S, 8]"}, N=(1, 8), S=(1, 16))
case("attention-by-hand", lambda q, k, v: (q @ k.transpose(-2, -1) / math.sqrt(8)).softmax(-1) @ v, QKV)


def encoder_layer(x, wi, bi, wo, bo, g1, b1, w1, c1, w2, c2, g2, b2):
    n, s, d = x.shape
    q, k, v = (t.view(n, s, 2, d // 2).transpose(1, 2) for t in F.linear(x, wi, bi).chunk(3, -1))
    a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, s, d)
    x = F.layer_norm(x + F.linear(a, wo, bo), (d,), g1, b1)
    return F.layer_norm(x + F.linear(F.gelu(F.linear(x, w1, c1)), w2, c2), (d,), g2, b2)


ENCODER = {"wi": w(48, 16), "bi": w(48), "wo": w(16, 16, seed=1), "bo": w(16), "g1": w(16), "b1": w(16), "w1": w(32, 16, seed=2),
    "c1": w(32),
           "w2": w(16, 32, seed=3), "c2": w(16), "g2": w(16), "b2": w(16)}
case("encoder-layer", encoder_layer, "float32[N, S, 16]", ENCODER, N=(1, 8), S=(1, 16))
case("encoder-layer-static", encoder_layer, "float32[2, 5, 16]", ENCODER)

# -- convolution and pooling ---------------------------------------------------------------------------------------------

IMAGE = "float32[N, 4, 9, 8]"
case("conv2d", lambda x, a, b: F.conv2d(x, a, b, stride=2, padding=1), IMAGE, {"a": w(6, 4, 3, 3), "b": w(6)}, N=(0, 8))
case("conv2d-dilated", lambda x, a: F.conv2d(x, a, padding=2, dilation=2), IMAGE, {"a": w(6, 4, 3, 3)}, N=(1, 8))
case("conv2d-grouped", lambda x, a, b: F.conv2d(x, a, b, groups=2, padding=(1, 0)), IMAGE, {"a": w(6, 2, 3, 3), "b": w(6)}, N=(1, 8))
case("conv2d-depthwise", lambda x, a: F.conv2d(x, a, groups=4, padding=1), IMAGE, {"a": w(4, 1, 3, 3)}, N=(1, 8))
case("conv2d-same", lambda x, a: F.conv2d(x, a, padding="same"), IMAGE, {"a": w(6, 4, 4, 3)}, N=(1, 8))
case("conv2d-unbatched", lambda x, a: F.conv2d(x, a), "float32[4, 9, 8]", {"a": w(6, 4, 3, 3)})
case("conv1d", lambda x, a, b: F.conv1d(x, a, b, stride=2, padding=2, dilation=2), "float32[2, 4, 15]", {"a": w(6, 4, 3), "b": w(6)})
case("conv3d", lambda x, a: F.conv3d(x, a, padding=1), "float32[1, 2, 5, 6, 4]", {"a": w(3, 2, 3, 3, 3)})
case("conv-transpose2d", lambda x, a, b: F.conv_transpose2d(x, a, b, stride=2, padding=1, output_padding=1), IMAGE,
    {"a": w(4, 6, 3, 3), "b": w(6)}, N=(1, 8))
case("conv-transpose2d-grouped", lambda x, a: F.conv_transpose2d(x, a, groups=2, dilation=2), IMAGE, {"a": w(4, 3, 3, 3)}, N=(1, 8))
case("conv-transpose1d", lambda x, a: F.conv_transpose1d(x, a, stride=3), "float32[2, 4, 5]", {"a": w(4, 3, 4)})
case("conv-by-input", lambda x, k: F.conv2d(x, k), {"x": "float32[1, 3, 6, 6]", "k": "float32[2, 3, 3, 3]"})
BN = {"a": w(6, 4, 3, 3), "g": w(6), "b": w(6), "m": w(6), "v": w(6).abs() + 0.5}
case("conv-bn-relu", lambda x, a, g, b, m, v: F.relu(F.batch_norm(F.conv2d(x, a, padding=1), m, v, g, b)), IMAGE, BN, N=(1, 8))
case("max-pool", lambda x: (F.max_pool2d(x, 2), F.max_pool2d(x, 3, 2, 1), F.max_pool2d(x, (2, 3), dilation=2)), IMAGE, N=(1, 8))
case("max-pool-indices", lambda x: F.max_pool2d(x, 2, return_indices=True), "float32[2, 3, 6, 6]")
case("max-pool-ceil", lambda x: F.max_pool2d(x, 2, ceil_mode=True), IMAGE, N=(1, 8))
case("max-pool-ceil-drops", lambda x: F.max_pool2d(x, 2, 3, 1, ceil_mode=True), "float32[1, 1, 8, 8]")
case("avg-pool", lambda x: (F.avg_pool2d(x, 2), F.avg_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)), IMAGE,
    N=(1, 8))
case("avg-pool-ceil", lambda x: F.avg_pool2d(x, 2, ceil_mode=True), IMAGE, N=(1, 8))
case("avg-pool-divisor", lambda x: F.avg_pool2d(x, 2, divisor_override=3), IMAGE, N=(1, 8))
case("pool1d", lambda x: (F.max_pool1d(x, 2), F.avg_pool1d(x, 3, 1, 1)), "float32[2, 3, 9]")
case("adaptive-avg", lambda x: (F.adaptive_avg_pool2d(x, 1), F.adaptive_avg_pool2d(x, (3, 4)), F.adaptive_avg_pool2d(x, (4, 3))), IMAGE,
    N=(1, 8))
case("adaptive-max", lambda x: F.adaptive_max_pool2d(x, (3, 4)), IMAGE, N=(1, 8))
case("interpolate-nearest", lambda x: (F.interpolate(x, scale_factor=2), F.interpolate(x, size=(5, 11)),
    F.interpolate(x, scale_factor=1.7)), "float32[1, 2, 9, 8]")
case("interpolate-nearest-exact", lambda x: F.interpolate(x, size=(5, 11), mode="nearest-exact"), "float32[1, 2, 9, 8]")
case("interpolate-bilinear", lambda x: (F.interpolate(x, scale_factor=2, mode="bilinear"),
    F.interpolate(x, size=(5, 11), mode="bilinear", align_corners=True),
                                        F.interpolate(x, scale_factor=1.7, mode="bilinear"),
                                        F.interpolate(x, size=(1, 3), mode="bilinear")), "float32[1, 2, 9, 8]")
case("interpolate-dynamic", lambda x: (F.interpolate(x, size=(5, 11), mode="bilinear", align_corners=True),
                                       F.interpolate(x, size=(x.shape[2] * 2, 3), mode="bilinear")), {"x": "float32[1, 2, n, 8]"},
     n=(1, 16))
case("interpolate-bicubic", lambda x: F.interpolate(x, size=(12, 5), mode="bicubic"), "float32[1, 2, 9, 8]")
case("interpolate-linear1d", lambda x: F.interpolate(x, scale_factor=2.5, mode="linear"), "float32[1, 2, 9]")
case("grid-sample", lambda x, g: F.grid_sample(x, g, align_corners=False), {"x": "float32[1, 2, 5, 7]", "g": "float32[1, 3, 4, 2]"})

# -- normalisation -------------------------------------------------------------------------------------------------------

case("batch-norm", lambda x, g, b, m, v: F.batch_norm(x, m, v, g, b), "float32[N, 6]", {k: BN[k] for k in "gbmv"}, N=(1, 8))
case("batch-norm-plain", lambda x, m, v: F.batch_norm(x, m, v), "float32[2, 6, 3]", {k: BN[k] for k in "mv"})
case("layer-norm", lambda x, g, b: F.layer_norm(x, (4,), g, b), "float32[N, 3, 4]", {"g": w(4), "b": w(4)}, N=(0, 8))
case("layer-norm-plain", lambda x: F.layer_norm(x, (3, 4), eps=1e-3))
case("rms-norm", lambda x, g: F.rms_norm(x, (4,), g), "float32[2, 3, 4]", {"g": w(4)})
case("group-norm", lambda x, g, b: F.group_norm(x, 2, g, b), "float32[N, 4, 5, 3]", {"g": w(4), "b": w(4)}, N=(1, 8))
case("instance-norm", lambda x: F.instance_norm(x), "float32[2, 3, 5, 4]")
case("batch-norm-training", lambda x: F.batch_norm(x, None, None, training=True), "float32[5, 6]")

# -- indexing ------------------------------------------------------------------------------------------------------------

case("index", lambda x, i: (x[i], x[:, i]), {"x": "float32[4, 5, 3]", "i": "int64[2]"}, examples=[(w(4, 5, 3), torch.tensor([-1, 2]))])
case("index-2d", lambda x, i: x[i], {"x": "float32[4, 3]", "i": "int64[2, 3]"})
case("index-pair", lambda x, i, j: (x[i, j], x[:, i, j], x[i, :, j]), {"x": "float32[4, 5, 6]", "i": "int64[3]", "j": "int64[3]"})
case("index-broadcast", lambda x, i, j: x[i, j], {"x": "float32[4, 5, 6]", "i": "int64[3, 1]", "j": "int64[2]"})
case("mask", lambda x: x[x > 0], "float32[3, 4]")
case("mask-rows", lambda x: x[x[:, 0] > 0], "float32[N, 4]", N=(0, 16))
case("mask-write", lambda x: torch.where(x > 0, x, -1.0).index_put((x.sum(1) > 0,), x.new_full((), 7.0)), "float32[4, 3]")
case("mask-write-rows", lambda x, y: x.index_put((y,), torch.ones(3)), {"x": "float32[4, 3]", "y": "bool[4]"})
case("nonzero", lambda x: (x > 0).nonzero(), "float32[3, 4]")
case("nonzero-tuple", lambda x: torch.nonzero(x > 0, as_tuple=True), "float32[3, 4]")
case("nonzero-rows", lambda x: x[(x[:, 0] > 0).nonzero().squeeze(1)], "float32[N, 4]", N=(0, 16))
case("nonzero-count", lambda x: (x > 0).nonzero().shape[0], "float32[3, 4]")
case("masked-select", lambda x: torch.masked_select(x, x > 0), "float32[3, 4]")
case("masked-scatter", lambda x, y: x.masked_scatter(x > 0, y), {"x": "float32[3, 4]", "y": "float32[12]"})
case("grouped-mm", lambda x, w, i: F.grouped_mm(x, w, offs=F.one_hot(i, 3).sum(0).cumsum(0).to(torch.int32)),
     {"x": "float32[5, 4]", "w": "float32[3, 4, 8]", "i": "int64[5]"},
     examples=[(w(5, 4), w(3, 4, 8, seed=1), torch.tensor([0, 2, 2, 0, 2])), (w(5, 4), w(3, 4, 8, seed=1), torch.tensor([1, 1, 1, 1, 1]))])
case("as-strided", lambda x: (
    (x @ x.t()).as_strided((3, 2, 4), (4, 2, 1)),
    x.t().clone(memory_format=torch.contiguous_format).as_strided((4, 2), (2, 3), 1)),
     {"x": "float32[4, 5]"})
case("as-strided-part", lambda x: (x @ x.t()).split(2)[1].as_strided((2, 3), (4, 1)), {"x": "float32[4, 5]"})
case("as-strided-in-its-layout", lambda x: (x * 2).as_strided((3, 2, 4), (4, 2, 1)), {"x": "float32[4, 5]"})
case("histc", lambda x: (torch.histc(x, 4, 0, 3), torch.histc(x, 7, -1.5, 2.5)), {"x": "float32[3, 5]"},
     examples=[(torch.tensor([[0.0, 1, 2, 3, 3], [7, -1, math.nan, 2.9999, 0.5], [0.75, 1.5, 2.25, -1.5, 2.5]]),)])
case("index-put", lambda x, i, y: x.index_put((i,), y), {"x": "float32[6, 3]", "i": "int64[2]", "y": "float32[2, 3]"},
     examples=[(w(6, 3), torch.tensor([4, -1]), w(2, 3, seed=1))])
case("index-put-accumulate", lambda x, i, y: x.index_put((i,), y, accumulate=True),
    {"x": "float32[4, 3]", "i": "int64[5]", "y": "float32[5, 3]"},
     examples=[(w(4, 3), torch.tensor([1, 1, 0, 1, 3]), w(5, 3, seed=1))])
case("index-put-column", lambda x, i, y: torch.ops.aten.index_put(x, [None, i], y),
    {"x": "float32[3, 6]", "i": "int64[2]", "y": "float32[3, 2]"},
     examples=[(w(3, 6), torch.tensor([4, 1]), w(3, 2, seed=1))])
case("index-select", lambda x, i: (x.index_select(1, i), torch.index_select(x, 0, i)), {"x": "float32[4, 5]", "i": "int64[3]"})
case("index-add", lambda x, i, y: (x.index_add(0, i, y), x.index_add(0, i, y, alpha=2)),
    {"x": "float32[4, 3]", "i": "int64[5]", "y": "float32[5, 3]"},
     examples=[(w(4, 3), torch.tensor([1, 1, 0, 1, 3]), w(5, 3, seed=1))])
case("index-add-columns", lambda x, i, y: x.index_add(1, i, y), {"x": "float32[3, 4]", "i": "int64[5]", "y": "float32[3, 5]"})
case("conv-padding-dynamic", lambda x, y: F.conv2d(y, y.new_ones(2, 1, 3, 3), padding=x.shape[0]),
     {"x": "float32[N, 3]", "y": "float32[1, 1, 5, 5]"}, N=(1, 4))
case("index-broadcast-dynamic", lambda x, i, j: (x[i, j], x.index_put((i, j), x.new_full((), 2.0))),
     {"x": "float32[6, 6]", "i": "int64[n]", "j": "int64[1]"},
     examples=[(w(6, 6), torch.tensor([5, 0, 2]), torch.tensor([3])), (w(6, 6), torch.tensor([1]), torch.tensor([3]))], n=(0, 16))
case("index-beside-a-mask", lambda x, i, m: (x[i, m], x.index_put((i, m), x.new_full((), 2.0))),
     {"x": "float32[6, 6]", "i": "int64[1]", "m": "bool[6]"},
     examples=[(w(6, 6), torch.tensor([4]), torch.tensor([True, False, True, True, False, False]))])
case("index-add-dynamic", lambda x, i, y: x.index_add(0, i, y), {"x": "float32[4, 3]", "i": "int64[n]", "y": "float32[n, 3]"}, n=(0, 16))
case("index-copy", lambda x, i, y: x.index_copy(0, i, y), {"x": "float32[6, 3]", "i": "int64[2]", "y": "float32[2, 3]"},
    examples=[(w(6, 3), torch.tensor([4, 1]), w(2, 3))])
case("index-fill", lambda x, i: x.index_fill(1, i, 9.0), {"x": "float32[4, 5]", "i": "int64[2]"})
case("gather", lambda x, i: x.gather(1, i), {"x": "float32[4, 5]", "i": "int64[3, 2]"})
case("scatter", lambda x, i, y: (x.scatter(1, i, y), x.scatter(1, i, 5.0)),
    {"x": "float32[4, 5]", "i": "int64[4, 1]", "y": "float32[4, 5]"})
case("scatter-add", lambda x, i, y: x.scatter_add(0, i, y), {"x": "float32[4, 3]", "i": "int64[5, 3]", "y": "float32[5, 3]"})
SCATTER = {"x": "float32[4, 3]", "i": "int64[5, 3]", "y": "float32[5, 3]"}
for _reduce in ("sum", "prod", "amax", "amin", "mean"):
    for _self in (True, False):
        case(f"scatter-reduce-{_reduce}{'' if _self else '-alone'}", lambda x, i, y, r=_reduce,
            s=_self: x.scatter_reduce(0, i, y, r, include_self=s), SCATTER)
case("embedding", lambda i, a: F.embedding(i, a), "int64[2, 3]", {"a": w(8, 4)})
case("embedding-padded", lambda i, a: F.embedding(i, a, padding_idx=0), "int32[2, 3]", {"a": w(8, 4)})
case("embedding-bag", lambda i, a: F.embedding_bag(i, a, mode="mean"), "int64[2, 3]", {"a": w(8, 4)})
case("one-hot", lambda x: F.one_hot(x, 10), "int64[2, 3]")
case("take-along", lambda x: torch.take_along_dim(x, x.argsort(1), 1), "float32[3, 4]")
case("unique", lambda x: torch.unique(x), "int64[9]", examples=[(torch.tensor([3, 1, 2, 3, 3, 0, -1, 2, 1]),)])
case("unique-counts", lambda x: torch.unique(x, return_inverse=True, return_counts=True), "int64[3, 3]")
case("bincount", lambda x: torch.bincount(x, minlength=5), "int64[9]")
case("searchsorted", lambda x, y: (torch.searchsorted(x.sort()[0], y), torch.searchsorted(x.sort()[0], y, right=True),
    torch.bucketize(y, x.sort()[0])), {"x": "float32[5]", "y": "float32[2, 3]"},
     examples=[(torch.tensor([0.0, 1, 1, 2, 3]), torch.tensor([[1.0, -1, 9], [0.5, 1, 3]]))])
case("split-by-data", lambda x, n: torch.split(x, [n, x.shape[0] - n]), {"x": "float32[6, 2]", "n": "int"},
    examples=[(w(6, 2), k) for k in (0, 2, 6)])
case("cumprod", lambda x: x.cumprod(0), "float32[4, 3]")


def moe(x, gate, w1, w2):
    weight, chosen = F.linear(x, gate).softmax(-1).max(-1)
    out = torch.zeros_like(x)
    for expert in range(2):
        rows = (chosen == expert).nonzero().squeeze(1)
        out = out.index_add(0, rows, F.relu(x[rows] @ w1[expert]) @ w2[expert] * weight[rows][:, None])
    return out


case("moe", moe, "float32[N, 4]", {"gate": w(2, 4), "w1": w(2, 4, 8), "w2": w(2, 8, 4)}, N=(1, 16))

# -- recurrent -----------------------------------------------------------------------------------------------------------


def module_case(name: str, module: nn.Module, function: Callable[..., Any], inputs: Mapping[str, str]) -> None:
    """function(module, *inputs) with the module's parameters as weights."""
    torch.manual_seed(0)
    for p in module.parameters():
        nn.init.normal_(p, std=0.3)
    names = {n.replace(".", "_"): n for n, _ in module.named_parameters()}
    weights = {k: p.detach() for k, p in zip(names, module.parameters(), strict=True)}
    given = ", ".join(f"{n!r}: {k}" for k, n in names.items())
    source = f"def call({', '.join([*inputs, *names])}):\n    return run({', '.join(inputs)}, {{{given}}})\n"

    def run(*args: Any) -> Any:
        return torch.func.functional_call(module, args[-1], args[:-1]) if function is None else function(module, *args)

    scope: dict[str, Any] = {"run": run}
    exec(compile(source, __file__, "exec"), scope)
    case(name, scope["call"], inputs, weights)


module_case("lstm", nn.LSTM(3, 4), None, {"x": "float32[5, 2, 3]"})
module_case("lstm-two-layers", nn.LSTM(3, 4, num_layers=2, batch_first=True), None, {"x": "float32[2, 5, 3]"})
module_case("lstm-bidirectional", nn.LSTM(3, 4, bidirectional=True), None, {"x": "float32[5, 2, 3]"})
module_case("gru", nn.GRU(3, 4), None, {"x": "float32[5, 2, 3]"})
module_case("gru-bidirectional", nn.GRU(3, 4, bidirectional=True, batch_first=True), None, {"x": "float32[2, 5, 3]"})
module_case("rnn", nn.RNN(3, 4), None, {"x": "float32[5, 2, 3]"})
module_case("lstm-cell", nn.LSTMCell(3, 4), None, {"x": "float32[2, 3]"})
module_case("gru-cell", nn.GRUCell(3, 4), None, {"x": "float32[2, 3]"})
module_case("rnn-cell", nn.RNNCell(3, 4), None, {"x": "float32[2, 3]"})
module_case("multihead", nn.MultiheadAttention(8, 2, batch_first=True).eval(), lambda m, x, p: torch.func.functional_call(m, p, (x, x, x)),
    {"x": "float32[2, 5, 8]"})
module_case("encoder-module", nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), None, {"x": "float32[2, 5, 8]"})

# -- element types -------------------------------------------------------------------------------------------------------

for _dtype in ("float16", "bfloat16"):
    _t = getattr(torch, _dtype)
    case(f"{_dtype}-linear", lambda x, a, b: F.gelu(F.linear(x, a, b)), f"{_dtype}[3, 4]", {"a": w(5, 4, dtype=_t), "b": w(5, dtype=_t)})
    case(f"{_dtype}-norm", lambda x: (F.layer_norm(x, (4,)), x.softmax(-1), x.mean(0)), f"{_dtype}[3, 4]")
    case(f"{_dtype}-conv", lambda x, a: F.conv2d(x, a, padding=1), f"{_dtype}[1, 3, 5, 5]", {"a": w(4, 3, 3, 3, dtype=_t)})
    case(f"{_dtype}-moves", lambda x: (x.transpose(0, 1), torch.cat([x, x]), x[1:], x.float(), x.sum().item()), f"{_dtype}[3, 4]")
    case(f"{_dtype}-compare", lambda x: (x == 0.1, x > 0.1, x <= 0.1), f"{_dtype}[4]",
        examples=[(torch.tensor([0.1, 0.2, 0.1001, 0.05], dtype=_t),)])
case("float64-mlp", lambda x, a: (F.linear(x, a).relu().softmax(-1), x.exp(), x.tanh(), x @ x.t()), "float64[3, 4]",
    {"a": w(5, 4, dtype=torch.float64)})
case("float64-conv", lambda x, a: F.conv2d(x, a), "float64[1, 3, 5, 5]", {"a": w(4, 3, 3, 3, dtype=torch.float64)})
case("float64-gelu", lambda x: F.gelu(x), "float64[5]")
case("complex", lambda x: torch.view_as_real(torch.fft.fft(x)), "float32[8]")
case("rand", lambda x: x + torch.rand_like(x))
case("bernoulli", lambda x: torch.bernoulli(x.sigmoid()))
case("multinomial", lambda x: torch.multinomial(x.softmax(-1), 1), "float32[3, 4]")
case("dropout-training", lambda x: F.dropout(x, 0.5, training=True))
case("many-outputs", lambda x: tuple(x + i for i in range(40)))
case("conditional-path", lambda x: (x.mean((1, 2)).softmax(0).max().item(), x.argmax().item(), x.shape[0]))
case("results-apart", lambda x, a: (torch.zeros_like(x), torch.full((3,), 2.0), a.mean(0), x.clone(), x * 2, x * 2, x.reshape(4).clone()),
     "float32[2, 2]", {"a": w(3, 4)})
