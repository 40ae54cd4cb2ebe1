"""Calls that do not fit are refused with the argument, what came, and what is allowed; those that fit come out in the caller's kind."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from dync.errors import GuardError
from dync.ir.flow import (
    DictTree,
    DimRange,
    Fixed,
    Flow,
    FlowBlock,
    Input,
    Leaf,
    ListTree,
    Return,
    RunParam,
    Signature,
    Slot,
    Tree,
    TupleTree,
)
from dync.ir.types import ObjectType, Ref, ScalarType, TensorType, Value, ValueType, lit
from dync.runtime.package import KernelEntry, Package
from dync.runtime.program import Runtime
from dync.runtime.state import fits
from dync.runtime.tensors import describe, to_numpy, to_torch


def leaf(name: str) -> Leaf:
    return Leaf(Ref(name))


def flow(
    inputs: dict[str, ValueType],
    args: Tree | None = None,
    kwargs: dict[str, Tree] | None = None,
    names: tuple[str, ...] | None = None,
    tree: Tree | None = None,
    **more: Any,
) -> Flow:
    """A flow of one block without code that returns all inputs."""
    values = [Value(f"v{i}", t) for i, t in enumerate(inputs.values())]
    kwargs = kwargs or {}
    signature = Signature(
        tuple(inputs) if names is None else names,
        args or TupleTree(tuple(leaf(p) for p in inputs)),
        DictTree(tuple(map(lit, kwargs)), tuple(kwargs.values())),
        tuple(Input(v, p) for v, p in zip(values, inputs, strict=False)),
        **more,
    )
    block = FlowBlock("b0", (), (), (), (), Return(tree or TupleTree(tuple(leaf(v.name) for v in values))))
    return Flow("calls", signature, (block,))


def runtime(made: Flow, form: str = "numpy", **more: Any) -> Runtime:
    """In torch form a block with an eager kernel stands in front, which does nothing."""
    if form == "numpy":
        return Runtime(Package(made, {}, **more))
    entry = made.blocks[0]
    import msgspec

    block = msgspec.structs.replace(entry, results=(Value("one", ScalarType("int")),))
    graph = b'{"inputs": [], "nodes": [], "outputs": [{"const": 1}]}'
    made = msgspec.structs.replace(made, blocks=(block,))
    return Runtime(Package(made, {"b0": KernelEntry("eager", ("blocks/a/graph.json",))}, {"blocks/a/graph.json": graph}, **more))


F24, FN4 = TensorType("float32", (2, 4)), TensorType("float32", ("N", 4))
N = (DimRange("N", 1, 64),)
A24 = np.zeros((2, 4), np.float32)


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


REFUSALS = {
    "dtype": (flow({"x": F24}), (zeros(2, 4, dtype=np.float64),), {}, "argument 'x': float64[2, 4] given, float32[2, 4] allowed"),
    "rank": (flow({"x": F24}), (zeros(2),), {}, "argument 'x': float32[2] given, float32[2, 4] allowed"),
    "static size": (flow({"x": F24}), (zeros(3, 4),), {}, "argument 'x': float32[3, 4] given, float32[2, 4] allowed"),
    "static size beside a dynamic one": (
        flow({"x": FN4}, dims=N),
        (zeros(3, 5),),
        {},
        "argument 'x': size 5 in dimension 1 given, float32[N, 4] allowed with N=1..64",
    ),
    "range": (
        flow({"x": FN4}, dims=N),
        (zeros(65, 4),),
        {},
        "argument 'x': size 65 in dimension 0 given, float32[N, 4] allowed with N=1..64",
    ),
    "below the range": (
        flow({"x": FN4}, dims=N),
        (zeros(0, 4),),
        {},
        "argument 'x': size 0 in dimension 0 given, float32[N, 4] allowed with N=1..64",
    ),
    "open range": (
        flow({"x": FN4}, dims=(DimRange("N", 2, None),)),
        (zeros(1, 4),),
        {},
        "argument 'x': size 1 in dimension 0 given, float32[N, 4] allowed with N=2..",
    ),
    "one symbol, two sizes": (
        flow({"x": FN4, "y": FN4}, dims=N),
        (zeros(3, 4), zeros(2, 4)),
        {},
        "argument 'y': size 2 in dimension 0 given, but N is 3 by dimension 0 of 'x'",
    ),
    "expression": (
        flow({"x": FN4, "y": TensorType("float32", ("2*N + 1",))}, dims=N),
        (zeros(3, 4), zeros(6)),
        {},
        "argument 'y': size 6 in dimension 0 given, where 2*N + 1 is allowed and N is 3 by dimension 0 of 'x'",
    ),
    "expression alone": (
        flow({"y": TensorType("float32", ("2*N",))}, dims=N),
        (zeros(5),),
        {},
        "argument 'y': size 5 in dimension 0 given, float32[2*N] allowed with N=1..64",
    ),
    "no tensor": (flow({"x": F24}), (3,), {}, "argument 'x': int 3 given, float32[2, 4] allowed"),
    "a list": (flow({"x": F24}), ([[0.0] * 4] * 2,), {}, "argument 'x': list given, float32[2, 4] allowed"),
    "none": (flow({"x": F24}), (None,), {}, "argument 'x': NoneType given, float32[2, 4] allowed"),
    "missing": (flow({"x": F24, "y": F24}), (A24,), {}, "argument 'y' is missing"),
    "too many": (flow({"x": F24}), (A24, A24), {}, "2 positional arguments given, captured with 1"),
    "unexpected name": (flow({"x": F24}), (A24,), {"z": 1}, "argument 'z'"),
    "given twice": (flow({"x": F24}), (A24,), {"x": A24}, "argument 'x' is given twice"),
    "structure": (
        flow({"xs[0]": F24, "xs[1]": F24}, TupleTree((ListTree((leaf("xs[0]"), leaf("xs[1]"))),)), names=("xs",)),
        ([A24],),
        {},
        "argument 'xs': list of 1 given, captured with list of 2",
    ),
    "inside a structure": (
        flow({"b['m']": F24}, TupleTree((DictTree((lit("m"),), (leaf("b['m']"),)),)), names=("b",)),
        ({"m": zeros(1)},),
        {},
        "argument \"b['m']\": float32[1] given, float32[2, 4] allowed",
    ),
    "fixed": (
        flow({"x": F24}, TupleTree((leaf("x"), leaf("mode"))), names=("x", "mode"), fixed=(Fixed("mode", lit("fast"), "str"),)),
        (A24, "slow"),
        {},
        "argument 'mode': str 'slow' given, fixed at capture as 'fast'; name it in params to let it vary",
    ),
    "fixed, another type": (
        flow({"x": F24}, TupleTree((leaf("x"), leaf("k"))), names=("x", "k"), fixed=(Fixed("k", lit(1), "int"),)),
        (A24, True),
        {},
        "argument 'k': bool True given, fixed at capture as 1",
    ),
    "fixed leaf": (flow({"x": F24}, TupleTree((leaf("x"), Leaf(lit(None)))), names=("x", "m")), (A24, A24), {}, "fixed at capture as None"),
    "int for a number": (flow({"n": ScalarType("int")}), (1.5,), {}, "argument 'n': float 1.5 given, int allowed"),
    "bool for an int": (flow({"n": ScalarType("int")}), (True,), {}, "argument 'n': bool True given, int allowed"),
    "text for a float": (flow({"n": ScalarType("float")}), ("a",), {}, "argument 'n': str 'a' given, float allowed"),
    "run parameter": (
        flow(
            {"x": F24},
            TupleTree((leaf("x"), leaf("t"))),
            names=("x", "t"),
            params=(RunParam("t", Value("t", ScalarType("float")), 0.5, 0.0, 1.0, "argument"),),
        ),
        (A24, 2.0),
        {},
        "parameter 't': 2.0 given, 0.0..1.0 allowed",
    ),
}


@pytest.mark.parametrize("form", ["numpy", "torch"])
@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name, form) -> None:
    made, args, kwargs, message = REFUSALS[name]
    with pytest.raises(GuardError, match=re.escape(message)) as caught:
        runtime(made, form)(*args, **kwargs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_symbols_that_fit(form) -> None:
    made = flow(
        {"x": FN4, "y": TensorType("float32", ("2*N + 1",)), "z": TensorType("float32", ("M // 2", "M"))}, dims=(*N, DimRange("M", 0, 8))
    )
    runtime(made, form)(zeros(3, 4), zeros(7), zeros(2, 4))
    runtime(flow({"y": TensorType("float32", ("2*N - 1", "N"))}, dims=N), form)(zeros(5, 3))


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_by_position_and_by_name(form) -> None:
    one = runtime(flow({"x": F24, "y": F24}), form)
    a, b = zeros(2, 4), zeros(2, 4)
    for got in (one(a, b), one(a, y=b), one(y=b, x=a)):
        assert got[0] is a and got[1] is b
    two = runtime(flow({"x": F24, "y": F24}, TupleTree((leaf("x"),)), {"y": leaf("y")}, ("x", "y")), form)
    for got in (two(a, b), two(a, y=b), two(y=b, x=a)):
        assert got[0] is a and got[1] is b


def test_argument_that_is_a_run_parameter() -> None:
    param = RunParam("t", Value("t", ScalarType("float")), 0.5, 0.0, 1.0, "argument")
    made = runtime(flow({"x": F24}, TupleTree((leaf("x"), leaf("t"))), names=("x", "t"), params=(param,), tree=leaf("t")))
    assert made(A24) == 0.5 and made(A24, 0.25) == 0.25 and made(A24, t=1) == 1.0
    made.params["t"] = 0.75
    assert made(A24) == 0.75 and made(A24, 0.25) == 0.25


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_scalars_pass_as_python_numbers(form) -> None:
    made = runtime(flow({"n": ScalarType("int"), "f": ScalarType("float"), "b": ScalarType("bool")}), form)
    got = made(np.int64(3), 2, True)
    assert got == (3, 2.0, True) and [type(g) for g in got] == [int, float, bool]


class Foreign:
    """An array of a library of its own, which speaks DLPack only."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __array_namespace__(self) -> Any:
        return ForeignLibrary


