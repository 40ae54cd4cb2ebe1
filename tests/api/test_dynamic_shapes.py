"""dynamic_shapes in torch.export's forms: what is read, what runs, what is refused."""

import pytest
import torch
from torch import nn
from torch.export import Dim, ShapesCollection

import dync

B = Dim("B", min=1, max=8)
AUTO = Dim.AUTO  # type: ignore[attr-defined]
DYNAMIC = Dim.DYNAMIC  # type: ignore[attr-defined]
X, Y = torch.ones(2, 4), torch.ones(4)


class Model(nn.Module):
    def forward(self, x, y=None, items=None):
        if x.sum() > 0:
            x = x * 2
        if items is not None:
            x = x + items["a"].sum() + items["b"][0].sum()
        return x if y is None else x.sum() + y


class Variadic(nn.Module):
    def forward(self, *xs, **more):
        total = sum(x.sum() for x in xs)
        return total + more["z"] if total > 0 else more["z"]


ITEMS = {"a": torch.ones(3), "b": [torch.ones(3), 5]}
COLLECTION = ShapesCollection()
COLLECTION[X] = {0: B}


def types(model, args, kwargs, shapes):
    program = dync.capture(model, args, kwargs, dynamic_shapes=shapes)
    return [str(i.value.type) for i in program.signature.inputs], [(d.name, d.low, d.high) for d in program.signature.dims]


@pytest.mark.parametrize("args, kwargs, shapes, inputs, dims", [
    ((X,), {}, {"x": {0: B}}, ["float32[B, 4]"], [("B", 1, 8)]),
    ((X,), {}, ({0: B},), ["float32[B, 4]"], [("B", 1, 8)]),
    ((X,), {}, [(B, None)], ["float32[B, 4]"], [("B", 1, 8)]),
    ((X,), {}, {"x": [B, Dim.STATIC]}, ["float32[B, 4]"], [("B", 1, 8)]),  # type: ignore[attr-defined]
    ((X,), {}, {"x": {0: 2, -1: B}}, ["float32[2, B]"], [("B", 1, 8)]),
    ((X,), {}, {"x": {0: AUTO}}, ["float32[D1, 4]"], [("D1", 0, None)]),
    ((X,), {}, {"x": {0: DYNAMIC(min=2, max=4)}}, ["float32[D1, 4]"], [("D1", 2, 4)]),
    ((X,), {}, {"x": {0: "rows"}}, ["float32[rows, 4]"], [("rows", 0, None)]),
    ((X,), {}, {"x": {0: "rows=1..64"}}, ["float32[rows, 4]"], [("rows", 1, 64)]),
    ((X,), {}, COLLECTION, ["float32[B, 4]"], [("B", 1, 8)]),
    ((X, Y), {}, {"x": {0: B}, "y": {0: 2 * B}}, ["float32[B, 4]", "float32[2*B]"], [("B", 1, 8)]),
    ((X,), {"items": ITEMS}, {"x": None, "items": {"a": {0: B}, "b": [{0: B}, None]}},
     ["float32[2, 4]", "float32[B]", "float32[B]"], [("B", 1, 8)])])  # fmt: skip
def test_forms(args, kwargs, shapes, inputs, dims) -> None:
    assert types(Model(), args, kwargs, shapes) == (inputs, dims)


def test_variadic_arguments() -> None:
    shapes = {"xs": ({0: B}, {0: AUTO}), "more": {"z": None}}
    assert types(Variadic(), (Y, X), {"z": Y.clone()}, shapes)[0] == ["float32[B]", "float32[D1, 4]", "float32[4]"]


def test_derived_sizes_run_and_are_guarded() -> None:
    run = dync.compile(Model(), (X, Y), backend="eager", host="python", dynamic_shapes={"x": {0: B}, "y": {0: 2 * B}})
    for rows in (1, 3, 8):
        x, y = torch.randn(rows, 4), torch.randn(2 * rows)
        assert torch.equal(run(x, y), Model()(x, y))
    with pytest.raises(dync.GuardError, match=r"argument 'y': size 5 in dimension 0 given, where 2\*B is allowed and B is 2"):
        run(X, torch.ones(5))


