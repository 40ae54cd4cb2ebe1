"""One capture from start to end: the snapshot, the engine's attempts, the model run on fakes, the Program."""

from __future__ import annotations

import builtins
import contextlib
import enum
import linecache
import logging
import re
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from dync.capture import comprehend
from dync.capture.arrays import open_makers
from dync.capture.dims import Size
from dync.capture.emit import captured, emit
from dync.capture.engine import Diverged, Engine, Halted, Restart, Suspended
from dync.capture.given import GivenContainers
from dync.capture.heap import MISSING, StaticHeap
from dync.capture.hidden import Hidden
from dync.capture.image import SYMBOLIC
from dync.capture.inputs import attribute, describe
from dync.capture.memory import storage_of
from dync.capture.number_methods import open_numbers
from dync.capture.outputs import Unrepresentable, class_name, tree_of
from dync.capture.packed import open_padding
from dync.capture.places import NN, is_helper, is_library, is_own, is_user, line_span
from dync.capture.reach import around
from dync.capture.recorder import DispatchMode
from dync.capture.scalars import Expr, scalar_of
from dync.capture.state import Forms
from dync.capture.tape import RaiseExit, Rec, ReturnExit, Val, Weight, of_model
from dync.capture.text import SymText, formatted, join, said_by_torch
from dync.capture.transforms import open_transforms
from dync.capture.weights import Weights
from dync.capture.world import open_world
from dync.capture.writes import where_named
from dync.errors import CaptureError, Diagnostic
from dync.ir.fakes import FAKE_LOG
from dync.ir.flow import MISFIT, TupleTree
from dync.ir.meta import value_type
from dync.ir.program import Program
from dync.ir.trees import build
from dync.ir.types import UNKNOWN, Span, lit

MAX_RESTARTS = 300
REFUSALS = ("must be", "combination of arguments", "cannot be interpreted")
"""Words in which C code says that an argument is not of the type that it takes."""

OPERATORS = ("not supported between instances", "unsupported operand type")
"""Words in which Python says that an operator does not take its operands."""


def user_modules(model: Any) -> list[dict[str, Any]]:
    """Globals of the files that define the model's classes and functions, torch's left out."""
    owners = {type(m) for m in model.modules()} if isinstance(model, nn.Module) else set()
    names = {cls.__module__ for owner in owners for cls in owner.__mro__}
    if isinstance(model, types.FunctionType):
        names.add(model.__module__)
    found = []
    for name in sorted(names):
        module = sys.modules.get(name)
        if module is not None and name.split(".")[0] not in ("torch", "builtins", "typing", "abc"):
            found.append(vars(module))
    if isinstance(model, types.FunctionType) and not any(g is model.__globals__ for g in found):
        found.append(model.__globals__)
    return found


