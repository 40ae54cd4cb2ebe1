"""State whose structure changes, through the whole tool: compiled, traced, saved and loaded, set by hand, verified."""

import collections
import copy

import numpy as np
import pytest
import torch
from programs.forms import (
    Absent,
    BufferGrows,
    CacheGrows,
    DequeWindow,
    ListAttribute,
    NoneToTensor,
    Sessions,
    TupleState,
    Window,
)
from programs.harness import call_of, load, same
from support.tracks import Journal, Track, Tracks
from torch import nn

import dync

MODELS = [NoneToTensor, CacheGrows, BufferGrows, Absent, Window, TupleState, DequeWindow, ListAttribute, Sessions]


def compiled(cls, **options):
    model = load(cls)
    return model, dync.compile(model, *call_of(cls, 0), backend="eager", host="python", **options)


@pytest.mark.parametrize("cls", MODELS, ids=lambda c: c.__name__)
def test_calls_in_a_row_equal_eager(cls, tmp_path) -> None:
    model, run = compiled(cls)
    run.save(tmp_path / "m.dync")
    for other in (run, dync.load(tmp_path / "m.dync")):
        eager = copy.deepcopy(model)
        for seed in range(6):
            args, kwargs = call_of(cls, seed)
            with torch.no_grad():
                want = eager(*args, **kwargs)
            got = other.traced(*args, **kwargs)[0] if seed % 2 else other(*args, **kwargs)
            assert same(want, got), seed
        other.reset_state()
        with torch.no_grad():
            assert same(copy.deepcopy(model)(*call_of(cls, 0)[0]), other(*call_of(cls, 0)[0]))


@pytest.mark.parametrize("cls", MODELS, ids=lambda c: c.__name__)
def test_verify_walks_the_forms(cls) -> None:
    model, run = compiled(cls)
    report = dync.verify(model, run, budget=12)
    assert report.ok, str(report)


def test_state_is_seen_and_set_as_the_model_holds_it() -> None:
    _, run = compiled(CacheGrows)
    assert dict(run.state) == {"cache": None}
    x = call_of(CacheGrows, 0)[0][0]
    run(x)
    run(x)
    assert torch.equal(run.state["cache"], torch.cat([x, x]))
    run.state["cache"] = torch.ones(7, 4)
    assert torch.equal(run.state["cache"], torch.ones(7, 4))
    run(x)
    assert run.state["cache"].shape == (9, 4)
    run.state["cache"] = None
    run(x)
    assert torch.equal(run.state["cache"], x)
    run.state["cache"] = np.zeros((3, 4), np.float32)
    assert torch.equal(run(-x * 0), torch.zeros(4))


def test_a_state_that_no_call_leaves_is_refused() -> None:
    _, run = compiled(CacheGrows)
    x = call_of(CacheGrows, 0)[0][0]
    run.state["cache"] = torch.zeros(7, 5)
    allowed = r"captured for cache = None; or cache = float32\[size_cache_0, 4\]"
    with pytest.raises(dync.GuardError, match=r"attribute 'cache' holds float32\[7, 5\] now; the program was " + allowed):
        run(x)
    run.state["cache"] = "full"
    with pytest.raises(dync.GuardError, match="attribute 'cache' holds str 'full' now"):
        run(x)
    run.reset_state()
    run(x)
    with pytest.raises(dync.GuardError, match="no state 'keys'"):
        run.state["keys"] = None


def test_absent_attributes() -> None:
    _, run = compiled(Absent)
    assert dict(run.state) == {} and len(run.state) == 0
    run(*call_of(Absent, 0)[0])
    assert list(run.state) == ["seen"]
    del run.state["seen"]
    assert dict(run.state) == {}
    x = call_of(Absent, 1)[0][0]
    assert torch.equal(run(x), x) and list(run.state) == ["seen"]


@pytest.fixture(scope="module")
def tracks():
    model = load(Tracks)
    return model, dync.capture(model, *call_of(Tracks, 0))


def close(a, b) -> bool:
    """Equal but for rounding."""
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) < 1e-5
    return torch.allclose(a, b, atol=1e-5) if isinstance(a, torch.Tensor) else same(a, b)


def check_calls(cls, model, run, name, view) -> None:
    """Six calls of a model and of its artifact are equal, and after each what `view` shows of the items of a list in the state."""
    for seed in range(6):
        args, kwargs = call_of(cls, seed)
        with torch.no_grad():
            assert close(model(*args, **kwargs), run(*args, **kwargs)), seed
        assert close([view(v) for v in run.state[name]], [view(v) for v in getattr(model, name)]), seed


