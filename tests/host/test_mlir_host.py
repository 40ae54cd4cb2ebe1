"""The MLIR host: the same as `interpret` on all paths, long loops, declines, and files for processes without dync."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from host.models import Paths
from host.test_hosts import difference, mismatch
from torch import nn

import dync
from dync.api import compile_with
from dync.errors import HostError
from dync.options import CompileOptions

pytest.importorskip("torch_mlir")
pytest.importorskip("iree.compiler")
pytestmark = pytest.mark.part(4)


def compiled(model, args, **options):
    return compile_with(CompileOptions.parse(backend="torch-mlir", host="torch-mlir", threads=1, strict=True), model, args, **options)


@pytest.fixture(scope="module")
def paths():
    torch.manual_seed(0)
    model = Paths().eval()
    return compiled(model, (torch.randn(2, 4),), params={"limit": (0.5, -5.0, 5.0)})


def test_all_paths(paths):
    for x in (torch.ones(2, 4), torch.zeros(2, 4), -torch.ones(2, 4)):
        assert not mismatch(paths, paths.program, (x,), {})


def test_parameters_stay_inputs(paths):
    x = torch.ones(2, 4)
    try:
        paths.params["limit"] = 2.0
        assert set(paths(x)) == {"y", "n"}
    finally:
        paths.params["limit"] = 0.5
    assert paths(x).shape == (2, 3)


def test_the_artifact_runs_without_the_compiler(paths, tmp_path):
    paths.save(tmp_path / "m.dync")
    loaded = dync.load(tmp_path / "m.dync")
    x = torch.ones(2, 4)
    assert not difference(paths(x), loaded(x))


def test_a_bare_module_runs_where_dync_is_not(paths, tmp_path):
    paths.save(tmp_path / "m.vmfb")
    paths.save(tmp_path / "m.mlir")
    assert "cf.cond_br" in (tmp_path / "m.mlir").read_text()
    x = np.ones((2, 4), np.float32)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys, numpy as np, iree.runtime as rt\n"
        "config = rt.Config('local-sync')\n"
        "module = rt.load_vm_flatbuffer_file('m.vmfb', driver='local-sync')\n"
        "found = module.main(np.load('x.npy'), np.array(0.5))\n"
        "assert 'dync' not in sys.modules and 'torch' not in sys.modules\n"
        "exit = found[0]\n"
        "np.save('y.npy', next(f.to_host() for f in found[1:] if f.shape == (2, 3) or list(f.shape) == [2, 3]))\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert np.allclose(np.load(tmp_path / "y.npy"), paths(torch.from_numpy(x)), atol=1e-5)


def test_a_long_loop_neither_leaks_nor_overflows():
    class Count(nn.Module):
        def forward(self, x):
            while x.sum() < 20000:
                x = x + 1
            return x

    import resource

    run = compiled(Count(), (torch.zeros(1),))
    assert float(run(torch.zeros(1))) == 20000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert float(run(torch.zeros(1))) == 20000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


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


@pytest.mark.parametrize("dtype", (torch.float32, torch.int64, torch.bool))
@pytest.mark.parametrize("dynamic", (False, True))
def test_an_input_on_one_edge_twice(dtype, dynamic):
    class Both(nn.Module):
        def forward(self, x, n):
            first, second = x, x.flatten()
            while n.sum() > 0:
                first = first.roll(1, 1)
                if first[0, 0] > 0:
                    second = second.flip(0)
                n = n - 1
            return first, second

    values = torch.tensor([[2.0, -1, 0], [0, 3, 0]]).to(dtype)
    shapes = ({0: torch.export.Dim("rows", min=1, max=8)}, None) if dynamic else None
    run = compiled(Both(), (values, torch.ones(1)), dynamic_shapes=shapes)
    for count in range(4):
        assert not difference(Both()(values, torch.full((1,), count)), run(values, torch.full((1,), float(count))))


def test_an_input_that_is_written_beside_its_first_value():
    class Writes(nn.Module):
        def forward(self, x, n):
            kept = x
            while n.sum() > 0:
                kept = kept.roll(1, 1)
                if kept[0, 0] > 0:
                    x += 0.5
                n = n - 1
            return kept, x

    run = compiled(Writes(), (torch.ones(1, 3), torch.ones(1)))
    for count in range(4):
        mine, yours, n = torch.tensor([[1.0, -1, 2]]), torch.tensor([[1.0, -1, 2]]), torch.full((1,), float(count))
        assert not difference(Writes()(mine, n), run(yours, n)) and torch.equal(mine, yours)


@pytest.mark.parametrize("writes", (False, True))
def test_an_input_that_one_way_gives_back_and_others_replace(writes):
    """IREE 3.13 refused such a module, or copied from a buffer that was none."""
    torch.manual_seed(0)

    class Either(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(6, 6)

        def forward(self, x):
            h = torch.tanh(x)
            most = torch.relu(h) if (x > 0.523).any() else x * 2
            if writes and x.sum() < h.sum():
                x += 0.1
            h = torch.tanh(self.lin(h))
            if not (most.abs() < 0.545).all():
                return most, x.mean()
            if most.mean() > 0.146:
                return most, h
            return {"y": x, "parts": (most, most.mean())}

    model, kinds = Either(), set()
    run = compiled(model, (torch.randn(1, 6),))
    for scale in (1.0, 0.1, 3.0, 0.5) * 10:
        mine = torch.randn(1, 6) * scale
        yours = mine.clone()
        expected = model(mine)
        kinds.add((type(expected), len(expected) == 2 and not isinstance(expected, dict) and expected[1].dim()))
        assert not difference(expected, run(yours)) and torch.equal(mine, yours)
    assert len(kinds) == 3


@pytest.mark.parametrize("form", ("dict", "tuple"))
def test_an_input_that_is_written_on_one_way_and_given_back(form):
    """Exits that bring one buffer in several places: IREE 3.13 refused the module, or copied from a buffer that was none."""

    class Given(nn.Module):
        def forward(self, x):
            h = torch.tanh(x)
            most = torch.relu(h) if (x > 0.523).any() else x * 2
            if x.sum() < h.sum():
                x += 0.1
            if not (most.abs() < 0.545).all():
                return most, x.mean()
            if most.mean() > 0.146:
                return most, torch.tanh(h * 2)
            return {"y": x, "parts": (most, most.mean())} if form == "dict" else (x, most.mean())

    run = compiled(Given(), (torch.randn(1, 6),))
    generator = torch.Generator().manual_seed(0)
    for scale in (1.0, 0.1, 3.0, 0.5) * 8:
        mine = torch.randn(1, 6, generator=generator) * scale
        yours = mine.clone()
        assert not difference(Given()(mine), run(yours)) and torch.equal(mine, yours)


def test_products_between_branches_are_computed():
    """IREE 3.13 with data tiling lost the last of the nine before the branch."""

    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.layers = nn.Linear(6, 6), nn.ModuleList(nn.Linear(6, 6) for _ in range(3))

        def forward(self, x):
            h = torch.tanh(self.first(x))
            for _ in range(3):
                for layer in self.layers:
                    h = torch.tanh(layer(h))
                    if x.norm() > 3.6:
                        continue
                else:
                    h = torch.tanh(h * x)
            else:
                for layer in self.layers:
                    h = torch.tanh(layer(h))
            return h

    torch.manual_seed(0)
    model, inputs = Layers().eval(), [torch.randn(1, 6) * scale for scale in (0.1, 1.0, 3.0)]
    run = compiled(model, (inputs[0],))
    for x in inputs:
        assert not difference(model(x), run(x)) and not difference(model(x), run.traced(x)[0])


def test_constants_are_written_in_place():
    class Counts(nn.Module):
        def forward(self, x):
            total = torch.zeros_like(x)
            if x.sum() > 0:
                total += x
            total.mul_(2)
            return total

    run = compiled(Counts(), (torch.ones(3),))
    for x in (torch.ones(3), -torch.ones(3)) * 2:
        assert not mismatch(run, run.program, (x,), {})


def test_results_outlive_the_device(tmp_path):
    """When Python ends, modules and their devices may go before the last results."""
    (tmp_path / "keeps.py").write_text(
        "import gc, torch, dync\n"
        "from dync.runtime.loaders import iree\n"
        "class Model(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return (x + 1, x * 2) if x.sum() > 0 else (x, x - 1)\n"
        "for host in ('python', 'torch-mlir'):\n"
        "    run = dync.compile(Model(), (torch.ones(3),), backend='torch-mlir', host=host)\n"
        "    kept = [*run(torch.ones(3)), *run(-torch.ones(3))]\n"
        "    del run\n"
        "    iree._opened.clear()\n"
        "    gc.collect()\n"
        "    kept.clear()\n"
        "print('ended')\n"
    )
    done = subprocess.run([sys.executable, "keeps.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


def test_the_way_is_told_in_its_order():
    """IREE makes one straight line of branches that do nothing, and calls in it wait for different results."""

    class Best(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            best = max(layer(x).sum().item() for layer in (self.a, self.b))
            first = next((i for i, layer in enumerate((self.a, self.b)) if layer(x).sum() > 0), -1)
            return best, first

    torch.manual_seed(0)
    run = compiled(Best(), (torch.randn(2, 4),))
    for _ in range(6):
        assert not mismatch(run, run.program, (torch.randn(2, 4),), {})


class PrunedTree(nn.Module):
    """A heap of vectors from its leaves up, where the score of a node cuts off all below it."""

    def __init__(self):
        super().__init__()
        self.score, self.join = nn.Linear(4, 1), nn.Linear(8, 12)

    def visit(self, nodes, at):
        if at >= len(nodes):
            return torch.zeros(4), torch.zeros(4), 0
        if at and self.score(nodes[at]).item() < -0.3:
            return torch.zeros(4), torch.zeros(4), 1
        (h, c, n), (k, d, m) = self.visit(nodes, 2 * at + 1), self.visit(nodes, 2 * at + 2)
        i, f, u = self.join(torch.cat([nodes[at], h + k])).chunk(3)
        c = i.sigmoid() * u.tanh() + f * (c + d)
        return c.tanh(), c, n + m

    def forward(self, nodes):
        h, _, pruned = self.visit(nodes, 0)
        return h, pruned


def test_constants_that_paths_bring_are_there():
    """IREE copied such a one from nowhere on some of the ways that are told."""
    torch.manual_seed(0)
    made = compiled(PrunedTree().eval(), ([torch.randn(4) for _ in range(7)],))
    for _ in range(6):
        assert not mismatch(made, made.program, ([torch.randn(4) * 2 for _ in range(7)],), {})


def test_what_stands_for_outputs_that_an_exit_does_not_give_is_made_where_it_leaves(paths):
    """IREE 3.13 copies one that several exits share in the block of the first, which does not dominate the others."""
    from dync.build import kernels_of
    from dync.options import parse_target
    from dync.whole_mlir import mlir_module

    text = mlir_module(paths.program, kernels_of(paths.program), parse_target("cpu")).module.text
    here, brought = set(), 0
    for line in text.splitlines():
        if line.startswith("^"):
            here = set()
        if line.startswith("cf.br ^end("):
            made = [n for n in line[line.index("(") + 1 : line.index(" : ")].split(", ") if n.startswith("%t")]
            brought += len(made)
            assert here.issuperset(made), line
        here.add(line.partition(" = ")[0])
    assert brought > 2


class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        h, kept = torch.tanh(self.first(x)), x
        for _ in range(int((x.mean(0) > 0.046).sum().item()) % 4):
            kept = torch.tanh(self.again(kept))
            h = torch.softmax(x, dim=-1)
        return h if kept.sum() < h.sum() else kept


class TurnedTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin, self.turned = nn.Linear(6, 6), Turned()

    def forward(self, x):
        h = torch.tanh(self.lin(x))
        made = self.turned(x) if x.abs().mean() > 0.488 else self.turned(x)
        return h, int((h.mean(0) > -0.09).sum().item()) % 4, made


def test_values_that_share_a_buffer_with_a_constant_go_along_an_edge():
    """IREE 3.13's VM loses one of a branch's equal operands: `h` and the loop's first turn were in one buffer, which was brought twice."""
    torch.manual_seed(1)
    made = compiled(TurnedTwice().eval(), (torch.ones(1, 6),))
    for seed in range(8):
        x = torch.randn(1, 6, generator=torch.Generator().manual_seed(seed))
        assert not mismatch(made, made.program, (x,), {})
