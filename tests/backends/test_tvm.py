"""The TVM backend's own promises: no torch and no compiler at run time, versions, threads, memory of any kind, refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.backend_cases import CASES, w
from support.kernels import kernel

import dync
from dync.backends.base import Declined, Target
from dync.backends.check import check, open_code
from dync.errors import BackendError
from dync.runtime.loaders import tvm as loader

pytest.importorskip("tvm")

from dync.backends.tvm.backend import Tvm  # noqa: E402


def opened(made, threads: int = 1):
    return open_code(made, Tvm().compile(made, Target()), threads)


def test_the_check_gives_code_a_weight_that_another_block_writes_as_the_runtime_does():
    made = kernel(
        lambda x, m, w, b: (torch.addmm(b, x, w), x + m), {"x": "float32[3, 6]"},
        {"m": torch.randn(6), "w": torch.randn(6, 6), "b": torch.randn(6)},
    )  # fmt: skip
    made = replace(made, written=frozenset({"m"}))
    check(made, Tvm().compile(made, Target()))


def test_wrong_versions_are_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(loader, "version", {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.15.post2"}.__getitem__)
    answer = Tvm().available()
    assert isinstance(answer, Declined)
    assert "apache-tvm-ffi 0.1.15.post2 is installed" in answer.reason and "pip install" in answer.reason
    loader.runtime.cache_clear()
    with pytest.raises(BackendError, match="apache-tvm-ffi==0.1.14.post0"):
        loader.runtime()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(loader, "find_spec", lambda name: None)
    answer = Tvm().available()
    assert isinstance(answer, Declined) and "apache-tvm is not installed: pip install" in answer.reason


def test_a_missing_linker_is_named(monkeypatch):
    from dync.backends.tvm import build

    monkeypatch.setattr(build, "linker", lambda: None)
    answer = Tvm().available()
    assert isinstance(answer, Declined) and "C compiler" in answer.reason


RUN = """
import json
import os
import sys
import numpy as np
from dync.ir.types import TensorType
from dync.runtime import loaders
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights

f = TensorType("float32", (ROWS, 4))
entry = KernelEntry("tvm", ("kernel.so",), json.load(open("settings.json")), ("a", "b"), (), (), (f,), (f,))
given = np.load("given.npz")
raw = bytes(64) + given["a"].tobytes()
held = np.frombuffer(raw, np.float32)[16:].reshape(5, 4)  # may only be read, aligned to anything
for threads in (1, 2, 0):
    weights = Weights({"a": held, "b": given["b"]}, "numpy")
    run = loaders.load("b", entry, {"kernel.so": open("kernel.so", "rb").read()}, weights, threads, "numpy")
    odd = np.frombuffer(b"0" + given["x"].tobytes(), "u1")[1:].view("f4").reshape(3, 4)
    for x in given["x"], given["x"][::-1], np.asfortranarray(given["x"]), odd, *([given["x"][:0]] if ROWS == "N" else []):
        (y,) = run(x)
        assert np.allclose(y, x @ given["a"].T + given["b"], atol=1e-5) and y.shape == (len(x), 5)
