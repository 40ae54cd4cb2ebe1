"""Inductor: what it declines, what it says when it is not there, and one kernel with everything that a block may ask of it."""

from __future__ import annotations

import shutil

import pytest
import torch
from support.kernels import kernel

from dync.backends.base import Available, Declined, Target
from dync.backends.cache import with_weights
from dync.backends.check import check, open_code
from dync.backends.inductor import Inductor
from dync.backends.kernels import renamed_weights
from dync.errors import BackendError


def test_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    answer = Inductor().available()
    assert isinstance(answer, Declined) and "g++" in answer.reason and "\n" not in answer.reason


@pytest.mark.parametrize("made,said", [
    (lambda: kernel(lambda x, n: x * n, {"x": "float32[4]", "n": "float"}), "takes the Python number n"),
    (lambda: kernel(lambda x: (x.new_empty(2).uniform_(), ())[1], {"x": "float32[4]"}), "computes nothing")])  # fmt: skip
def test_what_it_declines(made, said):
    answer = Inductor().supports(made(), Target())
    assert isinstance(answer, Declined) and said in answer.reason


def test_it_compiles_for_this_machine_only():
    k = kernel(lambda x: x * 2, {"x": "float32[4]"})
    for target in (Target("cuda"), Target("cpu", "x86-64-v3")):
        assert "not for" in str(Inductor().supports(k, target))


def test_a_compiler_that_fails_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.export, "export", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("\n  no such thing\nmore")))
    with pytest.raises(BackendError, match="^t?b?0?.*: inductor cannot compile it: no such thing$"):
        Inductor().compile(kernel(lambda x: x * 2, {"x": "float32[4]"}), Target())


@pytest.mark.slow
def test_an_answer_about_the_examples_sizes_is_not_taken_for_all():
    def function(x):
        return x[:, :17]

    if isinstance(answer := Inductor().available(), Declined):
        pytest.skip(answer.reason)
    with pytest.raises(BackendError, match="that may be more to be at most 16"):
        Inductor().compile(kernel(function, {"x": "float32[1, N]"}, dims={"N": (0, None)}), Target())
    small = kernel(function, {"x": "float32[1, N]"}, dims={"N": (0, 9)})
    assert check(small, Inductor().compile(small, Target())) < 1e-6


def test_one_kernel_of_everything():
    """Dynamic sizes, weights from outside that another kernel replaces, a write in place, a number and several tensors as results."""
    if isinstance(answer := Inductor().available(), Declined):
        pytest.skip(answer.reason)
    assert isinstance(answer, Available)

    def step(x, state, a, b):
        state.add_(1)
        y = torch.relu(x @ a) @ b
        return y, y.sum(0), (y.sum() > 0).item(), state * 2

    def made(names: tuple[str, str], seed: int):
        torch.manual_seed(seed)
        weights = {names[0]: torch.randn(40, 4).t(), names[1]: torch.randn(40, 300)}
        scope = {"step": step}
        exec(f"def f(x, state, {names[0]}, {names[1]}): return step(x, state, {names[0]}, {names[1]})", scope)
        inputs = {"x": "float32[N, 4]", "state": "float32[3]"}
        return kernel(scope["f"], inputs, weights, dims={"N": (1, None)}, mutates=("state",))

    first, twin = made(("a", "b"), 0), made(("c", "d"), 1)
    assert Inductor().supports(first, Target()) is None
    code = Inductor().compile(first, Target(), 1)
    assert code.needs == ("torch",) and set(code.weights) == {"a", "b"}
    assert check(first, code, run=open_code(first, code)) < 1e-4
    other = with_weights(code, renamed_weights(first, twin))
    assert set(other.weights) == {"c", "d"} and check(twin, other, run=open_code(twin, other)) < 1e-4
