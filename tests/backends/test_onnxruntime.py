"""The ONNX Runtime backend's own promises: speed of compiling, what stays out of a model, refusals, models that do not hide a fault."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from support.backend_cases import CASES, w
from support.kernels import kernel

from dync.backends.base import Declined, Target
from dync.backends.check import check, open_code
from dync.backends.onnx.registry import Unsupported, plan
from dync.backends.onnx.translate import translate
from dync.errors import BackendError
from dync.runtime.loaders.onnxruntime import session_options

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from dync.backends.onnxruntime import OnnxRuntime  # noqa: E402


def operators(code) -> list[str]:
    import onnx

    return [n.op_type for n in onnx.load_from_string(code.members["model.onnx"]).graph.node]


def compiled(name: str):
    return OnnxRuntime().compile(CASES[name].kernel(), Target())


def test_a_typical_block_compiles_within_fifty_milliseconds():
    k = CASES["conv-bn-relu"].kernel()
    OnnxRuntime().compile(k, Target())
    best = min(_seconds(lambda: OnnxRuntime().compile(k, Target())) for _ in range(5))
    assert best < 0.05


def _seconds(f) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def test_a_transposed_weight_is_read_in_place():
    k = kernel(lambda x, a, b: torch.addmm(b, x, a.t()), {"x": "float32[2, 4]"}, {"a": w(5, 4), "b": w(5)})
    assert operators(OnnxRuntime().compile(k, Target())) == ["Gemm"]


def test_a_view_with_one_dynamic_size_needs_no_shape_arithmetic():
    k = kernel(lambda x: x.view(x.shape[0], -1), {"x": "float32[N, 3, 4]"}, dims={"N": (1, 64)})
    assert operators(OnnxRuntime().compile(k, Target())) == ["Reshape"]


def test_dead_nodes_are_dropped():
    k = kernel(lambda x: (x.exp(), x + 1)[1], {"x": "float32[3]"})
    assert operators(OnnxRuntime().compile(k, Target())) == ["Add"]


def test_results_are_the_producers_own_outputs():
    assert "Identity" not in operators(compiled("encoder-layer"))


def test_batch_norm_folds_when_the_model_is_loaded(tmp_path):
    import onnx
    import onnxruntime as ort

    case, code = CASES["conv-bn-relu"], compiled("conv-bn-relu")
    options = session_options(ort, 1)
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    values = {n: case.weights[weight].numpy() for n, weight in code.settings["initializers"].items()}
    options.add_external_initializers(list(values), [ort.OrtValue.ortvalue_from_numpy(v) for v in values.values()])
    ort.InferenceSession(code.members["model.onnx"], options, providers=["CPUExecutionProvider"])
    folded = [n.op_type for n in onnx.load(str(tmp_path / "optimised.onnx")).graph.node]
    assert "BatchNormalization" not in folded and "Relu" not in folded


def test_cuda_is_declined():
    assert "cuda" in OnnxRuntime().supports(CASES["relu"].kernel(), Target("cuda", "sm_90")).reason


def test_a_write_is_left_to_eager_where_it_has_no_functional_form():
    k = replace(kernel(lambda x: (x.add_(1) * 2, x.sum().item()), {"x": "float32[3]"}, mutates=("x",)), functional=None, keeps_views=False)
    assert OnnxRuntime().supports(k, Target()).reason == "writes x in place"
    left = replace(k, mutates=())
    assert "aten.add_.Tensor: writes in place" in OnnxRuntime().supports(left, Target()).reason
    with pytest.raises(BackendError, match="aten.add_.Tensor"):
        OnnxRuntime().compile(left, Target())


def test_results_that_must_stay_views_are_left_to_eager():
    k = replace(kernel(lambda x: x[0], {"x": "float32[3, 2]"}), keeps_views=True)
    assert "views" in OnnxRuntime().supports(k, Target()).reason


def writes(x, y, seen):
    """Writes an input and a weight; results before and after."""
    before = x.sum()
    x[0].mul_(y)
    seen.add_(1)
    return before, (x + seen).sum()


def test_what_a_block_writes_is_copied_back():
    seen = torch.zeros(2)
    k = kernel(writes, {"x": "float32[3, 2]", "y": "float32[2]"}, {"seen": seen}, mutates=("x", "seen"))
    code = OnnxRuntime().compile(k, Target())
    assert len(code.settings["outputs"]) == 4 and {n for _, n in code.settings["copies"]} == {"i0", "f0"}
    assert check(k, code, run=open_code(k, code)) < 1e-5
    x, y = torch.ones(3, 2), torch.full((2,), 5.0)
    before, after, left = open_code(k, code)([x, y])
    assert (before, after) == (6, 6 + 8 + 6) and x[0].tolist() == [5, 5] and left.tolist() == [1, 1] and seen.tolist() == [0, 0]


def test_a_forgotten_write_is_noticed():
    k = kernel(writes, {"x": "float32[3, 2]", "y": "float32[2]"}, {"seen": torch.zeros(2)}, mutates=("x", "seen"))
    code = OnnxRuntime().compile(k, Target())
    for kept in range(2):
        with pytest.raises(BackendError, match="where eager has"):
            check(k, replace(code, settings=dict(code.settings) | {"copies": [code.settings["copies"][kept]]}))


def test_a_weight_that_calls_write_is_an_input():
    k = replace(CASES["shared-weight"].kernel(), written=frozenset({"a"}))
    code = OnnxRuntime().compile(k, Target())
    assert code.settings["feeds"] == {"f0": "a"} and not code.settings["initializers"] and code.weights == ("a",)
    x = torch.randn(2, 4)
    a = CASES["shared-weight"].weights["a"]
    torch.testing.assert_close(open_code(k, code)([x])[0], x @ a.t() @ a)


def test_kernels_are_asked_for_their_types():
    assert plan("", "Add", ("int8", "int8"), 1).inputs == ("int8", "int8")
    assert plan("", "Relu", ("float16",), 1).inputs in (("float16",), ("float32",))
    with pytest.raises(Unsupported, match="Conv for float64"):
        plan("", "Conv", ("float64", "float64"), 1)


def test_decompositions_do_not_fix_dynamic_sizes():
    """diff has no translation of its own; its decomposition must hold for all sizes or be refused."""
    k = kernel(lambda x: x.logcumsumexp(0), {"x": "float32[N, 3]"}, dims={"N": (1, 64)})
    answer = translate(k)
    assert isinstance(answer, Declined) or open_code(k, OnnxRuntime().compile(k, Target()))([torch.zeros(9, 3)])[0].shape == (9, 3)


def test_duplicate_places_accumulate_with_threads():
    """index_add onto few rows from many: ONNX Runtime's scatter must not lose updates when it runs on several threads."""
    k = kernel(
        lambda x, i, y: (x.index_add(0, i, y), x.index_put((i,), y, accumulate=True)),
        {"x": "float64[4, 64]", "i": "int64[20000]", "y": "float64[20000, 64]"},
    )
    run = open_code(k, OnnxRuntime().compile(k, Target()), threads=4)
    x, i, y = torch.zeros(4, 64, dtype=torch.float64), torch.randint(0, 4, (20000,)), torch.ones(20000, 64, dtype=torch.float64)
    for result in run([x, i, y]):
        torch.testing.assert_close(result, x.index_add(0, i, y))
