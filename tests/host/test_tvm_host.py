"""The TVM host: the same as `interpret` on all paths, long loops, threads, declines, and libraries for processes without dync."""

from __future__ import annotations

import json
import math
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from host.models import Paths
from host.test_hosts import difference, mismatch
from torch import nn

import dync
from dync.api import compile_with
from dync.errors import BackendError, HostError
from dync.host.tvm.assemble import bodies
from dync.options import CompileOptions

pytest.importorskip("tvm")
pytestmark = pytest.mark.part(2)
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "run_model.cpp"


def compiled(model, args, **options):
    return compile_with(CompileOptions.parse(backend="tvm", host="tvm", threads=1, strict=True), model, args, **options)


def memory():
    """Bytes of memory that the process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(scope="module")
def paths():
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1, max=64)
    return compiled(Paths().eval(), (torch.randn(2, 4),), params={"limit": (0.5, -5.0, 5.0)}, dynamic_shapes={"x": {0: batch}})


@pytest.fixture(scope="module")
def library(paths, tmp_path_factory):
    """A folder with the bare library, and an input as a file of plain numbers."""
    folder = tmp_path_factory.mktemp("library")
    paths.save(folder / "m.so")
    np.ones((3, 4), np.float32).tofile(folder / "x.bin")
    np.array(0.5).tofile(folder / "limit.bin")
    return folder


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """A folder with the bare library of a model that takes one size."""
    folder = tmp_path_factory.mktemp("fixed")
    compiled(Paths().eval(), (torch.randn(2, 4),), params={"limit": (0.5, -5.0, 5.0)}).save(folder / "m.so")
    return folder


def test_all_paths(paths):
    for x in (torch.ones(2, 4), torch.zeros(2, 4), -torch.ones(2, 4), torch.ones(5, 4)):
        assert not mismatch(paths, paths.program, (x,), {})


def test_parameters_stay_inputs(paths):
    x = torch.ones(2, 4)
    try:
        paths.params["limit"] = 2.0
        assert set(paths(x)) == {"y", "n"}
    finally:
        paths.params["limit"] = 0.5
    assert paths(x).shape == (2, 3)


def test_the_artifact_runs_without_torch_and_compiler(paths, tmp_path):
    paths.save(tmp_path / "m.dync")
    loaded = dync.load(tmp_path / "m.dync")
    x = torch.ones(2, 4)
    assert not difference(paths(x), loaded(x))
    code = (
        "import sys, numpy as np, dync\n"
        "model = dync.load('m.dync')\n"
        "result, trace = model.traced(np.ones((2, 4), np.float32))\n"
        "assert trace.path and 'torch' not in sys.modules and 'tvm' not in sys.modules\n"
        "np.save('y.npy', result)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert np.allclose(np.load(tmp_path / "y.npy"), paths(x), atol=1e-5)


def test_a_bare_library_runs_where_dync_is_not(paths, library):
    code = (
        "import sys, ctypes, importlib.util, numpy as np\n"
        "sys.modules['torch'] = None\n"
        "import tvm_ffi\n"
        "folder = importlib.util.find_spec('tvm').submodule_search_locations[0]\n"
        "ctypes.CDLL(folder + '/lib/libtvm_runtime.so', ctypes.RTLD_GLOBAL)\n"
        "machine = tvm_ffi.load_module('./m.so').get_function('vm_load_executable')()\n"
        "machine.get_function('vm_initialization')(1, 0, 2)\n"
        "x, limit = np.fromfile('x.bin', np.float32).reshape(3, 4), np.fromfile('limit.bin').reshape(())\n"
        "exit, *found = machine.get_function('main')(*map(tvm_ffi.from_dlpack, (x, limit)))\n"
        "assert 'dync' not in sys.modules and 'tvm' not in sys.modules\n"
        "open('said.json', 'w').write(machine.get_function('dync')())\n"
        "np.save('y.npy', np.from_dlpack(found[0]))\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], cwd=library, check=True)
    said = json.loads((library / "said.json").read_text())
    assert [p["name"] for p in said["inputs"]] == ["x", "limit"]
    assert said["outputs"][1]["name"] == "float32_2d_0"
    assert np.allclose(np.load(library / "y.npy"), paths(torch.ones(3, 4)), atol=1e-5)


def test_the_example_in_cpp(paths, library):
    """docs/examples/run_model.cpp, built as its first lines say, against the runtime alone."""
    import tvm
    import tvm_ffi

    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
    home, runtime = Path(tvm_ffi.__file__).parent, Path(tvm.__file__).parent / "lib"
    if not (home / "include" / "tvm" / "ffi" / "extra" / "module.h").is_file():
        pytest.skip("apache-tvm-ffi comes without headers")
    built = ["g++", "-std=c++17", str(EXAMPLE), "-o", "run_model", f"-I{home}/include", f"-L{home}/lib", f"-L{runtime}",
             "-Wl,--no-as-needed", "-ltvm_runtime", "-ltvm_ffi", f"-Wl,-rpath,{home}/lib:{runtime}"]  # fmt: skip
    subprocess.run(built, cwd=library, check=True)

    def run(*arguments):
        return subprocess.run(["./run_model", "m.so", *arguments], cwd=library, capture_output=True, text=True)

    done = run("x.bin:float32:3x4", "limit.bin:float64:")
    assert done.stdout.splitlines()[:2] == ["exit 0", "out1 float32 3 3"], done.stderr
    assert np.allclose(np.fromfile(library / "out1.bin", np.float32).reshape(3, 3), paths(torch.ones(3, 4)), atol=1e-5)
    assert json.loads(run().stdout)["name"] == "Paths"
    wrong = run("x.bin:float32:4x3", "limit.bin:float64:")
    assert wrong.returncode == 1 and "i0" in wrong.stderr


@pytest.mark.parametrize("given", ["x[::-1]", "x[:, ::-1]", "x.T.copy().T", "x[:1]", "x[:, :3]", "x.astype('f8')"])
def test_a_bare_library_of_known_sizes_takes_nothing_else(given, fixed):
    code = (
        "import sys, ctypes, importlib.util, numpy as np\n"
        "import tvm_ffi\n"
        "folder = importlib.util.find_spec('tvm').submodule_search_locations[0]\n"
        "ctypes.CDLL(folder + '/lib/libtvm_runtime.so', ctypes.RTLD_GLOBAL)\n"
        "machine = tvm_ffi.load_module('./m.so').get_function('vm_load_executable')()\n"
        "machine.get_function('vm_initialization')(1, 0, 2)\n"
        "x, limit = np.arange(8, dtype='f4').reshape(2, 4), np.array(0.5)\n"
        "call = machine.get_function('main')\n"
        "call(*map(tvm_ffi.from_dlpack, (x, limit)))\n"
        f"given = tvm_ffi.from_dlpack({given}), tvm_ffi.from_dlpack(limit)\n"
        "try:\n"
        "    call(*given)\n"
        "except (TypeError, ValueError, RuntimeError):\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=fixed, capture_output=True, text=True)
    assert done.stdout == "refused\n", done.stderr


class Count(nn.Module):
    def forward(self, x):
        while x.sum() < 100_000:
            x = x + 1
        return x


def test_a_long_loop_neither_leaks_nor_overflows():
    run = compiled(Count(), (torch.zeros(1),))
    assert float(run(torch.zeros(1))) == 100_000
    before = memory()
    assert float(run(torch.zeros(1))) == 100_000
    assert memory() - before < 4 << 20
    run = compiled(Wide(), (torch.zeros(1 << 16),))
    before = memory()
    assert float(run(torch.zeros(1 << 16))[0]) == 1000
    assert memory() - before < 8 << 20


class Wide(nn.Module):
    """A thousand turns with tensors of 256 KiB, each behind decisions of its own."""

    def forward(self, x):
        while x[0] < 1000:
            y = x + 1
            if x[1] > 500:
                y = y * 1
            x = y
        return x


@pytest.mark.parametrize("sizes", ("given", "known"))
def test_many_calls_from_many_threads(paths, sizes):
    run = paths if sizes == "given" else compiled(Paths().eval(), (torch.randn(2, 4),), params={"limit": (0.5, -5.0, 5.0)})
    given = [torch.ones(2, 4), torch.zeros(2, 4), -torch.ones(3 if sizes == "given" else 2, 4)]
    wanted = [run(x) for x in given]

    def some(number):
        return [difference(wanted[i % 3], run(given[i % 3])) for i in range(number, number + 625)]

    def together():
        with ThreadPoolExecutor(8) as pool:
            return [d for one in pool.map(some, range(8)) for d in one]

    assert not any(together())
    before = memory()
    assert not any(together())
    assert memory() - before < 16 << 20


def test_threads_trace_apart(paths):
    given = [torch.ones(2, 4), torch.zeros(2, 4)] * 8
    with ThreadPoolExecutor(8) as pool:
        found = [t.path for _, t in pool.map(lambda x: paths.traced(x), given * 20)]
    assert found == [paths.traced(x)[1].path for x in given] * 20


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(3, n + 1) for n in range(5))

    def forward(self, x, which):
        return self.experts[int(which)](x)


def test_a_switch():
    run = compiled(Experts(), (torch.randn(2, 3), torch.tensor(1)))
    for which in (0, 1, 2, 3, 4, 5, 99):
        assert not mismatch(run, run.program, (torch.randn(2, 3), torch.tensor(which)), {})


class Swaps(nn.Module):
    """A ring of values that change places, with a number among them."""

    def forward(self, a, b, c):
        n = 0
        while a.sum() + n < 5:
            a, b, c = b, c, a + 1
            n = n + 1
        return a, b, c, n


def test_values_change_places_at_once():
    run = compiled(Swaps(), (torch.zeros(2), torch.ones(2), -torch.ones(2)))
    for scale in (1.0, -2.0, 5.0):
        given = tuple(torch.randn(2) * scale for _ in range(3))
        assert not mismatch(run, run.program, given, {})


class Best(nn.Module):
    """Results of one place in the code that are held at once: the best so far, the one before it, and the last."""

    def forward(self, x):
        best, second, y, n = x, x, x, 0
        while n < 9 and y.abs().sum() < 100:
            y = torch.sin(y * 3) + x
            if y.sum() > best.sum():
                best, second = y, best
            n += 1
        return best, second, y, best + second


def test_results_of_one_place_are_kept_apart():
    run = compiled(Best(), (torch.zeros(2, 3),))
    blocks = compile_with(CompileOptions.parse(backend="tvm", host="python", threads=1, strict=True), Best(), (torch.zeros(2, 3),))
    for seed in range(20):
        x = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed))
        assert all(torch.equal(a, b) for a, b in zip(run(x), blocks(x), strict=True))


def test_the_flow_is_one_function_where_all_sizes_are_known():
    from dync.backends.base import Target
    from dync.build import kernels_of
    from dync.whole_tvm import compiled as whole

    x = torch.zeros(4, 3)
    known, given = dync.capture(Best(), (x,)), dync.capture(Best(), (x,), dynamic_shapes={"x": {0: torch.export.Dim("n", min=1, max=9)}})
    assert whole(known, kernels_of(known), Target(), 1).native
    assert not whole(given, kernels_of(given), Target(), 1).native


class Signs(nn.Module):
    """Numbers that are equal, and not the same."""

    def forward(self, x):
        s = 0.0
        if x.sum() > 0:
            s = -0.0
        return s, x * s


def test_negative_zero_is_not_zero():
    run = compiled(Signs(), (torch.ones(3),))
    for x in (torch.ones(3), -torch.ones(3)):
        (number, found), (wanted, signs) = run(x), Signs()(x)
        assert math.copysign(1, number) == math.copysign(1, wanted) and torch.equal(found.signbit(), signs.signbit())


class Token(nn.Module):
    """A number that is another shape of a kernel's result, and asked about."""

    def forward(self, x):
        found = (x * 2).argmax(dim=1)
        tokens, token = torch.cat([found, found * 2]), found.item()
        if token == 1:
            return tokens + 1, token
        return tokens, token


