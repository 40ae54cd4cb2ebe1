"""Placement by measurement, the cache under it, and compilers that go wrong, through `dync.compile` and the command line."""

from __future__ import annotations

import threading

import pytest
import torch
from support import faulty
from support.faulty import Faulty
from torch import nn

import dync
from dync import registry
from dync.api import compile_with
from dync.backends.base import Declined
from dync.backends.cache import default_folder
from dync.errors import BackendError, UsageError
from dync.ir.types import Span
from dync.measure import choose, crossing
from dync.options import CompileOptions
from dync.report import Refusal


class Gates(nn.Module):
    """Blocks with and without relu; the two gates, and the two that follow them, differ only in weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gates = nn.ModuleList(nn.Linear(4, 2) for _ in range(2))
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x):
        for gate, block in zip(self.gates, self.blocks, strict=True):
            if gate(x).softmax(-1).argmax() == 1:
                x = torch.relu(block(x))
        return x.tanh()


NET = Gates().eval()
X = (torch.ones(1, 4),)
INPUTS = [(torch.randn(1, 4),) for _ in range(12)]


@pytest.fixture(scope="module")
def program():
    return dync.capture(NET, X)


@pytest.fixture(autouse=True)
def backends(monkeypatch, tmp_path):
    """Backends "faulty", "other", "missing" and "half", which auto asks about before eager; a cache and a log of their own."""
    load = registry.load
    monkeypatch.setattr(registry, "BACKENDS", {**registry.BACKENDS, **{n: f"faulty:{n}" for n in faulty.BACKENDS}})
    monkeypatch.setattr(registry, "PREFERENCE", ("other", "faulty", "eager"))
    monkeypatch.setattr(registry, "load", lambda place: faulty.BACKENDS[place[7:]] if place.startswith("faulty:") else load(place))
    monkeypatch.setattr("dync.options.BUDGET", 60.0)
    monkeypatch.setattr(Faulty, "fault", "")
    monkeypatch.setattr(Faulty, "log", tmp_path / "log")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    registry.table.cache_clear()
    yield
    monkeypatch.undo()
    registry.table.cache_clear()


@pytest.fixture
def alike(monkeypatch):
    """Whole programs take the same time, whatever runs them."""
    monkeypatch.setattr("dync.hosts.measure", lambda packages, *_: dict.fromkeys(packages, 1.0))


def compiled_by(tmp_path) -> list[str]:
    """The backends that compiled something, once for each time."""
    log = tmp_path / "log"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def right(compiled) -> bool:
    return all(torch.allclose(compiled(*x), NET(*x), atol=1e-6) for x in INPUTS)


def test_auto_times_every_distinct_block_once_on_each(program, tmp_path):
    compiled = dync.compile(program, X, host="python")
    distinct = [b for b in compiled.report.blocks if not b.same_as]
    assert len(distinct) < len(compiled.report.blocks)
    assert sorted(compiled_by(tmp_path)) == sorted(["faulty", "other"] * len(distinct))
    assert all(set(b.times) == {"faulty", "other"} and b.reason.startswith("measured: ") for b in distinct)
    assert right(compiled)


def test_the_faster_one_has_the_block(program, monkeypatch, alike):
    from dync import measure

    slow = {"other": 1.0, "faulty": 0.0}
    honest = measure.time_kernel
    monkeypatch.setattr("dync.build.time_kernel", lambda *a: {n: (t + slow[n], f) for n, (t, f) in honest(*a).items()})
    report = dync.compile(program, X, host="python").report
    assert {b.backend for b in report.blocks} == {"faulty"}, str(report)
    assert all(b.reason.startswith("measured: faulty ") for b in report.blocks)


def test_the_preferred_one_has_it_where_the_times_are_alike(program, monkeypatch, alike):
    monkeypatch.setattr("dync.build.time_kernel", lambda k, codes, *_: {n: (1e-5 * (0.98 if n == "faulty" else 1), "torch") for n in codes})
    assert {b.backend for b in dync.compile(program, X, host="python", cache=False).report.blocks} >= {"other"}


def test_crossings_count():
    near, far = crossing() * 2, crossing() * 20
    times = [{"a": (1e-3, "numpy"), "b": (1e-3 - far, "torch")}, {"a": (1e-3, "numpy")}, {"a": (1e-3, "numpy")}]
    assert choose(times, [2, 4, 4], 1.0) == ["b", "a", "a"]
    times[0]["b"] = (1e-3 - near, "torch")
    assert choose(times, [2, 4, 4], 1.0) == ["a", "a", "a"]
    assert choose([{"a": (1.0, "numpy"), "b": (0.98, "numpy")}], [2], 0.97) == ["a"]
    assert choose([{}, {"e": (1.0, "torch")}], [2, 2], 1.0) == [None, "e"]


def test_a_budget_of_nothing_takes_the_preferred(program, tmp_path):
    report = dync.compile(program, X, host="python", budget=0).report
    assert set(compiled_by(tmp_path)) == {"other"} and "faulty not tried: the budget is 0" in report.blocks[0].reason


def test_a_spent_budget_says_so(program, monkeypatch):
    monkeypatch.setattr(Faulty, "fault", "hangs")
    report = dync.compile(program, X, host="python", budget=1).report
    text = "\n".join(f"{b.reason} {b.refused}" for b in report.blocks)
    assert {b.backend for b in report.blocks} <= {"other", "faulty"}
    assert "did not finish in" in text and "the budget of 1 s was spent" in text


def test_a_slow_compiler_is_not_for_short_blocks(program, monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "SLOW", {"faulty": 1.0})
    report = dync.compile(program, X, host="python").report
    assert set(compiled_by(tmp_path)) == {"other"} and "too short a block" in report.blocks[0].reason


# -- what was asked for ------------------------------------------------------------------------------------------------------


def test_a_list_is_what_competes(program, alike):
    report = dync.compile(program, X, host="python", backend="faulty,other").report
    assert set(report.blocks[0].times) == {"faulty", "other"}
    report = dync.compile(program, X, host="python", backend="faulty").report
    assert {b.backend for b in report.blocks} == {"faulty"} and report.blocks[0].reason == "chosen"


def test_one_block_can_be_forced(program, alike):
    blocks = [b.block for b in dync.compile(program, X, host="python", backend="other").report.blocks]
    report = dync.compile(program, X, host="python", backend=f"other,{blocks[1]}=faulty").report
    assert [b.backend for b in report.blocks if b.block != blocks[1]] == ["other"] * (len(blocks) - 1)
    assert report[blocks[1]].backend == "faulty" and report[blocks[1]].reason == "chosen for this block"
    report = dync.compile(program, X, host="python", backend=f"{blocks[0]}=faulty").report
    assert report[blocks[0]].backend == "faulty" and report[blocks[1]].reason.startswith("measured")


@pytest.mark.parametrize("text,said", [
    ("zz=other", "there is no block zz with code; there are: b0"), ("b0=nope", "unknown backend 'nope'"),
    ("auto,other", "name others or auto, not both"), ("b0=other,b0=faulty", "each block once"), ("=other", "block=backend"),
    ("other,,faulty", "unknown backend ''")])  # fmt: skip
def test_what_cannot_be_asked_for(program, text, said):
    with pytest.raises(UsageError, match=said):
        dync.compile(program, X, backend=text)


def test_a_wrong_version_or_half_an_installation_is_one_line(program):
    with pytest.raises(
        BackendError, match=r"^backend missing is not available: libmissing 0.1.15 crashes: pip install libmissing==0.1.14$"
    ):
        dync.compile(program, X, backend="missing")
    with pytest.raises(BackendError, match=r"^backend half is not available: OSError: libhalf.so.1: cannot open shared object file$"):
        dync.compile(program, X, backend="other,half")


# -- what goes wrong ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault,said",
    [
        ("crashes", "crashed (SIGSEGV)"),
        ("exits", "exit code 3"),
        ("breaks", "KeyError"),
        ("refuses", "no rule for this loop"),
        ("lies", "eager"),
    ],
)
def test_one_bad_block_costs_that_block(program, monkeypatch, fault, said):
    monkeypatch.setattr(Faulty, "fault", fault)
    compiled = dync.compile(program, X, host="python", backend="faulty")
    bad = [b for b in compiled.report.blocks if b.backend != "faulty"]
    assert bad and len(bad) < len(compiled.report.blocks)
    assert all(b.backend == "eager" and b.reason == "fallback" and said in b.refused[-1].reason for b in bad)
    assert right(compiled)
    with pytest.raises(BackendError, match="block b.*: no backend takes it: faulty: "):
        dync.compile(program, X, host="python", backend="faulty", strict=True)


def test_a_backend_that_is_asked_in_its_child_declines_with_the_line(program, monkeypatch, tmp_path):
    span = Span("m.py", 3, 4)
    monkeypatch.setattr(
        Faulty, "supports", lambda self, k, t: Declined("no relu", span) if any("relu" in str(n.target) for n in k.graph.nodes) else None
    )
    for _ in range(2):
        compiled = dync.compile(program, X, host="python", backend="faulty")
        assert {str(r) for b in compiled.report.blocks for r in b.refused} == {"faulty: no relu (m.py:3:5)"} and right(compiled)
    assert {b.refused for b in compiled.report.blocks if b.backend == "eager"} == {(Refusal("faulty", "no relu", span),)}


def test_a_compiler_out_of_time(program, monkeypatch):
    monkeypatch.setattr(Faulty, "fault", "hangs")
    compiled = compile_with(CompileOptions.parse(backend="faulty", host="python", timeout=1), program, X)
    assert any("did not finish in 1 s" in r.reason for b in compiled.report.blocks for r in b.refused) and right(compiled)


def test_a_rival_that_lies_is_never_shipped(program, monkeypatch):
    monkeypatch.setattr(Faulty, "fault", "lies")
    compiled = dync.compile(program, X)
    assert right(compiled) and any("eager" in r.reason for b in compiled.report.blocks for r in b.refused)


def test_noise_does_not_reach_stdout(program, monkeypatch, capfd):
    monkeypatch.setattr(Faulty, "fault", "prints")
    dync.compile(program, X)
    assert capfd.readouterr().out == ""


# -- the cache ---------------------------------------------------------------------------------------------------------------


def test_a_second_compilation_compiles_and_times_nothing(program, monkeypatch, tmp_path):
    first = dync.compile(program, X, host="python")
    done = compiled_by(tmp_path)
    monkeypatch.setattr("dync.build.time_kernel", lambda *_: pytest.fail("timed again"))
    second = dync.compile(program, X, host="python")
    assert compiled_by(tmp_path) == done and right(second)
    assert [(b.backend, b.reason) for b in second.report.blocks] == [(b.backend, b.reason) for b in first.report.blocks]
    assert all(b.seconds == 0 for b in second.report.blocks) and "cached" in str(second.report)


def test_other_weights_are_checked_but_not_compiled(monkeypatch, tmp_path):
    dync.compile(NET, X, host="python", backend="faulty")
    done = compiled_by(tmp_path)
    torch.manual_seed(5)
    other = Gates().eval()
    for p in other.parameters():
        p.data += torch.randn_like(p)
    again = dync.compile(other, X, host="python", backend="faulty")
    assert compiled_by(tmp_path) == done
    assert all(torch.allclose(again(*x), other(*x), atol=1e-6) for x in INPUTS)


@pytest.mark.parametrize("fault", ("lies", "refuses", "breaks"))
def test_what_does_not_compile_right_is_remembered(program, monkeypatch, tmp_path, fault):
    monkeypatch.setattr(Faulty, "fault", fault)
    first = dync.compile(program, X, host="python", backend="faulty")
    done = compiled_by(tmp_path)
    again = dync.compile(program, X, host="python", backend="faulty")
    assert compiled_by(tmp_path) == done
    assert [b.refused for b in again.report.blocks] == [b.refused for b in first.report.blocks]


@pytest.mark.parametrize("fault", ("crashes", "exits"))
def test_a_crash_is_tried_again(program, monkeypatch, tmp_path, fault):
    monkeypatch.setattr(Faulty, "fault", fault)
    dync.compile(program, X, host="python", backend="faulty")
    done = compiled_by(tmp_path)
    monkeypatch.setattr(Faulty, "fault", "")
    again = dync.compile(program, X, host="python", backend="faulty")
    assert len(compiled_by(tmp_path)) > len(done) and {b.backend for b in again.report.blocks} == {"faulty"}


def test_without_a_cache_everything_is_done_again_and_nothing_kept(program, tmp_path):
    dync.compile(program, X, backend="other", cache=False)
    dync.compile(program, X, backend="other", cache=False)
    done = compiled_by(tmp_path)
    assert done[: len(done) // 2] == done[len(done) // 2 :] and not default_folder().exists()


def test_damaged_entries_are_made_anew(program, tmp_path):
    dync.compile(program, X, host="python")
    entries = [p for p in default_folder().rglob("*") if p.is_file()]
    assert len(entries) > 6
    for i, path in enumerate(entries):
        path.write_bytes((b"", b"\x00damage", b"[]", path.read_bytes()[:-3])[i % 4])
    with pytest.warns(UserWarning, match="damaged"):
        compiled = dync.compile(program, X, host="python")
    assert right(compiled)
    assert all(b.seconds == 0 for b in dync.compile(program, X, host="python").report.blocks)


def test_a_full_disk_costs_the_cache_only(program, monkeypatch):
    import os

    honest = os.replace

    def full(old, new):
        if str(default_folder()) in str(new):
            raise OSError(28, "No space left on device")
        honest(old, new)

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert right(dync.compile(program, X))


def test_two_compilations_at_once(program):
    found: list = []
    threads = [threading.Thread(target=lambda: found.append(dync.compile(program, X, host="python"))) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert len(found) == 2 and all(right(c) for c in found)


def test_progress_counts_up_to_the_end(program):
    from dync.progress import listening

    class Listener:
        ticks: list = []

        def begin(self, stage): ...
        def end(self, stage): ...
        def tick(self, stage, done, total):
            self.ticks.append((done, total))

    with listening(Listener()):
        dync.compile(program, X, host="python")
    ticks = Listener.ticks
    assert ticks == sorted(ticks) and ticks[-1][0] == ticks[-1][1] and len({t for _, t in ticks}) == 1


def test_the_whole_is_measured_too(program, monkeypatch):
    """Where the mix is slower on the example than one backend, that one has the blocks on the path, and only those."""
    from dync import hosts

    names = iter(["other", "faulty"] * 20)
    monkeypatch.setattr("dync.build.choose", lambda times, *_: [next(names) for _ in times])
    monkeypatch.setattr(hosts, "measure", lambda packages, *_: {n: 1.0 if n == "python with other" else 2.0 for n in packages})
    compiled = dync.compile(program, X)
    path = {b for b in compiled.traced(*X)[1].path}
    on_path = [b for b in compiled.report.blocks if b.block in path]
    assert {b.backend for b in on_path} == {"other"}
    assert "faulty" in {b.backend for b in compiled.report.blocks if b.block not in path} or len(on_path) == len(compiled.report.blocks)
    assert any("fastest with other alone" in b.reason for b in on_path) and right(compiled)


def test_the_choice_of_a_host_is_remembered(program, monkeypatch):
    from dync import hosts

    first = dync.compile(program, X)
    monkeypatch.setattr(hosts, "measure", lambda *_: pytest.fail("measured again"))
    assert dync.compile(program, X).report.host_reason == first.report.host_reason


class Chain(nn.Module):
    """So many small blocks that walking them costs more than their work."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x):
        for n in range(self.count):
            if x.sum() > n:
                x = x * 1.5
        return x


