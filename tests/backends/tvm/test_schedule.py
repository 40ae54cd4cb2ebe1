"""The schedule rules give torch's numbers for every shape: sizes that no vector divides, one, none, and sizes known at run time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("tvm")

import tvm  # noqa: E402
from tvm import relax  # noqa: E402
from tvm.target.codegen import llvm_get_cpu_features, llvm_get_system_cpu  # noqa: E402

from dync.backends.tvm.schedule import CONFIG, optimise  # noqa: E402
from dync.backends.tvm.schedule.windows import Window  # noqa: E402

LOWER = [
    relax.transform.RewriteDataflowReshape, relax.transform.ToNonDataflow, relax.transform.RemovePurityChecking,
    relax.transform.CallTIRRewrite, relax.transform.StaticPlanBlockMemory, relax.transform.LowerAllocTensor,
    relax.transform.KillAfterLastUse, relax.transform.LowerRuntimeBuiltin, relax.transform.ComputePrimValue,
    relax.transform.VMShapeLower, relax.transform.AttachGlobalSymbol,
]  # fmt: skip


def target(cpu: str) -> tvm.target.Target:
    """An llvm target, skipped where this machine cannot run its code."""
    made = tvm.target.Target({"kind": "llvm", "mcpu": cpu})
    here = set(llvm_get_cpu_features(tvm.target.Target({"kind": "llvm", "mcpu": str(llvm_get_system_cpu())})))
    vectors = {f for f in llvm_get_cpu_features(made) if f.startswith(("avx", "sse", "fma"))}
    if not vectors <= here:
        pytest.skip(f"this machine has no {', '.join(sorted(vectors - here))}")
    return made


def module(graph, inputs, weights, sizes=None):
    """ "main" of inputs and weights; `sizes` names the dimensions that are dynamic: (input, dimension) → name."""
    names: dict[str, tvm.tirx.Var] = {}
    bb = relax.BlockBuilder()
    variables = []
    for i, a in enumerate([*inputs, *weights]):
        dims = [names.setdefault(n, tvm.tirx.Var(n, "int64")) if (n := (sizes or {}).get((i, d))) else s for d, s in enumerate(a.shape)]
        variables.append(relax.Var(f"x{i}", relax.TensorType(dims, str(a.dtype))))
    with bb.function("main", variables, attrs={"num_input": len(inputs)}):
        with bb.dataflow():
            result = bb.emit_output(bb.normalize(graph(bb, *variables)))
        bb.emit_func_output(result)
    return bb.get()


def compiled(mod, weights, cpu="x86-64-v3", threads=1):
    aim = target(cpu)
    with aim, tvm.transform.PassContext(opt_level=3, config=CONFIG):
        made = optimise(mod, aim, threads)
        built = relax.build(tvm.transform.Sequential([p() for p in LOWER])(made), aim, relax_pipeline=None)
    machine = relax.VirtualMachine(built, tvm.cpu())
    held = [tvm.runtime.tensor(w) for w in weights]
    if weights:
        held = list(machine["main_transform_params"](held))
    return lambda *arrays: machine["main"](*(tvm.runtime.tensor(a) for a in arrays), *held).numpy(), made


def check(graph, reference, inputs, weights=(), sizes=None, others=(), cpu="x86-64-v3", threads=1, tolerance=2e-5):
    """Runs on `inputs` and on `others`, inputs of other sizes, and compares with torch."""
    run, made = compiled(module(graph, inputs, weights, sizes), weights, cpu, threads)
    for arrays in (inputs, *others):
        wanted = reference(*(torch.from_numpy(a) for a in (*arrays, *weights))).numpy()
        got = run(*arrays)
        assert got.shape == wanted.shape and got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(wanted).max(initial=0.0))))
    return made


def rand(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


def op(name, **attributes):
    home = relax.op.nn if hasattr(relax.op.nn, name) else relax.op
    return lambda bb, *args: getattr(home, name)(*args, **attributes)


CPUS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")


@pytest.mark.parametrize(
    ("cpu", "m", "k", "n"),
    [("x86-64-v3", *s) for s in ((1, 1, 1), (1, 7, 10), (5, 64, 16), (64, 32, 96), (3, 5, 129))] + [(cpu, 17, 13, 47) for cpu in CPUS],
)
def test_a_product_with_weights(cpu, m, k, n):
    check(lambda bb, x, w, b: relax.op.nn.gelu(bb.emit(relax.op.add(bb.emit(relax.op.matmul(x, w)), b))),
          lambda x, w, b: F.gelu(x @ w + b), [rand(m, k)], [rand(k, n), rand(n)], cpu=cpu)  # fmt: skip


@pytest.mark.parametrize("cpu", CPUS)
def test_a_product_of_dynamically_many_rows(cpu):
    check(op("matmul"), torch.matmul, [rand(64, 33)], [rand(33, 50)], {(0, 0): "n"}, [[rand(n, 33)] for n in (*range(24), 29, 61)], cpu)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("sizes", [{}, {(0, 0): "n"}])
def test_a_product_by_many_weights_asks_for_them_ahead(sizes, cpu):
    """Where vectors are wide: narrow ones leave a step no room for it."""
    others = [[rand(m, 160)] for m in (1, 2, 30, 37)] if sizes else []
    made = check(op("matmul"), torch.matmul, [rand(29, 160)], [rand(160, 1001)], sizes, others, cpu, tolerance=1e-4)
    assert ("prefetch" in made.script()) == (cpu == "x86-64-v4")


@pytest.mark.parametrize(("m", "k", "n"), [(7, 1600, 33), (90, 1600, 40), (90, 1601, 16), (70, 2304, 100), (600, 520, 24), (597, 1601, 20)])
@pytest.mark.parametrize("sizes", [{}, {(0, 0): "n"}])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.part(3)
def test_a_long_or_tall_product_is_taken_in_parts_that_a_cache_holds(m, k, n, sizes, threads):
    def graph(bb, x, w, b):
        return relax.op.nn.relu(bb.emit(relax.op.add(bb.emit(relax.op.matmul(x, w)), b)))

    others = [[rand(size, k)] for size in (0, 1, 15, 200)] if sizes else []
    check(graph, lambda x, w, b: torch.relu(x @ w + b), [rand(m, k)], [rand(k, n), rand(n)], sizes, others, "x86-64-v3", threads, 2e-4)
    check(op("matmul"), torch.matmul, [rand(m, k)], [rand(k, n)], sizes, others, "x86-64-v3", threads, 2e-4)


def test_few_weights_are_in_the_cache_and_not_asked_for():
    assert "prefetch" not in check(op("matmul"), torch.matmul, [rand(29, 16)], [rand(16, 48)]).script()


def test_a_product_keeps_leading_dimensions():
    check(op("matmul"), torch.matmul, [rand(2, 3, 5, 7)], [rand(7, 9)])


@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 5, 7), (3, 7, 9)), ((2, 3, 17, 4), (2, 3, 4, 33)), ((1, 3, 5, 7), (2, 1, 7, 16)), ((5, 7), (3, 7, 20)), ((2, 0, 4), (2, 4, 8))],
)
def test_products_of_batches(a, b):
    check(op("matmul"), torch.matmul, [rand(*a), rand(*b)])


def test_products_of_batches_with_every_size_dynamic():
    sizes = {(0, 0): "b", (0, 1): "m", (0, 2): "k", (1, 0): "b", (1, 1): "k", (1, 2): "n"}
    others = [[rand(b, m, k), rand(b, k, n)] for b, m, k, n in ((1, 1, 1, 1), (3, 17, 5, 31), (2, 0, 4, 5), (1, 9, 64, 64))]
    check(op("matmul"), torch.matmul, [rand(2, 8, 16), rand(2, 16, 32)], (), sizes, others)


def test_a_weight_that_is_an_input_is_packed_at_each_call():
    check(op("matmul"), torch.matmul, [rand(9, 12), rand(12, 20)], others=[[rand(9, 12) * 2, rand(12, 20) + 1]])


def test_double_precision():
    x, w = rand(5, 11).astype("float64"), rand(11, 13).astype("float64")
    check(op("matmul"), torch.matmul, [x], [w], tolerance=1e-12)


CONVOLUTIONS = [
    # image, weight, stride, padding, dilation, groups
    ((1, 3, 32, 32), (16, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 16, 14, 14), (32, 16, 3, 3), (2, 2), (1, 1), (1, 1), 1),
    ((1, 3, 31, 29), (10, 3, 7, 7), (2, 2), (3, 3), (1, 1), 1),
    ((1, 8, 9, 11), (24, 8, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((1, 8, 9, 11), (24, 8, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    ((1, 5, 7, 13), (7, 5, 3, 2), (1, 2), (2, 1), (2, 3), 1),
    ((1, 4, 5, 5), (8, 4, 5, 5), (1, 1), (4, 4), (1, 1), 1),
    ((1, 4, 3, 40), (8, 4, 3, 9), (1, 1), (1, 4), (1, 4), 1),
    ((1, 32, 10, 10), (32, 1, 3, 3), (1, 1), (1, 1), (1, 1), 32),
    ((1, 13, 10, 7), (13, 1, 3, 3), (2, 2), (1, 1), (1, 1), 13),
    ((1, 6, 8, 8), (12, 1, 3, 3), (1, 1), (1, 1), (1, 1), 6),
    ((1, 64, 7, 7), (64, 16, 3, 3), (1, 1), (1, 1), (1, 1), 4),
    ((1, 15, 7, 7), (10, 3, 3, 3), (1, 1), (1, 1), (1, 1), 5),
    ((1, 3, 1, 1), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((0, 3, 8, 8), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
]  # fmt: skip


@pytest.mark.parametrize(("case", "cpu"), [(c, CPUS[n % 3]) for n, c in enumerate(CONVOLUTIONS)])
def test_convolution(case, cpu):
    image, weight, stride, padding, dilation, groups = case

    def graph(bb, x, w, b):
        y = bb.emit(relax.op.nn.conv2d(x, w, strides=stride, padding=padding, dilation=dilation, groups=groups))
        return relax.op.nn.relu(bb.emit(relax.op.add(y, bb.emit(relax.op.reshape(b, [1, weight[0], 1, 1])))))

    check(graph, lambda x, w, b: F.relu(F.conv2d(x, w, b, stride, padding, dilation, groups)), [rand(*image)],
          [rand(*weight), rand(weight[0])], cpu=cpu)  # fmt: skip


TRANSPOSED = [
    ((1, 4, 5, 5), (4, 6, 3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 1),
    ((2, 3, 4, 7), (3, 17, 2, 2), (2, 2), (0, 0), (0, 0), (1, 1), 1),
    ((1, 4, 5, 6), (4, 3, 4, 5), (3, 2), (1, 2), (0, 1), (1, 1), 1),
    ((1, 6, 5, 5), (6, 4, 3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 2),
    ((1, 4, 5, 5), (4, 8, 3, 3), (1, 1), (2, 2), (0, 0), (2, 2), 1),
    ((1, 2, 3, 3), (2, 3, 1, 1), (3, 3), (0, 0), (0, 0), (1, 1), 1),
]  # fmt: skip


@pytest.mark.parametrize("case", TRANSPOSED)
def test_transposed_convolution(case):
    image, weight, stride, padding, more, dilation, groups = case
    graph = op("conv2d_transpose", strides=stride, padding=padding, output_padding=more, dilation=dilation, groups=groups)
    check(graph, lambda x, w: F.conv_transpose2d(x, w, None, stride, padding, more, groups, dilation), [rand(*image)], [rand(*weight)])


@pytest.mark.parametrize(("length", "weight", "stride", "padding", "groups"), [(50, (8, 6, 5), 1, 2, 1), (17, (6, 1, 3), 2, 1, 6)])
def test_convolution_over_one_dimension(length, weight, stride, padding, groups):
    check(op("conv1d", strides=stride, padding=padding, groups=groups), lambda x, w: F.conv1d(x, w, None, stride, padding, 1, groups),
          [rand(2, 6, length)], [rand(*weight)])  # fmt: skip


def test_transposed_convolution_over_one_dimension():
    check(op("conv1d_transpose", strides=2, padding=1), lambda x, w: F.conv_transpose1d(x, w, None, 2, 1), [rand(2, 4, 9)], [rand(4, 5, 4)])


def test_convolution_of_a_dynamic_image():
    others = [[rand(n, 3, h, w)] for n, h, w in ((1, 5, 5), (3, 17, 9), (2, 3, 40))]
    sizes = {(0, 0): "n", (0, 2): "h", (0, 3): "w"}
    check(op("conv2d", padding=(1, 1)), lambda x, w: F.conv2d(x, w, None, 1, 1), [rand(2, 3, 8, 8)], [rand(20, 3, 3, 3)], sizes, others)


def test_convolution_of_a_dynamic_batch():
    others = [[rand(n, 3, 9, 9)] for n in (0, 1, 3, 8)]
    check(
        op("conv2d", padding=(1, 1)), lambda x, w: F.conv2d(x, w, None, 1, 1), [rand(2, 3, 9, 9)], [rand(8, 3, 3, 3)], {(0, 0): "n"}, others
    )


def test_a_residual_block_has_no_transposes_inside():
    def graph(bb, x, v, w, mean, var):
        y = bb.emit(relax.op.nn.conv2d(x, v, padding=(1, 1)))
        norm = bb.emit(relax.op.nn.batch_norm(y, var, mean, mean, var, axis=1, training=False))
        z = bb.emit(relax.op.nn.relu(bb.emit(relax.TupleGetItem(norm, 0))))
        z = bb.emit(relax.op.nn.conv2d(z, w, padding=(1, 1)))
        z = bb.emit(relax.op.nn.relu(bb.emit(relax.op.add(z, y))))
        return relax.op.mean(bb.emit(relax.op.nn.max_pool2d(z, (2, 2), (2, 2))), axis=[2, 3])

    def reference(x, v, w, mean, var):
        y = F.conv2d(x, v, None, 1, 1)
        z = F.conv2d(F.relu(F.batch_norm(y, mean, var, var, mean)), w, None, 1, 1)
        return F.max_pool2d(F.relu(z + y), 2, 2).mean((2, 3))

    weights = [rand(8, 3, 3, 3), rand(8, 8, 3, 3), rand(8), np.abs(rand(8)) + 0.5]
    made = check(graph, reference, [rand(1, 3, 8, 8)], weights)
    main = [v.name_hint for v in _called(made["main"])]
    assert sum("transpose" in name for name in main) <= 1, main  # of the image


def test_a_batch_norm_gives_its_statistics_back():
    def graph(bb, x, mean, var):
        norm = bb.emit(relax.op.nn.batch_norm(x, var, mean, mean, var, axis=1, training=False))
        shifted = relax.op.reshape(bb.emit(relax.TupleGetItem(norm, 1)), [1, 5, 1])
        return relax.op.add(bb.emit(relax.TupleGetItem(norm, 0)), bb.emit(shifted))

    def reference(x, mean, var):
        return F.batch_norm(x, mean, var, var, mean) + mean.reshape(1, 5, 1)

    check(graph, reference, [rand(2, 5, 7)], [rand(5), np.abs(rand(5)) + 0.5])


def _called(function) -> list:
    found = []
    relax.analysis.post_order_visit(function, lambda e: found.append(e.args[0]) if _is_tir(e) else None)
    return found


def _is_tir(e) -> bool:
    return isinstance(e, relax.Call) and getattr(e.op, "name", "") == "relax.call_tir"


REDUCTIONS = [("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax), ("min", torch.amin), ("prod", torch.prod)]


@pytest.mark.parametrize(("name", "wanted"), REDUCTIONS)
@pytest.mark.parametrize(("shape", "axis"), [((5, 37), 1), ((3, 17, 20), 1), ((4, 129), 1), ((7, 1), 0)])
def test_reduction(name, wanted, shape, axis):
    check(op(name, axis=axis), lambda x: wanted(x, axis), [rand(*shape) + 1])


def test_reduction_of_dynamic_sizes():
    sizes = {(0, 0): "m", (0, 1): "n"}
    others = [[rand(m, n)] for m, n in ((1, 1), (0, 5), (3, 16), (2, 67))]
    for axis in (0, 1):
        check(op("sum", axis=axis), lambda x, axis=axis: x.sum(axis), [rand(4, 40)], (), sizes, others)


def test_the_largest_of_nan_is_nan_and_of_minus_infinity_is_that():
    x = rand(6, 40)
    x[0, 3], x[1, 39], x[2, 0], x[3] = np.nan, np.nan, np.nan, -np.inf
    run, _ = compiled(module(op("max", axis=1), [x], []), [])
    np.testing.assert_array_equal(run(x), x.max(1))


@pytest.mark.parametrize("shape", [(1, 1), (5, 37), (3, 16), (2, 3, 100), (1000,), (0, 8), (4, 1000)])
def test_softmax_and_layer_norm(shape):
    check(op("softmax", axis=-1), lambda x: x.softmax(-1), [rand(*shape) * 5])
    n = shape[-1]
    check(
        op("layer_norm", axes=[-1]), lambda x, g, b: F.layer_norm(x, (n,), g, b), [rand(*shape) + 100], [rand(n), rand(n)], tolerance=2e-4
    )


def test_softmax_over_a_middle_axis_and_dynamic_sizes():
    check(op("softmax", axis=1), lambda x: x.softmax(1), [rand(2, 7, 20)])
    others = [[rand(m, n)] for m, n in ((1, 1), (2, 31), (0, 4))]
    check(op("softmax", axis=-1), lambda x: x.softmax(-1), [rand(3, 16)], (), {(0, 0): "m", (0, 1): "n"}, others)


@pytest.mark.parametrize(("name", "wanted"), [("exp", torch.exp), ("erf", torch.erf), ("tanh", torch.tanh), ("sigmoid", torch.sigmoid)])
def test_functions_hold_over_the_whole_line(name, wanted):
    edges = [0.0, -0.0, 1e-30, -1e-8, 88.7, 89.5, -87.5, -104.0, -1000.0, 1000.0, np.inf, -np.inf, 3.9, -4.1, 9.1]
    x = np.concatenate([np.array(edges, "float32"), np.linspace(-20, 20, 4001, dtype="float32")])
    run, _ = compiled(module(op(name), [x], []), [])
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(run(x), wanted(torch.from_numpy(x)).numpy(), rtol=2e-6, atol=1e-7)
    assert np.isnan(run(np.full_like(x, np.nan))).all()


@pytest.mark.parametrize(("name", "wanted"), [("exp", torch.exp), ("erf", torch.erf), ("tanh", torch.tanh), ("sigmoid", torch.sigmoid)])
def test_functions_of_values_that_are_chosen_by_their_place(name, wanted):
    def graph(bb, x, y):
        both = bb.emit(relax.op.concat([x, y], 1))
        return relax.op.multiply(both, bb.emit(op(name)(bb, both)))

    def reference(x, y):
        both = torch.cat([x, y], 1)
        return both * wanted(both)

    check(graph, reference, [rand(3, 5), rand(3, 20)])
    check(lambda bb, *v: relax.op.sum(bb.emit(graph(bb, *v)), 0), lambda *v: reference(*v).sum(0), [rand(4, 19), rand(4, 2)])


@pytest.mark.parametrize("last", [None, 0, 1])
@pytest.mark.parametrize(("name", "wanted"), [("exp", torch.exp), ("erf", torch.erf), ("tanh", torch.tanh), ("sigmoid", torch.sigmoid)])
def test_functions_of_one_another(name, wanted, last):
    """Eight deep, in minutes of the compiler's time each if they stood in one expression."""

    def graph(bb, x, y):
        for _ in range(8):
            x = bb.emit(op(name)(bb, bb.emit(relax.op.multiply(x, y))))
        return x if last is None else relax.op.sum(x, last)

    def reference(x, y):
        for _ in range(8):
            x = wanted(x * y)
        return x if last is None else x.sum(last)

    check(graph, reference, [rand(4, 24), -np.abs(rand(4, 24))])


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 17), (7, 64), (0, 3), (130, 130)])
@pytest.mark.parametrize("threads", [1, 2])
def test_elementwise_and_broadcast(shape, threads):
    check(
        lambda bb, x, y: relax.op.multiply(bb.emit(relax.op.add(x, y)), x),
        lambda x, y: (x + y) * x,
        [rand(*shape), rand(shape[-1])],
        threads=threads,
    )