class ForeignLibrary:
    @staticmethod
    def from_dlpack(value: Any) -> Foreign:
        return Foreign(np.from_dlpack(value))


def doubled(form: str, tree: Tree | None = None) -> Runtime:
    """Returns (2 * x, x), or a tree of y and v0, by an eager kernel, or by one of numpy."""
    block = FlowBlock("b0", (), ("v0",), (Value("y", FN4),), (), Return(tree or TupleTree((leaf("y"), leaf("v0")))))
    import msgspec

    made = msgspec.structs.replace(flow({"x": FN4}, dims=N), blocks=(block,))
    if form == "torch":
        node = b'{"name": "y", "target": "aten.add.Tensor", "args": [{"ref": "x"}, {"ref": "x"}]}'
        graph = b'{"inputs": ["x"], "nodes": [' + node + b'], "outputs": [{"ref": "y"}]}'
        return Runtime(Package(made, {"b0": KernelEntry("eager", ("blocks/a/graph.json",))}, {"blocks/a/graph.json": graph}))
    from dync.runtime import loaders

    sys.modules["numpy_loader"] = type(sys)("numpy_loader")
    sys.modules["numpy_loader"].load = lambda *_: lambda x: (x + x,)  # type: ignore[attr-defined]
    loaders.LOADERS["numpy-test"] = ("numpy_loader:load", "numpy")
    try:
        return Runtime(Package(made, {"b0": KernelEntry("numpy-test")}))
    finally:
        del loaders.LOADERS["numpy-test"]


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_the_same_kind_comes_out(form) -> None:
    run = doubled(form)
    array = np.arange(8, dtype=np.float32).reshape(2, 4)
    for x in (array, torch.from_numpy(array.copy()), Foreign(array)):
        y, same = run(x)
        assert type(y) is type(x) and same is x
        assert np.array_equal(to_numpy(y), array * 2)
    parameter = torch.nn.Parameter(torch.from_numpy(array.copy()))
    y, same = run(parameter)
    assert type(y) is torch.Tensor and not y.requires_grad and same is parameter
    y, _ = run(torch.from_numpy(array.copy()).requires_grad_() * 1)
    assert not y.requires_grad


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_a_tensor_that_is_returned_twice_is_one_object(form) -> None:
    run, x = doubled(form, TupleTree((leaf("y"), ListTree((leaf("y"), leaf("v0")))))), torch.randn(2, 4)
    first, (second, given) = run(x)
    assert torch.equal(first, x * 2) and second is first and given is x
    assert run(x)[0] is not first


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_arrays_of_every_layout(form) -> None:
    run = doubled(form)
    base = np.arange(64, dtype=np.float32).reshape(8, 8)
    frozen = base[:3, :4].copy()
    frozen.flags.writeable = False
    for x in (base[::2, ::2], base[::-1, :4], base[:, :4], np.asfortranarray(base[:, :4]), frozen, base[:3, :4]):
        y, _ = run(x)
        assert np.array_equal(y, x * 2)
    for t in (torch.from_numpy(base)[::2, ::2], torch.from_numpy(base).T[:, :4], torch.from_numpy(base)[:3, :4].contiguous().expand(3, 4)):
        y, _ = run(t)
        assert torch.equal(y, t * 2)
    with pytest.raises(GuardError, match="argument 'x'"):
        run(torch.eye(4).to_sparse())
    with pytest.raises(GuardError, match="argument 'x'"):
        run(torch.empty(2, 4, device="meta"))


