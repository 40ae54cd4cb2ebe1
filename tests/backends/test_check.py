"""The numeric check: what it accepts, what it refuses and says, and the inputs that it draws."""

from __future__ import annotations

import math

import pytest
import torch
from support.kernels import kernel

from dync.backends.base import BlockCode, Target
from dync.backends.check import check, draws, eager, evaluate, size_draws
from dync.backends.eager import Eager
from dync.errors import BackendError
from dync.ir.raising import LARGE
from dync.ir.types import ScalarType

CODE = BlockCode("none", "none", {})


def refused(k, run, examples=()) -> str:
    with pytest.raises(BackendError) as caught:
        check(k, CODE, examples, run=run)
    return str(caught.value)


def test_the_worst_error_comes_back():
    k = kernel(lambda x: x * 2, {"x": "float32[4]"})
    assert check(k, CODE, run=lambda i: [i[0] * 2]) == 0
    assert 5e-6 < check(k, CODE, run=lambda i: [i[0] * 2.00002]) < 5e-5


def test_a_wrong_number_is_named():
    k = kernel(lambda x: x * 2, {"x": "float32[4]"})
    assert "where eager has" in refused(k, lambda i: [i[0] * 2.1])
    assert "nan" in refused(k, lambda i: [i[0] * math.nan])


def test_a_result_is_as_exact_as_what_it_is_computed_from():
    """float64 made of float32 sums differs as those do; float64 all the way does not."""
    mixed = kernel(lambda x, y: (x.sum(1).double() * y).sum(), {"x": "float32[4, 8]", "y": "float64[4]"})
    assert check(mixed, CODE, run=lambda i: [(i[0].sum(1) * (1 + 1e-5)).double().mul(i[1]).sum()]) > 1e-6
    whole = kernel(lambda x, y: (x.double().sum(1) * y).sum(), {"x": "float32[4, 8]", "y": "float64[4]"})
    assert "allowed 1e-07" in refused(whole, lambda i: [(i[0].double().sum(1) * (1 + 1e-5)).mul(i[1]).sum()])
    chosen = kernel(lambda x, y: torch.where(x.sum(1) > 0, y, -y) * 3, {"x": "float32[4, 8]", "y": "float64[4]"})
    assert "allowed 1e-07" in refused(chosen, lambda i: [torch.where(i[0].sum(1) > 0, i[1], -i[1]) * 3 * (1 + 1e-5)])
    number = kernel(lambda x: torch.full((2,), x.mean().item(), dtype=torch.float64), {"x": "float32[4]"})
    assert check(number, CODE, run=lambda i: [torch.full((2,), i[0].mean().item() * (1 + 1e-6), dtype=torch.float64)]) > 1e-7
    half = kernel(lambda x: (x.bfloat16() * 2).float() * 3, {"x": "float32[4]"})
    assert "allowed 0.0002" in refused(half, lambda i: [(i[0].bfloat16() * 2).float() * 3 * (1 + 1e-2)])


def test_code_that_only_stops_is_refused():
    """An error of a limit is no difference where eager goes on, as long as there are inputs on which the code runs."""
    k = kernel(lambda x: x * 2, {"x": "float32[4]"})

    def stops(inputs, always):
        if always or (inputs[0] > 0).any():
            raise BackendError(*LARGE.args)
        return [inputs[0] * 2]

    assert str(LARGE) in refused(k, lambda i: stops(i, True))
    assert check(k, CODE, run=lambda i: stops(i, False)) == 0


def test_the_check_leaves_the_generator_as_it_is():
    k = kernel(lambda x: x * torch.rand(4), {"x": "float32[4]"})
    before = torch.get_rng_state()
    assert check(k, CODE, run=lambda i: [i[0] * torch.rand(4)]) == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_shape_and_dtype_count():
    k = kernel(lambda x: x * 2, {"x": "float32[4]"})
    assert "shape" in refused(k, lambda i: [(i[0] * 2)[:3]])
    assert "float64" in refused(k, lambda i: [(i[0] * 2).double()])


def test_numbers_keep_their_kind():
    k = kernel(lambda x: x.sum().item(), {"x": "int64[4]"})
    assert "float" in refused(k, lambda i: [float(i[0].sum())])
    assert check(k, CODE, run=lambda i: [int(i[0].sum())]) == 0


def test_a_number_is_read_from_one_element_only():
    """The operator itself reads the first of several, and foreign memory where there is none; a program looks at the size before."""
    k = kernel(lambda x: torch.ops.aten._local_scalar_dense(x), {"x": "float32[n]"}, dims={"n": (0, None)})
    given = []
    check(k, CODE, run=lambda i: [given.append(len(i[0])) or i[0].sum().item()])
    assert given and set(given) == {1}


