"""Copies of compiled models and of loaded artifacts go on from the state and parameters that they were made with."""

import copy
import pickle

import pytest
import torch
from torch import nn

import dync


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.limit, self.seen, self.last = nn.Linear(3, 3), 0.0, [], None
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        if x.sum().item() > self.limit:
            self.last = x
        self.seen.append(x.sum().item())
        return self.linear(x) * self.calls, len(self.seen), self.last is None


@pytest.fixture(params=["compiled", "loaded"])
def program(request, tmp_path):
    made = dync.compile(Counts(), (torch.ones(3),), params={"limit": (0.0, -1, 9)}, backend="onnxruntime", host="python", budget=0)
    if request.param == "loaded":
        made.save(tmp_path / "m.dync")
        made = dync.load(tmp_path / "m.dync")
    made(-torch.ones(3))
    made.params["limit"] = 5.0
    return made


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "deepcopy", "pickle"])
def test_a_copy_goes_on_alone(again, program):
    other = again(program)
    assert other.params == {"limit": 5.0}
    first, second = program(torch.ones(3)), other(torch.ones(3))
    torch.testing.assert_close(first, second)
    assert first[1:] == (2, True)
    other.params["limit"] = 0.0
    assert other(torch.ones(3))[1:] == (3, False) and program.params["limit"] == 5.0
    assert program(torch.ones(3))[1:] == (3, True) and program.state["calls"] == 3
    other.reset_state()
    assert other(torch.ones(3))[1:] == (1, False)


def test_bytes_that_are_damaged(program):
    data = pickle.dumps(program)
    place = data.index(b"blocks/")
    with pytest.raises(dync.errors.ArtifactError):
        pickle.loads(data[:place] + b"blockz/" + data[place + 7 :])