@pytest.mark.parametrize(
    ("shape", "axes"), [((5, 7), (1, 0)), ((2, 3, 4, 5), (0, 2, 3, 1)), ((64, 48), (1, 0)), ((2, 17, 3, 8), (2, 0, 3, 1))]
)
def test_transposes(shape, axes):
    check(op("permute_dims", axes=list(axes)), lambda x: x.permute(axes), [rand(*shape)])


def test_views_in_a_chain_are_as_in_torch():
    def graph(bb, x, w):
        y = bb.emit(relax.op.matmul(bb.emit(relax.op.reshape(x, [6, 8])), w))
        y = bb.emit(relax.op.permute_dims(bb.emit(relax.op.reshape(y, [2, 3, 4, 5])), [0, 2, 1, 3]))
        y = bb.emit(relax.op.nn.softmax(bb.emit(relax.op.tanh(y)), axis=-1))
        y = bb.emit(relax.op.permute_dims(bb.emit(relax.op.add(y, bb.emit(relax.op.tanh(y)))), [0, 2, 1, 3]))
        return relax.op.add(
            bb.emit(relax.op.reshape(y, [2, 3, 20])), bb.emit(relax.op.reshape(bb.emit(relax.op.sum(y, axis=[1])), [2, 1, 20]))
        )

    def reference(x, w):
        y = torch.tanh((x.reshape(6, 8) @ w).reshape(2, 3, 4, 5).permute(0, 2, 1, 3)).softmax(-1)
        y = (y + torch.tanh(y)).permute(0, 2, 1, 3)
        return y.reshape(2, 3, 20) + y.sum(1).reshape(2, 1, 20)

    check(graph, reference, [rand(2, 3, 8)], [rand(8, 20)])


