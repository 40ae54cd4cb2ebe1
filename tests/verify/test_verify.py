"""verify on hand-built Programs: it passes what is the same, and says what was not run."""

import contextlib
import json
import sys
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from support.programs import CASES, W1, W2
from torch import nn

import dync
from dync.errors import UsageError, VerifyError
from dync.verify.calls import Call, CompiledSide, EagerSide, differences
from dync.verify.compare import Tolerances
from dync.verify.run import verify

sys.path.insert(0, str(Path(__file__).parent))
from stand_in import Eager, Walked  # noqa: E402


class EarlyExit(nn.Module):
    def __init__(self):
        super().__init__()
        self.threshold = 0.0

    def forward(self, x):
        h = torch.relu(x @ W1)
        if (h.max() - h.mean() * 3).item() > self.threshold:
            return h
        return {"logits": torch.softmax(h @ W2, -1), "exits": (h, 2)}


def model_of(name):
    return EarlyExit() if name == "early_exit" else Eager(name)


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_path_of_a_faithful_program_is_reached(name):
    case = CASES[name]
    given = case.samples if name == "switch" else None
    report = verify(model_of(name), Walked(case.program()), given, budget=60)
    assert report.ok and report.covered, str(report)
    assert all(p.calls for p in report.paths)
    assert report.exit_code(require_coverage=True) == 0
    report.raise_for_status(require_coverage=True)


def test_another_model_is_a_mismatch():
    report = verify(Eager("diamond"), Walked(CASES["early_exit"].program()), budget=4)
    assert not report.ok and report.exit_code() == 1
    with pytest.raises(VerifyError, match="replay"):
        report.raise_for_status()


def test_nothing_compared_is_never_ok():
    class Refuses(nn.Module):
        def forward(self, x):
            raise TypeError("no")

    report = verify(Refuses(), Walked(CASES["diamond"].program()), budget=40)
    assert report.runs == 0 and not report.ok and report.rejected and str(report).startswith("NOTHING WAS COMPARED")
    with pytest.raises(VerifyError, match="nothing was compared"):
        report.raise_for_status()
    assert ElementTree.fromstring(report.to_junit()).get("failures") == "1"


def test_an_unreached_decision_is_named_with_its_margin():
    report = verify(Eager("switch"), Walked(CASES["switch"].program()), CASES["switch"].samples[:1], budget=1)
    assert report.ok and not report.covered and report.exit_code() == 0 and report.exit_code(require_coverage=True) == 3
    assert [u.name for u in report.uncovered if u.kind == "decision"] == ["b0 case 1", "b0 case 2"]
    assert ElementTree.fromstring(report.to_junit()).get("skipped") == "4"
    with pytest.raises(VerifyError, match="not covered"):
        report.raise_for_status(require_coverage=True)


def test_the_same_seed_gives_the_same_report():
    one, two = (verify(EarlyExit(), Walked(CASES["early_exit"].program()), budget=30, seed=3) for _ in range(2))
    assert one == two and json.loads(one.to_json())["ok"] is True


def test_model_and_runtime_are_left_as_they_were():
    model, compiled = EarlyExit(), Walked(CASES["early_exit"].program())
    compiled.params["threshold"] = 0.25
    verify(model, compiled, budget=20)
    assert model.threshold == 0.0 and compiled.params == {"threshold": 0.25}


@dataclass(frozen=True)
class Limits:
    low: float = 0.0


class Limited(nn.Module):
    def __init__(self):
        super().__init__()
        self.limits = Limits()

    def forward(self, x):
        return x * 2 if x.sum().item() > self.limits.low else x


def test_parameters_that_an_object_of_the_model_holds():
    model = Limited()
    compiled = dync.compile(model, (torch.ones(3),), params={"limits.low": (0.5, -1, 1)}, backend="eager", host="python")
    report = verify(model, compiled, budget=20)
    assert report.ok and report.covered and model.limits == Limits()


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"inputs\[0\]"):
        verify(EarlyExit(), Walked(CASES["early_exit"].program()), [(torch.ones(2, 4), 1)])
    with pytest.raises(UsageError, match="cover"):
        verify(EarlyExit(), Walked(CASES["early_exit"].program()), cover="all")


@pytest.mark.parametrize("name", ["early_exit", "diamond", "raising"])
def test_without_a_program_mutation_still_reaches_the_decisions(name):
    compiled = Walked(CASES[name].program(), shown=None)
    del compiled.program
    report = verify(model_of(name), compiled, budget=100)
    assert report.ok and report.covered and any("no Program" in n for n in report.notes), str(report)


class Keeps(nn.Module):
    """State inside containers, of which calls write parts."""

    def __init__(self):
        super().__init__()
        self.uses, self.last = {"high": 0, "low": 0}, [None, {"sum": 0.0}]
        self.window, self.seen = deque([torch.zeros(3)], maxlen=2), {("low", torch.float32)}

    def forward(self, x):
        name = "high" if x.sum() > 0 else "low"
        self.uses[name] += 1
        self.last[1]["sum"] = x.sum().item()
        self.window.append(x)
        self.seen.add((name, x.dtype))
        return x * len(self.window)


