"""Calls to try: the given ones, variations of them, and random ones from the signature's types. Seeded, without end.

leaf ::= float tensor: normal at several scales and offsets, uniform, constant, sparse, uneven along a dimension
       | int tensor: within the rows of tables that it picks from, or the range seen in given calls, else small ranges; all different,
         or a few repeated
       | bool tensor: at several densities | Python number
run-time parameter ::= default, low, high, a value between, a value beside one that a decision was seen to compare with
"""

from __future__ import annotations

import ast
import math
import operator
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from dync.errors import DyncError, GuardError, UsageError
from dync.ir.binding import bind
from dync.ir.flow import Input, RunParam, Signature
from dync.ir.trees import build
from dync.ir.types import Dim, ScalarType, TensorType
from dync.verify.calls import Call

ODD = (math.nan, math.inf, -math.inf, 1e30)
ODD_PLACES = 16
_SIGNS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def as_calls(inputs: Sequence[Any] | None, signature: Signature) -> tuple[Call, ...]:
    """Given inputs as calls: each a Call, a tuple of args, (args, kwargs), a dict of kwargs, or the only argument."""
    calls = tuple(_as_call(one) for one in inputs or ())
    return tuple(replace(c, params=defaults(signature) | dict(c.params)) for c in calls)


def _as_call(one: Any) -> Call:
    match one:
        case Call():
            return one
        case (tuple() as args, dict() as kwargs):
            return Call(args, kwargs)
        case tuple():
            return Call(one)
        case dict():
            return Call((), one)
        case list():
            raise UsageError("each of inputs must be a tuple of arguments, (args, kwargs) or a dict; a list stands for none of these")
        case _:
            return Call((one,))


def defaults(signature: Signature) -> dict[str, Any]:
    """Run-time parameters that are attributes, at their defaults."""
    return {p.name: p.default for p in signature.params if p.place == "attribute"}


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """A dimension with its symbols replaced, e.g. "2*N + 1"."""
    return dim if isinstance(dim, int) else _evaluate(ast.parse(dim, mode="eval").body, sizes)