def test_threads_share_rows_and_columns():
    check(op("matmul"), torch.matmul, [rand(200, 64)], [rand(64, 40)], threads=2)
    check(op("matmul"), torch.matmul, [rand(64, 64)], [rand(64, 333)], {(0, 0): "n"}, [[rand(n, 64)] for n in (0, 1, 100, 201)], threads=2)
    check(op("conv2d", padding=(1, 1)), lambda x, w: F.conv2d(x, w, None, 1, 1), [rand(2, 16, 20, 20)], [rand(40, 16, 3, 3)], threads=2)
    check(op("softmax", axis=-1), lambda x: x.softmax(-1), [rand(300, 200)], threads=2)


def test_no_kernel_of_a_block_is_left_to_tvms_own_schedule():
    def graph(bb, x, w):
        y = bb.emit(relax.op.nn.softmax(bb.emit(relax.op.matmul(x, w)), axis=-1))
        y = bb.emit(relax.op.concat([y, bb.emit(relax.op.permute_dims(bb.emit(relax.op.cumsum(y, axis=1)), [0, 1]))], axis=1))
        return relax.op.variance(y, axis=1)

    made = check(
        graph,
        lambda x, w: torch.cat([(x @ w).softmax(-1), (x @ w).softmax(-1).cumsum(1)], 1).var(1, unbiased=False),
        [rand(5, 8)],
        [rand(8, 12)],
    )
    functions = {v.name_hint: f for v, f in made.functions.items() if isinstance(f, tvm.tirx.PrimFunc)}
    left = [name for name, f in functions.items() if not f.attrs.get("dync.scheduled") and "cumsum" not in name]
    assert not left


