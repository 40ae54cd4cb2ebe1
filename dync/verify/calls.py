"""One call, run by any of the runnable things: the eager model, a Program through `interpret`, a compiled runtime.

Each side runs a call on copies of its inputs, from the first state or from the one that the last call left, with the random
generators seeded alike, and gives back all that a user could see: result or exception, inputs, state and generator after.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Protocol

import torch
from torch import nn

from dync.errors import DyncError
from dync.ir.classes import record_fields
from dync.ir.clone import clone
from dync.ir.flow import MISFIT
from dync.ir.interpret import run as run_program
from dync.ir.opaque import ABSENT, to_opaque
from dync.ir.program import Program
from dync.ir.state import attribute_names
from dync.ir.trace import Trace
from dync.verify import clock
from dync.verify.compare import Comparison, Difference, Error, Tolerances, class_name, compare, worse
from dync.verify.outside import Outside


@dataclass(frozen=True)
class Call:
    """Arguments of one call. params: run-time parameters that are attributes, set before it; those that are arguments stand in
    args or kwargs. origin: how it was made, for people. seed: added to that of the run for what the call draws at random."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "given"
    seed: int = 0


@dataclass(frozen=True)
class Effect:
    """What a call did. `state` holds attributes after the call: all of them for eager, those that it keeps for the others.

    changed: names of the state that this call wrote, None where the side cannot tell.
    """

    result: Any = None
    error: BaseException | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    changed: frozenset[str] | None = None
    rng: tuple[Any, ...] = field(default_factory=lambda: generators())
    trace: Trace | None = None


class Side(Protocol):
    """Something that runs calls."""

    name: str

    def run(self, call: Call, fresh: bool = True) -> Effect:
        """Runs `call`; `fresh` starts from the first state, else the state is the one that the last call left."""
        ...


def seed_all(seed: int) -> None:
    """Seeds Python, NumPy and torch, and begins the time anew, as before every compared call."""
    import numpy as np

    clock.restart(seed)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def generators() -> tuple[Any, ...]:
    """The states of the generators of torch, Python and NumPy."""
    import numpy as np

    kind, words, *more = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), (kind, np.asarray(words).tobytes(), *more)


