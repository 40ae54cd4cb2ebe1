"""functionalize: before → after as text, and equality with eager on random programs of views and writes."""

import inspect
import random

import pytest
import torch
from support.builder import Builder

from dync.ir.effects import mutated, written
from dync.ir.interpret import run_graph
from dync.ir.text import print_graph
from dync.passes.graph.functionalize import Functional, Refused, functionalize


def trace(function, weights=(), **inputs):
    """The function's graph and its weights."""
    b = Builder("f", inputs, dict(weights))
    return b._trace(function, tuple(inspect.signature(function).parameters)), b.weights


def check(graph, inputs, weights):
    """Runs both graphs on copies; compares results, and inputs and weights as they are after."""
    made = functionalize(graph)
    assert isinstance(made, Functional), made
    assert not any(written(n) for n in made.graph.nodes)
    assert all(isinstance(n.meta.get("val"), object) and n.meta["span"] for n in made.graph.nodes if n.op == "call_function")
    names = [str(n.target) for n in graph.find_nodes(op="placeholder")]
    old_in, new_in = ([i.clone() if isinstance(i, torch.Tensor) else i for i in inputs] for _ in "12")
    old_w, new_w = ({n: w.clone() for n, w in weights.items()} for _ in "12")
    torch.manual_seed(0)
    expected = [r.clone() if isinstance(r, torch.Tensor) else r for r in run_graph(graph, old_in, old_w)]
    torch.manual_seed(0)
    given = run_graph(made.graph, new_in, new_w)
    for name, index in made.copies:
        (new_w[name] if name in new_w else new_in[names.index(name)]).copy_(given[index])
    for a, b in zip((*given[: len(expected)], *new_in, *new_w.values()), (*expected, *old_in, *old_w.values()), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert {n for n, _ in made.copies} == {str(n.target) for n in mutated(graph)}
    return made


def case(function, golden=None, weights=None, inputs=None, **types):
    graph, weights = trace(function, weights or {}, **types)
    gen = torch.Generator().manual_seed(1)
    made = check(graph, inputs or [torch.randn([d for d in _shape(t)], generator=gen) for t in types.values()], weights)
    if golden:
        golden(f"before\n\n{print_graph(graph)}\nafter\n\n{print_graph(made.graph)}\ncopies {made.copies}\nshared {made.shared}\n")
    return made


def _shape(text):
    return [int(d) if d.strip().isdigit() else 5 for d in text.partition("[")[2].rstrip("]").split(",") if d.strip()]


def test_writes_into_items_of_a_split_whose_schema_hides_that_they_are_views():
    def f(x):
        parts = torch.ops.aten.unsafe_split.Tensor(x.exp(), 1)
        parts[0].add_(parts[1])
        return parts[0] * 2, parts[1], torch.ops.aten.unsafe_split_with_sizes.default(x + 1, [1, 2])[1].sigmoid_()

    case(f, x="float32[3, 4]")


def test_a_write_into_a_fresh_value(golden):
    def f(x):
        y = x.exp()
        y[1].mul_(2)
        return y, y[1] + 1

    case(f, golden, x="float32[2, 3]")


def test_a_write_through_a_chain_of_views(golden):
    def f(x):
        y = x.exp()
        v = y.view(6, 4).t()[1:3]
        w = y.unsqueeze(0).transpose(1, 3)
        v.add_(1)
        w.select(1, 2).relu_()
        return v, y, w

    case(f, golden, x="float32[2, 3, 4]")


def test_inputs_and_weights_come_back_as_copies(golden):
    def f(x, seen):
        seen.add_(x.sum(0))
        x[0].mul_(2)
        return x.mean(0), seen * 1.0, x[1]

    made = case(f, golden, {"seen": torch.zeros(3)}, x="float32[2, 3]")
    assert made.copies == (("x", 3), ("seen", 4)) and made.shared == ((2, "x"),)


def test_a_dynamic_size(golden):
    def f(x):
        y = x * 2
        y.view(-1, 2, 2).select(1, 0).zero_()
        return (y,)

    case(f, golden, x="float32[N, 4]")


def test_a_size_that_depends_on_the_data():
    def f(x):
        y = x[(x[:, 0] > 0).nonzero().squeeze(1)]
        y[:, 1].fill_(3.0)
        y.mul_(2)
        return (y,)

    case(f, x="float32[N, 4]")


def test_the_result_of_a_write_is_the_tensor_itself():
    def f(x):
        y = x + 1
        z = y.add_(1)
        z.mul_(2)
        return y, z, y + z

    case(f, x="float32[3]")


def test_one_tensor_changes_its_shape_in_place_and_its_views_do_not():
    def f(x):
        y = x * 1
        v, same = y[0], y.add_(1)
        y.unsqueeze_(0).transpose_(1, 2).mul_(2)
        v.add_(1)
        return same, y, v, (x + 1).squeeze_(0)

    case(f, x="float32[2, 3]")


def test_two_reads_of_one_weight_are_one_memory():
    def f(w):
        w.add_(1)
        return (w * 2,)

    graph, weights = trace(f, {"w": torch.ones(3)})
    (last,) = [n for n in graph.nodes if n.target is torch.ops.aten.mul.Tensor]
    with graph.inserting_before(last):
        again = graph.create_node("get_attr", "w")
    again.meta = dict(next(n for n in graph.nodes if n.op == "get_attr").meta)
    last.args = (again, 2)
    check(graph, [], weights)


@pytest.mark.parametrize("rows", ["4", "N"])
def test_batch_norm_in_training(rows):
    def f(x, mean, var, count):
        count.add_(1)
        return (torch.nn.functional.batch_norm(x, mean, var, None, None, True, 0.1, 1e-5),)

    made = case(f, None, {"mean": torch.zeros(3), "var": torch.ones(3), "count": torch.tensor(0)}, x=f"float32[{rows}, 3]")
    assert {n for n, _ in made.copies} == {"mean", "var", "count"}


def test_random_writes_draw_the_same_numbers():
    def f(x):
        y = x + 0
        y[0].uniform_()
        y[1].normal_()
        y[2].bernoulli_(0.5)
        return (y,)

    case(f, x="float32[3, 8]")


def test_scatter_and_index_writes():
    def f(x, y, i):
        a = x * 1
        a.index_add_(0, i, y[:2])
        a.scatter_(0, i.view(2, 1).expand(2, 4).clone(), y[:2])
        a[a > 0.5] = 7.0
        a[i, 1] = y[0, 0]
        a.masked_fill_(y < 0, -1)
        a[:, ::2].copy_(y[:, 0:1])
        a.diagonal().zero_()
        a.clamp_(min=-3).index_fill_(1, i, 0.25).scatter_reduce_(0, i.view(2, 1), y[:2, :1], "sum")
        return (a,)

    case(f, None, {"i": torch.tensor([2, 0])}, x="float32[3, 4]", y="float32[3, 4]")


def test_out_arguments():
    def f(x):
        y, v, i = torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, dtype=torch.int64)
        torch.exp(x, out=y)
        torch.add(x[0], 1, alpha=2, out=y[1])
        torch.max(y, 1, out=(v, i))
        return y, v, i

    case(f, x="float32[2, 3]")


