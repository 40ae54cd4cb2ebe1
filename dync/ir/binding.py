"""How the arguments of a call become named leaves. This file imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dync.errors import GuardError
from dync.ir.flow import DictTree, Signature, TupleTree
from dync.ir.trees import describe, key_value, match


def bind(
    signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any], defaults: Mapping[str, Any] | None = None,
    containers: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The values at the leaves of a call, by path; `containers` takes what holds them, by path.

    An argument may come by position or by name however it came at capture; one left out takes `defaults`, then the
    signature's default. Raises GuardError for a missing, extra or twice-given argument or another structure.
    """
    assert isinstance(signature.args, TupleTree) and isinstance(signature.kwargs, DictTree)
    known = {n: v.python for n, v in signature.defaults} | dict(defaults or {})
    count, keys = len(signature.args.items), tuple(map(key_value, signature.kwargs.keys))
    given = dict(kwargs)
    for name, value in zip(signature.names, args):
        if name in given:
            raise GuardError(f"argument {name!r} is given twice")
        given[name] = value
    if len(args) > max(count, len(signature.names)):
        raise GuardError(f"{len(args)} positional arguments given, captured with {count}")
    named = signature.names[:count]
    positional = [_take(n, given, known) for n in named] + list(args[len(named) : count])
    if len(positional) < count:
        raise GuardError(f"{len(positional)} positional arguments given, captured with {count}")
    by_name = {str(k): _take(str(k), given, known) for k in keys}
    for name, value in given.items():
        if name not in known:
            raise GuardError(f"argument {name!r} was not given at capture; it had {', '.join(map(str, (*named, *keys))) or 'no arguments'}")
        if type(value) is not type(known[name]) or value != known[name]:
            raise GuardError(f"argument {name!r}: {describe(value)} given, left out at capture, which fixed its default {known[name]!r}")
    found: dict[str, Any] = {}
    for i, (tree, value) in enumerate(zip(signature.args.items, positional, strict=True)):
        match(tree, value, signature.names[i] if i < len(signature.names) else f"args[{i}]", found, containers)
    for key, tree in zip(keys, signature.kwargs.items, strict=True):
        match(tree, by_name[str(key)], str(key), found, containers)
    return found


def _take(name: str, given: dict[str, Any], known: Mapping[str, Any]) -> Any:
    if name in given:
        return given.pop(name)
    if name in known:
        return known[name]
    raise GuardError(f"argument {name!r} is missing")
