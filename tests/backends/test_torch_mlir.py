"""The torch-mlir backend's own promises: a crash costs a block, weights are read where they lie, inputs stay as they are, CUDA code."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading

import numpy as np
import pytest
import torch
from support.kernels import kernel

import dync
from dync.backends.base import Declined, Target
from dync.backends.check import check, open_code
from dync.errors import BackendError

pytest.importorskip("torch_mlir")
pytest.importorskip("iree.compiler")
pytest.importorskip("iree.runtime")

from dync.backends.torch_mlir import TorchMlir  # noqa: E402
from dync.backends.torch_mlir.compiler import Compiler, CompilerError  # noqa: E402
from dync.backends.torch_mlir.worker import Job  # noqa: E402

IDENTITY = Job("func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {\n return %x : tensor<4xf32>\n}", {})


CPU = Target()


def compiled(k, target: Target = CPU):
    return TorchMlir().compile(k, target, 1)


def test_a_compiler_that_dies_takes_nothing_with_it():
    compiler = Compiler()
    child = compiler._running()
    os.kill(child.pid, signal.SIGSEGV)
    child.wait()
    assert compiler.compile(Job(IDENTITY.main, {}, flags=(("--iree-hal-target-device=local",
                                                           "--iree-hal-local-target-device-backends=llvm-cpu"),)))
    os.kill(compiler._running().pid, signal.SIGSTOP)
    with pytest.raises(CompilerError, match="longer than"):
        compiler.compile(Job("module {}", {}), seconds=0.2)


def test_flags_that_the_compiler_dies_on_give_way_to_the_plain_ones():
    """IREE 3.13 dies in data tiling on a product of few rows, how many being known at run time, that are scattered into one."""
    k = kernel(
        lambda x, i, w, b: x.index_add(0, i, torch.tanh(torch.addmm(b, x[i], w))), {"x": "float32[1, 6]", "i": "int64[n]"},
        {"w": torch.randn(6, 6), "b": torch.randn(6)},
    )  # fmt: skip
    check(k, compiled(k))


def test_what_the_compiler_says_is_passed_on():
    with pytest.raises(CompilerError, match="expected"):
        Compiler().compile(Job("func.func @main(", {}))


def test_code_that_scatters_leaves_its_inputs_alone():
    k = kernel(lambda x, i, y: x.index_add(0, i, y), {"x": "float32[4, 3]", "i": "int64[5]", "y": "float32[5, 3]"})
    code = compiled(k)
    assert code.settings["copied"] == [0]
    check(k, code)


READS = {
    "embedding": (lambda x, i: torch.nn.functional.embedding(i, x), [0, 4]),
    "index": (lambda x, i: x[i], [-5, 1]),
    "two indices": (lambda x, i: x[i, i - 2], [3, 5]),
    "gather": (lambda x, i: x.gather(0, i[:, None]), [4, 3]),
    "index_add": (lambda x, i: x.index_add(0, i, x[:2]), [1, 9]),
    "index_put": (lambda x, i: x.index_put((i,), x[:2]), [-9, 0]),
}


@pytest.mark.parametrize("name", READS)
def test_an_index_out_of_range_is_an_error(name):
    """Not what lies there in memory; a dtype of its own does not matter."""
    function, wrong = READS[name]
    k = kernel(function, {"x": "float32[4, 3]", "i": "int64[2]"})
    run = open_code(k, compiled(k))
    x = torch.randn(4, 3)
    for right in ([2, 3], [3, 2]):
        torch.testing.assert_close(run([x.clone(), torch.tensor(right)])[0], function(x, torch.tensor(right)))
    with pytest.raises(BackendError, match="an index is out of range"):
        run([x, torch.tensor(wrong)])


def test_an_index_out_of_range_in_the_host():
    def looks_up(x, i):
        if x.sum() > 0:
            return x[i] * 2
        return x[0] - x[i]

    whole = dync.compile(looks_up, (torch.ones(4), torch.tensor(1)), backend="torch-mlir", host="torch-mlir")
    assert whole(torch.ones(4), torch.tensor(-4)).item() == 2 and whole(-torch.ones(4), torch.tensor(3)).item() == 0
    for sign in (1, -1):
        with pytest.raises(BackendError, match="an index is out of range"):
            whole(sign * torch.ones(4), torch.tensor(4))


def test_a_scatter_into_a_weight_is_declined():
    k = kernel(lambda i, y, a: a.index_add(0, i, y), {"i": "int64[5]", "y": "float32[5, 3]"}, {"a": torch.zeros(4, 3)})
    declined = TorchMlir().supports(k, Target())
    assert isinstance(declined, Declined) and "weight a" in declined.reason


def test_results_have_memory_of_their_own():
    weight = torch.randn(64)
    k = kernel(lambda x, a: (x.clone(), a.reshape(8, 8), x + 1), {"x": "float32[64]"}, {"a": weight})
    x = torch.randn(64)
    same, shaped, more = open_code(k, compiled(k))([x])
    kept = x.clone(), weight.clone()
    for result in (same, shaped, more):
        result.fill_(7)
    assert torch.equal(x, kept[0]) and torch.equal(weight, kept[1])


def test_arrays_that_iree_cannot_read_in_place_are_copied():
    k = kernel(lambda x: x * 2, {"x": "float32[3, 4]"})
    run = open_code(k, compiled(k))
    wide = torch.arange(48.0).reshape(4, 12)
    for x in (wide[:3, 1:5], wide.t()[:3], torch.arange(13.0)[1:].reshape(3, 4)):
        assert torch.equal(run([x])[0], x * 2)
    frozen = np.arange(12, dtype=np.float32).reshape(3, 4)
    frozen.setflags(write=False)
    from dync.runtime.loaders.iree import load
    from dync.runtime.package import KernelEntry
    from dync.runtime.store import Weights

    code = compiled(k)
    types = [tuple(v.type for v in values) for values in (k.inputs, k.results)]
    entry = KernelEntry("iree", ("module.vmfb",), code.settings, (), (), (), *types)
    assert np.array_equal(load(entry, code.members, Weights({}, "numpy"), code.settings, 1)(frozen)[0], frozen * 2)


def test_calls_from_many_threads_give_what_one_gives():
    k = kernel(lambda x, s: (x * s).sum().item(), {"x": "float32[1000]", "s": "float"})
    run = open_code(k, compiled(k))
    wrong = []

    def work(number: int) -> None:
        for _ in range(50):
            found = run([torch.ones(1000), float(number)])[0]
            if found != 1000.0 * number:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_workers():
    k = kernel(lambda x, a: x @ a, {"x": "float32[64, 64]"}, {"a": torch.randn(64, 64)})
    code = TorchMlir().compile(k, Target(), 2)
    x = torch.randn(64, 64)
    for threads in (0, 2, 3):
        assert torch.allclose(open_code(k, code, threads)([x])[0], x @ k.weights["a"], atol=1e-4)


@pytest.mark.parametrize("arch", ("sm_80", "sm_89", "sm_90"))
def test_cuda_code_is_code_for_the_assembler(arch: str, tmp_path):
    if shutil.which("ptxas") is None:
        pytest.skip("ptxas is not here: the CUDA toolkit has it")
    k = kernel(lambda x, a: (x @ a).relu(), {"x": "float32[8, 64]"}, {"a": torch.randn(64, 32)})
    code = compiled(k, Target("cuda", arch))
    text = code.members["module.vmfb"]
    start = text.index(b"//\n// Generated by LLVM NVPTX")
    ptx = text[start : text.index(b"\0", start)]
    (tmp_path / "a.ptx").write_bytes(ptx)
    subprocess.run(["ptxas", f"-arch={arch}", "-o", tmp_path / "a.cubin", tmp_path / "a.ptx"], check=True, capture_output=True)
    assert (tmp_path / "a.cubin").stat().st_size
    if not os.path.exists("/dev/nvidia0"):
        with pytest.raises(BackendError, match="no CUDA device"):
            open_code(k, code)


def test_cuda_names_what_it_has_code_for():
    k = kernel(lambda x: x * 2, {"x": "float32[4]"})
    declined = TorchMlir().supports(k, Target("cuda", "sm_20"))
    assert isinstance(declined, Declined) and "sm_80" in declined.reason


def test_cuda_is_not_for_tensors_that_may_be_empty():
    k = kernel(lambda x: x[x > 0] * 2, {"x": "float32[4]"})
    declined = TorchMlir().supports(k, Target("cuda", "sm_90"))
    assert isinstance(declined, Declined) and "may be 0" in declined.reason and declined.span.line
    for low, taken in ((0, False), (1, True)):
        k = kernel(lambda x: x * 2, {"x": "float32[N, 4]"}, dims={"N": (low, 8)})
        assert (TorchMlir().supports(k, Target("cuda", "sm_90")) is None) is taken


class Prunes(torch.nn.Module):
    """Edges by a mask, then messages along them: sizes that data decide, in steps that depend on one another."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.score, self.message, self.update = torch.nn.Linear(8, 1), torch.nn.Linear(4, 4), torch.nn.GRUCell(4, 4)

    def forward(self, x, source, target):
        weight = self.score(torch.cat([x[source], x[target]], -1)).squeeze(-1).sigmoid()
        keep = weight > 0.5
        if not keep.any():
            return x, source, target
        source, target, weight = source[keep], target[keep], weight[keep]
        degree = torch.zeros(5).scatter_add_(0, target, torch.ones_like(weight)).clamp_(min=1)
        y = torch.zeros_like(x).index_add(0, target, self.message(x[source]) * weight[:, None]) / degree[:, None]
        return self.update(y, x), source, target


def test_sizes_that_data_decide_on_all_threads():
    model = Prunes().eval()
    generator = torch.Generator().manual_seed(0)
    calls = [(torch.randn(5, 4, generator=generator) * 2, *torch.randint(0, 5, (2, 9), generator=generator)) for _ in range(40)]
    compiled = dync.compile(model, calls[0], backend="torch-mlir", host="python")
    assert {b.backend for b in compiled.report.blocks} == {"torch-mlir"}, compiled.report
    for call in calls:
        for found, wanted in zip(compiled(*call), model(*call), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
