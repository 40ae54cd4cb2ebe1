"""Loaders: what the eager one reads, what it refuses to call; ONNX Runtime's errors; loaders from outside."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from dync.errors import ArtifactError, BackendError
from dync.ir.types import ScalarType, TensorType
from dync.runtime import loaders
from dync.runtime.loaders.eager import resolve
from dync.runtime.package import KernelEntry
from dync.runtime.store import Weights

EAGER = KernelEntry("eager", ("blocks/k/graph.json",))


def graph(nodes, outputs, inputs=("x",), weights=None, settings=None):
    """A graph as an eager kernel; nodes: (name, target, args, kwargs)."""
    made = [{"name": n, "target": t, "args": list(a), "kwargs": k} for n, t, a, k in nodes]
    data = json.dumps({"inputs": list(inputs), "nodes": made, "outputs": list(outputs)}).encode()
    entry = KernelEntry("eager", ("blocks/k/graph.json",), settings or {})
    return loaders.load("b0", entry, {"blocks/k/graph.json": data}, Weights(weights or {}, "torch"), 1, "torch")


def ref(name):
    return {"ref": name}


def const(value):
    return {"const": value}


def test_every_kind_of_argument() -> None:
    kernel = graph(
        [
            (
                "a",
                "aten.full.default",
                [{"list": [const(2), ref("n")]}, {"float": "inf"}],
                {"dtype": {"dtype": "float64"}, "device": {"device": "cpu"}},
            ),
            ("b", "aten.cat.default", [{"list": [ref("x"), {"weight": "w"}]}, const(0)], {}),
            ("c", "aten.clone.default", [ref("b")], {"memory_format": {"memory_format": "contiguous_format"}}),
            ("d", "aten.empty.memory_format", [{"list": [const(1)]}], {"layout": {"layout": "strided"}, "pin_memory": const(False)}),
            ("e", "operator.getitem", [ref("x"), {"tuple": [{"slice": [const(0), const(None), const(2)]}, {"ellipsis": True}]}], {}),
            ("s", "aten.sym_size.int", [ref("e"), const(0)], {}),
            ("t", "operator.select", [const(True), ref("s"), const(9)], {}),
            ("u", "math.sqrt", [ref("t")], {}),
            ("v", "aten._local_scalar_dense.default", [{"weight": "one"}], {}),
        ],
        [ref("a"), ref("c"), ref("e"), ref("s"), ref("u"), ref("v"), const(None), {"float": "-inf"}],
        inputs=("x", "n"),
        weights={"w": torch.ones(1, 3), "the.one": torch.tensor(4)},
        settings={"weights": {"w": "w", "one": "the.one"}},
    )
    x = torch.arange(12.0).reshape(4, 3)
    a, c, e, s, u, v, none, low = kernel(x, 5)
    assert a.shape == (2, 5) and a.dtype == torch.float64 and bool(a.isinf().all())
    assert torch.equal(c, torch.cat([x, torch.ones(1, 3)])) and torch.equal(e, x[::2])
    assert (s, u, v, none, low) == (2, 2**0.5, 4, None, float("-inf")) and type(v) is int


def test_keyword_that_is_a_python_keyword() -> None:
    torch.manual_seed(0)
    kernel = graph([("a", "aten.random.from", [ref("x")], {"from": const(3), "to": const(4)})], [ref("a")])
    assert torch.equal(kernel(torch.zeros(2))[0], torch.full((2,), 3.0))


@pytest.mark.parametrize("mode", [True, False])
def test_kernels_run_without_gradients_and_leave_the_mode_alone(mode, monkeypatch) -> None:
    """As capture and verification run the model: torch's LSTM is another kernel where gradients are on."""
    seen = []

    def watch(t):
        seen.append(torch.is_grad_enabled())
        if t.sum() < 0:
            raise ValueError("an operator's own")
        return t

    monkeypatch.setitem(__import__("dync.runtime.loaders.eager", fromlist=["PLAIN"]).PLAIN, "operator.watch", watch)
    kernel = graph([("a", "operator.watch", [ref("x")], {})], [ref("a")])
    with torch.set_grad_enabled(mode):
        kernel(torch.ones(2))
        assert torch.is_grad_enabled() is mode
        with pytest.raises(ValueError, match="an operator's own"):
            kernel(-torch.ones(2))
        assert torch.is_grad_enabled() is mode
    assert seen == [False, False]


def test_intermediates_are_let_go() -> None:
    import weakref

    alive = []

    def watch(t):
        alive.append(weakref.ref(t))
        return t

    loaders_eager = __import__("dync.runtime.loaders.eager", fromlist=["PLAIN"])
    loaders_eager.PLAIN["operator.watch"] = watch
    loaders_eager.PLAIN["operator.count"] = lambda t: sum(r() is not None for r in alive)
    try:
        names = ["x", "a", "b", "c"]
        nodes = [(n, "aten.relu.default", [ref(before)], {}) for before, n in zip(names, names[1:], strict=False)]
        watched = [w for n in nodes for w in (n, (f"w{n[0]}", "operator.watch", [ref(n[0])], {}))]
        kernel = graph([*watched, ("n", "operator.count", [ref("c")], {})], [ref("c"), ref("n")])
        assert kernel(torch.ones(2))[1] == 1
    finally:
        del loaders_eager.PLAIN["operator.watch"], loaders_eager.PLAIN["operator.count"]


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "builtins.exec",
        "operator.attrgetter",
        "aten.from_file.default",
        "torch.load",
        "aten",
        "aten.add",
        "a.b.c",
        "aten.add.Tensor.x",
        "operator.__import__",
        "math.__loader__",
        "prim.device.default",
    ],
)
def test_functions_that_no_graph_may_call(target) -> None:
    with pytest.raises(BackendError, match="is no operator that a block may call|has no operator"):
        resolve(target)


