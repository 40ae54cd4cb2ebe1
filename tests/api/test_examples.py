"""Example inputs: the --input form, npz files, example_inputs()."""

import types

import numpy as np
import pytest
import torch
from torch import nn

from dync.errors import UsageError
from dync.examples import InputSpec, NamedDim, examples, parse_input
from dync.source import ModelSource


class Two(nn.Module):
    def forward(self, x, mask=None, *, scale=1.0):
        return x


def source(model=None, **names):
    return ModelSource(model or Two(), "model.py:Two", types.SimpleNamespace(__file__="model.py", __name__="model", **names))


def test_the_form():
    assert parse_input("x:f32[N=1..64,3,32,32]") == InputSpec("x", "float32", (NamedDim("N", 1, 64), 3, 32, 32))
    assert parse_input(" ids : i64[ B , T=2.. ] ") == InputSpec("ids", "int64", (NamedDim("B"), NamedDim("T", 2, None)))
    assert parse_input("flag:bool[]") == InputSpec("flag", "bool", ())
    assert parse_input("x:bfloat16[1]").dtype == "bfloat16"


@pytest.mark.parametrize("text,said", [
    ("x", "cannot read"), ("x:f32", "cannot read"), ("x:f99[1]", "unknown dtype 'f99'"), ("x:f32[a b]", "dimension 'a b'"),
    ("x:f32[N=5..2]", "empty: 5..2"),
    ("x:f32[-1]", "dimension '-1'")])  # fmt: skip
def test_texts_that_cannot_be_read(text, said):
    with pytest.raises(UsageError, match=said.replace("[", r"\[")):
        parse_input(text)


def test_values_are_seeded_and_of_the_dtype():
    a, b = (examples(source(), ["x:f32[2,3]", "mask:i64[5]"]) for _ in range(2))
    assert torch.equal(a.args[0], b.args[0]) and a.args[0].shape == (2, 3)
    assert a.args[1].dtype == torch.int64 and a.args[1].min() >= 0 and a.args[1].max() < 10
    assert a.dynamic_shapes is None and a.kwargs == {}
    assert not torch.equal(a.args[0], examples(source(), ["x:f32[2,3]"], seed=1).args[0])


def test_named_dims_are_torch_exports_dims():
    found = examples(source(), ["x:f32[N=1..64,3]", "mask:bool[N,M=4..]"])
    n, m = found.dynamic_shapes["x"][0], found.dynamic_shapes["mask"][1]
    assert (n.__name__, n.min, n.max) == ("N", 1, 64) and m.min == 4 and found.dynamic_shapes["mask"][0] is n
    assert found.args[0].shape[0] == found.args[1].shape[0] >= 2 and found.args[1].shape[1] >= 4
    assert found.args[0].shape[0] != found.args[1].shape[1]


def test_a_dim_has_one_range():
    with pytest.raises(UsageError, match="N has two ranges: 1..4 and 1..8"):
        examples(source(), ["x:f32[N=1..4]", "mask:f32[N=1..8]"])


def test_arguments_go_where_forward_takes_them():
    found = examples(source(), ["x:f32[1]", "scale:f32[]"])
    assert len(found.args) == 1 and set(found.kwargs) == {"scale"}
    with pytest.raises(UsageError, match="no argument 'z'; it takes: x, mask, scale"):
        examples(source(), ["x:f32[1]", "z:f32[1]"])
    with pytest.raises(UsageError, match="no example for the argument 'x'"):
        examples(source(), ["mask:f32[1]"])


def test_an_npz_gives_values_and_the_spec_gives_dims(tmp_path):
    np.savez(tmp_path / "in.npz", x=np.ones((5, 3), "float32"))
    found = examples(source(), ["x:f32[N=1..9,3]"], tmp_path / "in.npz")
    assert found.args[0].sum() == 15 and found.dynamic_shapes["x"][0].max == 9
    np.savez(tmp_path / "positional.npz", np.zeros(2), np.ones(2))
    assert [float(a.sum()) for a in examples(source(), [], tmp_path / "positional.npz").args] == [0, 2]
    with pytest.raises(UsageError, match="has 1 dims, the array given for it 2"):
        examples(source(), ["x:f32[N=1..9]"], tmp_path / "in.npz")


def test_npz_files_that_are_none(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    (tmp_path / "text.npz").write_text("no")
    for name, said in (("objects.npz", "plain arrays"), ("text.npz", "plain arrays"), ("none.npz", "no such file")):
        with pytest.raises(UsageError, match=said):
            examples(source(), [], tmp_path / name)


@pytest.mark.parametrize(
    "value,args,kwargs", [((1, 2), (1, 2), {}), (((1,), {"mask": 2}), (1,), {"mask": 2}), (({"a": 1},), ({"a": 1},), {})]
)
def test_example_inputs(value, args, kwargs):
    found = examples(source(example_inputs=lambda: value))
    assert (found.args, found.kwargs) == (args, kwargs)


def test_example_inputs_that_lack_or_fail():
    with pytest.raises(UsageError, match=r"no example inputs: define example_inputs\(\) in model.py.*x, mask, scale"):
        examples(source())
    with pytest.raises(UsageError, match="returned a list"):
        examples(source(example_inputs=lambda: [1]))
    with pytest.raises(UsageError, match="ZeroDivisionError"):
        examples(source(example_inputs=lambda: 1 / 0))
