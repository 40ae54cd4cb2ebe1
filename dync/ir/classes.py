"""Classes named by text, "module:qualname": looked up among modules that are already imported, never imported. No torch here."""

from __future__ import annotations

import collections
import copyreg
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import Any

HEAP_TYPE = 1 << 9
"""The flag of classes that are made by a class statement (Python's object.h)."""


def loaded_class(name: str) -> type | None:
    """The class "module:qualname" if its module is already imported and holds it."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found if isinstance(found, type) else None


def field_names(cls: type) -> tuple[str, ...]:
    """The fields of a dataclass or named tuple, () for any other class."""
    return tuple(f.name for f in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else tuple(getattr(cls, "_fields", ()))


def plain_fields(x: Any) -> dict[str, Any] | None:
    """The attributes of an object that is nothing but its attributes: a Python class's that `copy.copy` takes apart likewise."""
    slots = _plain_slots(type(x))
    if slots is None:
        return None
    missing = object()
    return {**getattr(x, "__dict__", {}), **{s: v for s in slots if (v := getattr(x, s, missing)) is not missing}}


def record_fields(x: Any) -> dict[str, Any] | None:
    """What a dataclass, named tuple or plain object holds by name; None for anything else."""
    names = field_names(type(x))
    return {n: getattr(x, n) for n in names} if names else plain_fields(x)


@cache
def _plain_slots(cls: type) -> tuple[str, ...] | None:
    """Names of the slots of a class whose objects are their attributes alone; None for any other class."""
    if issubclass(cls, SimpleNamespace):  # also what stands for a class that is not loaded
        return ()
    ways = ("__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__new__")
    changed = any(getattr(cls, w, None) is not getattr(object, w, None) for w in ways)
    if cls is object or changed or issubclass(cls, (type, BaseException)) or not all(c.__flags__ & HEAP_TYPE for c in cls.__mro__[:-1]):
        return None
    if loaded_class(f"{cls.__module__}:{cls.__qualname__}") is not cls:
        return None
    return tuple(copyreg._slotnames(cls))  # pyright: ignore[reportAttributeAccessIssue]  what copy.copy itself asks


def dict_base(x: dict[Any, Any]) -> Any:
    """The builtin class whose methods write a dict without code of its own class. dict's would leave the order of an OrderedDict behind."""
    return collections.OrderedDict if isinstance(x, collections.OrderedDict) else dict


def refill(x: dict[Any, Any], contents: Mapping[Any, Any]) -> None:
    """Makes a dict hold these contents alone, in this order, without code of its own class."""
    base = dict_base(x)
    base.clear(x)
    for k, v in contents.items():
        base.__setitem__(x, k, v)


def is_names(cls: type) -> bool:
    """Whether a class is a program's own kind of dict, made like one."""
    own = issubclass(cls, dict) and cls.__module__ not in ("builtins", "collections") and not dataclasses.is_dataclass(cls)
    return own and cls.__new__ in (dict.__new__, collections.OrderedDict.__new__)


def record_class(kind: str, name: str, fields: tuple[str, ...]) -> type:
    """The record's own class if its module is loaded and it is of that kind with these fields, else an equivalent of that name."""
    found = loaded_class(name)
    if kind == "object":
        return found if found is not None and _plain_slots(found) is not None else _made_record(kind, name, ())
    if kind == "dict":
        return found if found is not None and is_names(found) else _made_record(kind, name, ())
    fits = (
        found is not None
        and (field_names(found) == fields or is_sequence(found))
        and {
            "namedtuple": issubclass(found, tuple),
            "dataclass": not issubclass(found, dict),
            "mapping": issubclass(found, dict),
        }[kind]
    )
    return found if found is not None and fits else _made_record(kind, name, fields)


def is_sequence(cls: type) -> bool:
    """Whether it is one of torch's tuples with no `_fields`, such as torch.Size and torch.return_types.max: made of one sequence."""
    return issubclass(cls, tuple) and not hasattr(cls, "_fields") and cls.__module__.partition(".")[0] == "torch"


def exception(name: str, args: Sequence[Any], fields: Sequence[str] = ()) -> BaseException:
    """The model's exception, of its own class where that is loaded, else of one of the same name under Exception.

    fields: names of attributes, whose values are the last of `args`. A class's own __init__, which may want other arguments, is not run.
    """
    found = loaded_class(name)
    cls = found if found is not None and issubclass(found, BaseException) else _made_exception(name)
    given = args[: len(args) - len(fields)]
    made = cls.__new__(cls, *given) if isinstance(cls.__init__, FunctionType) else cls(*given)
    made.args = tuple(given)
    made.__dict__.update(zip(fields, args[len(given) :], strict=True))
    return made


class Names(collections.OrderedDict):
    """Stands for a dict whose own class is not loaded: its keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


class MappingRecord(collections.OrderedDict):
    """Stands for a dict-like dataclass whose own class is not loaded: fields that are not None are keys and attributes."""

    def __init__(self, **fields: Any) -> None:
        super().__init__((k, v) for k, v in fields.items() if v is not None)
        self.__dict__.update(fields)


@cache
def _made_record(kind: str, name: str, fields: tuple[str, ...]) -> type:
    module, short = _short(name)
    match kind:
        case "namedtuple":
            if not fields:
                return tuple
            made: type = collections.namedtuple(short, fields)  # type: ignore[misc]
        case "dataclass":
            made = dataclasses.make_dataclass(short, fields)
        case "dict":
            made = type(short, (Names,), {})
        case "object":
            made = type(short, (SimpleNamespace,), {})
        case _:
            made = type(short, (MappingRecord,), {"__annotations__": dict.fromkeys(fields, Any)})
    made.__module__ = module
    return made


@cache
def _made_exception(name: str) -> type[Exception]:
    module, short = _short(name)
    return type(short, (Exception,), {"__module__": module})


def _short(name: str) -> tuple[str, str]:
    module, _, qualname = name.partition(":")
    return module, qualname.rpartition(".")[2]