@pytest.mark.parametrize("count, tried", [(12, True), (1, False)])
def test_a_host_that_compiles_again_is_tried_where_many_blocks_are_walked(monkeypatch, count, tried):
    pytest.importorskip("tvm")
    monkeypatch.setattr(registry, "PREFERENCE", ("tvm", "eager"))
    monkeypatch.setattr("dync.hosts.SAVED", 5e-6 if tried else 0.0)
    compiled = dync.compile(Chain(count).eval(), (torch.ones(3),))
    assert (", tvm " in compiled.report.host_reason) == tried, compiled.report.host_reason
    for x in (torch.ones(3), -torch.ones(3), torch.full((3,), 2.0)):
        assert torch.equal(compiled(x), Chain(count)(x))


def test_a_whole_program_is_compiled_once(monkeypatch):
    pytest.importorskip("tvm")
    program = dync.capture(Chain(2).eval(), (torch.ones(3),))
    first = dync.compile(program, (torch.ones(3),), backend="tvm", host="tvm")
    monkeypatch.setattr("dync.whole_tvm.isolated", None)
    again = dync.compile(program, (torch.ones(3),), backend="tvm", host="tvm")
    assert torch.equal(first(torch.ones(3)), again(torch.ones(3)))
    other = dync.capture(Chain(3).eval(), (torch.ones(3),))
    with pytest.raises(TypeError):
        dync.compile(other, (torch.ones(3),), backend="tvm", host="tvm")