@pytest.mark.parametrize(
    "window", [Window(7, 7, 3, 1, 1), Window(10, 5, 3, 2, 1), Window(5, 11, 3, 2, 1, 1, True), Window(4, 9, 3, 3, 2, 2, True)]
)
def test_a_window_says_what_the_definition_says(window):
    seen = {}
    for phase in window.phases():
        for i in range(phase.count):
            o = phase.step * i + phase.first
            for tap, (k, offset) in enumerate(phase.taps):
                at = i * phase.stride + offset
                inside = 0 <= at < window.size
                low, high = phase.valid(tap, window.size)
                assert (low <= i < high) == inside
                seen.setdefault(o, set()).update({(k, at)} if inside else set())
            low, high = phase.interior(window.size)
            assert (low <= i < high) == all(0 <= i * phase.stride + offset < window.size for _, offset in phase.taps)
    wanted: dict[int, set] = {o: set() for o in range(window.out)}
    for o in range(window.out):
        for k in range(window.kernel):
            at = o + window.pad - k * window.dilation if window.transposed else o * window.stride + k * window.dilation - window.pad
            at, rest = divmod(at, window.stride) if window.transposed else (at, 0)
            if rest == 0 and 0 <= at < window.size:
                wanted[o].add((k, at))
    assert seen == wanted
