"""Loaded programs against eager PyTorch: results, kinds of tensors, exceptions, state, parameters, threads."""

from __future__ import annotations

import ast
import threading

import numpy as np
import pytest
import torch
from support.programs import CASES, SCALE, W1, W2, early_exit, stateful, weight
from support.runtime_packages import package

import dync
from dync.errors import BackendError, GuardError
from dync.ir.interpret import interpret
from dync.ir.scalars import SCALAR_OPS
from dync.runtime import artifact
from dync.runtime.loaders import LOADERS
from dync.runtime.program import Runtime, load

BACKENDS = ("eager", "onnxruntime")


def same(left, right) -> bool:
    if isinstance(left, (torch.Tensor, np.ndarray)):
        return (
            type(left) is type(right)
            and left.shape == right.shape
            and np.allclose(np.asarray(left), np.asarray(right), atol=1e-5, equal_nan=True)
        )
    if isinstance(left, dict):
        return type(left) is type(right) and list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and (left == right or isinstance(left, float) and abs(left - right) < 1e-5)


def to_numpy(value):
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {k: to_numpy(v) for k, v in value.items()}
    return type(value)(map(to_numpy, value)) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("saved", [False, True], ids=["memory", "file"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_same_as_eager(name, backend, saved, tmp_path) -> None:
    case = CASES[name]
    program = case.program()
    runtime = Runtime(package(program, backend))
    if saved:
        runtime.save(tmp_path / "m.dync")
        runtime = load(tmp_path / "m.dync")
    for sample in case.samples:
        try:
            expected = case.eager(*sample)
        except ValueError as error:
            with pytest.raises(ValueError) as caught:
                runtime(*sample)
            assert caught.value.args == pytest.approx(error.args) or same(list(caught.value.args), list(error.args))
            continue
        assert same(runtime(*sample), expected)
        got, trace = runtime.traced(*sample)
        assert same(got, expected)
        wanted = interpret(program, sample)[1]
        assert trace.path == wanted.path
        assert [(d.block, d.text, d.span, d.value) for d in trace.decisions] == [
            (d.block, d.text, d.span, d.value) for d in wanted.decisions
        ]
        for mine, theirs in zip(trace.decisions, wanted.decisions, strict=False):
            assert mine.margin == pytest.approx(theirs.margin, abs=1e-4) if theirs.margin is not None else mine.margin is None
        arrays = [t.numpy() for t in sample]
        assert same(runtime(*arrays), to_numpy(expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_threshold_changes_the_path_and_is_checked(backend) -> None:
    runtime = Runtime(package(early_exit(), backend))
    x = torch.ones(2, 4)
    assert runtime.traced(x)[1].path == ("b0", "b2") if isinstance(runtime(x), dict) else ("b0", "b1")
    runtime.params["threshold"] = -10
    assert isinstance(runtime(x), torch.Tensor) and runtime.params["threshold"] == -10.0
    runtime.params["threshold"] = 10.0
    assert isinstance(runtime(x), dict)
    for bad, message in (
        (11.0, "11.0 given, -10.0..10.0 allowed"),
        ("a", "str 'a' given, float allowed"),
        (float("nan"), "nan given"),
        (True, "bool True given"),
    ):
        with pytest.raises(GuardError, match=message):
            runtime.params["threshold"] = bad
    with pytest.raises(GuardError, match="no run-time parameter 'treshold'; there are: threshold"):
        runtime.params["treshold"] = 1.0
    assert "treshold" not in runtime.params and runtime.params.get("x") is None and dict(runtime.params) == {"threshold": 10.0}


def test_models_exception_names_the_users_line() -> None:
    from msgspec.structs import replace

    from dync.ir.types import Span

    made = package(CASES["raising"].program())
    blocks = [replace(b, exit=replace(b.exit, span=Span("model.py", 41))) if b.name == "b1" else b for b in made.flow.blocks]
    runtime = Runtime(type(made)(replace(made.flow, blocks=tuple(blocks)), made.kernels, made.members, made.weights))
    with pytest.raises(ValueError) as caught:
        runtime.traced(-torch.ones(2))
    assert caught.value.__notes__ == ["raised by the model at model.py:41"]
    assert caught.value.trace.path == ("b0", "b1") and caught.value.trace.decisions[0].margin == pytest.approx(2.0)


def test_index_outside_a_switch() -> None:
    for backend in BACKENDS:
        with pytest.raises(IndexError):
            Runtime(package(CASES["switch"].program(), backend))(torch.ones(2, 3), torch.tensor(3))


def test_state_is_kept_and_reset() -> None:
    program = stateful()
    runtime = Runtime(package(program))
    before = {n: w.clone() for n, w in program.weights.items()}
    state: dict = {}
    for step in range(3):
        x = torch.full((2, 3), float(step + 1))
        y = x.clone()
        expected, _ = interpret(program, (y,), state=state)
        assert same(runtime(x), expected)
        assert torch.equal(x, y), "an input written in place is written for the caller"
    assert runtime.state["count"] == 3 and set(runtime.state) == {"count", "mean", "seen"}
    assert all(same(runtime.state[n], state[n]) for n in state)
    assert all(torch.equal(w, before[n]) for n, w in program.weights.items()), "the model's own buffers stay as they were"
    runtime.state["count"] = 7
    runtime.state["seen"] = torch.ones(3)
    _, total, count = runtime(torch.zeros(2, 3))
    assert count == 8 and torch.equal(total, torch.ones(3))
    runtime.reset_state()
    assert (
        runtime.state["count"] == 0
        and torch.equal(runtime.state["seen"], torch.zeros(3))
        and torch.equal(runtime.state["mean"], torch.zeros(3))
    )
    with pytest.raises(GuardError, match="no state 'nope'"):
        runtime.state["nope"] = 1
    runtime.state["mean"] = torch.zeros(4)
    with pytest.raises(GuardError, match=r"attribute 'mean' holds float32\[4\] now; the program was captured for float32\[3\]"):
        runtime(torch.zeros(2, 3))


def test_numpy_input_is_written_in_place_too() -> None:
    runtime = Runtime(package(stateful()))
    x = np.ones((2, 3), np.float32)
    runtime(x)
    assert x[0].tolist() == [2, 2, 2] and x[1].tolist() == [1, 1, 1]
    x.flags.writeable = False
    with pytest.raises(GuardError, match="argument 'x' is written in place"):
        runtime(x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_eight_threads(backend) -> None:
    case = CASES["early_exit"]
    runtime = Runtime(package(case.program(), backend))
    samples = [weight(2, 4, seed=s) * 5 for s in range(16)]
    expected = [case.eager(x) for x in samples]
    wrong: list[int] = []

    def work(first: int) -> None:
        for step in range(60):
            i = (first + step) % len(samples)
            if not same(runtime(samples[i]), expected[i]) or not same(runtime.traced(samples[i])[0], expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_state_is_safe_in_threads() -> None:
    runtime = Runtime(package(stateful()))
    threads = [threading.Thread(target=lambda: [runtime(torch.ones(2, 3)) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runtime.state["count"] == 400


def test_mixed_backends_share_values() -> None:
    case = CASES["diamond"]
    runtime = Runtime(package(case.program(), {"b0": "onnxruntime", "b1": "eager", "b2": "onnxruntime", "b3": "onnxruntime"}))
    for sample in case.samples:
        assert same(runtime(*sample), case.eager(*sample))
        assert same(runtime(sample[0].numpy()), to_numpy(case.eager(*sample)))


def test_equal_blocks_are_loaded_once() -> None:
    made = package(early_exit(), "onnxruntime")
    from dataclasses import replace

    twice = replace(made, kernels={**made.kernels})
    runtime = Runtime(twice)
    assert len({id(k) for k in runtime._kernels.values()}) == 2


def test_results_stay_valid() -> None:
    """A result belongs to the caller: later calls and the end of the runtime do not touch it."""
    runtime = Runtime(package(CASES["diamond"].program(), "onnxruntime"))
    first = runtime(torch.ones(2, 4))[0]
    copy = first.clone()
    for step in range(50):
        runtime(torch.full((2, 4), float(step)))
    del runtime
    assert torch.equal(first, copy)


def test_missing_loader_and_wrong_device() -> None:
    from dataclasses import replace

    made = package(early_exit())
    kernels = {n: replace(k, loader="tpu") for n, k in made.kernels.items()}
    with pytest.raises(BackendError, match=f"there is no loader 'tpu'; known: {', '.join(LOADERS)}"):
        Runtime(replace(made, kernels=kernels))
    kernels = {n: replace(k, needs=("notapackage",)) for n, k in made.kernels.items()}
    with pytest.raises(BackendError, match="block 'b0' needs notapackage, which is not installed: pip install notapackage"):
        Runtime(replace(made, kernels=kernels))
    with pytest.raises(BackendError, match="compiled for cpu, cannot run on cuda"):
        Runtime(made, device="cuda")
    assert Runtime(made, device="cpu").report == {"blocks": []}


def test_report_and_flow() -> None:
    made = package(early_exit())
    runtime = Runtime(made)
    assert runtime.flow == made.flow and runtime.report == made.report and runtime.package is made
    assert W1.shape == (4, 4) and W2.shape == (4, 3) and SCALE.shape == (4,)


def test_artifact_of_a_loaded_artifact_is_the_same(tmp_path) -> None:
    Runtime(package(early_exit(), "onnxruntime")).save(tmp_path / "a.dync")
    load(tmp_path / "a.dync").save(tmp_path / "b.dync")
    assert (tmp_path / "a.dync").read_bytes() == (tmp_path / "b.dync").read_bytes()
    assert artifact.inspect(tmp_path / "a.dync").name == "early_exit"


@pytest.mark.parametrize("name", sorted(SCALAR_OPS))
def test_every_scalar_operation_can_be_said_in_a_host_module(name) -> None:
    """The names in an operation's Python text are names that host modules know."""
    from dync.runtime.program import BUILTINS

    text = SCALAR_OPS[name].text.format("a", "b", "c", "d", "e")
    used = {n.id for n in ast.walk(ast.parse(text, mode="eval")) if isinstance(n, ast.Name)}
    assert used <= {"a", "b", "c", "d", "e", name.partition(".")[0], *BUILTINS}


class Queue(torch.nn.Module):
    """A view of a buffer made in one block is written in another."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", torch.zeros(6, 3))

    def forward(self, x):
        old = self.queue.sum()
        view = self.queue[1:3]
        if x.sum() > 0:
            view.copy_(x)
        return old


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_buffer_written_through_a_view_of_another_block_is_the_programs_own(backend, tmp_path) -> None:
    model, x = Queue(), torch.ones(2, 3)
    compiled = dync.compile(model, (x,), backend=backend, host="python")
    compiled.save(tmp_path / "queue.dync")
    for runtime in (compiled, load(tmp_path / "queue.dync")):
        assert [float(runtime(x)) for _ in range(3)] == [0.0, 6.0, 6.0]
        assert not model.queue.any(), "a call wrote into the model"