@pytest.mark.parametrize("form", ["numpy", "torch"])
@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.int64]
)
def test_dtypes_pass_unchanged(dtype, form) -> None:
    type_ = TensorType(str(dtype).removeprefix("torch."), (3,))
    run = runtime(flow({"x": type_, "y": type_}, tree=leaf("v1")), form)
    x = torch.tensor([0, 1, 2]).to(dtype)
    y = run(x, x.clone())
    assert y.dtype == dtype and torch.equal(y, x)
    array = to_numpy(x)
    out = run(array, array.copy())
    assert isinstance(out, np.ndarray) and out.dtype == array.dtype and out.tobytes() == array.tobytes()
    assert to_torch(array).dtype == dtype and torch.equal(to_torch(array), x)


def test_zero_dimensional_tensors_stay_tensors() -> None:
    for form in ("numpy", "torch"):
        run = runtime(flow({"x": TensorType("float32", ())}, tree=leaf("v0")), form)
        assert isinstance(run(torch.tensor(3.0)), torch.Tensor)
        out = run(np.asarray(3.0, np.float32))
        assert isinstance(out, np.ndarray) and out.shape == ()
        assert np.asarray(run(np.float32(3.0))).shape == ()


def test_bfloat16_without_ml_dtypes_or_torch() -> None:
    """A package whose values numpy cannot hold takes torch tensors; where torch is missing too, the way out is named."""
    code = (
        "import sys; sys.modules['ml_dtypes'] = None; sys.modules['torch'] = None\n"
        "from dync.runtime.tensors import numpy_dtype\ntry: numpy_dtype('bfloat16')\nexcept Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ArtifactError bfloat16 needs torch or ml_dtypes: pip install ml_dtypes\n"


def test_slots_hold_what_was_captured() -> None:
    assert fits(None, ObjectType("NoneType")) and fits(1, ObjectType("NoneType"))  # written before it is read
    assert fits(1, ScalarType("int")) and not fits(1.0, ScalarType("int")) and not fits(None, FN4)
    assert fits(A24, F24) and fits(A24, FN4) and not fits(zeros(2, 5), FN4)
    made = flow({"x": F24}, tree=leaf("s"))
    import msgspec

    made = msgspec.structs.replace(made, slots=(Slot("prev", Value("s", ScalarType("int")), Leaf(lit(1))),))
    run = runtime(made)
    assert run(A24) == 1
    run.state["prev"] = A24
    with pytest.raises(GuardError, match="attribute 'prev' holds float32\\[2, 4\\] now"):
        run(A24)


def test_descriptions() -> None:
    assert (
        describe(torch.zeros(2, 3)) == "float32[2, 3]" and describe(3) == "int 3" and describe("a") == "str 'a'" and describe([1]) == "list"
    )
    assert describe(torch.empty(1, device="meta")) == "float32[1] on meta"
