"""Passes and functionalize on captured programs: legal, and to the last bit what the captured program gives."""

import contextlib
import importlib
import io
from functools import cache

import pytest
import torch
from programs import harness

from dync import registry
from dync.ir import interpret
from dync.ir.effects import written
from dync.passes.base import pipeline_text, run_passes
from dync.passes.graph.functionalize import Functional, functionalize

NAMES = (
    "gates:SkipNet",
    "loops:PowerIteration",
    "loops:RangeItemIndex",
    "moe:OneExpertPerCall",
    "decoding:RepetitionPenalty",
    "recursion:TreeLSTM",
    "aliases:BufferView",
    "aliases:InOut",
    "aliases:Chunks",
    "aliases:Expanded",
    "state:BatchNormTraining",
    "state:Codebook",
    "state:RaiseAfterWrite",
    "shapes_:Unique",
    "contexts:Prints",
)


@cache
def captured(name):
    group, _, cls = name.partition(":")
    cls = getattr(importlib.import_module(f"programs.{group}"), cls)
    return cls, harness.capture(cls, harness.load(cls))


def outcome(program, cls, seed):
    """Everything that a run shows: result, error, decisions, arguments and state after it, the next random draw, what it prints."""
    args, kwargs = harness.call_of(cls, seed)
    torch.manual_seed(seed)
    state, text = {}, io.StringIO()
    with contextlib.redirect_stdout(text):
        end = interpret.run(program, args, kwargs, state=state)
    decisions = tuple(d.value for d in end.trace.decisions)
    return list(harness.leaves((end.result, repr(end.error), decisions, args, kwargs, dict(state), torch.rand(1), text.getvalue())))


def assert_same(given, expected):
    assert [k for k, _ in given] == [k for k, _ in expected]
    assert [k for (k, a), (_, b) in zip(given, expected) if not harness.same(a, b)] == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("passes", ["default", "merge,fold{limit=100000},dead-code,common-subexpression,merge"])
def test_passes(name, passes):
    cls, program = captured(name)
    pipeline = registry.pipeline(passes)
    assert registry.pipeline(pipeline_text(pipeline)) == pipeline
    made = run_passes(pipeline, program).program
    for seed in range(3):
        assert_same(outcome(made, cls, seed), outcome(program, cls, seed))


@pytest.mark.parametrize("name", NAMES)
def test_functional_blocks(name, monkeypatch):
    cls, program = captured(name)
    expected = [outcome(program, cls, seed) for seed in range(3)]
    plain, made, ran = interpret.run_graph, {}, []

    def run_functional(graph, inputs, weights):
        inputs = list(inputs)
        found = made.setdefault(graph, functionalize(graph))
        assert isinstance(found, Functional) and not any(written(n) for n in found.graph.nodes)
        ran.append(found.graph is not graph)
        results = plain(found.graph, inputs, weights)
        names = [str(n.target) for n in graph.find_nodes(op="placeholder")]
        for target, index in found.copies:
            (inputs[names.index(target)] if target in names else weights[target]).copy_(results[index])
        return results[: len(graph.output_node().args[0])]

    monkeypatch.setattr(interpret, "run_graph", run_functional)
    for seed in range(3):
        assert_same(outcome(program, cls, seed), expected[seed])
    assert any(ran) or not any(written(n) for b in program.blocks for n in b.graph.nodes)
