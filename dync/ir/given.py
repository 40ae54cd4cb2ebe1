"""Containers that the caller gives and a call writes: lists, dicts and objects among the arguments. This file imports no torch.

The result of a program that writes some has one more part for each, what it holds at the end: (result, part, ...), in the order of
`Signature.written`. In all parts OpaqueTree("given", path) is the caller's own container at that path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dync.errors import GuardError
from dync.ir.binding import bind
from dync.ir.classes import dict_base, plain_fields, record_fields, refill
from dync.ir.flow import Signature
from dync.ir.opaque import Given


def containers(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's containers by path; none where a call writes none. Raises GuardError when one that is written is given twice."""
    found: dict[str, Any] = {}
    if not signature.written:
        return found
    bind(signature, args, kwargs, {p.name: params.get(p.name, p.default) for p in signature.params}, found)
    for path in signature.written:
        other = next((p for p, c in found.items() if p != path and c is found[path]), None)
        if other is not None:
            raise GuardError(f"argument {other!r} is the same {type(found[path]).__name__} as {path!r}, which is written: copy one")
    return found


def give_back(signature: Signature, held: Mapping[str, Any], result: Any) -> Any:
    """The model's own result; what the caller's containers hold is what the call left in them."""
    if not signature.written:
        return result
    own, *parts = [_settled(part, held) for part in result]
    for path, part in zip(signature.written, parts, strict=True):
        _fill(held[path], part)
    return own


def _settled(x: Any, held: Mapping[str, Any]) -> Any:
    """A value that was just built, with the caller's containers in their places."""
    if isinstance(x, Given):
        return held[x.path]
    if isinstance(x, tuple):
        items = [_settled(v, held) for v in x]
        if all(a is b for a, b in zip(items, x)):
            return x
        return type(x)(*items) if hasattr(x, "_fields") else tuple(items)
    if isinstance(x, list):
        x[:] = [_settled(v, held) for v in x]
        return x
    if isinstance(x, dict):
        for k, v in x.items():
            dict_base(x).__setitem__(x, k, _settled(v, held))
    for name, v in (record_fields(x) or {}).items():
        new = _settled(v, held)
        if new is not v:
            object.__setattr__(x, name, new)
    return x


def _fill(mine: Any, now: Any) -> None:
    """Puts the contents of one container into another of its kind."""
    if isinstance(mine, list):
        mine[:] = now
    elif isinstance(mine, dict):
        refill(mine, now)
    elif isinstance(mine, set):
        mine.clear()
        mine.update(now)
    own = record_fields(now) or {}
    for name in [n for n in plain_fields(mine) or {} if n not in own]:
        object.__delattr__(mine, name)
    for name, v in own.items():
        object.__setattr__(mine, name, v)
