"""Between the model's attributes, as people see state, and the typed slots that blocks read. This file imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dync.errors import GuardError
from dync.ir.flow import FORM, Leaf, RowsTree, Slot, StateForm, Tree, leaves
from dync.ir.opaque import ABSENT
from dync.ir.rows import Taking, built_pools
from dync.ir.trees import build, describe, match
from dync.ir.types import ObjectType, Ref, ScalarType, TensorType, ValueType


def attribute_names(slots: Sequence[Slot], forms: Sequence[StateForm]) -> tuple[str, ...]:
    """The names of all attributes that any form holds."""
    return tuple(dict.fromkeys(n for f in forms for n, _ in f.attributes)) if forms else tuple(s.name for s in slots)


def outside(forms: Sequence[StateForm], slots: Mapping[str, Any]) -> dict[str, Any]:
    """What the attributes hold, by name, when the slots hold `slots`; absent ones are left out."""
    form = forms[slots[FORM] if len(forms) > 1 else 0] if forms else None
    lookup = {**slots, **(built_pools(form.pools, slots.__getitem__) if form else {})}.__getitem__
    held = {name: build(tree, lookup) for name, tree in form.attributes} if form else slots
    return {name: value for name, value in held.items() if value is not ABSENT}


def inside(slots: Sequence[Slot], forms: Sequence[StateForm], held: Mapping[str, Any]) -> dict[str, Any]:
    """What the slots hold when the attributes hold `held`, absent ones left out or ABSENT.

    Raises GuardError that names the first attribute which fits no form.
    """
    types = {s.name: s.value.type for s in slots}
    held = {n: v for n, v in held.items() if v is not ABSENT}
    held |= {s.name: ABSENT for s in slots if s.name not in held and isinstance(s.value.type, ObjectType)}
    if not forms:
        for name, wanted in types.items():
            if not fits(held[name], wanted):
                raise GuardError(f"attribute {name!r} holds {describe(held[name])} now; the program was captured for {wanted}")
        return {name: held[name] for name in types}
    furthest, complaint = -1, ""
    for number, form in enumerate(forms):
        found = _inside(types, form, held)
        if isinstance(found, dict):
            return {**dict.fromkeys(types), **found, **({FORM: number} if len(forms) > 1 else {})}
        if found[0] > furthest:
            furthest, complaint = found
    raise GuardError(complaint + f"; the program was captured for {'; or '.join(text_of(f, types) for f in forms)}")


def _inside(types: Mapping[str, ValueType], form: StateForm, held: Mapping[str, Any]) -> dict[str, Any] | tuple[int, str]:
    """The slots of one form, or how many attributes fit and what is wrong with the next."""
    found: dict[str, Any] = {}
    lows = {d.name: d.low for d in form.dims}
    sizes: dict[str, int] = {}
    own, taking = dict(form.attributes), Taking(form.pools, types)
    for n, (name, tree) in enumerate(form.attributes):
        wrong = n, f"attribute {name!r} is absent now" if name not in held else f"attribute {name!r} holds {describe(held[name])} now"
        if name not in held:
            return wrong
        try:
            values = taking.columns(tree, held[name], name) if isinstance(tree, RowsTree) else match(tree, held[name], name)
            if n == len(form.attributes) - 1:
                values |= taking.rest()
        except GuardError:
            return wrong
        for slot, value in values.items():
            wanted = types[slot]
            if slot in found and found[slot] is not value or not fits(value, wanted):
                return wrong
            for want, size in zip(wanted.shape, value.shape) if isinstance(wanted, TensorType) else ():
                if isinstance(want, str) and (size < lows.get(want, 0) or sizes.setdefault(want, size) != size):
                    return wrong
            found[slot] = value
    extra = next((n for n in held if n not in own), None)
    return found if extra is None else (len(own), f"attribute {extra!r} holds {describe(held[extra])} now")


def fits(value: Any, wanted: ValueType) -> bool:
    """Whether a value is of the type of a slot; size symbols fit any size."""
    match wanted:
        case TensorType(dtype, shape):
            if not hasattr(value, "dtype") or str(value.dtype).removeprefix("torch.") != dtype or value.ndim != len(shape):
                return False
            return all(not isinstance(want, int) or want == size for want, size in zip(shape, value.shape, strict=True))
        case ObjectType():  # every call writes it before reading it
            return True
        case ScalarType(kind):
            return type(value).__name__ == kind or kind == "float" and type(value) is int


def text_of(form: StateForm, types: Mapping[str, ValueType]) -> str:
    """A form for people: "cache = None, count = int"."""
    return ", ".join(f"{name} = {_text(tree, types)}" for name, tree in form.attributes) or "nothing"


def _text(tree: Tree, types: Mapping[str, ValueType]) -> str:
    if isinstance(tree, Leaf):
        return str(types[tree.operand.name]) if isinstance(tree.operand, Ref) else str(tree.operand)
    if isinstance(tree, RowsTree):
        return f"{tree.kind.partition(':')[0]} of any length"
    names = dict.fromkeys(str(types[o.name]) for o in leaves(tree) if isinstance(o, Ref))
    return f"{type(tree).__name__.removesuffix('Tree').lower()} of {len(getattr(tree, 'items', ()))} {' and '.join(names)}".rstrip()
