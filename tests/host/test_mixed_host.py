"""Mixed hosts on models with effects and state: what an engine cannot carry stays in Python, the rest runs as kernels with control flow."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

import dync
from dync.errors import BackendError, HostError


class Counts(nn.Module):
    """A loop, a print, a counter that lasts, branches, results of two structures, an exception."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls = nn.Linear(4, 4), 0

    def forward(self, x):
        self.calls = self.calls + 1
        while x.sum() > 0:
            x = x - self.linear(x).abs() - 0.1
        if x.sum() < -20:
            print("low", self.calls)
        for _ in range(3):
            if x.mean() > -1:
                x = x * 0.5
            else:
                x = x - 1
        if x.min() < -50:
            raise ValueError("far too low", self.calls)
        if x.max() > 0.2:
            return x, self.calls
        return [x * 2]


class Plain(nn.Module):
    """A division that can fail stays in Python, between a loop and branches that the engine takes."""

    def forward(self, x):
        while x.sum() > 0:
            x = x - 1.0
        scale = 1.0 / int(x.argmin().item())
        for _ in range(2):
            x = x * scale if x.mean() > -1 else x + scale
        return x


INPUTS = [torch.tensor(v) for v in ([1.0] * 4, [-9.0] * 4, [3.0, -9, 1, 2], [-60.0] * 4, [0.5, -1, 0.1, 0.2])]


def model(cls: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return cls().eval()


def outcome(call, x, capsys):
    try:
        result = call(x.clone())
    except ValueError as error:
        result = error.args
    return result, capsys.readouterr().out


def same(a, b) -> bool:
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return torch.allclose(a, b, atol=1e-5) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("saved", [False, True], ids=["memory", "file"])
def test_as_eager_with_effects_and_state(saved, tmp_path, capsys):
    eager = model(Counts)
    made = dync.compile(model(Counts), (INPUTS[0],), backend="onnxruntime", host="mixed")
    assert made.package.regions and made.report.host == "mixed"
    if saved:
        made.save(tmp_path / "m.dync")
        made = dync.load(tmp_path / "m.dync")
    for x in INPUTS * 2:
        want, got = outcome(eager, x, capsys), outcome(made, x, capsys)
        assert same(want[0], got[0]) and want[1] == got[1]


def test_traces_are_those_of_the_python_host():
    mixed, python = (dync.compile(model(Counts), (INPUTS[0],), backend="onnxruntime", host=h) for h in ("mixed", "python"))
    for x in INPUTS:
        traces = []
        for one in (mixed, python):
            try:
                traces.append(one.traced(x)[1])
            except ValueError as error:
                traces.append(error.trace)
        mine, theirs = traces
        assert mine.path == theirs.path
        assert [(d.block, d.value, d.text) for d in mine.decisions] == [(d.block, d.value, d.text) for d in theirs.decisions]
        for a, b in zip(mine.decisions, theirs.decisions, strict=True):
            assert a.margin is b.margin is None or a.margin == pytest.approx(b.margin, abs=1e-4)


def test_eight_threads_call_one_program_as_one_by_one():
    for host in ("mixed", "python"):
        made = dync.compile(model(Plain), (INPUTS[2],), backend="onnxruntime", host=host)
        inputs = [torch.tensor([v / 7, -v, 0.3, 2]) for v in range(1, 41)]
        want = [made(x) for x in inputs]
        with ThreadPoolExecutor(8) as pool:
            assert all(map(same, pool.map(made, inputs), want))
            traced = list(pool.map(made.traced, inputs))
        assert all(map(same, [r for r, _ in traced], want))
        assert [t.path for _, t in traced] == [made.traced(x)[1].path for x in inputs]


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
@pytest.mark.parametrize("host", ["python", "onnx", "mixed"])
def test_memory_stays_flat_over_ten_thousand_calls(host):
    class Large(nn.Module):
        def forward(self, x):
            for _ in range(3):
                x = x * 0.5 if x.sum() > 1 else x + 0.5
            if x.sum() > 1e9:
                print("never") if host == "mixed" else None
            return x, x.sum().item()

    made = dync.compile(Large().eval(), (torch.ones(1000),), backend="onnxruntime", host=host)
    x = np.ones(1000, np.float32)
    for _ in range(1000):
        made(x)
    gc.collect()
    before = resident()
    for _ in range(10_000):
        made(x)
    assert resident() - before < 4 << 20  # 10,000 results are 40 MB


def test_what_no_region_can_take_is_refused_with_a_reason():
    class Static(nn.Module):
        def forward(self, x):
            return x + 1

    with pytest.raises(HostError, match="worth a model of its own"):
        dync.compile(Static(), (torch.ones(2),), backend="onnxruntime", host="mixed")


@pytest.mark.parametrize("host", ["python", "onnx", "mixed"])
def test_a_failing_kernel_names_the_users_line(host):
    class Picks(nn.Module):
        def forward(self, x, i):
            while x.sum() > 9:
                x = x - 1
            if x.sum() > 0:
                x = x + 1
            return x[i]

    made = dync.compile(Picks(), (torch.ones(3), torch.tensor([1])), backend="onnxruntime", host=host)
    with pytest.raises(BackendError) as caught:
        made(torch.ones(3), torch.tensor([7]))
    assert any("test_mixed_host.py:" in n for n in caught.value.__notes__)


@pytest.mark.parametrize("name", ["exit", "path", "values", "v_3", "c_1"])
def test_inputs_may_be_called_as_what_a_model_calls_its_own(name, tmp_path):
    text = f"""
from torch import nn
class Named(nn.Module):
    def forward(self, {name}):
        while {name}.sum() > 0:
            {name} = {name} - 1.0
        return {name} * 2
"""
    space: dict = {}
    file = tmp_path / "named.py"
    file.write_text(text)
    exec(compile(text, str(file), "exec"), space)
    import linecache

    linecache.checkcache(str(file))
    made = dync.compile(space["Named"](), (torch.ones(2),), backend="onnxruntime", host="onnx")
    result, trace = made.traced(torch.tensor([2.5, 0.0]))
    assert same(result, torch.tensor([1.0, -4.0])) and same(made(torch.tensor([2.5, 0.0])), result) and len(trace.decisions) == 3
