"""The benchmark runner: what it times, what it writes, and that its peers give eager's results."""

import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def benchmarks_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def test_interleaving_calls_every_runner_as_often_in_orders_that_change():
    from benchmarks.timing import interleave

    order = []
    runners = {name: lambda x, name=name: order.append((name, x)) for name in "ab"}
    times = interleave(runners, [(1,), (2,)], seconds=0.0, warm_up=0, most=4)
    assert {name: one.calls for name, one in times.items()} == {"a": 4, "b": 4}
    rounds = [order[4 + n : 8 + n] for n in range(0, 16, 4)]
    assert all(a == b and c == d and a[1] == c[1] == 1 + n % 2 for n, (a, b, c, d) in enumerate(rounds)), "an untimed call, a timed one"
    assert {"".join(name for name, _ in one[::2]) for one in rounds} == {"ab", "ba"}
    assert all(0 <= one.median <= one.p90 for one in times.values())


def test_same_means_structure_types_and_values():
    from benchmarks.subject import same

    x = torch.tensor([1.0, 2.0])
    assert same((x, 1), (x + 1e-6, 1))
    assert not same((x, 1), (x + 1e-2, 1))
    assert not same((x, 1), (x, 2))
    assert not same((x, 1), [x, 1])
    assert not same(x, x.double())
    assert not same(1, True)


def test_markdown_keeps_rows_and_notes():
    from benchmarks.result import Result, markdown

    text = markdown(Result("n", "Title", ("a", "b"), (("x|y", 0.12345), (None, 1234.5)), ("why",), command="python -m benchmarks n"))
    assert text.splitlines() == [
        "## Title", "", "`python -m benchmarks n`", "", "| a | b |", "|---|---|", "| x\\|y | 0.123 |", "|  | 1234 |", "", "- why"
    ]  # fmt: skip


def test_runner_writes_json_and_fails_on_a_wrong_output(tmp_path, monkeypatch, capsys):
    import types

    from benchmarks import __main__ as runner
    from benchmarks.result import Result

    for ok in (True, False):
        fake = types.ModuleType("fake_bench")
        fake.run = lambda options, ok=ok: Result("fake", "Fake", ("a",), ((1.5,),), ok=ok)
        monkeypatch.setitem(sys.modules, "fake_bench", fake)
        monkeypatch.setitem(runner.BENCHES, "fake", "fake_bench")
        monkeypatch.setattr(sys, "argv", ["benchmarks", "fake", "--seconds", "0.5", "--json", str(tmp_path / "r.json")])
        threads = torch.get_num_threads()
        try:
            assert runner.main() == (0 if ok else 1)
        finally:
            torch.set_num_threads(threads)
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["results"][0]["rows"] == [[1.5]]
    assert written["results"][0]["command"] == "python -m benchmarks fake --seconds 0.5"
    assert written["machine"]["torch"] == torch.__version__


def test_unknown_benchmark_is_wrong_usage(monkeypatch, capsys):
    from benchmarks import __main__ as runner

    monkeypatch.setattr(sys, "argv", ["benchmarks", "nope"])
    with pytest.raises(SystemExit) as stop:
        runner.main()
    assert stop.value.code == 2
    assert "capture-growth" in capsys.readouterr().err


def test_hand_made_peers_equal_eager():
    from benchmarks.peers import Refused, dycl, oracle
    from benchmarks.subject import same
    from dync.models import fashion_exits

    model = fashion_exits.build()
    inputs = fashion_exits.varied_inputs()
    with torch.no_grad():
        wanted = [model(*args) for args in inputs]
        host = dycl.dycl(model, inputs[0], threads=1)
        assert all(same(host(*args), want) for args, want in zip(inputs, wanted, strict=True))
        path = oracle.fashion_exits(model, 1, threads=1)
        assert all(same(path(*args), want) for args, want in zip(inputs, wanted, strict=True) if want[1] == 1)
    with pytest.raises(Refused, match="Linear"):
        dycl.dycl(torch.nn.Linear(2, 2), (), threads=1)