bad = sorted({"torch", "tvm", "onnx"} & set(sys.modules))
print("imported:", bad)
"""


@pytest.mark.parametrize("rows", ["N", 3])
def test_runs_without_torch_and_compiler_on_memory_of_any_kind(rows, tmp_path):
    weights = {"a": w(5, 4), "b": w(5)}
    dims = {"N": (0, 9)} if rows == "N" else {}
    made = kernel(lambda x, a, b: torch.nn.functional.linear(x, a, b), {"x": f"float32[{rows}, 4]"}, weights, dims=dims)
    code = Tvm().compile(made, Target())
    (tmp_path / "settings.json").write_text(json.dumps(code.settings))
    (tmp_path / "kernel.so").write_bytes(code.members["kernel.so"])
    np.savez(tmp_path / "given.npz", x=np.arange(12, dtype=np.float32).reshape(3, 4), a=w(5, 4).numpy(), b=w(5).numpy())
    code = [sys.executable, "-P", "-c", RUN.replace("ROWS", repr(rows))]
    done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "imported: []", done.stdout + done.stderr


def test_eight_threads_call_one_kernel():
    run = opened(CASES["mlp"].kernel(), threads=2)
    inputs = [torch.randn(n, 4) for n in range(1, 9)]
    expected = [run([x])[0] for x in inputs]
    wrong = []

    def call(x, y):
        for _ in range(50):
            if not torch.equal(run([x])[0], y):
                wrong.append(x.shape)

    workers = [threading.Thread(target=call, args=pair) for pair in zip(inputs, expected, strict=True)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert not wrong


def test_results_outlive_the_next_call():
    run = opened(CASES["mlp"].kernel())
    x = torch.randn(3, 4)
    first = run([x])[0]
    kept = first.clone()
    for _ in range(5):
        run([torch.randn(3, 4)])
    assert torch.equal(first, kept)


def test_writes_into_inputs_and_weights():
    def step(x, state):
        x.add_(1)
        state.mul_(2)
        return x + state

    made = kernel(step, {"x": "float32[3]"}, {"state": w(3)}, mutates=("x", "state"))
    made = replace(made, written=frozenset({"state"}))
    assert made.functional is not None
    code = Tvm().compile(made, Target())
    check(made, code, run=open_code(made, code, threads=1))


@pytest.mark.parametrize("i", ([0, 4], [-5, 1]))
@pytest.mark.parametrize("use", ("read", "write", "along"))
def test_an_index_out_of_range_raises(use, i):
    function = {
        "read": lambda x, i: x[i],
        "write": lambda x, i: x.index_put((i,), x.new_zeros(2, 3)),
        "along": lambda x, i: x.gather(0, i[:, None]),
    }[use]
    run = opened(kernel(function, {"x": "float32[4, 3]", "i": "int64[2]"}))
    run([torch.zeros(4, 3), torch.tensor([0, 3])])
    with pytest.raises(BackendError, match="out of range"):
        run([torch.zeros(4, 3), torch.tensor(i)])


def test_reductions_over_rows_that_data_left_out():
    """The size of the reduced axis is in the data, and may be 0."""
    case = type(CASES["mlp"])(
        "rows", lambda x: (x[x[:, 0] > 0].sum(0), x[x[:, 0] > 0].any(0), x[x[:, 0] > 0].t() @ x[x[:, 0] > 0]), {"x": "float32[N, 4]"},
        {}, [(-torch.ones(3, 4),), (torch.ones(3, 4),)], {"N": (0, 16)},
    )  # fmt: skip
    made = case.kernel()
    code = Tvm().compile(made, Target())
    check(made, code, case.examples, run=open_code(made, code, threads=1))


def test_a_recurrent_layer_over_a_dynamic_length_is_declined():
    cell = torch.nn.GRU(3, 4)
    weights = {n: p.detach() for n, p in cell.named_parameters()}

    def run(x, weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0):
        given = dict(zip(weights, (weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0), strict=True))
        return torch.func.functional_call(cell, given, (x,))

    made = kernel(run, {"x": "float32[T, 2, 3]"}, weights, composite=True, dims={"T": (1, 9)})
    answer = Tvm().supports(made, Target())
    assert answer is None or "dynamic or very long sequence" in answer.reason


def test_a_large_tensor_of_one_value_is_not_stored():
    code = Tvm().compile(kernel(lambda x: x + torch.zeros(500, 500), {"x": "float32[500]"}), Target())
    assert sum(map(len, code.members.values())) < 100_000


def test_sizes_in_the_data_that_must_be_equal_are_held_to_it():
    """torch's tracer takes the two counts to be one size; the compiled code must not read past the shorter one."""
    run = opened(kernel(lambda x, p, q: x[p] - x[q], {"x": "float32[4, 3]", "p": "bool[4]", "q": "bool[4]"}))
    x, first, last = torch.randn(4, 3), torch.tensor([True, True, False, False]), torch.tensor([False, False, True, True])
    assert torch.equal(run([x, first, last])[0], x[:2] - x[2:])
    with pytest.raises(BackendError):
        run([x, first, torch.tensor([True, False, False, False])])


