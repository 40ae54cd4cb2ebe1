"""State outside of the model is carried from call to call, is the program's own, and capture leaves none of it changed."""

import copy
import functools
import importlib
import inspect
from dataclasses import replace

import msgspec
import pytest
import torch
from capture import outside, outside_helper
from torch import nn

import dync
from dync.ir.interpret import interpret

MODELS = [n for n, c in vars(outside).items() if inspect.isclass(c) and issubclass(c, nn.Module)]


def calls(count=7):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(3, generator=generator) for _ in range(count)]


def held():
    """All that the models write."""
    o, h = outside, outside_helper
    return copy.deepcopy([
        o.CALLS, o.TOTALS, o.FORMER.tolist(), h.STATE, h.count, h.SHARED.total, h.Tracker.total, h.Tracker.seen, h.CALLED.n,
        o.OfTheClass.calls, o.OfTheClass.cache, o.OfABase.__dict__.get("calls"), o.CountsNames.registry, o.scaled.__defaults__,
        o.counted.calls,
        o.ramp.cache_info(), o.Cached.mask.cache_info(), o.Cached.half.cache_info(),
    ])  # fmt: skip


@pytest.fixture(autouse=True)
def put_back():
    """Each test begins with new modules."""
    importlib.reload(outside_helper)
    importlib.reload(outside)


@pytest.mark.parametrize("name", MODELS)
def test_calls_in_a_row(name):
    model, first = getattr(outside, name)(), held()
    program = dync.capture(model, (calls()[0],))
    state: dict[str, object] = {}
    got = [interpret(program, (x.clone(),), {}, state=state)[0] for x in calls()]
    assert held() == first
    want = [model(x.clone()) for x in calls()]
    assert all(map(torch.equal, want, got)) and held() != first


def test_it_is_verified():
    model = outside.OfTheClass()
    compiled = dync.compile(model, (calls()[0],), backend="eager", host="python")
    report = dync.verify(model, compiled, budget=30)
    assert report.ok and report.covered, report
    assert outside.OfTheClass.calls == 0 and outside.OfTheClass.cache == {} and outside_helper.count == 0


def test_it_begins_from_what_stands_there():
    model = outside.GlobalNumber()
    compiled = dync.compile(model, (calls()[0],), backend="eager", host="python")
    outside.CALLS = 3
    report = dync.verify(model, compiled, budget=5)
    assert report.ok and "the model's capture.outside:.CALLS differs" in report.notes[0] and outside.CALLS == 3


def test_a_lost_write_is_found():
    model = outside.GlobalNumber()
    program = dync.capture(model, (calls()[0],))
    lost = replace(program, blocks=tuple(
        replace(b, flow=msgspec.structs.replace(b.flow, exit=msgspec.structs.replace(b.flow.exit, writes=())))
        if hasattr(b.flow.exit, "writes") else b for b in program.blocks))  # fmt: skip
    report = dync.verify(model, dync.compile(lost, (calls()[0],), backend="eager", host="python"), budget=5)
    assert not report.ok and "state capture.outside:.CALLS" in str(report.mismatches[0])


def counting(n):
    outside.TOTALS["n"] += n
    return n


class WritesInACache(nn.Module):
    def forward(self, x):
        return x * cached_count(2)


class DrawsInACache(nn.Module):
    def forward(self, x):
        return x * cached_noise(3)


cached_count = functools.lru_cache(counting)
cached_noise = functools.lru_cache(torch.randn)


@pytest.mark.parametrize("cls", [WritesInACache, DrawsInACache])
def test_what_a_cached_function_would_do_once_is_refused(cls):
    with pytest.raises(dync.CaptureError, match="DY409"):
        dync.capture(cls(), (torch.ones(3),))
    assert outside.TOTALS == {"n": 0}
