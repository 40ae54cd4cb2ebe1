"""The call's arguments as program inputs: tensors become block parameters, other leaves are fixed unless named in `params`."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from dync.capture.dims import Size, read_dims
from dync.capture.outputs import Unrepresentable, tree_of
from dync.errors import UsageError
from dync.ir.binding import bind
from dync.ir.flow import DictTree, DimRange, Fixed, Input, RunParam, Signature, Tree, TupleTree
from dync.ir.types import Lit, Ref, ScalarType, TensorType, Value, lit


def identifier(text: str, taken: set[str]) -> str:
    """A fresh Python identifier that reads like `text`."""
    name = re.sub(r"\W+", "_", text).strip("_") or "x"
    if name[0].isdigit() or keyword.iskeyword(name):
        name = f"v_{name}"
    while name.startswith("__"):
        name = name[1:]
    base, n = name, 1
    while name in taken:
        n += 1
        name = f"{base}_{n}"
    taken.add(name)
    return name


@dataclass
class CallSpec:
    """What a call looks like, and the example's tensors by value name."""

    args: Tree
    kwargs: Tree
    names: tuple[str, ...]
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    dims: dict[str, list[Size | None]] = field(default_factory=dict)
    """Value name → per dimension None, or its Size."""
    fixed: list[Fixed] = field(default_factory=list)
    params: list[RunParam] = field(default_factory=list)
    defaults: tuple[tuple[str, Lit], ...] = ()
    taken: set[str] = field(default_factory=set)

    def containers(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """All that holds leaves in a call of this structure, by path."""
        bare = Signature(self.names, self.args, self.kwargs, ())
        found: dict[str, Any] = {}
        bind(bare, args, kwargs, containers=found)
        return found

    def signature(self, types: Mapping[str, TensorType], written: tuple[str, ...]) -> Signature:
        dims = {d.name: DimRange(d.name, d.low, d.high) for per in self.dims.values() for d in per if d is not None}
        inputs = tuple(Input(Value(n, types[n]), self.paths[n]) for n in self.tensors)
        return Signature(self.names, self.args, self.kwargs, inputs, tuple(self.fixed), tuple(self.params), tuple(dims.values()),
                         self.defaults, written)


def _forward(model: Any) -> Callable[..., Any]:
    return model.forward if isinstance(model, torch.nn.Module) else model


def describe(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any, params: Mapping[str, Any] | None) -> CallSpec:
    """Reads the example call. Raises UsageError for params that name nothing, values that cannot be inputs, odd dynamic_shapes."""
    try:
        parameters = list(inspect.signature(_forward(model)).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    spec = CallSpec(TupleTree(()), DictTree((), ()), names)
    if params is not None and not isinstance(params, Mapping):
        raise UsageError(f"params must be a dict of name: (default, low, high); got {params!r}")
    declared = dict(params or {})
    given = set(names[: len(args)]) | set(kwargs)
    spec.defaults = tuple((p.name, lit(p.default)) for p in parameters if type(p.default) in (bool, int, float, str, type(None)))
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    for name in declared:
        if name in defaults and name not in given:
            kwargs = {**kwargs, name: defaults[name]}
            given.add(name)

    def leaf(x: Any, where: str) -> Any:
        if isinstance(x, torch.Tensor):
            found = next((n for n, t in spec.tensors.items() if t is x), None)
            if found is None:
                found = identifier(where, spec.taken)
                spec.tensors[found], spec.paths[found] = x, where
            return Ref(spec.paths[found])
        if where in declared and type(x) in (int, float):
            param = run_param(where, declared.pop(where), identifier(where, spec.taken), "argument")
            spec.params.append(param)
            return Ref(where)
        if x is not None:
            spec.fixed.append(Fixed(where, lit(x), type(x).__name__))
        return None

    try:
        spec.args = TupleTree(tuple(tree_of(a, leaf, names[i] if i < len(names) else f"args[{i}]") for i, a in enumerate(args)))
        kw = tuple((k, tree_of(v, leaf, k)) for k, v in kwargs.items())
    except Unrepresentable as e:
        raise UsageError(f"an example input cannot be taken: {e}; pass tensors, numbers, strings, "
                         "and lists, tuples, dicts, dataclasses or plain objects of them") from e
    spec.kwargs = DictTree(tuple(lit(k) for k, _ in kw), tuple(t for _, t in kw))
    for name, value in declared.items():
        default = attribute(model, name)
        if type(default) not in (int, float, bool):
            raise UsageError(f"params: {name!r} is neither an argument of forward nor an attribute that holds a number")
        spec.params.append(run_param(name, value, identifier(name, spec.taken), "attribute"))
    if dynamic_shapes:
        if hasattr(dynamic_shapes, "dynamic_shapes"):  # torch.export's ShapesCollection and AdditionalInputs
            dynamic_shapes = dynamic_shapes.dynamic_shapes(model, args, kwargs)
        spec.dims = read_dims(spec.tensors, arguments(parameters, names, args, kwargs), dynamic_shapes)
    return spec


def arguments(parameters: list[inspect.Parameter], names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The example's arguments by name; those of `*args` and `**kwargs` together under their own, and also one by one."""
    bound = dict(zip(names, args)) | kwargs
    rest = args[len(names):]
    variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    if rest and variadic is not None:
        bound = dict(zip(names, args)) | {variadic: rest} | kwargs
    elif rest:
        bound |= {f"args[{len(names) + i}]": a for i, a in enumerate(rest)}
    named = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
    own = {p.name for p in parameters}
    more = {k: v for k, v in kwargs.items() if k not in own}
    return bound | ({named: more} if named is not None and more else {})


def attribute(model: Any, path: str) -> Any:
    """The value at a dotted path, or None."""
    for part in path.split("."):
        model = getattr(model, part, None) if not isinstance(model, torch.nn.Module) or not part.isdigit() else model._modules.get(part)
    return model


def run_param(name: str, declared: Any, identifier: str, place: Any) -> RunParam:
    if not isinstance(declared, (tuple, list)) or len(declared) != 3 or not all(type(v) in (int, float) for v in declared):
        raise UsageError(f"params: {name!r} must be (default, low, high), three numbers; got {declared!r}")
    default, low, high = declared
    if not low <= default <= high:
        raise UsageError(f"params: {name!r} has default {default} outside {low}..{high}")
    kind = "int" if all(type(v) is int for v in declared) else "float"
    cast = int if kind == "int" else float
    return RunParam(name, Value(identifier, ScalarType(kind)), cast(default), cast(low), cast(high), place)
