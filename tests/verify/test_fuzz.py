"""The fuzzer: networks that eager runs, the same by their seed; failures found, shrunk and written; nothing said to be run that was not."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dync.errors import UsageError
from dync.verify.calls import Call, EagerSide
from dync.verify.fuzz import run
from dync.verify.fuzz.check import Finding, check
from dync.verify.fuzz.generate import CORE, FEATURES, generate
from dync.verify.fuzz.report import FuzzReport
from dync.verify.fuzz.runner import reproducer
from dync.verify.fuzz.shrink import shrink
from dync.verify.fuzz.worker import Worker


def test_the_same_seed_gives_the_same_network():
    assert generate(7) == generate(7) and generate(7).source != generate(8).source


def test_eager_runs_every_network():
    for seed in range(40):
        network = generate(seed)
        space = {"__name__": f"fuzzed_{seed}"}
        sys.modules[space["__name__"]] = type(sys)(space["__name__"])
        exec(compile(network.source, f"<network {seed}>", "exec"), space)
        side = EagerSide(space["build"]())
        for args in space["inputs"]():
            error = side.run(Call(args)).error
            assert error is None or "fuzz:" in str(error.args), (seed, error)


def test_every_feature_is_drawn_and_only_those_asked_for():
    drawn = frozenset().union(*(generate(seed).features for seed in range(40)))
    assert drawn == FEATURES
    assert frozenset().union(*(generate(seed, CORE).features for seed in range(40))) == CORE
    with pytest.raises(ValueError, match="unknown features"):
        generate(0, frozenset({"goto"}))


BOOM = """
import torch

def build():
    return 1

class Net:
    def forward(self, x):
        y = x + 1
        if y > 2:
            z = boom(y * 3)
        return y
"""


def test_shrinking_keeps_what_fails():
    small = shrink(BOOM, lambda text: "boom" in text)
    assert "boom(y)" in small and "import" not in small and "if" not in small and "def build" in small


WRONG = """
import torch
from torch import nn
class Net(nn.Module):
    def forward(self, x):
        {body}
def build():
    return Net().eval()
def inputs():
    return [(torch.ones(2),), (-torch.ones(2),)]