def copied(call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Fresh arguments; tensors that share storage still do."""
    return clone((tuple(call.args), dict(call.kwargs)))


class EagerSide:
    """The user's model, on a copy: the model itself is never run."""

    name = "eager"

    def __init__(self, model: nn.Module, seed: int = 0, kept: Iterable[str] = ()) -> None:
        """kept: names of the state that the compared program keeps."""
        self.original, self.seed, self.outside = model, seed, Outside(model, kept)
        self.base = clone(model)
        self.live = self._copy()

    def _copy(self) -> nn.Module:
        """A copy that shares the parameters, which a forward seldom writes; `_restore` sees to it when one does."""
        self.versions = {n: p._version for n, p in self.base.named_parameters()}
        return clone(self.base, {id(p): p for p in self.base.parameters()})

    def _restore(self) -> None:
        if any(p._version != self.versions[n] for n, p in self.base.named_parameters()):
            self.base = clone(self.original)
        self.live = self._copy()
        self.outside.restore()

    def held(self) -> dict[str, Any]:
        """What a call finds, or has left."""
        return {**dict(attributes(self.live)), **first_state(self.outside)}

    def run(self, call: Call, fresh: bool = True) -> Effect:
        if fresh:
            self._restore()
        args, kwargs = copied(call)
        for name, value in call.params.items():
            _set_attribute(self.live, name, value)
        held = self.held()
        before = {n: clone(v) if not isinstance(v, nn.Parameter) else (v, v._version) for n, v in held.items() if _is_leaf(v)}
        kinds = {n: class_name(v) for n, v in held.items() if not _is_leaf(v)}
        seed_all(self.seed + call.seed)
        result, error = None, None
        try:
            with torch.no_grad():
                result = self.live(*args, **kwargs)
        except Exception as raised:  # whatever the user's forward raises is part of what it does
            error = raised
        after = self.held()
        return Effect(result, error, args, kwargs, after, _changed(before, kinds, after), generators())


def first_state(outside: Outside) -> dict[str, Any]:
    """Copies of what stands outside of the model, and of its parts, by the names of slots."""
    return dict(part for name, value in outside.copied().items() for part in _with_parts(name, value, ()))


def _set_attribute(model: nn.Module, path: str, value: Any) -> None:
    *owners, name = path.split(".")
    owner: Any = reduce(getattr, owners, model)
    if isinstance(owner, nn.Module):
        setattr(owner, name, value)
    else:
        object.__setattr__(owner, name, value)  # a frozen dataclass may hold it


_PLAIN = (bool, int, float, str, type(None), torch.Tensor)
_TORCH_OWN = frozenset(vars(nn.Module())) | {"training"}


def attributes(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Parameters, buffers and plain attributes of all submodules, by dotted path; of containers and records each part too."""
    for prefix, module in model.named_modules():
        lead = f"{prefix}." if prefix else ""
        own = {k: v for k, v in vars(module).items() if k not in _TORCH_OWN}
        for name, value in {**module._parameters, **module._buffers, **own}.items():
            yield from _with_parts(lead + name, value, ())


def _with_parts(name: str, value: Any, around: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """What stands there, if it is plain, and all that stands in it, under the names that the slots of a program have."""
    parts = _parts(value)
    if parts is None or id(value) in around:
        if _is_leaf(value):
            yield name, value
        return
    inner = [pair for key, v in parts for pair in _with_parts(name + key, v, (*around, id(value)))]
    if _is_plain(value, around):
        yield name, value
    yield from inner


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    """What a container or record holds, by what its name adds; None for anything else."""
    if _is_leaf(value):
        return None
    if isinstance(value, dict):
        return [(f".{k}", v) for k, v in value.items()]
    if isinstance(value, (list, tuple, deque)) and not hasattr(value, "_fields"):
        return [(f"[{i}]", v) for i, v in enumerate(value)]
    fields = None if isinstance(value, nn.Module) else record_fields(value)
    return None if fields is None else [(f".{k}", v) for k, v in fields.items()]


def _is_leaf(value: Any) -> bool:
    plain = isinstance(value, _PLAIN) or to_opaque(value) is not None
    return plain or isinstance(value, (set, frozenset)) and all(map(_is_element, value))


def _is_element(value: Any) -> bool:
    return all(map(_is_element, value)) if isinstance(value, tuple) else _is_leaf(value)


def _is_plain(value: Any, around: tuple[int, ...] = ()) -> bool:
    parts = _parts(value)
    if parts is None or id(value) in around:
        return _is_leaf(value)
    return all(_is_plain(v, (*around, id(value))) for _, v in parts)


def _changed(before: Mapping[str, Any], kinds: Mapping[str, str], after: Mapping[str, Any]) -> frozenset[str]:
    """Names of the leaves that are new, gone or not equal, and of the containers and records that are new or of another class."""
    leaves = {n: v for n, v in after.items() if _is_leaf(v)}
    others = frozenset(n for n in after.keys() - leaves.keys() if kinds.get(n) != class_name(after[n]))
    return others | {n for n, v in leaves.items() if n not in before or not _equal(before[n], v)} | (before.keys() - leaves.keys())


def _equal(before: Any, after: Any) -> bool:
    if isinstance(after, nn.Parameter):
        return isinstance(before, tuple) and before[0] is after and before[1] == after._version
    return compare(before, after, Tolerances(0.0, 0.0)).same


class ProgramSide:
    """A Program, run by `interpret`: bit-equal to eager, and it traces. `initial`: the first state, where it is not the program's own."""

    name = "interpret"

    def __init__(self, program: Program, seed: int = 0, initial: Mapping[str, Any] | None = None) -> None:
        self.program, self.seed = program, seed
        self.initial = {n: v for n, v in (initial or {}).items() if n in state_names(program)}
        self.state: dict[str, Any] = {}
        self.began: Mapping[str, Any] = self.initial
        """The state before the last call."""

    def run(self, call: Call, fresh: bool = True) -> Effect:
        self.began = self.initial if fresh else clone(self.state)
        self.state = clone(dict(self.began))
        args, kwargs = copied(call)
        seed_all(self.seed + call.seed)
        try:
            done = run_program(self.program, args, kwargs, dict(call.params), state=self.state)
        except (
            RuntimeError,
            IndexError,
            ValueError,
            ArithmeticError,
            TypeError,
            DyncError,
        ) as raised:  # torch's own complaint about a value
            return Effect(None, raised, args, kwargs, self.held(), None, generators())
        return Effect(done.result, done.error, args, kwargs, self.held(), None, generators(), done.trace)

    def again(self, program: Program | None = None) -> ProgramSide:
        """A side of its own whose first state is the one before the last call; of `program`, where one is given."""
        return ProgramSide(program or self.program, self.seed, self.began)

    def held(self) -> dict[str, Any]:
        """The state without what is absent."""
        return {n: v for n, v in self.state.items() if v is not ABSENT}


def state_names(program: Program) -> frozenset[str]:
    """What a program keeps from call to call: slots, and weights that it writes."""
    return frozenset(attribute_names(program.slots, program.forms)) | frozenset(program.written_weights)


class CompiledSide:
    """A compiled runtime. Its state and run-time parameters are put back by `close`."""

    name = "compiled"

    def __init__(self, compiled: Any, seed: int = 0, initial: Mapping[str, Any] | None = None) -> None:
        self.compiled, self.seed = compiled, seed
        self.saved = clone(dict(compiled.state)), dict(compiled.params)
        compiled.reset_state()
        self.first = clone(dict(compiled.state))
        self.initial = {n: (initial or {}).get(n, v) for n, v in self.first.items()}

    def run(self, call: Call, fresh: bool = True) -> Effect:
        if fresh:
            self._put(clone(self.initial))
        args, kwargs = copied(call)
        for name, value in call.params.items():
            self.compiled.params[name] = value
        seed_all(self.seed + call.seed)
        result, error, trace = None, None, None
        try:
            result, trace = self.compiled.traced(*args, **kwargs)
        except Exception as raised:  # compared with what eager raises, never dropped
            error, trace = raised, getattr(raised, "trace", None)
        return Effect(result, error, args, kwargs, clone(dict(self.compiled.state)), None, generators(), trace)

    def kernels(self) -> Mapping[str, Callable[..., tuple[Any, ...]]]:
        """Each block's loaded code, on torch tensors."""

        def on_torch(kernel: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
            from dync.runtime.tensors import is_tensor, to_home

            def run(*inputs: Any) -> tuple[Any, ...]:
                found = kernel(*(to_home(v, self.compiled._form) if is_tensor(v) else v for v in inputs))
                return tuple(to_home(v, "torch") if is_tensor(v) else v for v in found)

            return run

        return {name: on_torch(kernel) for name, kernel in vars(self.compiled).get("_kernels", {}).items()}

    def _put(self, state: Mapping[str, Any]) -> None:
        for name in [n for n in self.compiled.state if n not in state]:
            del self.compiled.state[name]
        for name, value in state.items():
            self.compiled.state[name] = value

    def close(self) -> None:
        """Leaves the runtime as it was found."""
        self._put(self.saved[0])
        for name, value in self.saved[1].items():
            self.compiled.params[name] = value


def differences(expected: Effect, got: Effect, tolerances: Tolerances, rng: bool = True, inputs: bool = True) -> Comparison:
    """All that differs between an eager run and another: result or exception, inputs (if `inputs`) and state after, random generator."""
    if (expected.error is None) != (got.error is None):
        said = [f"raises {type(e.error).__name__}: {e.error}" if e.error is not None else "returns" for e in (expected, got)]
        return Comparison((Difference("result", f"{said[0]} in eager, {said[1]} here"),), Error(""))
    parts = (
        [compare(expected.result, got.result, tolerances)] if expected.error is None else [_errors(expected.error, got.error, tolerances)]
    )
    if inputs:
        parts += [compare(expected.args, got.args, tolerances, "args")]
        parts += [compare(dict(expected.kwargs), dict(got.kwargs), tolerances, "kwargs")]
    parts += [_states(expected, got, tolerances)]
    if rng and expected.rng != got.rng:
        parts += [Comparison((Difference("random generator", "eager and this drew different amounts of random numbers"),), Error(""))]
    worst = parts[0].worst
    for part in parts[1:]:
        worst = worse(worst, part.worst)
    return Comparison(tuple(d for p in parts for d in p.differences), worst)


def _errors(expected: BaseException, got: BaseException | None, tolerances: Tolerances) -> Comparison:
    if type(expected).__qualname__ != type(got).__qualname__:
        return Comparison((Difference("exception", f"{type(expected).__name__} in eager, {type(got).__name__} here: {got}"),), Error(""))
    assert got is not None
    if got.args and str(got.args[0]).startswith(MISFIT):
        return Comparison((), Error(""))
    return compare(expected.args, got.args, tolerances, "exception.args")


def _states(expected: Effect, got: Effect, tolerances: Tolerances) -> Comparison:
    found: list[Difference] = []
    worst = Error("")
    written = expected.changed or frozenset()
    for name, value in sorted(got.state.items()):
        if name in expected.state:
            one = compare(expected.state[name], value, tolerances, f"state {name}")
            found += one.differences
            worst = worse(worst, one.worst)
        elif any(_within(w, name) for w in written):
            found.append(Difference(f"state {name}", "deleted by eager, kept here"))
    lost = sorted(w for w in written if not any(_within(w, name) or _within(name, w) for name in got.state))
    return Comparison((*found, *(Difference(f"state {name}", "written by eager, unchanged here") for name in lost)), worst)


def _within(part: str, name: str) -> bool:
    """Whether the first name is the second one, or that of a part of it."""
    return part == name or part.startswith((f"{name}.", f"{name}["))