def test_state_inside_containers_is_compared_part_by_part():
    model, x = Keeps(), torch.ones(3)
    compiled = dync.compile(model, (x,), backend="eager", host="python")
    assert dync.verify(model, compiled, budget=20).ok
    right, side = EagerSide(model).run(Call((x,))), CompiledSide(compiled)
    assert differences(right, side.run(Call((x,))), Tolerances(0, 0)).same
    got = side.run(Call((x,)))
    for name, wrong in (("uses.high", 5), ("last[1].sum", 2.5), ("window", [x, x + 1]), ("seen", set())):
        assert name in got.state
        bad = replace(got, state={**got.state, name: wrong})
        assert any(name in d.where for d in differences(right, bad, Tolerances(0, 0)).differences)
        lost = replace(got, state={n: v for n, v in got.state.items() if n != name})
        assert any(name in d.where for d in differences(right, lost, Tolerances(0, 0)).differences)


def test_a_set_of_texts_is_one_state_however_it_was_filled():
    texts = [str(n) for n in range(1000)]
    one, other = next((a, b) for a in texts for b in texts if tuple({a, b}) != tuple({b, a}))

    class Fills(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = set()

        def forward(self, x):
            self.seen.add(one if x.sum() > 0 else other)
            return x * len(self.seen)

    model = Fills()
    compiled = dync.compile(model, (torch.ones(3),), backend="eager", host="python")
    assert len(compiled.program.forms) == 4, "nothing, each of the two, both"
    eager, side, ones = EagerSide(model), CompiledSide(compiled), torch.ones(3)
    for fresh, x in ((True, ones), (False, -ones), (False, ones), (True, -ones), (False, ones), (False, -ones)):
        assert differences(eager.run(Call((x,)), fresh), side.run(Call((x,)), fresh), Tolerances(0, 0)).same
    report = dync.verify(model, compiled, budget=20)
    assert report.ok, str(report)


class First:
    def __init__(self, kept):
        self.kept = kept


class Second(First):
    pass


def test_a_lost_change_of_class_is_seen_where_all_parts_are_equal() -> None:
    from dync.verify.calls import _states

    class Turns(nn.Module):
        def __init__(self):
            super().__init__()
            self.node, self.items, self.counts = First(1), [], {"calls": 0}

        def forward(self, x):
            self.node, self.items = Second(1), {}
            self.counts["calls"] += 1
            return x

    eager = EagerSide(Turns()).run(Call((torch.ones(1),)))
    found = _states(eager, replace(eager, state={"counts.calls": 1}), Tolerances()).differences
    assert [str(d) for d in found] == [f"state {n}: written by eager, unchanged here" for n in ("items", "node")]


class SmallerOfTwo(nn.Module):
    """A comparison of what `min` picks among numbers."""

    def forward(self, x):
        e = x.pow(2).mean().sqrt().item()
        return x if min(e, 2.0 - e) * x.exp().sum().item() == 3.25 else -x


class AttendsToSome(nn.Module):
    """Attention among rows that a mask picks: on a path where none is picked torch's kernel for CPUs would end the process."""

    def forward(self, x):
        mask = x[:, 0] > 0
        q = x[mask][None, None]
        if mask.any():
            y = nn.functional.scaled_dot_product_attention(q, q, q)
            return y * 0 if y.sum() > 1e6 else y
        return x


@pytest.mark.parametrize("model", [SmallerOfTwo(), AttendsToSome()], ids=lambda m: type(m).__name__)
def test_paths_that_no_call_may_take_are_looked_for_without_harm(model):
    torch.manual_seed(0)
    x = torch.randn(4, 4)
    report = dync.verify(model, dync.compile(model, (x,), backend="eager", host="python"), budget=20)
    assert report.ok and report.uncovered, str(report)


class HalvesUntilSmall(nn.Module):
    """A loop that never ends on NaN and infinity, which verification tries."""

    def forward(self, x):
        while not x.norm() < 1:
            x = x * 0.5
        return x * 2 if x.exp().sum() > 40 else x


def test_calls_that_never_end_are_left_out(monkeypatch):
    from dync.verify import limit

    monkeypatch.setattr(limit, "LEAST", 0.2)
    model = HalvesUntilSmall()
    compiled = dync.compile(model, (torch.ones(3),), backend="eager", host="python")
    report = dync.verify(model, compiled, budget=10)
    assert report.ok, str(report)
    with torch.no_grad():
        assert torch.equal(compiled(torch.ones(3)), model(torch.ones(3))), "nothing is raised late"


def test_a_call_that_takes_too_long_is_ended(monkeypatch):
    from dync.verify import limit

    monkeypatch.setattr(limit, "FIRST", 0.3)
    within = limit.TimeLimit().within
    with pytest.raises(limit.TookTooLong):
        within(lambda: [n for n in iter(int, 1)])
    assert within(lambda: 5) == 5


def test_a_call_that_drops_the_exception_is_ended_at_the_next_beat(monkeypatch):
    from dync.verify import limit

    def spin():
        for _ in iter(int, 1):
            pass

    def drops_it_once():
        with contextlib.suppress(limit.TookTooLong):  # as Python does in a finaliser
            spin()
        spin()

    monkeypatch.setattr(limit, "FIRST", 0.3)
    for _ in range(3):
        with pytest.raises(limit.TookTooLong):
            limit.TimeLimit().within(drops_it_once)
    spun = sum(n for n in range(3_000_000))
    assert spun, "and nothing is raised after it"
