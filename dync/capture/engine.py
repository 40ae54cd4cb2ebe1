"""Marked, multi-shot symbolic re-execution: run the model's real Python on fakes, fork by running again, join at markers.

A *record* is a block under construction. A run follows a path of records: it replays their logs, and goes on live in the
last. At a decision the path does not fix, the record ends in a fork; one side goes on, the other becomes a task. At a
marker behind a fork, a run is suspended until every path that could get there has; then paths with equal pictures join.
"""

from __future__ import annotations

import contextlib
import gc
import linecache
import string
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import sympy
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils._python_dispatch import _disable_current_modes

from dync.capture.heap import MISSING, StaticHeap
from dync.capture.image import SYMBOLIC, Image, Roots, layout, substitute, take
from dync.capture.loops import FOR_TURNS, MAX_PEEL, MAX_TURNS, WHILE_TURNS, Header, LoopIter, Plan, SymRange, Turn, close, open_header
from dync.capture.markers import DOOR, Markers, Site, bind, instrument
from dync.capture.places import NN, Activation, can_mark, frames, is_library, is_user, span_of
from dync.capture.recorder import DispatchMode, FunctionMode, Recorder, Use
from dync.capture.scalars import BoolNode, Expr, FloatNode, scalar_of
from dync.capture.shapes import PathShapeEnv
from dync.capture.tape import CaseExit, Event, ForkExit, JumpExit, Op, RaiseExit, Rec, To, Val, Weight
from dync.capture.text import SymText, formatted, join
from dync.capture.weights import Weights
from dync.errors import CaptureError, Diagnostic
from dync.ir.types import UNKNOWN, Span

MAX_BLOCKS = 6000
MAX_RECURSION = 64
NARROW = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.int16: (-(2**15), 2**15 - 1), torch.int32: (-(2**31), 2**31 - 1)}
"""Bounds of integers that say something about a size."""


class Suspended(BaseException):
    """Ends a run that waits at a marker."""


class Restart(BaseException):
    """Ends an attempt: something was learnt that every run must know."""


class Diverged(BaseException):
    """A replay did not do what was recorded: the model's code is not deterministic, or dync has a bug."""


@dataclass
class Waiting:
    path: list[Rec]
    image: Image