@pytest.mark.parametrize("args, kwargs, shapes, said", [
    ((X,), {}, {"z": {0: B}}, "names 'z', which is no argument of the example (x)"),
    ((X,), {}, ({0: B}, None), "has 2 entries, the example 1 arguments (x)"),
    ((X,), {}, {"x": {0: 3}}, "x.shape[0] is 2 in the example, not 3"),
    ((X,), {}, {"x": {2: B}}, "x has no dimension 2"),
    ((X,), {}, {"x": (B, None, None)}, "x has no dimension 2"),
    ((X,), {}, {"x": {0: 2.5}}, "x.shape[0] is float 2.5; write a torch.export.Dim"),
    ((X,), {}, {"x": {0: "1..8"}}, "x.shape[0] is '1..8'; write a name, or \"name=1..64\""),
    ((torch.ones(9, 4),), {}, {"x": {0: B}}, "x.shape[0] is 9 in the example, outside 1..8"),
    ((X, torch.ones(5)), {}, {"x": {0: B}, "y": {0: 2 * B}}, "y.shape[0] is 5 in the example, but 2*B is 4 by x.shape[0]"),
    ((X,), {}, {"x": {0: 2 * B}}, "x.shape[0] is 2*B, but no dimension is B itself"),
    ((X, Y), {}, {"x": {0: B}, "y": {0: B}}, "B is 2 by x.shape[0] in the example, and 4 by y.shape[0]"),
    ((X, Y), {}, {"x": {0: B}, "y": {0: Dim("B", max=4)}}, "B is 1..8 for x.shape[0] and 0..4 for y.shape[0]"),
    ((X,), {"items": None}, {"items": {0: B}}, "items is a NoneType in the example, which has no dimensions"),
    ((X,), {"items": ITEMS}, {"items": {"c": None}}, "items holds a, b in the example"),
    ((X,), {"items": ITEMS}, {"items": {"b": [None]}}, "items['b'] is a list of 2 in the example"),
    ((X,), {}, {"x": 5}, "x is a tensor of 2 dimensions, which int 5 does not describe"),
    ((X,), {}, 5, "is a int, not a dict by argument name or a sequence")])  # fmt: skip
def test_refused(args, kwargs, shapes, said) -> None:
    with pytest.raises(dync.UsageError) as caught:
        dync.capture(Model(), args, kwargs, dynamic_shapes=shapes)
    assert said in str(caught.value)


class ToEight(nn.Module):
    def forward(self, x):
        y = x.view(8, 4)
        return y * 2 if y.sum() > 0 else y


class ToEightSometimes(nn.Module):
    def forward(self, x):
        return x.view(8, 4) if x.sum() > 0 else x


def test_a_size_that_the_model_forces() -> None:
    x = torch.ones(8, 4)
    with pytest.raises(dync.CaptureError) as caught:
        dync.capture(ToEight(), (x,), dynamic_shapes={"x": {0: Dim("rows", max=16)}})
    (one,) = caught.value.diagnostics
    assert one.code == "DY212" and one.found == "dynamic_shapes declares rows=0..16, but every call needs rows = 8 here"
    assert one.span.file == __file__ and one.span.col == 12
    assert types(ToEight(), (x,), {}, {"x": {0: AUTO}}) == (["float32[8, 4]"], [])


def test_a_size_that_one_path_forces_fails_there_as_eager_does() -> None:
    run = dync.compile(ToEightSometimes(), (torch.ones(8, 4),), backend="eager", host="python", dynamic_shapes={"x": {0: "rows"}})
    assert torch.equal(run(-torch.ones(3, 4)), -torch.ones(3, 4)) and run(torch.ones(8, 4)).shape == (8, 4)
    with pytest.raises(RuntimeError, match="the sizes do not fit"):
        run(torch.ones(3, 4))
