"""A call that does not fit is a GuardError that names the argument, what came and what is allowed."""

import numpy as np
import pytest
import torch
from programs.keyed import NeighboursOfANode
from torch import nn
from torch.export import Dim

import dync


class Model(nn.Module):
    def forward(self, x, mask=None, *, scale=2.0, mode="a", flag=True, n=3, items=None):
        if x.sum() > 0:
            x = x * scale
        return x * mask + items[0]


X, MASK = torch.ones(2, 4), torch.ones(2, 4)
GIVEN = {"mask": MASK, "scale": 2.0, "flag": True, "items": [torch.ones(1), 3]}
ROWS = Dim("rows", min=1, max=8)


@pytest.fixture(scope="module")
def run():
    shapes = {"x": {0: ROWS}, "mask": {0: ROWS}, "scale": None, "flag": None, "items": None}
    return dync.compile(Model(), (X,), GIVEN, backend="eager", host="python", dynamic_shapes=shapes)


@pytest.mark.parametrize("x, changed, said", [
    (None, {}, "argument 'x': NoneType given, float32[rows, 4] allowed with rows=1..8"),
    (X, {"mask": None}, "argument 'mask': NoneType given, float32[rows, 4] allowed"),
    (X.double(), {}, "argument 'x': float64[2, 4] given, float32[rows, 4] allowed"),
    (X[0], {}, "argument 'x': float32[4] given, float32[rows, 4] allowed"),
    (torch.ones(9, 4), {}, "argument 'x': size 9 in dimension 0 given, float32[rows, 4] allowed with rows=1..8"),
    (torch.ones(3, 4), {}, "argument 'mask': size 2 in dimension 0 given, but rows is 3 by dimension 0 of 'x'"),
    (torch.ones(2, 5), {}, "argument 'x': size 5 in dimension 1 given, float32[rows, 4] allowed"),
    (X.to("meta"), {}, "argument 'x': float32[2, 4] on meta given"),
    (X.to_sparse(), {}, "argument 'x': sparse_coo float32[2, 4] given, float32[rows, 4] allowed"),
    (X, {"scale": 3.0}, "argument 'scale': float 3.0 given, fixed at capture as 2.0; name it in params to let it vary"),
    (X, {"scale": 2}, "argument 'scale': int 2 given, fixed at capture as 2.0"),
    (X, {"scale": torch.tensor(2.0)}, "argument 'scale': float32[] given, fixed at capture as 2.0"),
    (X, {"flag": False}, "argument 'flag': bool False given, fixed at capture as True"),
    (X, {"flag": 1}, "argument 'flag': int 1 given, fixed at capture as True"),
    (X, {"mode": "b"}, "argument 'mode': str 'b' given, left out at capture, which fixed its default 'a'"),
    (X, {"n": 4}, "argument 'n': int 4 given, left out at capture, which fixed its default 3"),
    (X, {"other": 4}, "argument 'other' was not given at capture; it had x, mask, scale, flag, items"),
    (X, {"items": [torch.ones(1)]}, "argument 'items': list of 1 given, captured with list of 2"),
    (X, {"items": [torch.ones(1), 4]}, "argument 'items[1]': int 4 given, fixed at capture as 3"),
    (X, {"items": [torch.ones(2), 3]}, "argument 'items[0]': float32[2] given, float32[1] allowed")])  # fmt: skip
def test_refused(run, x, changed, said) -> None:
    with pytest.raises(dync.GuardError) as caught:
        run(x, **{**GIVEN, **changed})
    assert str(caught.value).startswith(said)


def test_missing(run) -> None:
    with pytest.raises(dync.GuardError, match="argument 'x' is missing"):
        run(**GIVEN)


def test_admitted(run) -> None:
    want = Model()(X, **GIVEN)
    assert torch.equal(run(X, **GIVEN), want)
    assert torch.equal(run(X.clone().requires_grad_(), **GIVEN), want)
    assert torch.equal(run(X, **{k: v for k, v in GIVEN.items() if k != "scale"}), want), "the default is what was captured"
    assert torch.equal(run(X, **GIVEN, n=3, mode="a"), want), "a default may be spelled out"
    assert np.array_equal(run(X.numpy(), **{**GIVEN, "mask": MASK.numpy(), "items": [np.ones(1, np.float32), 3]}), want.numpy())


class Writes(nn.Module):
    def forward(self, x, y):
        x.add_(1)
        return y * 2 if y.sum() > 0 else y


@pytest.mark.parametrize("of", [torch.Tensor.numpy, lambda t: t])
def test_a_written_argument_shares_memory_with_no_other(of) -> None:
    run = dync.compile(Writes(), (torch.ones(3), torch.ones(3)), backend="eager", host="python")
    memory = torch.ones(5)
    with pytest.raises(dync.GuardError, match="argument 'y' shares memory with 'x', which is written in place"):
        run(of(memory[:3]), of(memory[2:]))
    assert torch.equal(memory, torch.ones(5))


def test_one_tensor_in_two_places_stays_one() -> None:
    x = torch.ones(3)
    run = dync.compile(Writes(), (x, x), backend="eager", host="python")
    y = torch.ones(3)
    assert torch.equal(run(y, y), torch.full((3,), 4.0)) and torch.equal(y, torch.full((3,), 2.0))
    with pytest.raises(dync.GuardError, match="argument 'y': not the same object as 'x', which at capture it was"):
        run(torch.ones(3), torch.ones(3))


def test_a_key_that_a_read_defaultdict_lacks_is_told() -> None:
    """Eager would put a set there; the dict holds sets, so it has no rows to which one could be added."""
    run = dync.compile(NeighboursOfANode(), (torch.tensor(1),), backend="eager", host="python")
    assert run(torch.tensor(1)) == NeighboursOfANode()(torch.tensor(1))
    with pytest.raises(dync.errors.GuardError, match=r"gets a key that it has not: .* it holds a set"):
        run(torch.tensor(9))
