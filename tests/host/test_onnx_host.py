"""The ONNX host on small programs made by hand or captured: results, refusals, nesting, parameters, artifacts."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path

import onnx
import pytest
import torch
from support import programs
from torch import nn

import dync
from dync.errors import HostError
from dync.host.base import Declined
from dync.host.onnx.convention import KEY, decode
from dync.whole import plain_model

CASES = sorted(n for n in programs.CASES if n != "early_exit")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Exits(nn.Module):
    """More exits in a row than subgraphs may nest."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x):
        kept = x
        for i in range(self.count):
            if x.sum() > i + 0.5:
                return x * 2, i, kept
            x = x + 0.01
            if i % 10 == 3:
                kept = kept + x
        return [x]


def equal(a, b):
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return torch.allclose(a, b) if isinstance(a, torch.Tensor) else type(a) is type(b) and a == b


def test_exits_deeper_than_a_file_may_nest():
    model = Exits(60).eval()
    onnx_host = dync.compile(model, (torch.ones(4),), host="onnx")
    python = dync.compile(model, (torch.ones(4),))
    onnx.checker.check_model(onnx.load_model_from_string(plain_model(onnx_host.package)))
    for value in (0.02, 5.0, -3.0, 1.0, -0.2):
        x = torch.full((4,), value)
        want, way = python.traced(x)
        result, trace = onnx_host.traced(x)
        assert equal(result, want) and equal(onnx_host(x), want) and trace.path == way.path


def test_one_file_holds_the_weights_once_and_says_what_its_outputs_mean(tmp_path):
    program = programs.early_exit()
    made = dync.compile(program, host="onnx")
    made.save(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    weights = [t.name for t in model.graph.initializer if t.name.startswith("weight.")]
    assert sorted(weights) == sorted(f"weight.{n}" for n in program.weights)
    said = decode(next(p.value for p in model.metadata_props if p.key == KEY))
    assert [e.kind for e in said.exits] == ["return", "return"] and said.inputs[-1].name == "threshold"
    assert any(n.op_type == "If" for n in model.graph.node)


def test_parameters_stay_parameters_in_an_artifact(tmp_path):
    made = dync.compile(programs.early_exit(), host="onnx")
    made.save(tmp_path / "m.dync")
    loaded = dync.load(tmp_path / "m.dync")
    x = torch.ones(2, 4)
    first, trace = loaded.traced(x)
    loaded.params["threshold"] = 9.0 if not isinstance(first, dict) else -9.0
    second, other = loaded.traced(x)
    assert trace.path != other.path and isinstance(first, dict) != isinstance(second, dict)
    assert trace.decisions[0].margin is not None and loaded.package.engine is not None and not loaded.package.kernels


def test_a_refusal_names_what_and_where():
    with pytest.raises(HostError, match="cannot carry .*: keeps|cannot carry .*: calls write"):
        dync.compile(programs.stateful(), host="onnx")
    kept = dync.compile(programs.stateful(), (torch.ones(3),), host="auto")
    assert kept.report.host == "python" and "declines" in kept.report.host_reason
    assert str(Declined("why")) == "why"


def test_auto_measures_and_says_so():
    made = dync.compile(Exits(5).eval(), (torch.ones(4) * -1,), host="auto")
    assert made.report.host in ("python", "onnx") and "measured: python" in made.report.host_reason
    assert equal(made(torch.ones(4)), Exits(5)(torch.ones(4)))


def test_an_artifact_for_another_host_has_no_onnx_file(tmp_path):
    with pytest.raises(HostError, match="compile with host"):
        dync.compile(programs.diamond()).save(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_runs_of_equal_numbers_and_sets_in_their_order():
    """Python's own iterators over run-time numbers, in the engine."""

    class Collapses(nn.Module):
        def forward(self, x, y):
            total = x.new_zeros(x.shape[1])
            for label in set(y.tolist()):
                total = total * 0.5 + x[y == label].mean(0) * label
            return total, [k for k, _ in itertools.groupby(y.tolist()) if k != 0]

    run = dync.compile(Collapses(), (torch.randn(8, 3), torch.arange(8)), backend="onnxruntime", host="onnx")
    generator = torch.Generator().manual_seed(0)
    for most in (2, 9, 40, 5000):
        x, y = torch.randn(8, 3, generator=generator), torch.randint(0, most, (8,), generator=generator)
        (total, kept), (mine, labels) = Collapses()(x, y), run(x, y)
        assert torch.allclose(total, mine, atol=1e-3, rtol=1e-5) and kept == labels


def test_a_long_loop_neither_leaks_nor_overflows():
    import resource

    class Count(nn.Module):
        def forward(self, x):
            while x.sum() > 0:
                x = x - 1.0
            return x

    made = dync.compile(Count(), (torch.ones(1),), host="onnx")
    made(torch.tensor([1000.0]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert made(torch.tensor([100_000.0])).item() == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_eight_threads_call_one_program():
    from concurrent.futures import ThreadPoolExecutor

    made = dync.compile(Exits(5).eval(), (torch.ones(4),), host="onnx")
    inputs = [torch.full((4,), v / 10) for v in range(-20, 20)]
    want = [made(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        assert all(map(equal, pool.map(made, inputs), want))


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        y = x * 2
        self.calls += 1
        return y + self.calls


def test_a_decline_names_the_line_that_writes_a_weight():
    line = inspect.getsourcelines(Counts.forward)[1] + 2
    with pytest.raises(HostError, match=rf"the weight calls.*{Path(__file__).name}:{line}:"):
        dync.compile(Counts(), (torch.ones(2),), host="onnx")