def _evaluate(node: ast.expr, sizes: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(int() as value):
            return value
        case ast.Name(name):
            return sizes[name]
        case ast.BinOp(left, sign, right) if type(sign) in _SIGNS:
            return _SIGNS[type(sign)](_evaluate(left, sizes), _evaluate(right, sizes))
        case _:
            raise UsageError(f"cannot make inputs for a dimension {ast.unparse(node)!r}")


def leaf_values(signature: Signature, call: Call) -> dict[str, Any]:
    """Dynamic leaves of a call by path, run-time parameters by name."""
    found = bind(signature, call.args, call.kwargs, {p.name: p.default for p in signature.params if p.place == "argument"})
    params = {p.name: found.get(p.name, p.default) for p in signature.params}
    return {i.path: found[i.path] for i in signature.inputs} | params | dict(call.params)


def call_of(signature: Signature, values: Mapping[str, Any], origin: str, seed: int = 0) -> Call:
    """The inverse of `leaf_values`."""
    attribute = {p.name for p in signature.params if p.place == "attribute"}
    return Call(
        build(signature.args, values.__getitem__),
        build(signature.kwargs, values.__getitem__),
        {n: v for n, v in values.items() if n in attribute},
        origin,
        seed,
    )


@dataclass
class Sampler:
    """An endless, seeded source of calls. `ranges`: seen bounds of integer inputs; `sizes`: seen sizes of named dimensions."""

    signature: Signature
    seed: int = 0
    given: tuple[Call, ...] = ()
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    thresholds: dict[str, list[float]] = field(default_factory=dict)
    """Values beside which a run-time parameter is worth trying, by its name."""

    def __post_init__(self) -> None:
        self.made = 0
        self.rng = random.Random(f"dync-verify-{self.seed}")
        self.generator = torch.Generator().manual_seed(self.seed)
        self.given = tuple(c for c in self.given if self._learn(c))

    def _learn(self, call: Call) -> bool:
        """Notes the ranges and sizes of a given call; False when it does not fit the signature."""
        try:
            values = leaf_values(self.signature, call)
        except GuardError:
            return False
        for one in self.signature.inputs:
            value = values[one.path]
            if isinstance(value, torch.Tensor) and value.numel() and not value.is_floating_point() and not value.is_complex():
                low, high = self.ranges.get(one.path, (float("inf"), float("-inf")))
                self.ranges[one.path] = (min(low, float(value.min())), max(high, float(value.max())))
            if isinstance(value, torch.Tensor) and isinstance(one.value.type, TensorType):
                self.sizes |= {d: n for d, n in zip(one.value.type.shape, value.shape) if isinstance(d, str) and d.isidentifier()}
        return True

    def __iter__(self) -> Iterator[Call]:
        """Alternates variations of given calls with random ones."""
        n = 0
        while True:
            yield self.vary(self.rng.choice(self.given)) if self.given and n % 3 == 0 else self.random(n)
            n += 1

    def random(self, n: int = 0) -> Call:
        """A call from the types alone; the first are plain, later ones are stranger."""
        sizes = self._sizes(n)
        style = _STYLES[n % len(_STYLES)] if n < 2 * len(_STYLES) else self.rng.choice(_STYLES)
        values = {i.path: self.leaf(i, sizes, style) for i in self.signature.inputs}
        return call_of(self.signature, values | self.params(plain=n % 2 == 0), f"random {style}", self.draws())

    def draws(self) -> int:
        """A seed of its own for the draws of each call."""
        self.made += 1
        return self.made

    def far(self) -> Call:
        """A call with values so large that a loop which shrinks them comes to its cap."""
        call = self.random(0)
        values = leaf_values(self.signature, call)
        far = {p: v * 1e9 for p, v in values.items() if isinstance(v, torch.Tensor) and v.is_floating_point()}
        return call_of(self.signature, values | far, "random far", call.seed)

    def odd(self, call: Call) -> Iterator[Call]:
        """The call with numbers in it that a model may ask about and no random one holds: all of an input, then one at a time."""
        values = leaf_values(self.signature, call)
        floats = {p: v.detach() for p, v in values.items() if isinstance(v, torch.Tensor) and v.is_floating_point() and v.numel()}
        for number in ODD:
            for path, value in floats.items():
                odd = values | {path: torch.full_like(value, number)}
                yield call_of(self.signature, odd, f"{call.origin} with all of {path} {number}", call.seed)
        for path, value in floats.items():
            for at in range(0, value.numel(), max(1, value.numel() // ODD_PLACES)):
                new = value.clone().contiguous()
                new.view(-1)[at] = ODD[0]
                yield call_of(self.signature, values | {path: new}, f"{call.origin} with {ODD[0]} in {path}", call.seed)

    def vary(self, call: Call) -> Call:
        """A given call, scaled, shifted, blurred or shuffled, with other run-time parameters."""
        values = leaf_values(self.signature, call)
        way = self.rng.choice(["scaled", "shifted", "with noise", "shuffled", "as given"])
        varied = {p: self._varied(v, way) if isinstance(v, torch.Tensor) else v for p, v in values.items()}
        return call_of(self.signature, varied | self.params(plain=self.rng.random() < 0.5), f"{call.origin} {way}", self.draws())

    def _varied(self, value: torch.Tensor, way: str) -> torch.Tensor:
        value = value.detach()
        if way == "shuffled" and value.numel():
            return value.flatten()[torch.randperm(value.numel(), generator=self.generator)].reshape(value.shape)
        if not value.is_floating_point() or way == "as given":
            return value.clone()
        spread = float(value.std()) if value.numel() > 1 else 1.0
        noise = torch.randn(value.shape, generator=self.generator).to(value)
        return {
            "scaled": value * self.rng.choice([0.0, 0.1, 0.5, 2.0, 10.0, -1.0]),
            "shifted": value + spread * self.rng.choice([-2, -0.5, 0.5, 2]),
            "with noise": value + spread * self.rng.choice([0.1, 0.5, 2.0]) * noise,
        }.get(way, value.clone())

    def params(self, plain: bool) -> dict[str, Any]:
        """Values for every run-time parameter."""
        return {p.name: p.default if plain else self.param(p) for p in self.signature.params}

    def param(self, p: RunParam) -> Any:
        """Default, bound, a value between, or one beside a compared value."""
        if isinstance(p.default, bool):
            return self.rng.random() < 0.5
        choices: list[float] = [p.default, p.low, p.high, self.rng.uniform(p.low, p.high)]
        choices += [x + d for x in self.thresholds.get(p.name, [])[-4:] for d in (-1e-3, 1e-3)]
        value = min(max(self.rng.choice(choices), p.low), p.high)
        return round(value) if isinstance(p.default, int) else float(value)

    def _sizes(self, n: int) -> dict[str, int]:
        sizes = {}
        for d in self.signature.dims:
            low, high = d.low, d.high if d.high is not None else max(d.low, 1) + 64
            seen = [self.sizes[d.name]] * 3 if d.name in self.sizes else []
            near = [min(max(low, k), high) for k in (low, low + 1, 2, 3, 4, 8)]
            sizes[d.name] = seen[0] if seen and n % 2 == 0 else self.rng.choice([*seen, *near])
        return sizes

    def leaf(self, one: Input, sizes: Mapping[str, int], style: str) -> Any:
        """A value of the input's type in one of the styles."""
        kind = one.value.type
        match kind:
            case ScalarType("bool"):
                return self.rng.random() < 0.5
            case ScalarType("int"):
                return self.rng.choice([0, 1, 2, 3, 5, 8])
            case ScalarType("float"):
                return self.rng.choice([0.0, 0.5, 1.0, self.rng.gauss(0, 1), self.rng.gauss(0, 10)])
            case TensorType():
                return self.tensor(one.path, kind, sizes, style)
            case _:
                raise UsageError(f"cannot make inputs of type {kind} for {one.path}; give some with inputs=")

    def tensor(self, path: str, kind: TensorType, sizes: Mapping[str, int], style: str) -> torch.Tensor:
        """A tensor of the type; its symbols must be in `sizes`."""
        shape, dtype = [evaluate(d, sizes) for d in kind.shape], getattr(torch, kind.dtype)
        if dtype == torch.bool:
            return (torch.rand(shape, generator=self.generator) < self.rng.choice([0.0, 0.2, 0.5, 0.8, 1.0])).to(kind.device)
        if not dtype.is_floating_point and not dtype.is_complex:
            low, high = self.ranges.get(path) or (0, self.rng.choice([1, 2, 9, 99]))
            numbers = torch.randint(int(low), int(high) + 1, shape, generator=self.generator)
            if style in FEW and numbers.numel():
                among = numbers.flatten()[: FEW[style]]
                numbers = among[torch.randint(0, len(among), shape, generator=self.generator)]
            return numbers.to(dtype).to(kind.device)
        return _STYLE_FUNCTIONS[style](shape, self.generator).to(dtype).to(kind.device)


def _normal(scale: float, offset: float = 0.0) -> Callable[[list[int], torch.Generator], torch.Tensor]:
    return lambda shape, g: torch.randn(shape, generator=g) * scale + offset


def _uneven(shape: list[int], generator: torch.Generator) -> torch.Tensor:
    """Normal at a scale that is drawn, plus an offset that changes along one dimension."""
    scale, place = torch.randn(2, generator=generator)
    along = [1] * len(shape)
    if shape:
        at = int(torch.randint(len(shape), (1,), generator=generator))
        along[at] = shape[at]
    return torch.randn(shape, generator=generator) * scale.exp() + place + torch.randn(along, generator=generator)


_STYLE_FUNCTIONS: Mapping[str, Callable[[list[int], torch.Generator], torch.Tensor]] = {
    "normal": _normal(1.0),
    "small": _normal(0.1),
    "large": _normal(4.0),
    "positive": lambda s, g: torch.rand(s, generator=g),
    "huge": _normal(30.0),
    "above": _normal(1.0, 1.0),
    "below": _normal(1.0, -1.0),
    "zero": lambda s, g: torch.zeros(s),
    "one": lambda s, g: torch.ones(s),
    "tiny": _normal(0.001),
    "sparse": lambda s, g: torch.randn(s, generator=g) * (torch.rand(s, generator=g) < 0.1),
    "minus one": lambda s, g: -torch.ones(s),
    "uneven": lambda s, g: _uneven(s, g),
}
_STYLES = tuple(_STYLE_FUNCTIONS)
FEW = {"zero": 1, "one": 1, "minus one": 1, "sparse": 2, "small": 3, "tiny": 5}
"""How many different whole numbers a tensor holds in some styles."""


def fits(signature: Signature, call: Call) -> str:
    """Why a call does not fit the signature, as a compiled program would say; empty when it does."""
    from dync.runtime.guards import ScalarGuard, Sizes, TensorGuard

    ranges, sizes = {d.name: d for d in signature.dims}, Sizes()
    try:
        values = leaf_values(signature, call)
        for one in signature.inputs:
            if isinstance(one.value.type, TensorType):
                TensorGuard(one.path, one.value.type, "torch", ranges, False)(values[one.path], sizes)
            elif isinstance(one.value.type, ScalarType):
                ScalarGuard(one.path, one.value.type)(values[one.path], sizes)
        sizes.finish()
    except DyncError as error:
        return str(error)
    return ""