def test_a_result_of_another_shape_is_looked_at_behind_the_kernels():
    run = compiled(Token(), (torch.tensor([[0.0, 1.0, 0.0]]),))
    for x in torch.eye(3)[:, None]:
        wanted = Token()(x)
        assert not difference(wanted, run(x)) and not difference(wanted, run.traced(x)[0])


class Owned(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.arange(6.0))

    def forward(self, x):
        y = torch.zeros(6)
        if x.sum() > 0:
            y = self.table * 1
        return y, y.view(2, 3), self.table.view(3, 2), x.reshape(-1)


def test_results_have_memory_of_their_own():
    run = compiled(Owned(), (torch.ones(2, 2),))
    for x in (torch.ones(2, 2), -torch.ones(2, 2)):
        first = run(x)
        kept = [r.clone() for r in first]
        for i, result in enumerate(first):
            result.fill_(7.0 + i)
        assert [float(r.flatten()[0]) for r in first] == [7.0, 8.0, 9.0, 10.0]
        assert all(torch.equal(a, b) for a, b in zip(kept, run(x), strict=True))


class Writes(nn.Module):
    def forward(self, x, y):
        total = torch.zeros_like(x)
        if x.sum() > 0:
            total += x
            y.add_(1)
        total.mul_(2)
        return total, y * 2