def test_a_refusal_is_one_line():
    from benchmarks.peers import reason

    assert reason(ValueError("\n  first\nsecond")) == "ValueError: first"


def test_a_compilation_without_end_is_stopped():
    import time

    from benchmarks.zoo import OutOfTime, limited

    with pytest.raises(OutOfTime), limited(1):
        while True:
            try:
                time.sleep(5)
            except Exception:
                continue
    with limited(60):
        pass


def test_blocks_are_what_their_titles_say():
    from benchmarks.blocks import BLOCKS, model

    outputs = {}
    for name, block in BLOCKS.items():
        built, inputs = model(block)
        layers = sum(isinstance(m, torch.nn.Conv2d | torch.nn.Linear) for m in built.modules())
        outputs[name] = [tuple(built(*args).shape) for args in inputs[:1]], layers
    assert outputs["resnet20"] == ([(1, 10)], 22) and outputs["resnet18"] == ([(1, 1000)], 21)
    assert outputs["encoder256"] == ([(1, 64, 256)], 8) and outputs["encoder768"] == ([(1, 128, 768)], 8)
    assert outputs["expert"] == ([(1, 256)], 2)


def test_a_run_replaces_its_own_sections_and_leaves_the_others():
    from benchmarks.__main__ import document
    from benchmarks.result import Result

    one, two = (Result(n, n.title(), ("a",), ((1,),), command=f"python -m benchmarks {n}") for n in ("one", "two"))
    before = document({"cores": "2"}, [one, two])
    after = document({"cores": "2"}, [Result("one", "One", ("a",), ((7,),), command="again", ran="0.1 abc, load 0.5")], before)
    assert after.count("## One") == after.count("## Two") == 1 and "| 7 |" in after and "`again` (0.1 abc, load 0.5)" in after
    assert document({"cores": "2"}, [], after) == after


def test_rows_of_some_models_replace_their_older_ones_and_the_others_stay():
    from benchmarks.result import Result, markdown
    from benchmarks.rows import merged, total

    def table(rows, notes):
        return Result("x", "X", ("model", "n"), rows, notes)

    def said(rows):
        return f"{total(rows, 1)} in all"

    before = merged(table((("ofa", 1), ("pabee", 2)), ("pabee: a `|` b", "ofa: x")), "", said)
    page = "# Page\n\n## W\n\n| ofa | 9 |\n\n" + markdown(before) + "\n## Z\n\n| pabee | 9 |\n"
    after = merged(table((("rbqe", 4), ("pabee", 3)), ("pabee: c",)), page, said)
    assert before.notes == ("3 in all", "pabee: a `|` b", "ofa: x")
    assert after.rows == (("rbqe", 4), ("pabee", 3), ("ofa", "1"))
    assert after.notes == ("8 in all", "pabee: c", "ofa: x")


def test_a_static_path_does_what_the_call_does():
    """A branch in a rolled loop: each visit has names of its own, and what was decided comes back too."""
    import dync
    from benchmarks.peers.static_path import static_path
    from dync.ir.interpret import interpret
    from dync.ir.verify import verify

    def model(x):
        n = 0
        while x.norm() > 1:
            if x.sum() > 0:
                x = x * 0.7 - 0.1
            else:
                x = x.flip(0) * 0.5
            n += 1
        return x, n

    program = dync.capture(model, (torch.ones(3),))
    for first in (0.1, 2.0, -3.0, 5.0):
        x = torch.tensor([first, 1.0, -0.5])
        want, trace = interpret(program, (x,))
        static = static_path(program, trace.path)
        verify(static)
        (got, decided), way = interpret(static, (x,))
        assert torch.equal(got[0], want[0]) and got[1] == want[1] and not way.decisions
        assert list(decided) == [d.value for d in trace.decisions]
