"""How a nested result becomes named arrays, and how values become a call."""

import collections
import dataclasses
import types

import numpy as np
import pytest
import torch

import dync
from dync.cli import invoke
from dync.cli.run import call, named_leaves, values, write_npz
from dync.errors import GuardError, UsageError
from dync.ir.classes import record_class
from dync.ir.flow import DictTree, Fixed, Input, Leaf, ListTree, RunParam, Signature, TupleTree
from dync.ir.opaque import Opaque
from dync.ir.types import Lit, Ref, ScalarType, TensorType, Value, lit

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Out:
    y: object
    exit: int


stand_in = record_class("object", "elsewhere:Cache", ())()
stand_in.keys, stand_in.n = np.ones(2), 3


@pytest.mark.parametrize("result,names", [
    (1, ["out"]), (np.ones(2), ["out"]), ((1, 2), ["out[0]", "out[1]"]), ({"y": 1, "n": [2, None, (3,)]}, ["y", "n[0]", "n[2][0]"]),
    (Pair(1, {"a": 2}), ["left", "right.a"]), (Out(np.ones(1), 2), ["y", "exit"]),
    ([Out(1, 2)], ["out[0].y", "out[0].exit"]), (None, []),
    (record_class("object", "elsewhere:Cache", ())(), []), (types.SimpleNamespace(k=1, dtype=Opaque("torch.dtype", "torch.int8")), ["k"]),
    (stand_in, ["keys", "n"])])  # fmt: skip
def test_names(result, names):
    assert [n for n, _ in named_leaves(result)] == names


def test_objects_are_refused():
    with pytest.raises(GuardError, match="result's y is a object"):
        list(named_leaves({"y": object()}))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    write_npz(tmp_path / "y.npz", {"out[0]": np.arange(3), "exit": np.asarray(1)})
    assert np.load(tmp_path / "y.npz")["out[0]"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="[Oo]bject"):
        write_npz(tmp_path / "y.npz", {"bad": np.array([object()])})
    assert np.load(tmp_path / "y.npz").files == ["out[0]", "exit"] and len(list(tmp_path.iterdir())) == 1


def signature() -> Signature:
    x, mask = (Value(n, TensorType("float32", (1,))) for n in ("x", "m"))
    param = RunParam("threshold", Value("t", ScalarType("float")), 0.5, 0, 1, "argument")
    args = TupleTree((Leaf(Ref("x")), ListTree((Leaf(Ref("masks[0]")), Leaf(lit(None))))))
    kwargs = DictTree((Lit("mode"), Lit("threshold")), (Leaf(Ref("mode")), Leaf(Ref("threshold"))))
    fixed = (Fixed("mode", lit("fast"), "str"),)
    return Signature(("x", "masks"), args, kwargs, (Input(x, "x"), Input(mask, "masks[0]")), fixed, (param,))


def test_values_at_their_paths_become_a_call():
    assert call(signature(), {"x": 1, "masks[0]": 2}) == ((1, [2, None]), {"mode": "fast", "threshold": 0.5})
    assert call(signature(), {"x": 1, "masks[0]": 2, "threshold": 0.7})[1]["threshold"] == 0.7


def test_values_that_lack_or_are_unknown():
    with pytest.raises(UsageError, match=r"no value for the input 'masks\[0\]'"):
        call(signature(), {"x": 1})
    with pytest.raises(UsageError, match=r"no input 'z'; inputs: x, masks\[0\], mode, threshold"):
        call(signature(), {"x": 1, "masks[0]": 2, "z": 3})


def test_values_from_files_and_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.arange(2))
    np.savez("b.npz", m=np.ones(1), k=np.zeros(1))
    found = values(["x=@a.npy", "n=3", "flag=true"], tmp_path / "b.npz")
    assert found["x"].tolist() == [0, 1] and found["n"] == 3 and found["flag"] is True and {"m", "k"} < set(found)
    with pytest.raises(UsageError, match="holds 2 arrays"):
        values(["x=@b.npz"], None)


class Picky(torch.nn.Module):
    def forward(self, x):
        if x.sum() < 0:
            raise ValueError("too little of it")
        return x * 2


def test_what_the_model_raises_is_the_models(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dync.compile(Picky(), (torch.ones(2),), backend="eager", host="python").save("m.dync")
    np.save("x.npy", -np.ones(2, np.float32))
    assert invoke(["run", "m.dync", "--input", "x=@x.npy"]) == 1
    said = capsys.readouterr().err
    assert "ValueError: too little of it (raised by the model at" in said and "bug in dync" not in said


def test_a_folder_that_is_not_there_is_said_before_the_run(capsys):
    assert invoke(["run", "nowhere.dync", "-o", "/nowhere/y.npz"]) == 2
    assert "there is no folder /nowhere" in capsys.readouterr().err