class Engine:
    """One capture. `attempt` is called until nothing new is learnt; then `order` holds the records."""

    def __init__(self, heap: StaticHeap, weights: Weights, joins: bool = True) -> None:
        self.heap, self.weights, self.joins = heap, weights, joins
        self.markers = Markers()
        self.swapped: list[tuple[types.FunctionType, types.CodeType]] = []
        self.tried: set[types.CodeType] = set()
        self.written: list[tuple[int, Any]] = []
        self.plans: dict[Any, Plan] = {}
        self.apart: set[Any] = set()
        """Leaves of joins whose constants are kept apart: torch must know them."""
        self.unfoldable: set[Span] = set()
        """Where tensors are made of literals and written later."""
        self.given: set[tuple[int, Any]] = set()
        """Places that hold run-time parameters."""
        self.recorder = Recorder(self)
        self.restarts = 0
        self.runs = 0

    # ---- attempts and runs -------------------------------------------------------------------------------------

    def attempt(self, start: Any, root: Any) -> list[Rec]:
        """All records of the program. `start(engine, entry)` makes the inputs; `root()` runs the model and ends its record."""
        Expr.forget()
        self.shape_env = PathShapeEnv(self)
        self.fake_mode = FakeTensorMode(shape_env=self.shape_env, allow_non_fake_inputs=True)
        self.weights.start(self.fake_mode)
        self.vals: dict[int, Val] = {}
        self.integers: dict[Any, torch.SymInt] = {}
        self.mutated: set[int] = set()
        """Storages that some operation writes in place."""
        self.constant_joins: dict[Val, Any] = {}
        self.made_by: dict[Val, Op] = {}
        self.folded: dict[int, Span] = {}
        """Storages whose numbers were read at capture, and where they were made."""
        self.uids = 0
        self.records: list[Rec] = []
        self.waiting: dict[tuple[Any, ...], list[Waiting]] = {}
        self.headers: dict[Rec, list[int]] = {}
        entry = self.new_rec(None)
        self.rec, self.path, self.step, self.cursor = entry, [entry], 0, 0
        self.partial: list[Any] = []
        self.dead = False
        start(self, entry)
        self.tasks: list[list[Rec]] = [[entry]]
        while self.tasks or self.waiting:
            if not self.tasks:
                self.merge_first()
                continue
            self.run(self.tasks.pop(), root)
        return self.records

    def run(self, path: list[Rec], root: Any) -> None:
        self.runs += 1
        self.path, self.step, self.cursor = path, 0, 0
        self.rec = path[0]
        self.partial = []
        self.dead = False
        self.activations: list[Activation] = []
        try:
            root()
        except Suspended:
            pass
        finally:
            self.activations = []
            self.heap.restore()
        if self.step < len(self.path) - 1 or self.rec.exit is None and not self.dead:
            raise Diverged(f"replay diverged: run ended in {self.rec} of {self.path}")

    def start_over(self, span: Span) -> None:
        """A tensor made of literals is written after its numbers were read: they are no constants."""
        self.unfoldable.add(span)
        raise Restart

    def new_rec(self, above: Rec | None) -> Rec:
        rec = Rec(len(self.records), above)
        self.records.append(rec)
        if len(self.records) > MAX_BLOCKS:
            self.refuse("DY301", f"more than {MAX_BLOCKS} blocks",
                        "paths whose Python state differs in structure cannot join and multiply: " + self.split_reason(),
                        "make the branches leave variables of the same types and shapes")
        return rec

    def split_reason(self) -> str:
        return getattr(self, "last_split", "the loop may have no bound")

    def check_alive(self) -> None:
        if self.dead:
            raise Suspended

    # ---- facts, symbols, values ----------------------------------------------------------------------------------

    def facts(self) -> list[tuple[Any, bool]]:
        if self.finished:
            return []
        return [f for rec in self.rec.chain() for f in rec.facts]

    def has_symbols(self, t: torch.Tensor) -> bool:
        return any(isinstance(s, torch.SymInt) for s in t.shape)

    def new_tensor(self, fake: Any, label: str = "", span: Span = UNKNOWN) -> Val:
        self.uids += 1
        val = Val(self.uids, self.rec, fake, "tensor", span, label)
        self.vals[id(fake)] = val
        return val

    def new_scalar(self, kind: str, label: str = "item") -> Val:
        self.uids += 1
        return Val(self.uids, self.rec, None, kind, UNKNOWN, label)

    def symbolic(self, val: Val, dtype: Any = None) -> Any:
        """What the user's code gets for a scalar value."""
        if val.kind == "float":
            val.fake = torch.SymFloat(FloatNode(val, self))
        elif val.kind == "bool":
            val.fake = torch.SymBool(BoolNode(val, self))
        else:
            low, high = NARROW.get(dtype, (None, None))
            val.fake = self.shape_env.new_symbol(low, high)
            self.rec.bindings[val.fake.node.expr] = val
        return val.fake

    def integer(self, expr: Expr) -> torch.SymInt:
        """An integer symbol for an int-valued expression over floats, the same one each time."""
        found = self.integers.get(expr)
        if found is None:
            found = self.integers[expr] = self.shape_env.new_symbol()
        symbol = found.node.expr
        if self.binding(symbol) is None:
            self.rec.bindings[symbol] = expr
        return found

    def as_int(self, value: Any) -> Any:
        return self.integer(Expr("int", (scalar_of(value),), "int")) if isinstance(value, SYMBOLIC) else int(value)

    def binding(self, symbol: Any) -> Any:
        for rec in self.rec.chain():
            if symbol in rec.bindings:
                return rec.bindings[symbol]
        return None

    def bind_sizes(self, val: Val) -> None:
        """Defines the fresh symbols of a new tensor's sizes by reading them off the tensor."""
        for dim, size in enumerate(val.fake.shape):
            if isinstance(size, torch.SymInt):
                symbol = size.node.expr
                if isinstance(symbol, sympy.Symbol) and self.binding(symbol) is None:
                    scalar = self.new_scalar("int", "size")
                    scalar.fake = size
                    self.shape_env.bound(symbol, 0, None)
                    self.recorder.append(torch.ops.aten.sym_size.int, (val.fake, dim), {}, [scalar], True, False)
                    self.rec.bindings[symbol] = scalar

    def value(self, t: torch.Tensor) -> Val | Weight:
        """The program's value for a tensor that the user's code holds."""
        fake = self.weights.fake(t)
        weight = self.weights.by_fake.get(id(fake))
        if weight is not None:
            return weight
        val = self.vals.get(id(fake))
        if val is None or val.fake is not fake:
            self.refuse("DY901", "a tensor that capture did not see being made", "it was made behind torch's Python interface",
                        "make it with a torch function")
        if not self.rec.sees(val.rec):
            self.refuse("DY902", f"a tensor from {val.span} is used where only one of several paths defined it",
                        "it is kept in a place that capture does not watch", "return it or keep it in a local variable or attribute")
        return val

    def check_visible(self, scalar: Any) -> None:
        if isinstance(scalar, Val) and not self.rec.sees(scalar.rec):
            self.refuse("DY902", f"a number from {scalar.span} is used where only one of several paths defined it",
                        "it is kept in a place that capture does not watch", "return it or keep it in a local variable or attribute")
        if isinstance(scalar, Expr):
            for a in scalar.args:
                self.check_visible(a)
        elif isinstance(scalar, sympy.Basic):
            for symbol in scalar.free_symbols:
                bound = self.binding(symbol)
                if bound is None:
                    self.refuse("DY902", f"a size or number ({symbol}) is used where only one of several paths defined it",
                                "it is kept in a place that capture does not watch",
                                "return it or keep it in a local variable or attribute")

    # ---- refusals --------------------------------------------------------------------------------------------------

    def user_frame(self) -> Any:
        frame = sys._getframe(1)
        while frame is not None and not is_user(frame.f_code):
            frame = frame.f_back
        return frame

    def span(self) -> Span:
        frame = self.user_frame()
        return span_of(frame) if frame is not None else UNKNOWN

    def refuse(self, code: str, found: str, why: str, remedy: str, span: Span | None = None) -> NoReturn:
        self.mark_stack()  # marked code may know what to do here
        raise CaptureError(Diagnostic(code, span or self.span(), found, why, remedy))

    def text_of(self, node: Any) -> str:
        return self.refuse("DY207", "a number known only at run time is turned into text", "the text would hold a symbol's name",
                           "format it outside the model, or return the number")

    def split_constants(self, scalar: Any) -> None:
        """A number that torch must know is a join of constants: such paths are kept apart, and the capture starts over."""
        if isinstance(scalar, sympy.Symbol):
            scalar = self.binding(scalar)
        if isinstance(scalar, Val) and scalar in self.constant_joins:
            self.apart.add(self.constant_joins[scalar])
            raise Restart

    def concretise(self, node: Any, kind: str) -> Any:
        if node is not None:
            self.split_constants(node.expr)
        return self.refuse("DY208", f"Python asks for the {kind} behind a number known only at run time",
                           "C code and Python's own data types need the value now",
                           "use torch or arithmetic on it, or make it a fixed argument")

    def known_int(self, value: Any) -> int | None:
        if isinstance(value, int):
            return value
        scalar = scalar_of(value)
        found = scalar if isinstance(scalar, int) else self.shape_env.known(scalar)
        return None if found is None else int(found)

    def concretise_int(self, expr: Any) -> int:
        found = self.shape_env.known(expr)
        if found is not None:
            return int(found)
        self.split_constants(expr)
        return self.concretise(None, "int")

    # ---- replay and decisions -------------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        return self.step == len(self.path) - 1 and self.cursor == len(self.rec.log)

    def advance(self) -> None:
        self.step += 1
        self.rec = self.path[self.step]
        self.cursor = 0

    def next_event(self, name: str, key: tuple[Any, ...]) -> Event | None:
        """The logged event, or None when the call must be made."""
        if self.cursor < len(self.rec.log):
            event = self.rec.log[self.cursor]
            if event.name != name or len(event.key) != len(key):
                raise Diverged(f"replay diverged at {self.span()}: {name} where {event.name} ran before")
            self.cursor += 1
            return event
        if self.step < len(self.path) - 1:
            if self.rec.partial is None:
                raise Diverged(f"replay diverged at {self.span()}: {name} after the end of {self.rec}")
            return self._resume_event(name)
        return None

    def _resume_event(self, name: str) -> Event | None:
        """A torch call forked before it ended: its event stands at the start of the record where it ended, if it did."""
        last = self.step
        while last < len(self.path) - 1 and self.path[last].partial is not None and (last == self.step or not self.path[last].log):
            last += 1
        target = self.path[last]
        if not target.log:
            self.partial = list(self.path[last - 1].partial or [])
            return None
        if target.log[0].name != name:
            raise Diverged(f"replay diverged at {self.span()}: {name} where {target.log[0].name} ran before")
        self.step, self.rec, self.cursor = last, target, 1
        return target.log[0]

    def fact(self, predicate: Any) -> bool | None:
        """The value of a predicate where the path fixes it."""
        if isinstance(predicate, bool):
            return predicate
        if isinstance(predicate, sympy.Basic):
            found = self.shape_env.known(predicate)
            return None if found is None else bool(found)
        if isinstance(predicate, Expr) and predicate.op == "not_":
            inner = self.fact(predicate.args[0])
            return None if inner is None else not inner
        if isinstance(predicate, Expr) and predicate.op == "bool":
            inner = predicate.args[0]
            if isinstance(inner, (Val, Expr)) and inner.kind == "bool":
                return self.fact(inner)
        return next((truth for p, truth in self.facts() if p is predicate), None)

    def decide(self, predicate: Any) -> bool:
        """The truth of a predicate on this path; forks where the path does not say."""
        if self.finished:
            raise GuardOnDataDependentSymNode(predicate, "the program is captured: nothing more is decided")
        if self.making:
            return isinstance(predicate, sympy.Ne)  # torch asks whether a size is 0 or 1: it may be any
        self.check_alive()
        known = self.fact(predicate)
        if known is not None:
            return known
        if self.cursor < len(self.rec.log):
            raise Diverged(f"replay diverged at {self.span()}: a decision where {self.rec.log[self.cursor].name} ran before")
        if self.step < len(self.path) - 1:
            exit = self.rec.exit
            if not isinstance(exit, ForkExit):
                raise Diverged(f"replay diverged at {self.span()}: a decision that was not there")
            taken = self.path[self.step + 1] is exit.then.rec
            self.advance()
            return taken
        self.check_visible(predicate)
        self.mark_stack()
        text, span = self.source_text()
        yes, no = self.fork_rec(), self.fork_rec()
        yes.facts.append((predicate, True))
        no.facts.append((predicate, False))
        self.rec.exit = ForkExit(predicate, To(yes), To(no), text, span)
        self.tasks.append([*self.path, no])
        self.path = [*self.path, yes]
        self.advance()
        return True

    def fork_rec(self) -> Rec:
        rec = self.new_rec(self.rec)
        if self.recorder.in_event is not None:
            self.rec.partial = list(self.recorder.in_event)
        rec.span = self.rec.span
        return rec

    def choose(self, index: Any, count: int) -> int:
        """Which of 0..count-1 a symbolic index is on this path, negative indices counted from the end; `count` when outside."""
        return self.pick(index, [(i, i - count) for i in range(count)])

    def pick(self, number: Any, groups: list[tuple[int, ...]]) -> int:
        """Which group of values a symbolic integer is in on this path, len(groups) for none; a switch where the path does not say."""
        self.check_alive()
        scalar = cast(Any, scalar_of(number))
        none = len(groups)
        if isinstance(scalar, int):
            return next((n for n, group in enumerate(groups) if scalar in group), none)
        here = [sympy.Or(*(sympy.Eq(scalar, k) for k in group)) for group in groups]
        outside = sympy.And(*(sympy.Ne(scalar, k) for group in groups for k in group))
        found = next((n for n, fact in enumerate([*here, outside]) if self.shape_env.known(fact)), None)
        if found is not None:
            return found
        if self.cursor < len(self.rec.log):
            raise Diverged("replay diverged at a switch")
        if self.step < len(self.path) - 1:
            exit = self.rec.exit
            if not isinstance(exit, CaseExit):
                raise Diverged("replay diverged: a switch that was not there")
            target = self.path[self.step + 1]
            taken = next((n for value, to in exit.cases if to.rec is target for n, group in enumerate(groups) if value in group), none)
            self.advance()
            return taken
        self.check_visible(scalar)
        self.mark_stack()
        text, span = self.source_text()
        cases: list[tuple[int, To]] = []
        first: int | None = None
        for n, group in enumerate(groups):
            keys = [k for k in group if self.shape_env.known(sympy.Eq(scalar, k)) is not False]
            if keys:
                rec = self.fork_rec()
                rec.facts += [(here[n], True)] if len(keys) > 1 else [(sympy.Eq(scalar, keys[0]), True), (here[n], True)]
                cases += [(k, To(rec)) for k in keys]
                first = n if first is None else first
        if first is None:
            return none
        default = None
        low, high = min(k for g in groups for k in g), max(k for g in groups for k in g)
        whole = len({k for g in groups for k in g}) == high - low + 1
        if not (whole and self.shape_env.known(sympy.And(scalar >= low, scalar <= high)) is True):
            rec = self.fork_rec()
            rec.facts.append((outside, True))
            default = To(rec)
            self.tasks.append([*self.path, rec])
        self.rec.exit = CaseExit(scalar, cases, default, text, span)
        start = cases[0][1].rec
        for rec in reversed(list(dict.fromkeys(to.rec for _, to in cases if to.rec is not start))):
            self.tasks.append([*self.path, rec])
        self.path = [*self.path, start]
        self.advance()
        return first

    def expect(self, predicate: Any) -> bool:
        """A condition that torch needs: a run for which it fails raises at run time."""
        if self.finished:
            return True
        if not self.making:
            self.check_alive()
        known = self.fact(predicate)
        if known is not None:
            return known
        if self.making:
            return True
        if isinstance(predicate, sympy.Basic) and any(self.binding(s) is None for s in predicate.free_symbols):
            self.rec.facts.append((predicate, True))  # what torch says of a result that is still being made
            return True
        if self.step < len(self.path) - 1:
            if self.cursor < len(self.rec.log) or not isinstance(self.rec.exit, ForkExit):
                raise Diverged("replay diverged at a size condition")
            self.advance()
            return True
        self.check_visible(predicate)
        text, span = self.source_text()
        yes, no = self.fork_rec(), self.fork_rec()
        yes.facts.append((predicate, True))
        no.exit = RaiseExit("builtins:RuntimeError", (f"the sizes do not fit: {predicate} does not hold at {span}",), (), span)
        self.rec.exit = ForkExit(predicate, To(yes), To(no), text, span)
        self.path = [*self.path, yes]
        self.advance()
        return True

    def source_text(self) -> tuple[str, Span]:
        frame = self.user_frame()
        if frame is None:
            return "", UNKNOWN
        span = span_of(frame)
        line = linecache.getline(span.file, span.line)
        text = line[span.col:span.end_col] if span.end_line == span.line and span.end_col else line.strip()
        return text.strip(), span

    # ---- instrumentation --------------------------------------------------------------------------------------------

    def mark_stack(self) -> None:
        """Rewrites the functions on the stack at a fork that are not marked yet, and starts over."""
        self.mark_frames(frames(sys._getframe(1), self.root_frame))

    def mark_frames(self, running: Iterable[Any]) -> None:
        fresh = {f.f_code for f in running if can_mark(f.f_code) and f.f_code not in self.tried and not self.is_marked(f.f_code)}
        if fresh:
            self.rewrite(fresh)
            raise Restart

    def is_marked(self, code: types.CodeType) -> bool:
        return any(k is self for k in code.co_consts)

    def rewrite(self, codes: set[types.CodeType]) -> None:
        self.tried |= codes
        for filename in {c.co_filename for c in codes}:
            mine = {c for c in self.tried if c.co_filename == filename}
            lines = linecache.getlines(filename)
            if not lines:
                continue
            try:
                twins = instrument(self.markers, "".join(lines), filename, mine)
            except SyntaxError:
                continue
            bound = {code: bind(twin, self) for code, twin in twins.items()}
            now = {old: code for code in bound for old in (code, *(f.__code__ for f, original in self.swapped if original is code))}
            swapped = {id(f) for f, _ in self.swapped}
            for function in gc.get_referrers(*now):
                code = now.get(function.__code__) if isinstance(function, types.FunctionType) else None
                if code is not None:
                    if id(function) not in swapped:
                        self.swapped.append((function, code))
                    function.__code__ = bound[code]

    def unmark(self) -> None:
        """Gives every function its own code back."""
        for function, code in self.swapped:
            function.__code__ = code
        self.swapped = []

    # ---- markers: called by rewritten code ----------------------------------------------------------------------------

    def enter(self, site_uid: int) -> None:
        self.check_alive()
        site = self.markers.sites[site_uid]
        frame = sys._getframe(1)
        parent = self._unwind(frame.f_back)
        if parent is None:
            prefix: tuple[int, ...] = (len(self.activations),)
        else:
            parent.calls += 1
            prefix = (*parent.prefix, *(n for pair in parent.loops for n in pair), parent.last, parent.calls)
        if sum(a.function == site.function for a in self.activations) > MAX_RECURSION and self.rec is not self.path[0]:
            self.refuse("DY320", f"`{frame.f_code.co_name}` calls itself more than {MAX_RECURSION} deep",
                        "how deep may depend on data, and a program has no call stack", "write it as a loop",
                        Span(frame.f_code.co_filename, frame.f_code.co_firstlineno))
        self.activations.append(Activation(frame, site.function, prefix, self.rec, {site.depth: self.rec}))

    def _unwind(self, frame: Any) -> Activation | None:
        """Drops the activations that have ended; the innermost that `frame` runs in."""
        running = set()
        while frame is not None:
            running.add(id(frame))
            frame = frame.f_back
        while self.activations and id(self.activations[-1].frame) not in running:
            self.activations.pop()
        return self.activations[-1] if self.activations else None

    def _here(self, site: Site, frame: Any) -> Activation:
        while self.activations[-1].frame is not frame:
            self.activations.pop()
        act = self.activations[-1]
        if any(p[0] not in site.loops for p in act.loops):
            act.loops = [p for p in act.loops if p[0] in site.loops]
        act.last, act.calls = site.uid, 0
        return act

    def at(self, site_uid: int) -> None:
        site = self.markers.sites[site_uid]
        act = self._here(site, sys._getframe(1))
        act.starts[site.depth] = self.rec

    def mark(self, site_uid: int) -> dict[str, Any] | None:
        site = self.markers.sites[site_uid]
        act = self._here(site, sys._getframe(1))
        start = act.starts.get(site.depth, act.entry)
        if self.rec is start:
            return None
        pending = self._pending(act) if act.pending else None
        new = self.join(act.position(site.uid, site.loops), start, site, act, {}, pending=pending)
        act.starts[site.depth] = self.rec
        return new if pending is None else {**pending, **(new or {})}

    def begin(self) -> Rec:
        return self.rec

    def either(self, site_uid: int, start: Rec, value: Any) -> Any:
        site = self.markers.sites[site_uid]
        act = self._here(site, sys._getframe(1))
        if self.rec is start:
            return value
        new = self.join(act.position(site.uid, site.loops), start, site, act, {"dync value": value})
        return new["dync value"] if new else value

    def give(self, site_uid: int, value: Any) -> Any:
        site = self.markers.sites[site_uid]
        frame = sys._getframe(1)
        act = self._here(site, frame)
        if self.rec is act.entry or len(self.activations) == 1:
            return value
        new = self.join((*act.prefix, sys.maxsize), act.entry, site, act, {"dync value": value}, leaving=True)
        return new["dync value"] if new else value

    def loop_over(self, site_uid: int, iterable: Any) -> Any:
        tensor = isinstance(iterable, torch.Tensor) and iterable.dim() > 0
        rows = iterable if tensor and isinstance(iterable.shape[0], torch.SymInt) else None
        if rows is not None:
            known = self.known_int(rows.shape[0])
            iterable = SymRange(0, rows.shape[0], 1) if known is None else iterable
        if not isinstance(iterable, (range, SymRange)):
            return iterable
        site = self.markers.sites[site_uid]
        plan = self.plans.get(self.loop_key(site))
        if isinstance(iterable, SymRange) and plan is None:
            plan = self.plans[self.loop_key(site)] = Plan()
        if plan is None or (not plan.rolled and isinstance(iterable, range)):
            return iterable
        frame = sys._getframe(1)
        act = self._here(site, frame)
        act.symbolic.add(site_uid)
        return LoopIter(Turn(lambda it: self.turn(site, frame, it)), iterable, rows)

    def loop_key(self, site: Site) -> tuple[str, int]:
        return (self.markers.functions[site.function], site.line)

    def turn(self, site: Site, frame: Any, it: LoopIter) -> None:
        """The head of a for loop over a symbolic range: the body's marker writes back."""
        act = self._unwind(frame)
        assert act is not None and act.frame is frame
        new = self._head(site, act, site.uid, {"dync turn": it})
        act.pending.update(new or {})

    def head(self, site_uid: int) -> dict[str, Any] | None:
        self.check_alive()
        site = self.markers.sites[site_uid]
        act = self._here(site, sys._getframe(1))
        if site.loops[-1] in act.symbolic:
            act.starts[site.depth] = self.rec
            for name in site.targets:
                act.pending.pop(name, None)
            return self._pending(act)
        return self._head(site, act, site.loops[-1], {})

    def _pending(self, act: Activation) -> dict[str, Any] | None:
        new, act.pending = act.pending, {}
        return new or None

    def resume(self, site_uid: int) -> dict[str, Any] | None:
        site = self.markers.sites[site_uid]
        act = self._here(site, sys._getframe(1))
        act.starts[site.depth] = self.rec
        return self._pending(act)

    def _head(self, site: Site, act: Activation, loop: int, extra: dict[str, Any]) -> dict[str, Any] | None:
        loops = site.loops if site.loops and site.loops[-1] == loop else (*site.loops, loop)
        act.loops = [p for p in act.loops if p[0] in loops]
        if act.loops and act.loops[-1][0] == loop:
            act.loops[-1][1] += 1
        else:
            act.loops.append([loop, 1])
            act.heads[loop] = self.rec
        turn = act.loops[-1][1]
        position = act.position(site.uid, loops)
        new: dict[str, Any] = {}
        plan = self.plans.get(self.loop_key(self.markers.sites[loop])) if self.joins else None
        if plan is not None and plan.rolled and turn == plan.peel + 2:
            self.close_turn(plan, act, site, extra, loop)
        if act.heads[loop] is not self.rec:
            new.update(self.join(position, act.heads[loop], site, act, extra) or {})
        if plan is None and turn > (WHILE_TURNS if site.kind == "while" else FOR_TURNS) and act.heads[loop] is not self.rec and self.joins:
            self.plans[self.loop_key(self.markers.sites[loop])] = Plan()
            raise Restart
        if turn > MAX_TURNS:
            self.refuse("DY310", f"this loop goes on for more than {MAX_TURNS} turns", plan.reason if plan else "its end depends on data",
                        "keep the loop's variables of one type and shape, tensors or numbers",
                        Span(act.frame.f_code.co_filename, site.line))
        if plan is not None and plan.rolled and turn == plan.peel + 1:
            new.update(self.open_loop(plan, act, site, extra, loop, position, new) or {})
        act.heads[loop] = act.starts[site.depth] = self.rec
        return new or None

    def open_loop(self, plan: Plan, act: Activation, site: Site, extra: dict[str, Any], loop: int, position: tuple[int, ...],
                  pending: dict[str, Any]) -> dict[str, Any] | None:
        with torch._C.DisableTorchFunction():
            key = (position, "header")
            if not self.live:
                if self.cursor < len(self.rec.log) or not isinstance(self.rec.exit, JumpExit) or self.rec.exit.to.rec.pending != key:
                    raise Diverged("replay diverged at a loop's head")
                self.advance()
                new = self._write_back(self.rec.state, site, act, extra, False, pending)
            else:
                self.note_writes()
                image = take(self.roots(site, act, extra, False, pending), self.heap, self.value)
                header, _, positions = open_header(self, plan, image, key)
                self.headers[header] = positions
                self.path = [*self.path, header]
                self.advance()
                new = self._write_back(header.state, site, act, extra, False, pending)
            self.check_header(plan, act, site, extra, loop, {**pending, **(new or {})})
            return new

    def check_header(self, plan: Plan, act: Activation, site: Site, extra: dict[str, Any], loop: int, new: dict[str, Any]) -> None:
        roots = self.roots(site, act, extra, False)
        roots.own.update({n: v for n, v in new.items() if n in roots.own})
        act.headers[loop] = Header(self.rec, take(roots, self.heap, self.value), self.headers[self.rec])

    def close_turn(self, plan: Plan, act: Activation, site: Site, extra: dict[str, Any], loop: int) -> None:
        self.check_alive()
        if not self.live:
            raise Diverged("replay diverged at a loop's end")
        with torch._C.DisableTorchFunction():
            self.note_writes()
            image = take(self.roots(site, act, extra, False), self.heap, self.value)
            reason = close(self, plan, act.headers[loop], image)
        if reason == "":
            self.dead = True
            raise Suspended
        if reason is not None:
            plan.peel += 1
            plan.widened.clear()
            plan.reason = reason
            if plan.peel > MAX_PEEL:
                plan.rolled = False
                if loop in act.symbolic:
                    self.refuse("DY312", "this loop cannot be compiled as a loop", reason,
                                "keep the loop's variables of one type and shape, tensors or numbers",
                                Span(act.frame.f_code.co_filename, site.line))
        raise Restart

    def same_at(self, header: Rec, old: Any, new: Any) -> bool:
        """Whether a leaf is unchanged since the header."""
        return leaf_key(old) == leaf_key(new)

    def may_copy(self, leaf: Any) -> bool:
        """Whether a tensor may be copied where paths join: nothing writes to its memory in place."""
        fake = self.weights.fake(leaf.raw)
        return fake.untyped_storage()._cdata not in self.mutated and getattr(leaf.value, "span", UNKNOWN) not in self.unfoldable

    def in_layout(self, rec: Rec, leaf: Any, wanted: Any) -> Any:
        """The leaf's value as an argument to a parameter like `wanted`: a contiguous copy at the end of `rec` where layouts differ."""
        if leaf.kind != "tensor" or layout(leaf.raw) == layout(wanted):
            return leaf.value
        fake = self.weights.fake(leaf.raw)
        before, self.rec = self.rec, rec
        copy = self.new_tensor(self.made(list(fake.shape), fake, dense=True), "contiguous", getattr(leaf.value, "span", UNKNOWN))
        self.rec = before
        packed = {"memory_format": torch.contiguous_format}
        rec.ops.append(Op(torch.ops.aten.clone.default, (leaf.value,), packed, (copy,), True, copy.span, False))
        for storage in (fake.untyped_storage()._cdata, wanted.untyped_storage()._cdata):
            self.folded[storage] = copy.span
        return copy

    def loop_param(self, leaf: Any, dims: set[int], dense: bool) -> Any:
        """A parameter of a loop's header, any size in `dims`."""
        if leaf.kind == "tensor":
            fake = self.weights.fake(leaf.raw)
            shape = [self.shape_env.new_symbol(0) if d in dims else s for d, s in enumerate(fake.shape)]
            made = self.made(shape, fake, dense)
            val = self.new_tensor(made, "loop", getattr(leaf.value, "span", UNKNOWN))
            val.name = leaf.where
            self.rec.params.append(val)
            return made
        val = self.new_scalar(leaf.kind, "loop")
        val.name = leaf.where.removeprefix("dync ")
        self.rec.params.append(val)
        return self.symbolic(val)

    def is_(self, value: Any, constant: bool, negate: bool) -> bool:
        truth = self.decide(scalar_of(value)) is constant if isinstance(value, torch.SymBool) else value is constant
        return truth is not negate

    def getitem(self, container: Any, index: Any) -> Any:
        if isinstance(container, torch.Tensor):
            return container[index]
        sequence = isinstance(container, (list, tuple, str, torch.nn.ModuleList, torch.nn.Sequential, torch.nn.ParameterList))
        if sequence and isinstance(index, torch.Tensor):
            index = index.item()
        if sequence and isinstance(index, torch.SymInt):
            return self.of_model(lambda: container[self.choose(index, len(container))])
        if isinstance(container, (dict, torch.nn.ModuleDict)) and isinstance(index, (torch.SymInt, SymText)):
            if isinstance(index, SymText) and (index.vague or index.number() is None):
                return self.text_of(index)
            keys: list[Any] = [k for k in container.keys() if isinstance(k, str if isinstance(index, SymText) else int)]
            values = [index.number_in(k) for k in keys] if isinstance(index, SymText) else keys
            fitting = [(k, v) for k, v in zip(keys, values) if v is not None]
            n = self.pick(index.number() if isinstance(index, SymText) else index, [(v,) for _, v in fitting])
            return self.of_model(lambda: container[fitting[n][0] if n < len(fitting) else "a number known only at run time"])
        return container[index]

    def text(self, *parts: Any) -> Any:
        """An f-string: (value, conversion, format) or literal text a part."""
        return join(self, [p if isinstance(p, str) else formatted(self, *p) for p in parts])

    def format(self, pattern: str, *args: Any, **kwargs: Any) -> Any:
        """`pattern.format(...)`."""
        if not any(isinstance(a, (torch.Tensor, SymText, *SYMBOLIC)) for a in (*args, *kwargs.values())):
            return pattern.format(*args, **kwargs)
        pieces: list[Any] = []
        formatter, automatic = string.Formatter(), iter(range(len(args)))
        for literal, name, spec, conversion in formatter.parse(pattern):
            pieces.append(literal)
            if name is not None:
                value, _ = formatter.get_field(name or str(next(automatic)), args, kwargs)
                pieces.append(formatted(self, value, ord(conversion) if conversion else -1, spec or ""))
        return join(self, pieces)

    def print(self, *items: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False) -> None:
        """`print` by the model: done at run time, in its place."""
        self.check_alive()
        frame = sys._getframe(1)
        if not is_user(frame.f_code) or is_library(frame.f_code):
            self.original_print(*items, sep=sep, end=end, file=file, flush=flush)
            return
        event = self.next_event("print", ("print",))
        if event is None:
            if file not in (None, sys.stdout):
                self.refuse("DY211", "the model prints to a file", "files are opened by the process that runs the artifact",
                            "print to standard output")
            texts = [formatted(self, i, ord("s") if not isinstance(i, torch.Tensor) else -1, "") for i in items]
            whole = join(self, [p for n, t in enumerate(texts) for p in ((" " if sep is None else sep, t) if n else (t,))])
            scalar = whole.exact() if isinstance(whole, SymText) else whole
            self.check_visible(scalar)
            self.rec.ops.append(Op("print", (Use(scalar), "\n" if end is None else end), {}, (), True, self.span(), True))
            self.rec.log.append(Event("print", ("print",), None))
            self.cursor += 1

    def of_model(self, read: Any) -> Any:
        """Does what the user's code asked for; an exception is the model's own."""
        try:
            return read()
        except (IndexError, KeyError) as error:
            error.__dict__["dync_of_model"] = True
            raise

    def builtin(self, function: Any) -> Any:
        from dync.capture.builtins import twin

        return twin(self, function)

    # ---- joins ---------------------------------------------------------------------------------------------------------

    def roots(self, site: Site, act: Activation, extra: dict[str, Any], leaving: bool, pending: dict[str, Any] | None = None) -> Roots:
        local = act.frame.f_locals
        own = {**extra} if leaving or site.kind == "value" else {**{n: local[n] for n in site.live if n in local}, **extra}
        own.update({n: v for n, v in (pending or {}).items() if n in site.live})
        around = frames(act.frame if site.kind == "value" else act.frame.f_back, self.root_frame)
        outer = [self.reachable(f) for f in around if is_user(f.f_code) or f.f_code.co_filename.startswith(NN)]
        return Roots(own, outer, self.written)

    def reachable(self, frame: Any) -> dict[str, Any]:
        """The locals of a frame that its code may still read."""
        names = {k: v for k, v in frame.f_locals.items() if not k.startswith("dync_")}
        act = next((a for a in self.activations if a.frame is frame), None)
        site = self.markers.sites[act.last] if act is not None else None
        if act is None or site is None or site.function != act.function:
            return names
        return {k: v for k, v in names.items() if k in site.reach}

    def note_writes(self) -> None:
        """Places of the static heap that this run wrote; a new one starts the capture over."""
        fresh = [(n, key) for n, key, _, _ in self.heap.changes() if (n, key) not in self.written and (n, key) not in self.given]
        if fresh:
            self.written.extend(fresh)
            raise Restart

    def join(self, position: tuple[int, ...], start: Rec, site: Site, act: Activation, extra: dict[str, Any], leaving: bool = False,
             pending: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Waits for the other paths here, then goes on as their join. What to write into the frame, if anything."""
        with torch._C.DisableTorchFunction():
            return self._join(position, start, site, act, extra, leaving, pending or {})

    def _join(self, position: tuple[int, ...], start: Rec, site: Site, act: Activation, extra: dict[str, Any], leaving: bool,
              pending: dict[str, Any]) -> dict[str, Any] | None:
        self.check_alive()
        key = (position, start.uid, site.uid if not leaving else -1)
        if self.step < len(self.path) - 1:
            exit = self.rec.exit
            if self.cursor == len(self.rec.log) and isinstance(exit, JumpExit) and exit.to.rec.pending == key:
                self.advance()
                return self._write_back(self.rec.state, site, act, extra, leaving, pending)
            return None
        if self.cursor < len(self.rec.log) or not self.joins:
            return None
        if key in self.rec.released:
            return None
        others = any(start in t for t in self.tasks) or any(
            start in w.path and k[0] < position for k, ws in self.waiting.items() for w in ws)
        mine = self.waiting.get(key, [])
        if not others and not mine:
            return None
        self.note_writes()
        image = take(self.roots(site, act, extra, leaving, pending), self.heap, self.value)
        me = Waiting(self.path, image)
        if others:
            self.waiting.setdefault(key, []).append(me)
            self.dead = True
            raise Suspended
        del self.waiting[key]
        same = [w for w in mine if self.fits(w.image, image, key)]
        rest = [w for w in mine if w not in same]
        self._keep_rest(key, rest, me, site)
        if not same:
            return None
        self.merge([*same, me], key, start)
        self.path = [*self.path, self.path[-1].exit.to.rec]
        self.advance()
        return self._write_back(self.rec.state, site, act, extra, leaving, pending)

    def join_key(self, key: tuple[Any, ...]) -> Any:
        """What names a join in every attempt: the line of its marker."""
        site = self.markers.sites[key[2]] if key[2] >= 0 else None
        return (self.markers.functions[site.function], site.line, site.kind) if site else "return"

    def fits(self, a: Image, b: Image, key: tuple[Any, ...]) -> bool:
        """Whether two paths can join here."""
        place = self.join_key(key)
        return compatible(a, b) and layouts_fit(self, a, b) and not (self.apart and any(
            (place, x.where) in self.apart and leaf_key(x) != leaf_key(y) for x, y in zip(a.leaves, b.leaves)))

    def _keep_rest(self, key: tuple[Any, ...], rest: list[Waiting], other: Waiting, site: Site) -> None:
        """Paths of another structure go on by themselves; those that agree with one another join first."""
        if rest:
            self.last_split = describe_split(rest[0].image, other.image, site)
            self.regroup(key, rest)

    def regroup(self, key: tuple[Any, ...], waiting: list[Waiting]) -> None:
        start = self.records[key[1]]
        while waiting:
            first = waiting[0]
            same = [w for w in waiting if w is first or self.fits(w.image, first.image, key)]
            waiting = [w for w in waiting if w not in same]
            if len(same) > 1:
                self.merge(same, key, start)
                self.tasks.append([*first.path, first.path[-1].exit.to.rec])
            else:
                first.path[-1].released.add(key)
                self.tasks.append(first.path)

    def merge_first(self) -> None:
        """With no task left, the suspended paths that stand earliest in the program go on."""
        key = min(self.waiting, key=lambda k: (k[0], k[1]))
        self.regroup(key, self.waiting.pop(key))

    def merge(self, group: list[Waiting], key: tuple[Any, ...], start: Rec) -> Rec:
        """A join record whose parameters are the leaves that differ."""
        above = group[0].path[-1]
        for w in group[1:]:
            above = common(above, w.path[-1])
        join = self.new_rec(above)
        join.pending = key
        saved, self.rec = self.rec, join
        images = [w.image for w in group]
        new: list[Any] = []
        merged: dict[tuple[Any, ...], Any] = {}
        columns: list[tuple[Any, ...]] = []
        for leaves in zip(*(i.leaves for i in images)):
            values = tuple(leaf_key(leaf) for leaf in leaves)
            if all(v == values[0] for v in values) and self._everywhere(leaves[0], above):
                new.append(MISSING)
                continue
            column = (leaves[0].kind, *values)
            if column not in merged:
                merged[column] = self._param(leaves)
                if all(isinstance(leaf.value, (bool, int, float)) for leaf in leaves):
                    self.constant_joins[join.params[-1]] = (self.join_key(key), leaves[0].where)
                columns.append(leaves)
            new.append(merged[column])
        join.state = (images[0].signature, new)
        for n, w in enumerate(group):
            values = [self.in_layout(w.path[-1], leaves[n], fake) for leaves, fake in zip(columns, merged.values())]
            w.path[-1].exit = JumpExit(To(join, values))
        for val in list(join.params):
            if val.kind == "tensor":
                self.bind_sizes(val)
        self.rec = saved
        return join

    def _everywhere(self, leaf: Any, start: Rec) -> bool:
        """Whether an equal value is visible at the join as it stands."""
        value = leaf.value
        if isinstance(value, Val):
            return start.sees(value.rec)
        if isinstance(value, Expr):
            return all(self._everywhere(Column(a), start) for a in value.args)
        if isinstance(value, sympy.Basic):
            return all(any(s in rec.bindings for rec in start.chain()) for s in value.free_symbols)
        return True

    def _param(self, leaves: tuple[Any, ...]) -> Any:
        first = leaves[0]
        if first.kind == "tensor":
            fakes = [self.weights.fake(leaf.raw) for leaf in leaves]
            shape = [merge_size(self, [f.shape[d] for f in fakes]) for d in range(fakes[0].dim())]
            fake = self.made(shape, fakes[0], dense=len({layout(f) for f in fakes}) > 1)
            val = self.new_tensor(fake, "join", self._where(leaves))
            val.name = first.where
            self.rec.params.append(val)
            return fake
        val = self.new_scalar(first.kind, "join")
        val.name, val.span = first.where, self._where(leaves)
        self.rec.params.append(val)
        low, high = None, None
        if first.kind == "int":
            known: list[Any] = [self.shape_env.known(leaf.value) if isinstance(leaf.value, sympy.Basic) else leaf.value for leaf in leaves]
            if all(isinstance(k, int) for k in known):
                low, high = min(known), max(known)
        symbolic = self.symbolic(val)
        if first.kind == "int" and low is not None:
            self.shape_env.bound(symbolic.node.expr, low, high)
        return symbolic

    def made(self, shape: list[Any], like: Any, dense: bool = False) -> Any:
        """A fake of its own for a parameter: `like`'s layout where sizes are fixed, contiguous where they are not."""
        self.making = True
        try:
            with torch._C.DisableTorchFunction(), _disable_current_modes(), self.fake_mode:
                if dense or any(isinstance(s, torch.SymInt) for s in shape):
                    return torch.empty(shape, dtype=like.dtype, device=like.device)
                return torch.empty_strided(shape, like.stride(), dtype=like.dtype, device=like.device)
        finally:
            self.making = False

    def _where(self, leaves: tuple[Any, ...]) -> Span:
        return next((leaf.value.span for leaf in leaves if isinstance(leaf.value, Val)), UNKNOWN)

    def _write_back(self, state: Any, site: Site, act: Activation, extra: dict[str, Any], leaving: bool,
                    pending: dict[str, Any] | None = None) -> dict[str, Any] | None:
        signature, new = state
        roots = self.roots(site, act, extra, leaving, pending)
        own, found = substitute(roots, self.heap, self.loose_value, new)
        if found != signature:
            raise Diverged(f"replay diverged at a join: {describe_difference(found, signature)}")
        changed = {n: v for n, v in own.items() if v is not roots.own[n]}
        act.starts[site.depth] = self.rec
        return changed or None

    def loose_value(self, t: torch.Tensor) -> Any:
        """`value` without the visibility check: a picture taken while entering a join still holds one branch's tensors."""
        fake = self.weights.fake(t)
        return self.weights.by_fake.get(id(fake)) or self.vals[id(fake)]

    @contextlib.contextmanager
    def modes_on(self) -> Any:
        with DispatchMode(self):
            yield

    def function_mode(self) -> FunctionMode:
        return FunctionMode(self)

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        return self.recorder.call(func, args, kwargs)

    root_frame: Any = None
    original_print: Any = print
    finished = False
    """Set when the program is out: its fakes may be asked about their sizes, but nothing forks any more."""
    making = False
    """While a parameter's fake is made: its sizes fit by construction."""

    def __repr__(self) -> str:
        return DOOR


@dataclass
class Column:
    value: Any


def common(a: Rec, b: Rec) -> Rec:
    """The nearest record that surely ran before both."""
    while a is not b:
        if a.depth >= b.depth:
            assert a.above is not None
            a = a.above
        else:
            assert b.above is not None
            b = b.above
    return a


def leaf_key(leaf: Any) -> Any:
    v = leaf.value
    return (type(v), repr(v)) if isinstance(v, float) else (type(v), v) if isinstance(v, (bool, int)) else v


def merge_size(engine: Engine, sizes: list[Any]) -> Any:
    if all(isinstance(s, int) for s in sizes) and len(set(sizes)) == 1:
        return sizes[0]
    exprs: list[Any] = [scalar_of(s) for s in sizes]
    if all(e == exprs[0] for e in exprs) and not isinstance(exprs[0], int) and all(
            any(sym in rec.bindings for rec in engine.rec.chain()) for sym in exprs[0].free_symbols):
        return sizes[0]
    return engine.shape_env.new_symbol(0)


def compatible(a: Image, b: Image) -> bool:
    """Whether two paths can join: one structure, and nothing differs that could not be written back."""
    return a.signature == b.signature and all(not x.fixed or leaf_key(x) == leaf_key(y) for x, y in zip(a.leaves, b.leaves))


def layouts_fit(engine: Engine, a: Image, b: Image) -> bool:
    """Whether tensors that differ between two paths have one layout, or may be copied into one."""
    return all(x.kind != "tensor" or leaf_key(x) == leaf_key(y) or layout(x.raw) == layout(y.raw)
               or (engine.may_copy(x) and engine.may_copy(y)) for x, y in zip(a.leaves, b.leaves))


def describe_difference(a: tuple[Any, ...], b: tuple[Any, ...]) -> str:
    n = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return f"{a[max(0, n - 2):n + 1]} against {b[max(0, n - 2):n + 1]}"


def describe_split(a: Image, b: Image, site: Site) -> str:
    name = ""
    for x, y in zip(a.signature, b.signature):
        if isinstance(x, str):
            name = x
        if x != y:
            break
    return f"after line {site.line}, {name or 'a value'!r} differs in structure between paths"


__all__ = ["Diverged", "Engine", "Restart", "Suspended"]