def test_sizes_are_those_that_the_graph_declares():
    """Behind a decision that n is more than eight a slice of eight has eight rows, and code may count on it."""
    k = kernel(lambda x: x[:8], {"x": "float32[n]"}, dims={"n": (0, None)})
    next(n for n in k.graph.nodes if n.op == "call_function").meta["val"] = torch.empty(8)
    given = []
    assert check(k, CODE, run=lambda i: [given.append(len(i[0])) or i[0][:8] + 0]) == 0
    assert given and min(given) >= 8


def test_a_size_that_is_not_declared_as_one_meets_its_equal_only():
    k = kernel(lambda x, y: (x + x, y * 1), {"x": "float32[n, 2]", "y": "float32[m, 2]"}, dims={"n": (0, None), "m": (0, None)})
    x, y = k.graph.find_nodes(op="placeholder")
    next(n for n in k.graph.nodes if n.op == "call_function").args = (x, y)
    assert {tuple(len(i) for i in inputs) for inputs in draws(k)} == {(n, n) for n in (0, 1, 2, 3, 7)}


def test_one_symbol_is_one_size():
    """Also where the kernel's types name it twice."""
    k = kernel(lambda x, y: (x + 0, y + 0), {"x": "float32[n]", "y": "float32[m]"}, dims={"n": (0, None), "m": (0, None)})
    x, y = k.graph.find_nodes(op="placeholder")
    y.meta["val"] = x.meta["val"]
    assert {tuple(len(i) for i in inputs) for inputs in draws(k)} == {(n, n) for n in (0, 1, 2, 3, 7)}


def test_a_failing_run_is_refused():
    def run(inputs):
        raise RuntimeError("engine broke")

    assert "engine broke" in refused(kernel(lambda x: x, {"x": "float32[4]"}), run)


def test_results_have_memory_of_their_own():
    constant = torch.zeros(4)
    zeros = kernel(lambda x: torch.zeros_like(x), {"x": "float32[4]"})
    assert "r0 the same memory at each call" in refused(zeros, lambda i: [constant])
    assert check(zeros, CODE, run=lambda i: [torch.zeros(4)]) == 0
    assert "memory of its input x" in refused(kernel(lambda x: x.clone(), {"x": "float32[4]"}), lambda i: [i[0]])
    twice = kernel(lambda x: (x + 1, x + 1), {"x": "float32[4]"})
    assert "the same memory" in refused(twice, lambda i: [i[0] + 1] * 2)
    assert check(kernel(lambda x: (x, x.t()), {"x": "float32[2, 3]"}), CODE, run=lambda i: [i[0], i[0].t()]) == 0


def test_one_discrete_difference_may_be_rounding_two_are_not():
    k = kernel(lambda x: (x > 0).sum(), {"x": "float32[N]"}, dims={"N": (1, None)})
    calls = []

    def run(inputs):
        calls.append(inputs)
        return [(inputs[0] > 0).sum() + (len(calls) == 1)]

    assert check(k, CODE, run=run) == 0 and len(calls) > 2
    assert "differs from eager" in refused(k, lambda i: [(i[0] > 0).sum() + 1])


def test_examples_are_used():
    k = kernel(lambda x: x.clamp(max=1000), {"x": "float32[2]"})
    wrong = lambda i: [i[0].clone()]  # noqa: E731
    check(k, CODE, run=wrong)
    assert "where eager has" in refused(k, wrong, [(torch.tensor([1.0, 5000.0]),)])


def test_code_may_not_write_into_inputs_that_eager_leaves_alone():
    k = kernel(lambda x: x * 2, {"x": "float32[4]"})
    assert "writes into its input x" in refused(k, lambda i: [i[0].mul_(2)])


def test_integers_that_index_stay_in_range():
    k = kernel(lambda x, i: x[i], {"x": "float32[3, 2]", "i": "int64[4]"})
    drawn = list(draws(k))
    assert drawn and all(int(i.max()) < 3 for _, i in drawn)


def test_nothing_to_draw_is_not_a_number():
    def bad(x):
        return x[torch.ops.aten.add(x.long(), 100)]

    assert math.isnan(check(kernel(bad, {"x": "float32[3]"}), CODE, run=lambda i: [i[0]]))


def test_sizes_come_from_the_ranges():
    k = kernel(lambda x, y: x.sum(0) + y.sum(0), {"x": "float32[N, 3]", "y": "float32[M, 3]"}, dims={"N": (2, 5), "M": (0, None)})
    found = size_draws(k)
    assert all(2 <= s["N"] <= 5 for s in found) and {0, 1} <= {s["M"] for s in found} and any(s["N"] != s["M"] for s in found)


def test_dims_are_expressions():
    assert evaluate("2*N + S", {"N": 3, "S": 4}) == 10
    for divided in ("N/S", "N//S", "FloorDiv(N, S)", "PythonMod(N, S)", "Max(1, N/S)"):
        assert [evaluate(divided, {"N": n, "S": 0}) for n in (0, 3)] == [None, None]


