"""Runs a program in eager and through capture + interpret, side by side, and says what differs."""

from __future__ import annotations

import collections
import contextlib
import copy
import importlib
import io
import logging
import math
import random
import re
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from dync.errors import CaptureError
from dync.ir.classes import record_fields
from dync.ir.flow import MISFIT, Branch, Switch, edges
from dync.ir.interpret import interpret
from dync.ir.program import Program
from dync.ir.verify import verify

torch.backends.mha.set_fastpath_enabled(False)  # another kernel, with other last bits, that eager may take and capture does not
Leaves = dict[str, Any]


def load(cls: type[nn.Module]) -> nn.Module:
    """The model with its own seed; in eval mode unless the class says TRAIN."""
    torch.manual_seed(0)
    return cls().train(getattr(cls, "TRAIN", False))


def call_of(cls: Any, seed: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of one call; `inputs` gives a tuple, or (tuple, dict)."""
    given = cls.inputs(seed)
    if len(given) == 2 and isinstance(given[0], tuple) and isinstance(given[1], dict):
        return given
    return given, {}


def capture(cls: Any, model: nn.Module, joins: bool = True) -> Program:
    # `import dync.capture` gives the function of that name once the package's own attribute has been read.
    args, kwargs = call_of(cls, 0)
    return importlib.import_module("dync.capture").capture(
        model, args, kwargs, dynamic_shapes=getattr(cls, "DYNAMIC", None), params=getattr(cls, "PARAMS", None), joins=joins
    )


# ---- what stands in an object ------------------------------------------------------------------------------------------


def leaves(x: Any, where: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """(path, value) of every tensor, number and empty place in a value; paths as state slots name them."""
    seen = set() if seen is None else seen
    if isinstance(x, (torch.Tensor, str, int, float, bool, type(None), torch.Size)):
        yield where, x
        return
    if id(x) in seen or isinstance(x, (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return
    seen.add(id(x))
    if isinstance(x, nn.Module):
        for k, v in x.__dict__.items():
            if k in ("_parameters", "_buffers", "_modules"):
                for name, inner in v.items():
                    yield from leaves(inner, f"{where}.{name}" if where else name, seen)
            elif not k.startswith("_") or k not in nn.Module().__dict__:
                yield from leaves(v, f"{where}.{k}" if where else k, seen)
    elif isinstance(x, dict):
        yield f"{where}#keys", tuple(map(str, x))
        for k, v in x.items():
            yield from leaves(v, f"{where}.{k}" if where else str(k), seen)
    elif isinstance(x, (list, tuple, collections.deque)):
        yield f"{where}#len", len(x)
        for i, v in enumerate(x):
            yield from leaves(v, f"{where}[{i}]", seen)
    elif hasattr(x, "__dict__"):
        for k, v in x.__dict__.items():
            yield from leaves(v, f"{where}.{k}" if where else k, seen)


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit and of one type; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return (
            a.dtype == b.dtype
            and a.shape == b.shape
            and a.device == b.device
            and (torch.equal(a, b) or bool(torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())))
        )
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b) or a != a and b != b
    if isinstance(a, dict):
        return (
            list(a) == list(b) and all(same(a[k], b[k]) for k in a) and getattr(a, "default_factory", 0) == getattr(b, "default_factory", 0)
        )
    if isinstance(a, (list, tuple, collections.deque)):
        return len(a) == len(b) and all(map(same, a, b)) and getattr(a, "maxlen", None) == getattr(b, "maxlen", None)
    if (fields := record_fields(a)) is not None:
        return same(fields, record_fields(b))
    if isinstance(a, BaseException):
        carried = same(a.args, b.args) and same(fields_of(a), fields_of(b))
        return carried or bool(b.args) and str(b.args[0]).startswith(MISFIT)
    return bool(a == b)


def fields_of(error: BaseException) -> dict[str, Any]:
    """What the model put on an exception."""
    return {k: v for k, v in vars(error).items() if k not in ("trace", "__notes__")}


def frozen(x: Any) -> Any:
    return x.detach().clone() if isinstance(x, torch.Tensor) else x


def snapshot(x: Any) -> Leaves:
    return {k: frozen(v) for k, v in leaves(x)}


def differences(a: Leaves, b: Leaves) -> list[str]:
    return [k for k in {**a, **b} if k not in a or k not in b or not same(a[k], b[k])]


def fingerprint(model: nn.Module, module: types.ModuleType) -> dict[str, Any]:
    """Everything that capture must leave as it was: state, identities, globals, code objects."""
    codes: dict[str, Any] = {}
    classes = {type(m) for m in model.modules()} | {
        c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__
    }
    for cls in {base for c in classes for base in c.__mro__ if base is not object}:
        codes |= {
            f"{cls.__module__}.{cls.__qualname__}.{k}": getattr(v, "__code__", v)
            for k, v in vars(cls).items()
            if k not in ("__dict__", "__weakref__", "__doc__", "__abstractmethods__", "_abc_impl", "__slotnames__")
        }
    codes |= {f"{module.__name__}.{k}": v.__code__ for k, v in vars(module).items() if isinstance(v, types.FunctionType)}
    tensors = {k: (id(v), v._version) for k, v in leaves(model) if isinstance(v, torch.Tensor)}
    named = {f"{n}.{k}": id(v) for n, m in model.named_modules() for k, v in m.__dict__.items()}
    return {
        "state": snapshot(model),
        "tensors": tensors,
        "identities": named,
        "codes": codes,
        "globals": snapshot(module_data(module)),
        "globals identity": {k: id(v) for k, v in vars(module).items() if not k.startswith("__")},
    }


def module_data(module: types.ModuleType) -> dict[str, Any]:
    return {
        k: v
        for k, v in vars(module).items()
        if not k.startswith("__") and isinstance(v, (int, float, str, list, dict, torch.Tensor, type(None)))
    }


def assert_unchanged(before: dict[str, Any], after: dict[str, Any]) -> None:
    for what in before:
        a, b = before[what], after[what]
        changed = [k for k in {**a, **b} if k not in a or k not in b or not (a[k] is b[k] or same(a[k], b[k]))]
        assert not changed, f"capture changed {what}: {changed[:3]}"


# ---- running both --------------------------------------------------------------------------------------------------------


@dataclass
class Ran:
    """What one call did. `aliases` tells which outputs are the call's own tensors."""

    result: Any
    error: BaseException | None
    args: Any
    rng: list[Any]
    text: str
    """Standard output."""
    said: list[Any]
    """Standard error, log messages, and warnings but for NumPy's own of what is deprecated."""
    aliases: dict[str, str] = field(default_factory=dict)


def run(function: Any, cls: Any, seed: int) -> Ran:
    args, kwargs = copy.deepcopy(call_of(cls, seed))
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    result, error = None, None
    text, errors, logs = io.StringIO(), io.StringIO(), Logs()
    try:
        with torch.no_grad(), contextlib.redirect_stdout(text), contextlib.redirect_stderr(errors), logs, seen_warnings() as warned:
            result = function(args, kwargs)
    except Exception as e:  # the program's own exception is part of what it does
        error = e
    given = {id(v): k for k, v in leaves([args, kwargs]) if isinstance(v, torch.Tensor)}
    aliases = {k: given[id(v)] for k, v in leaves(result) if isinstance(v, torch.Tensor) and id(v) in given}
    own = [(w.category, str(w.message)) for w in warned if not issubclass(w.category, DeprecationWarning)]
    said = [errors.getvalue(), logs.messages, own]
    return Ran(result, error, (args, kwargs), generators(), text.getvalue(), said, aliases)


def generators() -> list[Any]:
    """The states of all random number generators."""
    kind, words, *more = np.random.get_state()
    return [torch.get_rng_state().numpy().tobytes(), random.getstate(), [kind, words.tobytes(), *more]]


class Logs(logging.Handler):
    """Keeps what is logged, of every level."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append((record.name, record.levelname, record.getMessage(), record.lineno))

    def __enter__(self) -> None:
        root = logging.getLogger()
        self.before, root.level = root.level, logging.DEBUG
        root.manager._clear_cache()
        root.addHandler(self)

    def __exit__(self, *error: object) -> None:
        logging.getLogger().removeHandler(self)
        logging.getLogger().setLevel(self.before)


@contextlib.contextmanager
def seen_warnings() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


def assert_same_run(want: Ran, got: Ran, where: str) -> None:
    wrong = f"{where}: eager {show(want)}, captured {show(got)}"
    assert type(want.error) is type(got.error), wrong
    if want.error is not None:
        assert same(want.error, got.error), wrong
    assert same(want.result, got.result), wrong
    assert same(want.args, got.args), f"{where}: the arguments differ after the call: eager {want.args}, captured {got.args}"
    assert want.text == got.text, f"{where}: eager prints {want.text!r}, captured {got.text!r}"
    assert want.said == got.said, f"{where}: eager says {want.said}, captured {got.said}"
    assert want.rng == got.rng, f"{where}: another number of random draws"
    assert want.aliases == got.aliases, f"{where}: eager returns {want.aliases} of its inputs, captured {got.aliases}"


def show(ran: Ran) -> str:
    return repr(ran.error if ran.error is not None else ran.result)[:600]


def assert_same_state(
    module: types.ModuleType, before: Leaves, eager: nn.Module, globals_before: Leaves, state: dict[str, Any], where: str
) -> None:
    """What eager changed in the model and in the module's globals is what the program carries in `state`."""
    now, old = snapshot(eager) | of_globals(module, snapshot(module_data(module))), before | of_globals(module, globals_before)
    seen, order = set[int](), [re.split(r"[.\[#]", path)[0] for path in now]  # what stands in two places is told of at the first
    names = sorted(state, key=lambda name: order.index(first) if (first := re.split(r"[.\[]", name)[0]) in order else -1)
    held = dict(leaf for name in names for leaf in leaves(state[name], name, seen))
    memories = {p: x.untyped_storage().data_ptr() for p, x in leaves(eager) if isinstance(x, torch.Tensor)}
    shown = {memories[p] for p in held if p in memories}
    for path in differences(old, now):
        if path in now:  # what is a view of memory that is carried is carried too
            carried = path in held or memories.get(path) in shown or path.endswith(("#len", "#keys"))
            assert carried, f"{where}: eager writes {path}, the program carries {list(held)}"
        else:
            assert path not in held, f"{where}: eager removes {path}, the program keeps it"
    for name, value in held.items():
        assert name in now, f"{where}: the program carries {name}, which the model lacks"
        assert same(frozen_data(now[name]), frozen_data(value)), f"{where}: {name} is {now[name]} in eager, {value} captured"


def of_globals(module: types.ModuleType, found: Leaves) -> Leaves:
    """Globals as state slots name them: a name by its module, what stands in a container by the container."""
    return {k if set(k) & set(".[#") else f"{module.__name__}:.{k}": v for k, v in found.items()}


def frozen_data(x: Any) -> Any:
    return x.detach().as_subclass(torch.Tensor) if isinstance(x, torch.Tensor) else x


def compare(cls: Any, program: Program, model: nn.Module, runs: int) -> set[tuple[str, ...]]:
    """Runs both over many inputs, state carried from call to call; the paths that were taken."""
    module = importlib.import_module(cls.__module__)
    eager, before, globals_before = copy.deepcopy(model), snapshot(model), snapshot(module_data(module))
    data = {k: copy.deepcopy(v) for k, v in module_data(module).items()}
    state: dict[str, Any] = {}
    paths: set[tuple[str, ...]] = set()

    def captured(args: Any, kwargs: Any) -> Any:
        result, trace = interpret(program, args, kwargs, state=state)
        paths.add(trace.path)
        return result

    try:
        for seed in range(runs):
            where = f"{cls.__name__}, call {seed}"
            want = run(lambda a, k: eager(*a, **k), cls, seed)
            got = run(captured, cls, seed)
            if got.error is not None:
                paths.add((type(got.error).__name__, *map(str, got.error.args)))
            assert_same_run(want, got, where)
            assert_same_state(module, before, eager, globals_before, state, where)
    finally:
        for k, v in data.items():
            restore_global(module, k, v)
    return paths


def restore_global(module: types.ModuleType, name: str, value: Any) -> None:
    current = vars(module)[name]
    if isinstance(current, list):
        current[:] = value
    elif isinstance(current, dict):
        current.clear()
        current.update(value)
    elif isinstance(current, torch.Tensor):
        current.copy_(value)
    else:
        setattr(module, name, value)


def check(cls: Any) -> Program:
    """All that must hold for one program; returns what was captured."""
    module = importlib.import_module(cls.__module__)
    model = load(cls)
    before, rng = fingerprint(model, module), generators()
    program = capture(cls, model)
    assert rng == generators(), "capture drew random numbers"
    assert_unchanged(before, fingerprint(model, module))
    verify(program)
    paths = compare(cls, program, model, getattr(cls, "RUNS", 25))
    assert len(paths) >= getattr(cls, "PATHS", 2), f"only {len(paths)} path taken: {paths}"
    assert_unchanged(before, fingerprint(model, module))
    return program


def refused(cls: Any) -> str:
    """The code of the refusal of a program that cannot be captured; the model is left as it was."""
    module = importlib.import_module(cls.__module__)
    model = load(cls)
    before = fingerprint(model, module)
    try:
        capture(cls, model)
    except CaptureError as error:
        assert_unchanged(before, fingerprint(model, module))
        diagnostic = error.diagnostics[0]
        assert diagnostic.span.file.endswith(".py") and diagnostic.span.line > 0 and diagnostic.found and diagnostic.remedy, error
        return diagnostic.code
    raise AssertionError(f"{cls.__name__} was captured; take it off the list of refusals")


def check_oracle(cls: Any, program: Program, decisions: int = 4) -> None:
    """The join-free program of a small one gives the same."""
    branches = [b for b in program.blocks if isinstance(b.flow.exit, (Branch, Switch))]
    if len(branches) > decisions or cyclic(program) or not getattr(cls, "ORACLE", True):
        return
    model = load(cls)
    oracle = capture(cls, model, joins=False)
    verify(oracle)
    compare(cls, oracle, model, 8)


def cyclic(program: Program) -> bool:
    """Whether some loop was rolled: a block jumps to one that stands before it."""
    order = {b.name: n for n, b in enumerate(program.blocks)}
    return any(order[e.target] <= order[b.name] for b in program.blocks for e in edges(b.flow.exit))