def test_split_and_unbind_give_views():
    def f(x):
        y = x * 1
        a, b = y.split(2)
        a.add_(1)
        c, d, e = y.unbind(1)
        d.mul_(b[0, 0])
        return a, b, y, e

    case(f, x="float32[4, 3]")


def test_other_dtypes_are_cast_as_a_write_casts():
    def f(x):
        i, h = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.float16)
        i.copy_(x * 10)
        h.add_(x)
        h[0] = x[1]
        return i, h

    case(f, x="float32[3]")


def test_a_graph_without_writes_stays_as_it_is():
    graph, _ = trace(lambda x: (x.exp(),), x="float32[3]")
    assert functionalize(graph).graph is graph


@pytest.mark.parametrize(
    "function, reason",
    [
        (lambda x: (x.unsqueeze_(0),), "aten.unsqueeze_.default changes the shape of a tensor in place"),
        (lambda x: ((x * 1).as_strided((2,), (1,)).zero_(),), "aten.zero_.default writes through aten.as_strided.default"),
        (lambda x: ((x * 1).resize_(7),), "changes the shape of a tensor in place"),
        (lambda x: (torch._foreach_add_([x * 1], 1) and x,), "aten._foreach_add_.Scalar has no functional variant"),
        (lambda x: (torch.exp(x, out=torch.empty(0)),), "aten.exp.out gives its out= another shape"),
    ],
)
def test_what_is_refused_says_why_and_where(function, reason):
    graph, _ = trace(function, x="float32[3]")
    made = functionalize(graph)
    assert isinstance(made, Refused) and reason in made.reason and made.span.file == __file__


VIEWS = (
    lambda v, r: v.t() if v.dim() == 2 else v,
    lambda v, r: v.unsqueeze(r.randrange(v.dim() + 1)),
    lambda v, r: v.squeeze(),
    lambda v, r: v.select(r.randrange(v.dim()), 0) if v.dim() else v,
    lambda v, r: v[..., ::2] if v.dim() else v,
    lambda v, r: v.transpose(0, -1) if v.dim() else v,
    lambda v, r: v.permute(*reversed(range(v.dim()))),
    lambda v, r: v.view(-1) if v.is_contiguous() else v,
    lambda v, r: v.narrow(0, 0, 1) if v.dim() else v,
    lambda v, r: v.unbind(0)[-1] if v.dim() else v,
    lambda v, r: v.split(1)[0] if v.dim() else v,
    lambda v, r: v.detach(),
    lambda v, r: v.diagonal() if v.dim() == 2 else v,
)
WRITES = (
    lambda v, o, r: v.add_(o.mean()),
    lambda v, o, r: v.mul_(2),
    lambda v, o, r: v.relu_(),
    lambda v, o, r: v.copy_(o.sum()),
    lambda v, o, r: v.zero_(),
    lambda v, o, r: v.fill_(r.random()),
    lambda v, o, r: v.masked_fill_(v > 0, 1.5),
    lambda v, o, r: v.clamp_(-1, 1),
    lambda v, o, r: v.sub_(v * 0.5),
    lambda v, o, r: v.copy_(v.exp()),
    lambda v, o, r: v.addcmul_(v.sin(), v.cos()),
    lambda v, o, r: v.exp_(),
)


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_equal_eager(seed):
    def f(x, y, w):
        r = random.Random(seed)
        pool = [x, y, w, x.sin() * 1, torch.zeros(2, 2)]
        for _ in range(12):
            v = r.choice(pool)
            kind = r.random()
            if kind < 0.5:
                pool.append(r.choice(VIEWS)(v, r))
            elif kind < 0.85:
                pool.append(r.choice(WRITES)(v, r.choice(pool), r))
            else:
                pool.append(v.cos() + 0.5)
        return tuple(p for p in pool[3:])

    case(f, None, {"w": torch.full((2, 3), 0.25)}, x="float32[2, 4]", y="float32[4, 1, 3]")
