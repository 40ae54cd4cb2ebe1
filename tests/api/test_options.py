"""Options, the registry and the words of the command line."""

import pytest
import torch

import dync
from dync import registry
from dync.cli.console import constant, pairs, run_params
from dync.errors import UsageError
from dync.options import CompileOptions, parse_target


def test_defaults():
    options = CompileOptions.parse()
    given = (str(options.target), options.backend, options.host, options.passes, options.strict)
    assert given == ("cpu", "auto", "auto", "default", False)


@pytest.mark.parametrize("words,said", [
    ({"backend": "nope"}, "unknown backend 'nope'; known: auto, onnxruntime, "),
    ({"host": "nope"}, "unknown host 'nope'; known: auto, python"),
    ({"target": "tpu"}, "unknown target 'tpu'; known: cpu, cuda"), ({"target": "cuda:90"}, "'90' is no CUDA architecture"),
    ({"batching": "per-sample"}, "not available yet"), ({"batching": "x"}, "unknown batching 'x'; known: none"),
    ({"atol": -1.0}, "atol is -1.0")])  # fmt: skip
def test_wrong_words_are_refused_with_the_known_ones(words, said):
    with pytest.raises(UsageError, match=said):
        CompileOptions.parse(**words)


def test_targets_by_text():
    assert str(parse_target("cuda:sm_90")) == "cuda:sm_90" and parse_target("cpu").kind == "cpu"


class Point:
    def __init__(self, name, value, owner):
        self.name, self.value, self.dist = name, value, type("Dist", (), {"name": owner})


@pytest.fixture
def points(monkeypatch):
    def plug(*found):
        monkeypatch.setattr(registry, "entry_points", lambda group: found)
        registry.table.cache_clear()

    yield plug
    monkeypatch.undo()
    registry.table.cache_clear()


def test_a_backend_from_outside(points):
    points(Point("mine", "collections:OrderedDict", "other"))
    assert "mine" in registry.backend_names() and registry.backend("mine") == {}


def test_a_clash_names_both_owners(points):
    points(Point("eager", "other.place:Eager", "other"))
    with pytest.raises(UsageError, match=r"'eager': dync \(dync.backends.*\) and other \(other.place:Eager\)"):
        registry.backend_names()


def test_two_packages_clash_too(points):
    points(Point("mine", "a:A", "one"), Point("mine", "b:B", "two"))
    with pytest.raises(UsageError, match=r"one \(a:A\) and two \(b:B\)"):
        registry.backend_names()


def test_pipelines_are_text(monkeypatch, points):
    points()
    monkeypatch.setattr(registry, "PASSES", {"frac": "fractions:Fraction", "dec": "decimal:Decimal"})
    registry.table.cache_clear()
    assert [str(p) for p in registry.pipeline("frac{numerator=3, denominator=4},dec")] == ["3/4", "0"]
    assert registry.pipeline("none") == ()
    with pytest.raises(UsageError, match="unknown pass 'nope'; known: frac, dec"):
        registry.pipeline("nope")
    with pytest.raises(UsageError, match="needs a value"):
        registry.pipeline("frac{numerator}")
    with pytest.raises(UsageError, match="cannot read the pass pipeline"):
        registry.pipeline("frac{numerator=1")
    with pytest.raises(UsageError, match="pass frac"):
        registry.pipeline("frac{nothing=1}")


def test_every_registered_place_exists():
    for group in ("dync.backends", "dync.passes"):
        for place in registry.table(group).values():
            assert registry.load(place) is not None


def test_params_need_a_range_that_holds_the_default():
    assert run_params(["threshold=0.9:0..1", "n=3:-1..5"]) == {"threshold": (0.9, 0, 1), "n": (3, -1, 5)} and run_params([]) is None
    for text, said in (
        ("t=0.9", "needs a range"),
        ("t=2:0..1", "outside 0..1"),
        ("t=x:0..1", "'x' is no number"),
        ("t", "name=value"),
        ("t=nan:0..1", "no number"),
    ):
        with pytest.raises(UsageError, match=said):
            run_params([text])


def test_pairs_and_constants():
    assert pairs(["a=1", "b=x=y"], "--init") == {"a": "1", "b": "x=y"}
    with pytest.raises(UsageError, match="given twice"):
        pairs(["a=1", "a=2"], "--init")
    assert [constant(t) for t in ("1", "0.5", "true", "False", "(1, 2)", "word", "None")] == [1, 0.5, True, False, (1, 2), "word", None]


@pytest.mark.parametrize(("text", "said"), [
    ("fold{limit=x}", "Expected int"), ("fold{limit=1.5}", "Expected int"), ("fold{limit=-1}", ">= 0"), ("fold{foo=1}", "it has limit"),
])  # fmt: skip
def test_options_of_passes_are_checked(text, said):
    with pytest.raises(UsageError, match=f"pass fold.*{said}"):
        registry.pipeline(text)


def test_params_that_are_no_dict():
    with pytest.raises(UsageError, match="params must be a dict"):
        dync.capture(torch.nn.ReLU(), (torch.ones(2),), params=("x",))