def test_uninitialised_memory_may_hold_anything():
    k = kernel(lambda x: (torch.empty_like(x), torch.cat([x, torch.empty_like(x)])), {"x": "float32[4]"})
    check(k, CODE, run=lambda i: [i[0] * 7, torch.cat([i[0], i[0] * 9])])
    assert "where eager has" in refused(k, lambda i: [i[0].clone(), torch.cat([i[0] + 1, i[0]])])


def test_a_large_block_is_compared_on_fewer_inputs(monkeypatch):
    from dync.backends import check as module

    k = kernel(lambda x: x * 2, {"x": "float32[N]"}, dims={"N": (1, None)})
    calls = []
    right = lambda i: calls.append(1) or [i[0] * 2]  # noqa: E731
    check(k, CODE, run=right)
    many = len(calls)
    calls.clear()
    monkeypatch.setattr(module, "SECONDS", 0.0)
    assert check(k, CODE, run=right) == 0 and 1 <= len(calls) < many
    assert "where eager has" in refused(k, lambda i: [i[0] * 3])


def test_what_is_silently_wrong_in_onnx_is_never_shipped():
    """ONNX has no mean in ScatterElements: the sum in its place is found out."""
    from support.backend_cases import CASES

    from dync.backends.base import Target
    from dync.backends.check import open_code
    from dync.backends.onnxruntime import OnnxRuntime

    mean, total = CASES["scatter-reduce-mean"].kernel(), CASES["scatter-reduce-sum"].kernel()
    wrong = OnnxRuntime().compile(total, Target(), 1)
    check(total, wrong, run=open_code(total, wrong))
    with pytest.raises(BackendError, match="where eager has"):
        check(mean, wrong, run=open_code(mean, wrong))
    right = OnnxRuntime().compile(mean, Target(), 1)
    assert check(mean, right, run=open_code(mean, right)) < 1e-4


def test_memory_that_nobody_wrote_is_no_index_to_judge_code_by():
    """The inverse of a permutation; drawn indices leave holes in it."""
    k = kernel(lambda x, p: x[torch.empty_like(p).index_put((p,), torch.arange(4))], {"x": "float32[4]", "p": "int64[4]"})

    def run(inputs):
        x, p = inputs
        if len(set(p.tolist())) < len(p):
            raise IndexError("index 140228662598848 is out of bounds")
        return [x[p.argsort()]]

    assert check(k, CODE, [(torch.randn(4), torch.tensor([2, 0, 3, 1]))], run=run) == 0


def test_drawing_survives_operators_that_end_the_process_on_empty_tensors():
    from support.kernels import Case

    def attend(q):
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)[0]

    kernel = Case("flash", attend, {"q": "float32[1, 2, N, 2]"}, {}, dims={"N": (0, None)}).kernel()
    assert any("flash" in str(n.target) for n in kernel.graph.nodes)
    assert {i[0].shape[2] for i in draws(kernel)} and all(i[0].shape[2] for i in draws(kernel))


def test_a_number_that_is_a_size_fits_the_size():
    import dync
    from dync.build import kernels_of

    class Pads(torch.nn.Module):
        def forward(self, x, n):
            y = torch.nn.functional.pad(x, (0, int(n)))
            if y.sum() > 0:
                y = y * 2
            scale = x.sum().item() * 0.5  # a number that is no size
            if y.mean() > 0:
                y = y * scale
            return y.view(-1, y.shape[1]) @ torch.ones(y.shape[1], 2)

    program = dync.capture(Pads(), (torch.randn(3, 4), torch.tensor([2])))
    padded = [k for k in kernels_of(program).values() if [type(d) for d in getattr(k.inputs[0].type, "shape", ())] == [int, str]]
    tied = [k for k in padded if len(k.inputs) == 2 and k.inputs[1].type == ScalarType("int")]
    assert tied
    for k in tied:
        drawn = list(draws(k))
        assert drawn and all(x.shape[1] == n + 4 for x, n in drawn)
    assert all(list(draws(k)) for k in kernels_of(program).values())


def test_an_rnn_is_given_hidden_states_for_its_sequences():
    """aten.lstm checks no size: for more sequences than the hidden states are of it reads memory that is not its own."""
    weights = {n: torch.randn(16, s) for n, s in (("wi", 3), ("wh", 4))}

    def step(x, h, c, wi, wh):
        return torch.ops.aten.lstm.input(x, [h, c], [wi, wh], False, 1, 0.0, False, False, False)

    found = kernel(step, {"x": "float32[2, 1, 3]", "h": "float32[1, N, 4]", "c": "float32[1, N, 4]"}, weights, True, {"N": (1, 2)})
    assert all(draw[1].shape[1] == 1 for draw in draws(found, 0) if eager(found, draw) is not None)
    assert check(found, Eager().compile(found, Target())) == 0