"""


def test_what_becomes_of_a_network_is_told_apart(tmp_path):
    def found(name, body):
        path = tmp_path / f"{name}.py"
        path.write_text(WRONG.format(body=body))
        return check(path, ["eager"], ["python"])

    assert found("fuzz_same", "return x * 2 if x.sum() > 0 else x").kind == "same"
    assert found("fuzz_invalid", "return x + missing").kind == "invalid"
    assert found("fuzz_own", "raise ValueError('fuzz: always', 1)").kind in ("same", "declined")


def test_a_worker_outlives_networks_that_hang_or_die(tmp_path):
    worker = Worker(timeout=60)
    bodies = (
        ("fine", "return x", "same", 60),
        ("hang", "import time; time.sleep(60)", "hang", 2),
        ("die", "import os; os._exit(3)", "died", 60),
    )
    try:
        for name, body, kind, worker.timeout in bodies:
            path = tmp_path / f"fuzz_{name}.py"
            path.write_text(WRONG.format(body=body))
            assert worker.check(path, [], []).kind == kind
    finally:
        worker.close()


def test_a_run_counts_every_network(tmp_path):
    ticks = []
    report = run(3, 11, ["eager"], ["python"], tmp_path, features=CORE, tick=lambda n, found: ticks.append(n))
    assert ticks == [1, 2, 3] and sum(report.kinds.values()) == 3
    assert json.loads(report.to_json())["ok"] == report.ok
    several = run(3, 11, ["eager"], ["python"], features=CORE, jobs=2, tick=lambda n, found: ticks.append(n))
    assert ticks == [1, 2, 3] * 2 and several == report
    for wrong in ({"count": 0}, {"jobs": 0}):
        with pytest.raises(UsageError, match="at least one"):
            run(**wrong)
    with pytest.raises(UsageError, match="goto"):
        run(1, features=frozenset({"goto"}))


def test_nothing_compared_is_never_ok():
    def report(kinds, same, declined):
        return FuzzReport(0, 2, ("eager", "tvm"), ("python",), kinds, same, declined, ())

    assert not report({"declined": 2}, {"interpret": 0, "eager/python": 0, "tvm/python": 0}, {"capture: DY101": 2}).ok
    assert not report({"same": 2}, {"interpret": 2, "eager/python": 2, "tvm/python": 0}, {"tvm/python: BackendError": 2}).ok
    assert report({"same": 2}, {"interpret": 2, "eager/python": 2, "tvm/python": 1}, {"tvm/python: BackendError": 1}).ok


def test_a_host_that_declines_does_not_end_the_others(tmp_path):
    (tmp_path / "fuzz_state.py").write_text(
        WRONG.format(body="self.seen = getattr(self, 'seen', 0) + 1\n        return x * self.seen if x.sum() > 0 else x")
    )
    found = check(tmp_path / "fuzz_state.py", ["onnxruntime", "eager"], ["onnx", "python"])
    assert found.kind == "same" and list(found.stages) == ["interpret", "onnxruntime/onnx", "onnxruntime/python", "eager/python"]
    assert [stage for stage, why in found.stages.items() if why] == ["onnxruntime/onnx"]
    assert found.stages["onnxruntime/onnx"].startswith("HostError: the onnx host cannot carry Net: keeps seen from call to call")
    with pytest.raises(UsageError, match="no host of onnx runs blocks of eager"):
        run(1, backends=["eager"], hosts=["onnx"])


def test_a_reproducing_file_runs_by_itself(tmp_path):
    network = generate(3, CORE)
    path = tmp_path / "again.py"
    path.write_text(reproducer(network.source, network, Finding("differs", "interpret", "result", "by hand"), [], []))
    done = subprocess.run([sys.executable, "-P", str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("same"), done.stdout + done.stderr
    assert Path(path).read_text().startswith("# Network 3")


def test_blocks_that_a_backend_leaves_to_eager_are_told(tmp_path):
    body = "y = x[:1]\n        if x.sum() > 0:\n            y.add_(1)\n        return x * 2 + y.sum()"
    (tmp_path / "fuzz_left.py").write_text(WRONG.format(body=body))
    found = check(tmp_path / "fuzz_left.py", ["onnxruntime", "eager"], ["python"])
    why = "onnxruntime: its results are views of memory that another block writes, compiled code's are copies"
    assert found.kind == "same" and found.left == {why: 1}
    assert "2 blocks left to eager by tvm: why" in str(FuzzReport(0, 1, ("tvm",), ("python",), {}, {}, {}, (), {"tvm: why": 2}))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_is_stopped_tells_what_was_checked_and_is_not_ok(tmp_path, jobs):
    def tick(n, found):
        if n == 2:
            raise KeyboardInterrupt

    report = run(1000, 11, ["eager"], ["python"], tmp_path, features=CORE, tick=tick, jobs=jobs)
    assert report.stopped and not report.ok and sum(report.kinds.values()) == 2 and report.same["interpret"] == 2
    assert str(report).startswith("STOPPED after 2 of 1000 networks from seed 11") and json.loads(report.to_json())["stopped"]


def test_a_stopped_run_writes_the_failures_that_it_found(tmp_path, monkeypatch):
    def tick(n, found):
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "check", lambda *_: Finding("differs", "interpret", "result", "by hand"))
    report = run(5, 11, ["eager"], ["python"], tmp_path, tick=tick)
    assert [f.count for f in report.failures] == [1]
    assert Path(report.failures[0].file).read_text().startswith("# Network 11 of `dync fuzz`. differs in interpret")


def test_the_network_in_work_ends_with_the_run(tmp_path):
    path = tmp_path / "fuzz_long.py"
    path.write_text(WRONG.format(body="import time; time.sleep(600)"))
    worker = Worker(timeout=600)
    found = []
    waiting = threading.Thread(target=lambda: found.append(worker.check(path, [], [])))
    waiting.start()
    while worker.child is None:
        time.sleep(0.01)
    worker.stop()
    waiting.join(60)
    assert [f.kind for f in found] == ["died"] and worker.check(path, [], []).kind == "died"