def test_sizes_read_halfway_are_read_before_they_are_used():
    """Fusion moves bindings apart; what reads a size comes first again."""

    def count(x, i):
        kept = i > 0
        rows = kept.nonzero().squeeze(1)
        out = torch.zeros(8, 3).index_add(0, rows, x[rows])
        degree = torch.zeros(8).index_add(0, rows, torch.ones_like(rows, dtype=torch.float32))
        return out / degree.clamp(min=1)[:, None], rows * 2

    made = kernel(count, {"x": "float32[8, 3]", "i": "int64[8]"})
    code = Tvm().compile(made, Target())
    check(made, code, run=open_code(made, code, threads=1))


def test_a_result_that_no_input_reaches_is_new_memory_at_each_call():
    import dync

    class Counts(torch.nn.Module):
        def forward(self, x):
            total = torch.zeros(3)
            if x.sum() > 0:
                total += x
            total[0] += 1
            return total

    compiled = dync.compile(Counts(), (torch.ones(3),), backend="tvm", host="python", passes="none")
    assert any(b.backend == "tvm" for b in compiled.report.blocks)
    for _ in range(3):
        assert torch.equal(compiled(torch.ones(3)), torch.tensor([2.0, 1.0, 1.0]))
        assert torch.equal(compiled(-torch.ones(3)), torch.tensor([1.0, 0.0, 0.0]))


def test_a_block_that_reads_weights_alone():
    made = kernel(lambda a: (a * 2, a + 1), {}, {"a": w(3)})
    check(made, Tvm().compile(made, Target()))
    assert torch.equal(opened(made)([])[0], made.weights["a"] * 2)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads of the process in /proc")
def test_a_pool_has_as_many_workers_as_threads_are_asked_for():
    """TVM by itself takes half of the cores."""
    made = kernel(lambda x, a: x @ a, {"x": "float32[128, 256]"}, {"a": torch.randn(256, 1024)})
    code = Tvm().compile(made, Target(), threads=3)
    x, made_by, seen = torch.randn(128, 256), {}, {}

    def calls():
        threads = len(os.listdir("/proc/self/task"))
        for n in (3, 2):
            made_by[n] = open_code(made, code, threads=n)([x])[0]
            seen[n] = len(os.listdir("/proc/self/task")) - threads, loader.runtime().get_global_func("runtime.NumThreads")()

    caller = threading.Thread(target=calls)
    caller.start()
    caller.join()
    workers = max(3, len(os.sched_getaffinity(0))) - 1
    assert seen == {3: (workers, 3), 2: (workers, 2)}
    for y in made_by.values():
        torch.testing.assert_close(y, x @ made.weights["a"], atol=1e-3, rtol=1e-4)


class MasksKept(torch.nn.Module):
    """Attention among the rows that a mask keeps, each of which sees those before it: their number comes as a tensor's size and alone."""

    def forward(self, x):
        kept = x[x[:, 0] > 0]
        if len(kept) == 0:
            return x
        i = torch.arange(len(kept))
        scores = (kept @ kept.T).masked_fill(i[:, None] < i[None], -1e9)
        return scores.softmax(-1) @ kept


def test_a_size_that_comes_as_a_number_too_is_one_size():
    generator = torch.Generator().manual_seed(4)
    run = dync.compile(MasksKept(), (torch.randn(7, 8, generator=generator),), backend="tvm", host="python", budget=0)
    assert {b.backend for b in run.report.blocks} == {"tvm"}, run.report
    for shift in (0, 1, -1, -9, 9):
        x = torch.randn(7, 8, generator=generator) + shift
        assert torch.allclose(run(x), MasksKept()(x), atol=1e-4)