def test_writes_in_place():
    run = compiled(Writes(), (torch.ones(3), torch.ones(3)))
    for x in (torch.ones(3), -torch.ones(3)):
        assert not mismatch(run, run.program, (x, torch.randn(3)), {})


class Rows(nn.Module):
    def forward(self, x, i):
        if x.sum() > 0:
            return x[i]
        return x


def test_an_index_out_of_range_is_an_error():
    run = compiled(Rows(), (torch.ones(3, 2), torch.tensor([0, 2])))
    assert not mismatch(run, run.program, (torch.ones(3, 2), torch.tensor([2, 1])), {})
    with pytest.raises(BackendError, match="out of range"):
        run(torch.ones(3, 2), torch.tensor([0, 7]))
    assert run(-torch.ones(3, 2), torch.tensor([0, 7])).shape == (3, 2)


def test_state_is_declined():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = 0

        def forward(self, x):
            self.seen += 1
            return x * self.seen

    with pytest.raises(HostError, match="seen"):
        compiled(Keeps(), (torch.ones(2),))


def test_what_stands_in_line():
    """A function that is not calls and a tuple is called; of one that is, outputs are not emptied."""
    text = (
        "@a:\n  call  f                in: %0, c[1]       dst: %1     \n  call  vm.builtin.make_tuple in: %1, %0  dst: %2\n"
        "  call  vm.builtin.null_value in:              dst: %1\n  ret   %2\n\n@f packed_func;\n\n"
        "@b:\n  If    %0, 3\n  ret   %0\n\n"
    )
    found = bodies(text)
    assert set(found) == {"a"} and found["a"].outputs == ("%1", "%0")
    assert found["a"].lines == (("f", ("%0", "c[1]"), "%1"),)