def test_operators_that_this_torch_lacks() -> None:
    with pytest.raises(BackendError, match=f"torch {torch.__version__.replace('+', '.')} has no operator aten.nosuchthing.default"):
        resolve("aten.nosuchthing.default")
    with pytest.raises(BackendError, match="has no dtype 'load'"):
        graph([("a", "aten.full.default", [const(1), const(1)], {"dtype": {"dtype": "load"}})], [ref("a")])


@pytest.mark.parametrize(
    "argument", [{"ref": "nope"}, {"weight": "nope"}, {"eval": "1"}, {}, {"ref": "x", "const": 1}, {"const": [1]}, [1]]
)
def test_arguments_that_do_not_read(argument) -> None:
    with pytest.raises(ArtifactError, match="a block's graph"):
        graph([("a", "aten.relu.default", [argument], {})], [ref("a")])


def test_graphs_that_do_not_read() -> None:
    for data in (b"", b"{}", b"[]", b'{"inputs": 1, "nodes": [], "outputs": []}', b"\xff"):
        with pytest.raises(ArtifactError, match="a block's graph does not read"):
            loaders.load("b0", EAGER, {"blocks/k/graph.json": data}, Weights({}, "torch"), 1, "torch")
    with pytest.raises(ArtifactError, match="defines 'x' twice"):
        graph([("x", "aten.relu.default", [ref("x")], {})], [ref("x")])
    with pytest.raises(ArtifactError, match="keyword that does not read"):
        graph([("a", "aten.relu.default", [], {"x=1, y": ref("x")})], [ref("a")])


def test_onnxruntime_refuses_what_is_no_model() -> None:
    entry = KernelEntry("onnxruntime", ("blocks/k/model.onnx",), {"inputs": ["x"], "outputs": ["y"]})
    with pytest.raises(BackendError, match="^ONNX Runtime cannot load the block: .*") as caught:
        loaders.load("b0", entry, {"blocks/k/model.onnx": b"nonsense"}, Weights({}, "numpy"), 1, "numpy")
    assert "\n" not in str(caught.value)


def add_model() -> bytes:
    """y = x + w, s = sum of all, times k; w is an external initialiser."""
    from onnx import TensorProto, helper

    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    w.external_data.add(key="location", value="weights")
    nodes = [
        helper.make_node("Add", ["x", "w"], ["y"]),
        helper.make_node("ReduceSum", ["y"], ["total"], keepdims=0),
        helper.make_node("Cast", ["total"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["d", "k"], ["s"]),
    ]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]), helper.make_tensor_value_info("k", TensorProto.DOUBLE, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2]), helper.make_tensor_value_info("s", TensorProto.DOUBLE, [])],
        [w],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def test_onnxruntime_takes_and_gives_numbers_and_shares_weights() -> None:
    settings = {"inputs": ["x", "k"], "outputs": ["y", "s"], "initializers": {"w": "bias"}}
    types = (TensorType("float32", (2,)), ScalarType("float"))
    entry = KernelEntry("onnxruntime", ("blocks/k/model.onnx",), settings, inputs=types, results=types)
    files = {"blocks/k/model.onnx": memoryview(add_model())}
    bias = np.array([1.0, 2.0], np.float32)
    for form, x in (("numpy", np.ones(2, np.float32)), ("torch", torch.ones(2))):
        kernel = loaders.load("b0", entry, files, Weights({"bias": bias}, form), 1, form)
        y, s = kernel(x, 2.0)
        assert type(y) is type(x) and y.tolist() == [2.0, 3.0] and s == 10.0 and type(s) is float
        with pytest.raises(BackendError, match="ONNX Runtime failed on a block"):
            kernel(x[:1].repeat(3) if form == "torch" else np.ones(3, np.float32), 2.0)
    with pytest.raises(BackendError, match="weight 'bias' is written by calls"):
        loaders.load("b0", entry, files, Weights({"bias": bias}, "numpy", ["bias"]), 1, "numpy")


def test_loaders_from_outside(monkeypatch) -> None:
    from importlib.metadata import EntryPoint

    point = EntryPoint("mine", "support.own_loader:load", "dync.loaders")
    monkeypatch.setattr(loaders, "entry_points", lambda group, name: [point] if (group, name) == ("dync.loaders", "mine") else [])
    assert loaders.find("mine").form == "torch"
    kernel = loaders.load("b0", KernelEntry("mine"), {}, Weights({}, "torch"), 1, "torch")
    assert kernel(3) == (6,)
    with pytest.raises(BackendError, match="there is no loader 'yours'"):
        loaders.find("yours")


def test_sessions_of_others_in_the_process_keep_working(tmp_path) -> None:
    """Loading a program with several threads takes nothing from another user of ONNX Runtime."""
    code = """
import sys, dync, numpy as np, onnxruntime
runtime = dync.load(sys.argv[1])
runtime(np.ones(4, np.float32))
other = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
print(len(other.get_inputs()))
"""
    import dync
    from dync.api import compile_with
    from dync.options import CompileOptions

    class Gate(torch.nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x - 1

    for host in ("python", "onnx"):
        made = compile_with(CompileOptions.parse(host=host, threads=2), Gate().eval(), (torch.ones(4),))
        made.save(tmp_path / f"{host}.dync")
    made.save(tmp_path / "model.onnx")
    for host in ("python", "onnx"):
        command = [sys.executable, "-P", "-c", code, str(tmp_path / f"{host}.dync"), str(tmp_path / "model.onnx")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.stdout.strip() == "1" and "EP Error" not in done.stdout, done.stdout + done.stderr
    assert dync.load(tmp_path / "onnx.dync").package.meta["host"] == "onnx"
