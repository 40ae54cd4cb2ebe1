"""Backends, hosts and passes by name. The tables are data; a name's module is imported when it is first used.

Others join in through the entry-point groups `dync.backends` and `dync.passes`; a name with two owners is an error that names both.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import msgspec

from dync.errors import UsageError

if TYPE_CHECKING:
    from dync.backends.base import Backend

BACKENDS: Mapping[str, str] = {
    "onnxruntime": "dync.backends.onnxruntime:OnnxRuntime",
    "tvm": "dync.backends.tvm.backend:Tvm",
    "inductor": "dync.backends.inductor:Inductor",
    "torch-mlir": "dync.backends.torch_mlir:TorchMlir",
    "eager": "dync.backends.eager:Eager",
}
HOSTS: Mapping[str, str] = {
    "python": "dync.host.python:generate",
    "onnx": "dync.host.onnx.model:export",
    "torch-mlir": "dync.host.mlir.module:export",
    "tvm": "dync.host.tvm.module:export",
    "mixed": "dync.host.regions:collapse",
}
ENGINES: Mapping[str, tuple[str, str]] = {
    "onnx": ("onnxruntime", "dync.whole:with_engine"),
    "torch-mlir": ("torch-mlir", "dync.whole_mlir:with_iree"),
    "tvm": ("tvm", "dync.whole_tvm:with_tvm"),
}
"""Host that keeps the control flow in an engine → the backend that must take every block, and the function that makes the package:
(package of the Python host, program, kernels by block) → Package or Declined."""
ON_DEVICES = ("python", "torch-mlir")
"""Hosts of programs that run on another device than the CPU."""
AGAIN = ("tvm",)
"""Hosts that compile all blocks once more: host="auto" tries them where a call walks so many blocks that much is to be gained."""
PASSES: Mapping[str, str] = {
    "fold": "dync.passes.graph.fold:Fold",
    "common-subexpression": "dync.passes.graph.common_subexpression:CommonSubexpression",
    "merge": "dync.passes.graph.merge:Merge",
    "dead-code": "dync.passes.graph.dead_code:DeadCode",
}
DEFAULT_PASSES: tuple[str, ...] = ("fold", "common-subexpression", "merge", "dead-code")
PREFERENCE: tuple[str, ...] = ("onnxruntime", "tvm", "torch-mlir", "eager", "inductor")
"""The order in which backend="auto" asks; the first that takes a block is the one to beat."""
REFERENCE = "eager"
"""It takes everything."""
LAST: tuple[str, ...] = ("eager", "inductor")
"""Backends whose code needs torch at run time: "auto" asks them only about a block that no other takes."""
SLOW: Mapping[str, float] = {"inductor": 200e-6, "torch-mlir": 1e-3}
"""Backends that compile for many seconds → how long a call of a block must take, in seconds, for "auto" to try them on it."""
TRUSTED = ("onnxruntime", "eager")
"""Backends that compile in this process; all others do so in a child, whose crash costs one block (docs/decisions/0005)."""


@cache
def table(group: str) -> Mapping[str, str]:
    """name → "module:attribute" of a group ("dync.backends" or "dync.passes"): dync's own and those of installed packages."""
    own = {"dync.backends": BACKENDS, "dync.passes": PASSES}[group]
    owner = {name: f"dync ({place})" for name, place in own.items()}
    found = dict(own)
    for point in entry_points(group=group):
        who = f"{point.dist.name if point.dist else 'an unnamed package'} ({point.value})"
        if owner.setdefault(point.name, who) != who:
            raise UsageError(f"two owners for {group} {point.name!r}: {owner[point.name]} and {who}; uninstall one of them")
        found[point.name] = point.value
    return found


def load(place: str) -> Any:
    """The object at "module:attribute"."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def backend_names() -> tuple[str, ...]:
    return tuple(table("dync.backends"))


def preference() -> tuple[str, ...]:
    """PREFERENCE with those of other packages in it, behind dync's own compilers."""
    known, others = backend_names(), [n for n in backend_names() if n not in BACKENDS]
    first = [n for n in PREFERENCE if n in known and n not in LAST]
    return tuple(dict.fromkeys((*first, *others, *(n for n in PREFERENCE if n in known))))


def pass_names() -> tuple[str, ...]:
    return tuple(table("dync.passes"))


def host_names() -> tuple[str, ...]:
    return tuple(HOSTS)


def backend(name: str) -> Backend:
    """A new instance of the backend `name`. Raises UsageError, listing the known ones, for another name."""
    places = table("dync.backends")
    if name not in places:
        raise UsageError(f"unknown backend {name!r}; known: {', '.join(places)}")
    return load(places[name])()


def pipeline(text: str) -> tuple[Any, ...]:
    """The passes of "default", "none" or "a,b{opt=1},c", options given as fields of the pass."""
    if text == "none":
        return ()
    if text == "default":
        return tuple(_pass(name, "") for name in DEFAULT_PASSES)
    items = re.findall(r"([^,{]+)(?:\{([^}]*)\})?(?:,|$)", text)
    if "".join(text.split()) != ",".join(n.strip() + (f"{{{''.join(o.split())}}}" if o else "") for n, o in items):
        raise UsageError(f"cannot read the pass pipeline {text!r}; write it as a,b{{option=1}},c")
    return tuple(_pass(name.strip(), options) for name, options in items)


def _pass(name: str, options: str) -> Any:
    from ast import literal_eval

    places = table("dync.passes")
    if name not in places:
        raise UsageError(f"unknown pass {name!r}; known: {', '.join(places) or 'none yet'}")
    fields: dict[str, object] = {}
    for item in filter(None, (o.strip() for o in options.split(","))):
        key, sign, value = item.partition("=")
        if not sign:
            raise UsageError(f"pass {name}: option {item!r} needs a value, as in {name}{{{item}=1}}")
        try:
            fields[key.strip()] = literal_eval(value.strip())
        except (ValueError, SyntaxError):
            fields[key.strip()] = value.strip()
    made = load(places[name])
    known = [f.name for f in dataclasses.fields(made)] if dataclasses.is_dataclass(made) else list(fields)
    if unknown := [f for f in fields if f not in known]:
        raise UsageError(f"pass {name} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    try:
        return msgspec.convert(fields, made) if dataclasses.is_dataclass(made) else made(**fields)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise UsageError(f"pass {name}: {str(error).replace('`', '')}") from None
