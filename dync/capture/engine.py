"""Marked, multi-shot symbolic re-execution: run the model's real Python on fakes, fork by running again, join at markers.

A *record* is a block under construction. A run follows a path of records: it replays their logs, and goes on live in the
last. At a decision the path does not fix, the record ends in a fork; one side goes on, the other becomes a task. At a
marker behind a fork, a run is suspended until every path that could get there has; then paths with equal pictures join.
"""

from __future__ import annotations

import collections
import contextlib
import sys
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.hooks import RemovableHandle

from dync.capture.expressions import Expressions
from dync.capture.heap import StaticHeap
from dync.capture.markers import DOOR, Markers
from dync.capture.memory import Memory
from dync.capture.recorder import DispatchMode, FunctionMode, Recorder
from dync.capture.replay import Diverged, Suspended
from dync.capture.scalars import Expr
from dync.capture.shapes import PathShapeEnv
from dync.capture.stack import Halted, Restart
from dync.capture.tape import Rec
from dync.capture.weights import Weights


class Engine(Expressions):
    """One capture. `attempt` is called until nothing new is learnt; then `order` holds the records."""

    restarts = 0

    def __init__(self, heap: StaticHeap, weights: Weights, joins: bool = True) -> None:
        self.heap, self.weights, self.joins = heap, weights, joins
        self.markers = Markers()
        self.swapped = []
        self.tried, self.by_name = set(), set()
        self.siblings = {}
        self.problems = {}
        self.written = []
        self.plans = {}
        self.wider = {}
        self.grown, self.ungrown, self.needed, self.loose, self.loose_texts = {}, {}, set(), set(), set()
        self.apart, self.plain_calls, self.origins, self.disordered, self.ordered = set(), set(), {}, set(), set()
        self.identities = False
        self.unfoldable, self.forking, self.watched = set(), set(), set()
        self.split, self.comprehensions = set(), {}
        self.given = set()
        self.next_handle = RemovableHandle.next_id
        self.pooled, self.attribute_names, self.kept_lists, self.same_pool = {}, {}, set(), {}
        self.dict_births, self.young_births, self.list_births, self.list_pools = set(), set(), set(), {}
        self.pools, self.segments, self.row_classes = {}, {}, {}
        self.recorder = Recorder(self)

    def attempt(self, start: Any, root: Any) -> list[Rec]:
        """All records of the program.

        `start(engine, entry)` makes the inputs and says where to begin; `root()` runs the model and ends its record.
        """
        self.learn_wider()
        Expr.forget()
        self.shape_env = PathShapeEnv(self)
        self.fake_mode = FakeTensorMode(shape_env=self.shape_env, allow_non_fake_inputs=True)
        self.fake_mode.cache_enabled = False
        self.weights.start(self.fake_mode)
        self.vals, self.changed, self.stale, self.assigned, self.assigned_weights = {}, {}, {}, {}, set()
        self.integers = {}
        self.splits, self.indexed = collections.Counter(), {}
        self.lengths = {}
        self.constant_joins, self.wordings = {}, {}
        self.made_by = {}
        self.uids = 0
        self.records = []
        self.waiting, self.passed, self.paths_apart = {}, set(), 0
        self.headers = {}
        self.floors = {}
        entry = self.new_rec(None)
        self.memory = Memory(entry, self.start_over, self.written_item)
        self.rec, self.path, self.step, self.cursor = entry, [entry], 0, 0
        self.partial = []
        self.dead = self.doubtful = False
        self.ended = None
        self.problems = {}
        self.root_frame = sys._getframe()  # no code of the model's runs before the model is called
        self.tasks = start(self, entry)
        while self.tasks or self.waiting or self.wider:
            if self.wider and not self.tasks:
                self.start_again()
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
        self.dead = self.doubtful = False
        self.activations, self.generators, self.born = [], {}, {}
        self.pools, self.segments = {}, {}
        RemovableHandle.next_id = self.next_handle  # hooks that forward sets have the same numbers in each run
        try:
            root()
        except Suspended:
            pass
        finally:
            self.activations, self.generators, self.born = [], {}, {}
            self.pools, self.segments = {}, {}
            self.give_back()
            self.heap.restore()
        if self.ended is not None:
            raise self.ended
        if self.step < len(self.path) - 1 or self.rec.exit is None and not self.dead:
            raise Diverged(f"replay diverged: run ended in {self.rec} of {self.path}")

    def give_back(self) -> None:
        """Tensors stand for their own values again."""
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            for one in self.changed.values():
                one.tensor.data, self.vals[id(one.tensor)] = one.before, one.val
        self.changed.clear()
        self.stale.clear()

    def finish(self) -> None:
        """Answers questions about the program's sizes from here on, and lets go of all tensors.

        Their sizes are C++ objects that lead back to the engine: Python's collector does not see such circles.
        """
        self.finished = True
        if not self.runs:
            return
        self.vals, self.made_by, self.integers, self.headers, self.waiting, self.tasks = {}, {}, {}, {}, {}, []
        self.records, self.rec = [], Rec(0, None)
        self.path, self.partial, self.activations, self.generators, self.born = [self.rec], [], [], {}, {}
        self.pools, self.segments, self.row_classes = {}, {}, {}
        self.memory = Memory(self.rec, self.start_over, self.written_item)
        self.recorder = Recorder(self)
        self.forced = None
        self.shape_env.kept.clear()
        self.shape_env.fake_tensor_cache.clear()

    @contextlib.contextmanager
    def modes_on(self) -> Any:
        with DispatchMode(self):
            yield

    def function_mode(self) -> FunctionMode:
        return FunctionMode(self)

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        return self.recorder.call(func, args, kwargs)

    def __repr__(self) -> str:
        return DOOR


__all__ = ["Diverged", "Engine", "Halted", "Restart", "Suspended"]