class Session:
    """The state of one capture."""

    def __init__(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any, params: Mapping[str, Any] | None,
                 joins: bool) -> None:
        self.model, self.args, self.kwargs = model, args, kwargs
        self.spec = describe(model, args, kwargs, dynamic_shapes, params)
        outside = around(model)
        homes = {id(g): g for g in (*user_modules(model), *outside.homes)}
        self.heap = StaticHeap([model, *args, *kwargs.values()], [*homes.values()], outside.held)
        self.hidden = Hidden(self.heap)
        self.weights = Weights(model, self.heap)
        self.engine = Engine(self.heap, self.weights, joins)
        self.engine.forced = self.forced
        self.labels: dict[Val, str] = {}
        self.inputs: dict[str, Any] = {}
        self.symbols: dict[str, Any] = {}
        self.call: tuple[Any, Any] = (), {}
        self.traps: list[str] = []
        """What history says of paths that have no code."""
        self.trapped: list[Diagnostic] = []
        self.forms = Forms(self.engine, model)
        self.containers = GivenContainers(self.heap, self.engine.written)
        for param in self.spec.params:
            if param.place == "attribute":
                self.engine.given.add((self.heap.index[id(self.owner(param.name))], ("a", param.name.rpartition(".")[2])))

    def owner(self, path: str) -> Any:
        """The object that holds the attribute at a dotted path."""
        return attribute(self.model, path.rpartition(".")[0]) if "." in path else self.model

    def capture(self) -> Program:
        engine = self.engine
        try:
            with patches(engine, self.forms.missing), torch.no_grad():
                for _ in range(MAX_RESTARTS):
                    try:
                        records = engine.attempt(self.start, self.run_model)
                        break
                    except Restart:
                        engine.restarts += 1
                else:
                    raise CaptureError(Diagnostic("DY303", UNKNOWN, "capture does not settle", "each attempt finds new code or state",
                                                  "report this model"))
                self.forms.check_writes()
                self.check_assigned(records)
                if self.trapped and not any(isinstance(rec.exit, ReturnExit) for rec in records):
                    engine.problems |= dict.fromkeys(self.trapped)
                engine.problems |= dict.fromkeys(self.hidden.changed(self.forms.where()))
                if engine.problems:
                    raise engine.failure()
                return self.program(records[0])
        except Halted:
            raise engine.failure() from None
        except Diverged as error:
            engine.problems |= dict.fromkeys(self.hidden.changed(self.forms.where()))
            if engine.problems:
                raise engine.failure() from error
            raise CaptureError(Diagnostic(
                "DY900", engine.span(), str(error), "the model's code did not do the same thing when it was run again",
                "remove what makes it differ from run to run (time, random numbers outside torch, files)")) from error
        finally:
            engine.unmark()
            self.heap.restore()
            self.hidden.restore()
            self.inputs, self.symbols, self.labels, self.call = {}, {}, {}, ((), {})
            self.containers.put({})
            engine.finish()
            Expr.forget()

    # ---- inputs ------------------------------------------------------------------------------------------------------

    def start(self, engine: Engine, entry: Rec) -> list[list[Rec]]:
        """Makes the inputs; the paths to begin with, one for each form of the state."""
        self.labels, self.inputs, self.symbols, self.traps, self.trapped = {}, {}, {}, [], []
        taken = set(self.spec.taken)
        for name, tensor in self.spec.tensors.items():
            fake = self.input_fake(name, tensor)
            self.label(entry, engine.new_tensor(fake, "input"), name)
            self.inputs[self.spec.paths[name]] = fake
        for param in self.spec.params:
            val = engine.new_scalar(param.value.type.kind)  # type: ignore[union-attr]
            self.label(entry, val, param.value.name)
            symbolic = engine.symbolic(val)
            if isinstance(symbolic, torch.SymInt):
                engine.shape_env.bound(symbolic.node.expr, int(param.low), int(param.high))
            self.inputs[param.name] = symbolic
        engine.declared = {s.node.expr: name for name, s in self.symbols.items()}
        self.call = build(self.spec.args, self.inputs.__getitem__), build(self.spec.kwargs, self.inputs.__getitem__)
        self.containers.put(self.spec.containers(*self.call))
        given = list(entry.params)
        paths = self.forms.start(entry, taken, self.symbols)
        for path in paths:
            engine.rec = path[-1]
            for val in given:
                if val.kind == "tensor":
                    engine.bind_sizes(val)
        engine.rec = entry
        return paths

    def label(self, entry: Rec, val: Val, name: str) -> None:
        val.name = name
        entry.params.append(val)
        self.labels[val] = name

    def input_fake(self, name: str, tensor: torch.Tensor) -> Any:
        per = self.spec.dims.get(name)
        if not per or not any(per):
            return self.engine.fake_mode.from_tensor(tensor.detach(), static_shapes=True)
        shape = [size if dim is None else self.size(dim) for size, dim in zip(tensor.shape, per)]
        with self.engine.fake_mode:
            return torch.empty(shape, dtype=tensor.dtype, device=tensor.device)

    # ---- running the model -----------------------------------------------------------------------------------------------

    def size(self, dim: Size) -> Any:
        """The symbol of a dynamic size, or an expression over it."""
        if dim.name not in self.symbols:
            self.symbols[dim.name] = self.engine.shape_env.new_symbol(dim.low, dim.high)
        return self.symbols[dim.name] if dim.of is None else dim.of(self.symbols[dim.name])

    def forced(self, name: str, value: Any) -> None:
        """A size that is declared to vary can be one number only: an error, unless torch was to choose (Dim.AUTO)."""
        sizes = [(per, d, size) for per in self.spec.dims.values() for d, size in enumerate(per) if size is not None and size.name == name]
        first = sizes[0][2]
        if not first.auto:
            said = f"{name}={first.low}..{'' if first.high is None else first.high}"
            self.engine.refuse("DY212", f"dynamic_shapes declares {said}, but every call needs {name} = {value} here",
                               "the operation fits no other size", "make that size fixed, or write the operation in terms of x.shape")
        for per, d, _ in sizes:
            per[d] = None
        self.engine.start_again()

    def run_model(self) -> None:
        """One run along the engine's path; ends its record unless the run was suspended."""
        engine = self.engine
        engine.root_frame = sys._getframe()
        self.forms.put()
        for param in self.spec.params:
            if param.place == "attribute":
                self.owner(param.name).__dict__[param.name.rpartition(".")[2]] = self.inputs[param.name]
        args, kwargs = self.call
        engine.mark_askers(self.model)
        try:
            with DispatchMode(engine), engine.function_mode():
                engine.open_pools()
                engine.weights.show(engine.do)
                result = self.model(*args, **kwargs)
        except Exception as e:
            self.finish_raise(e)
        else:
            self.finish_return(result)

    def check_assigned(self, records: list[Rec]) -> None:
        """Refuses `.data = ...` of a weight whose memory a call gives to its caller or to the state: it would show the new numbers."""
        engine = self.engine
        weights = engine.weights.fakes
        memories = {storage_of(weights[name]) for name in engine.assigned_weights}
        for exit in (rec.exit for rec in records if memories):
            trees = [exit.tree] if isinstance(exit, ReturnExit) else list(exit.args) if isinstance(exit, RaiseExit) else []
            trees += [t for _, t in exit.writes] if isinstance(exit, (ReturnExit, RaiseExit)) else []
            for x in (v for t in trees if not isinstance(t, str) for v in captured(t)):
                fake = weights[x.name] if isinstance(x, Weight) else x.fake if isinstance(x, Val) and x.kind == "tensor" else None
                if fake is not None and any(engine.memory.classes.get(storage_of(fake)) is engine.memory.classes.get(m) for m in memories):
                    engine.problems[Diagnostic(
                        "DY202", exit.span, "a weight that `.data = ...` assigns is given to the caller or kept as state",
                        "in eager that shows the old numbers afterwards", "return or keep a clone")] = None

    def finish_return(self, result: Any) -> None:
        engine = self.engine
        if engine.dead:
            raise Suspended
        span = self.return_span()
        try:
            tree = tree_of(result, self.leaf, "", self.is_result, self.containers.returned, True)
        except Unrepresentable as e:
            engine.refuse("DY403", f"the model returns {e}", "it cannot be rebuilt where the model's code is absent",
                          "return tensors, numbers, strings, and lists, tuples, dicts, dataclasses or plain objects of them",
                          self.last_line() or span)
        written = self.forms.writes(self.leaf)
        try:
            parts = self.containers.parts(self.leaf)
        except Unrepresentable as e:
            engine.refuse("DY407", f"forward leaves in a container that the caller gives what cannot be rebuilt: {e}",
                          "what a call writes there is given back with its result",
                          "put tensors, numbers, strings, and lists, tuples, dicts, dataclasses or plain objects of them there",
                          self.written_at(e.where))
        self.end(ReturnExit(TupleTree((tree, *parts)) if parts else tree, written, span))

    def written_at(self, path: str) -> Span:
        """Where the model's source writes the argument that a path begins with."""
        return where_named(self.heap, self.model, re.split(r"[.\[]", path)[0])

    def is_result(self, x: Any) -> bool:
        """Whether an object is not the model's own, which would be given away as a copy."""
        return self.heap.index.get(id(x), self.heap.own) >= self.heap.own

    def end(self, exit: Any, why: str = "") -> None:
        engine = self.engine
        if not engine.live:
            raise Diverged(f"replay diverged: the model ended before {engine.rec} did{why}")
        engine.rec.exit = exit

    def leaf(self, x: Any, where: str) -> Any:
        if isinstance(x, torch.Tensor):
            return self.engine.value(x)
        if isinstance(x, SymText):
            text = x.exact() if where != "message" else x.expression()
            self.engine.check_visible(text)
            return text if not isinstance(text, str) else lit(text)
        made = type(x) is np.ndarray and id(x) not in self.heap.index or isinstance(x, np.generic)
        if made and x.dtype.kind in "biuf":
            with self.engine.modes_on():
                return self.engine.value(torch.tensor(x))
        if isinstance(x, SYMBOLIC):
            scalar = scalar_of(x)
            if isinstance(scalar, (bool, int, float)):
                return lit(scalar)
            self.engine.check_visible(scalar)
            return scalar
        return None

    def return_span(self) -> Span:
        """Where the last operation stands; where there is none, the model's own function."""
        rec = self.engine.rec
        span = rec.ops[-1].span if rec.ops else rec.span
        code = getattr(getattr(self.model, "forward", self.model), "__code__", None)
        return line_span(code.co_filename, code.co_firstlineno) if span == UNKNOWN and code is not None else span

    def last_line(self) -> Span | None:
        """The statement that the model's own forward marked last, which is its `return`."""
        engine = self.engine
        act = engine.activations[0] if engine.activations else None
        if act is None or not act.last:
            return None
        return line_span(act.frame.f_code.co_filename, engine.markers.sites[act.last].line)

    def finish_raise(self, error: Exception) -> None:
        engine = self.engine
        if engine.dead:
            raise Suspended
        frames = list(_traceback_frames(error))
        user = [f for f in frames if is_user(f[0].f_code)]
        last = frames[-1][0].f_code if frames else None
        raised = last is not None and ((is_user(last) or is_helper(last) or last.co_filename.startswith(NN)) and _is_raise(*frames[-1])
                                       or "dync_of_model" in error.__dict__ or last is torch._assert.__code__)
        span = _span_at(*user[-1]) if user else UNKNOWN
        own = [f for f in user if not is_library(f[0].f_code)]
        engine.check_library(error, _span_at(*own[-1]) if own else span)
        if not raised:
            engine.mark_frames(f for f, _ in frames)
            if engine.doubtful:
                raise Suspended
            if isinstance(error, (NameError, AssertionError)) and is_own(frames[-1][0].f_code):
                raise error
            texts = [str(a) for a in error.args if not isinstance(a, SymText)]
            text = texts[0].splitlines()[0][:200] if texts and texts[0] else ""
            if "'NoneType'" in text and any(t in text for t in OPERATORS):  # as Python says it of numbers
                text = re.sub("'Sym(Int|Float|Bool)'", lambda found: repr(found[1].lower()), text)
            if isinstance(error, TypeError) and "Sym" in text and any(t in text for t in REFUSALS):
                engine.refused_numbers(span)
                engine.refuse("DY208", f"a number known only at run time is given where C code takes a plain one: {text}",
                              "C code needs the value now", "use torch or arithmetic on it, or make it a fixed argument", span)
            if engine.rec is engine.records[0] or isinstance(error, NotImplementedError) or "Sym" in text:
                engine.refuse("DY302", f"{type(error).__name__}: {text}", "the model's code fails when it is captured",
                              "check that the model runs in eager on such inputs", span)
            if "dync_of_torch" in error.__dict__:
                cls, said = error.__dict__["dync_of_torch"]
                self.trapped.append(self.failed(error, text, span))
                message = f"{MISFIT}: {said.splitlines()[0] if said else ''}"
                self.end(RaiseExit(class_name(cls), (message,), self.forms.writes(self.leaf), span))
                return
            # Behind a decision: this path may never be taken. Whoever takes it gets a clear refusal.
            message = f"{span}: no code for this path: {type(error).__name__} when it was captured: {text}"
            self.traps.append(f"trap {message}")
            self.trapped.append(self.failed(error, text, span))
            self.end(RaiseExit("dync.errors:GuardError", (message,), (), span), f", with {type(error).__name__}: {text}")
            return
        fields = {k: v for k, v in vars(error).items() if not k.startswith("dync_of_")}
        try:
            of_torch = last is not None and not is_user(last)
            carried = (*(said_by_torch(engine, a) if of_torch and type(a) is str else a for a in error.args), *fields.values())
            args = tuple(tree_of(a, self.leaf, "message" if isinstance(a, SymText) else "", self.is_result, last=True)
                         for a in carried)
        except Unrepresentable as e:
            engine.refuse("DY404", f"an exception carries {e}", "it cannot be rebuilt at run time", "raise it with text and numbers", span)
        written = self.forms.writes(self.leaf)
        changed = self.containers.changed()
        if changed is not None:
            engine.refuse("DY407", f"`{changed}`, a container that the caller gives, is written by forward before it raises",
                          "what a call writes there is given back with its result", "raise before it is written", self.written_at(changed))
        self.end(RaiseExit(class_name(type(error)), args, written, span, tuple(fields)))

    @staticmethod
    def failed(error: Exception, text: str, span: Span) -> Diagnostic:
        return Diagnostic("DY302", span, f"{type(error).__name__}: {text}", "the model's code fails when it is captured, on every path",
                          "check that the model runs in eager on such inputs")

    # ---- the result ---------------------------------------------------------------------------------------------------------

    def program(self, entry: Rec) -> Program:
        dims = {s.node.expr: name for name, s in self.symbols.items()}
        used = {val.name: value_type(val.fake, dims) for val in self.labels if val.kind == "tensor"}
        name = type(self.model).__name__ if isinstance(self.model, nn.Module) else getattr(self.model, "__name__", "model")
        files = {op.span.file for rec in self.engine.records for op in rec.ops}
        files |= {getattr(rec.exit, "span", UNKNOWN).file for rec in self.engine.records}
        sources = {f: "".join(linecache.getlines(f)) for f in files if linecache.getlines(f)}
        slots, forms = self.forms.result()
        labels = self.labels | self.forms.labels
        signature = self.spec.signature(used, self.containers.paths)  # type: ignore[arg-type]
        program = emit(entry, name, self.weights, lambda e: signature, dims, list(slots), labels, sources, self.engine.integers)
        return replace(program, history=(*program.history, *self.traps), forms=forms)