@pytest.mark.parametrize("backend", [pytest.param("eager", marks=pytest.mark.slow), "onnxruntime"])
def test_objects_in_lists_that_grow(tracks, backend, tmp_path) -> None:
    model, run = copy.deepcopy(tracks[0]), dync.compile(tracks[1], *call_of(Tracks, 0), backend=backend, host="python")
    run.save(tmp_path / "m.dync")
    run = dync.load(tmp_path / "m.dync")

    check_calls(Tracks, model, run, "often", lambda t: t.hits)
    seen = run.state["tracks"]
    assert [type(t) for t in seen] == [Track] * len(model.tracks) and len(seen) > 1
    assert all(close(list(vars(a).values()), list(vars(b).values())) for a, b in zip(seen, model.tracks))
    shared = [t for t in seen if t.hits > 1]
    run.state["tracks"], run.state["often"] = seen, shared
    model.tracks, model.often = copy.deepcopy((seen, shared))
    check_calls(Tracks, model, run, "often", lambda t: t.hits)  # what stands in both lists is one object still
    for wrong in (None, (), [1], [torch.zeros(4)], {}):
        run.state["tracks"] = wrong
        with pytest.raises(dync.GuardError, match="attribute '(tracks|often)' holds"):
            run(*call_of(Tracks, 0)[0])


@pytest.mark.parametrize("backend", ["eager", "onnxruntime"])
def test_dicts_in_lists_that_grow(backend, tmp_path) -> None:
    model = load(Journal)
    dync.compile(copy.deepcopy(model), *call_of(Journal, 0), backend=backend, host="python").save(tmp_path / "m.dync")
    run = dync.load(tmp_path / "m.dync")

    check_calls(Journal, model, run, "marked", lambda note: tuple(note.items()))
    notes = run.state["notes"]
    run.state["notes"], run.state["marked"] = notes, notes[1:3]
    model.notes, model.marked = copy.deepcopy((notes, notes[1:3]))
    check_calls(Journal, model, run, "marked", lambda note: tuple(note.items()))  # what stands in both lists is one dict still
    less = {k: v for k, v in notes[0].items() if k != "tags"}
    for wrong in (None, (), [1], [[]], [less], [{**notes[0], "more": 1}], [{**notes[0], "step": 0.5}], [{**notes[0], "best": 1}]):
        run.state["notes"] = wrong
        with pytest.raises(dync.GuardError, match="attribute '(notes|marked)"):
            run(*call_of(Journal, 0)[0])


def test_numbers_keep_their_type_in_a_list_that_grows() -> None:
    _, run = compiled(ListAttribute)
    run.state["losses"] = [0.5, -1.0]
    x = call_of(ListAttribute, 0)[0][0]
    run(x)
    assert run.state["losses"][:2] == [0.5, -1.0]
    for wrong in ([1], [0.5, "no"], [torch.tensor(0.5)], (0.5,)):
        run.state["losses"] = wrong
        with pytest.raises(dync.GuardError, match="attribute 'losses' holds"):
            run(x)


class ByName(nn.Module):
    """A cache and counts by names that data chooses."""

    def __init__(self):
        super().__init__()
        self.cache, self.hits = {}, collections.Counter()

    def forward(self, x):
        name = ["add", "mul", "idt", "neg"][int(x.sum(0).argmax())]
        self.hits[name] += 1
        if name not in self.cache:
            self.cache[name] = x.mean(0)
        return self.cache[name] + 0, len(self.cache)


@pytest.mark.parametrize("backend, host", (("eager", "python"), ("onnxruntime", "python")))
def test_dicts_by_names(backend, host, tmp_path):
    eager = ByName()
    dync.compile(ByName(), (torch.randn(3, 4),), backend=backend, host=host).save(tmp_path / "m.dync")
    run = dync.load(tmp_path / "m.dync")
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        x = torch.randn(3, 4, generator=generator)
        want, got = eager(x), run(x)
        assert torch.allclose(want[0], torch.as_tensor(got[0]), atol=1e-5) and want[1] == got[1]
        assert list(run.state["cache"]) == list(eager.cache) and run.state["hits"] == eager.hits
    assert len(eager.cache) > 2
    run.state["cache"], eager.cache = {"neg": torch.ones(4)}, {"neg": torch.ones(4)}
    assert run(x)[1] == eager(x)[1] and list(run.state["cache"]) == list(eager.cache)
    for wrong in ({"other": torch.ones(4)}, {1: torch.ones(4)}, {"add": torch.ones(3)}):
        run.state["cache"] = wrong
        with pytest.raises(dync.errors.GuardError, match="'cache' holds dict of 1 now"):
            run(x)