def _traceback_frames(error: BaseException) -> Iterator[tuple[Any, int]]:
    tb = error.__traceback__
    while tb is not None:
        yield tb.tb_frame, tb.tb_lasti
        tb = tb.tb_next


def _span_at(frame: Any, lasti: int) -> Span:
    code = frame.f_code
    line, end_line, col, end_col = list(code.co_positions())[lasti // 2]
    return Span(code.co_filename, line or 0, col or 0, end_line or 0, end_col or 0)


def _is_raise(frame: Any, lasti: int) -> bool:
    import dis

    return dis.opname[frame.f_code.co_code[lasti]] in ("RAISE_VARARGS", "RERAISE")


@contextlib.contextmanager
def patches(engine: Engine, missing: Any) -> Iterator[None]:
    """torch's integers hand float results to our exact nodes, its control flow operators are what they stand for in Python; random
    draws outside torch are refused. Undone at the end.
    """
    import_module("torch.export._trace")  # torch may import it while we trace, and its tables keep the functions that they find first
    with contextlib.ExitStack() as undo:
        _patch(engine, missing, undo)
        undo.callback(engine.unmark)
        yield


def _patch(engine: Engine, missing: Any, undo: contextlib.ExitStack) -> None:
    def patch(owner: Any, name: str, new: Any) -> None:
        old = vars(owner).get(name, MISSING)
        if old is MISSING:
            undo.callback(delattr, owner, name)
        else:
            undo.callback(setattr, owner, name, old)
        setattr(owner, name, new)

    engine.patch = patch
    open_makers(engine, patch)
    open_padding(engine.recorder, patch)
    open_transforms(engine.recorder, patch)
    open_numbers(engine, patch)

    def patch_code(function: Any, code: types.CodeType) -> None:
        undo.callback(setattr, function, "__code__", function.__code__)
        function.__code__ = code

    def suppressing(original: Any) -> Any:
        def leave(self: Any, kind: Any, error: Any, traceback: Any) -> Any:
            engine.check_error(error)
            return original(self, kind, error, traceback)

        return leave

    patch(contextlib.suppress, "__exit__", suppressing(contextlib.suppress.__exit__))
    open_world(engine, patch, undo)
    engine.original_print = builtins.print
    patch(builtins, "print", engine.print)
    module_getattr = nn.Module.__getattr__

    def getattr_(module: nn.Module, name: str) -> Any:
        try:
            return module_getattr(module, name)
        except AttributeError:
            missing(module, name)
            raise

    member_of: Any = enum.EnumMeta.__call__

    def member(cls: Any, *args: Any, **kwargs: Any) -> Any:
        """A member of an Enum by its value, for a value known only at run time."""
        if len(args) != 1 or kwargs or not isinstance(args[0], (torch.SymInt, torch.SymBool)) or issubclass(cls, enum.Flag):
            return member_of(cls, *args, **kwargs)
        value = engine.as_int(args[0]) if isinstance(args[0], torch.SymBool) else args[0]
        fitting = [m for m in cls if isinstance(m.value, int) or isinstance(m.value, float) and m.value.is_integer()]
        n = engine.pick(value, [(int(m.value),) for m in fitting])
        found = fitting[n] if n < len(fitting) else cls._missing_(value)
        if not isinstance(found, cls):
            raise of_model(ValueError(join(engine, [formatted(engine, args[0], ord("r"), ""), f" is not a valid {cls.__qualname__}"])))
        return found

    module_delattr = nn.Module.__delattr__

    def delattr_(module: nn.Module, name: str) -> None:
        if name not in module.__dict__:
            missing(module, name)
        module_delattr(module, name)

    patch(enum.EnumMeta, "__call__", member)
    patch(nn.Module, "__getattr__", getattr_)
    patch(nn.Module, "__delattr__", delattr_)
    patch(FakeTensor, "tolist", torch.Tensor.tolist)
    patch(logging.getLogger(FAKE_LOG), "disabled", True)
    patch(torch, "_check_with", checked(engine))
    for replaced, written_out in ((torch.cond, comprehend.cond), (torch.while_loop, comprehend.while_loop)):
        patch_code(replaced, written_out.__code__)


def checked(engine: Engine) -> Any:
    """`torch._check` and its kin (`_check_value`, `_check_tensor_all`, ...): what the user's code asks for is an `if` that raises."""
    original: Any = torch._check_with

    def check_with(error_type: Any, cond: Any, message: Any) -> None:
        if not isinstance(cond, torch.SymBool) or engine.recorder.in_event is not None:
            original(error_type, cond, message)
        elif not cond:
            said = message() if callable(message) else None
            if isinstance(said, SymText):
                raise of_model(error_type(said))
            try:
                original(error_type, False, message if said is None else lambda: said)
            except Exception as error:  # error_type, or what torch says of wrong arguments
                raise of_model(error) from None

    return check_with
