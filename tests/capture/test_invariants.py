"""What must hold of every capture, and which test says so.

    I1   bit-equal with eager on every path              programs/test_programs.py: test_program; verify/test_bitwise.py; here
    I2   blocks are branch-free ATen graphs that lint    ir/test_verify.py, on every program by `harness.check`
    I3   definitions dominate uses, jumps fit            ir/test_verify.py, on every program by `harness.check`
    I4   replay never diverges                           programs/test_programs.py: a divergence is DY900, which no program may give
    I5   two captures give one text, hash for hash       here
    I6   model, globals and code are left as they were   `harness.check` and `harness.refused`, over every program
    I7   N independent gates: O(N) blocks and runs       here
    I8   static control flow: one block, no rewrite      here
    I9   no sibling's fact, no unbound symbol            here; `ir.verify`
    I10  with joins and without agree                    `harness.check_oracle`; verify/test_bitwise.py
    I11  every operation has file and line               here
    I12  tied parameters appear once                     here
    I13  inputs are written only where eager does        `harness.assert_same_run`, over every program
    I14  marked code without forks does as before        here
    I15  each refusal has a golden message               capture/test_problems.py
"""

from __future__ import annotations

import importlib
import inspect

import pytest
import torch
from programs import aliases, harness, loops, moe, python_code, shapes_
from torch import nn

from dync.capture.expressions import Expressions
from dync.capture.markers import Markers, bind, instrument
from dync.ir.interpret import interpret
from dync.ir.text import digest

capture = importlib.import_module("dync.capture").capture
SOME = (loops.PowerIteration, moe.Mixtral, shapes_.Unique, python_code.Ternaries, aliases.MaskedWrites)


@pytest.mark.parametrize("cls", SOME)
def test_i5_two_captures_are_one_program(cls):
    assert digest(harness.capture(cls, harness.load(cls))) == digest(harness.capture(cls, harness.load(cls)))


class Products(nn.Module):
    """Products of tensors that are not contiguous with weights and views of them."""

    def __init__(self):
        super().__init__()
        self.linear, self.gru, self.plain = nn.Linear(16, 16), nn.GRU(16, 16, batch_first=True), nn.Parameter(torch.randn(16, 16), False)

    def forward(self, x):
        y = x.transpose(0, 1)
        w = self.linear.weight
        return self.linear(y), y @ w.t(), torch.matmul(y, w.view(16, 16).detach()), y @ self.plain.t(), self.gru(x)[0], x @ y.mT.sum(0)


def test_i1_a_product_is_summed_in_eagers_order():
    torch.manual_seed(0)
    model, x = Products(), torch.randn(3, 3, 16)
    program = capture(model, (x,))
    with torch.no_grad():
        for want, got in zip(model(x), interpret(program, (x,), {})[0], strict=True):
            assert torch.equal(want, got)


class Gates(nn.Module):
    """`count` gates that know nothing of each other."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(count))

    def forward(self, x):
        for layer in self.layers:
            y = layer(x)
            if y.sum() > 0:
                x = x + y
        return x


def test_i7_blocks_grow_with_the_number_of_gates():
    blocks = [len(capture(Gates(n), (torch.ones(2, 3),)).blocks) for n in (4, 8, 16)]
    assert blocks[1] - blocks[0] == 4 * 3 == (blocks[2] - blocks[1]) // 2


class Static(nn.Module):
    """Every decision is about configuration and shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
        self.mode = "sum"

    def forward(self, x, skip=None):
        for i, layer in enumerate(self.layers):
            if skip is not None and i == skip or x.shape[0] > 5:
                continue
            x = layer(x) if i % 2 else layer(x).relu()
        return x.sum() if self.mode == "sum" else x


def test_i8_static_control_flow_is_one_block_and_no_code_is_rewritten(monkeypatch):
    stack = importlib.import_module("dync.capture.stack")
    rewritten = set()
    monkeypatch.setattr(stack, "instrument", lambda *a: rewritten.update(a[-1]) or {})
    assert len(capture(Static(), (torch.ones(2, 3),)).blocks) == 1
    places = importlib.import_module("dync.capture.places")
    asking = {inner for code in rewritten if places.asks_class(code) for inner in places.all_codes(code)}
    assert Static.forward.__code__ not in rewritten and rewritten <= asking  # what asks for a class is


class SiblingFacts(nn.Module):
    """What one branch learns of a size, or of a layout, must not be known in the other, nor behind both."""

    def forward(self, x):
        rows = x[x[:, 0] > 0]
        turned = rows.t()
        if rows.shape[0] == 1:
            y = turned.contiguous().view(-1) * 2
        else:
            y = turned.reshape(-1)
        return y, rows.shape[0], turned.contiguous().view(-1), rows.shape[0] == 1

    @staticmethod
    def inputs(seed):
        return (torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)),)


def test_i9_facts_stay_on_their_path():
    harness.check(SiblingFacts)


@pytest.mark.parametrize("cls", SOME)
def test_i11_every_operation_names_its_line(cls):
    file = inspect.getsourcefile(cls)
    for block in harness.capture(cls, harness.load(cls)).blocks:
        for node in block.graph.nodes:
            if node.op == "call_function":
                assert node.meta["span"].file == file and node.meta["span"].line > 0, node


def test_i12_a_tied_weight_is_one_weight():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert len(capture(model, (torch.ones(2, 3),)).weights) == 3


class TakesOutAndPutsBack(nn.Module):
    def __init__(self):
        super().__init__()
        self.items, self.calls = [], 0

    def forward(self, x):
        if x.sum() > 0:
            del self.items
            self.items = [x * 2]
        else:
            self.calls += 1
        return len(self.items)


def test_the_model_is_left_as_it_was_and_its_attributes_in_their_order():
    model = TakesOutAndPutsBack()
    before = dict(vars(model))
    capture(model, (torch.ones(2),))
    assert list(vars(model).items()) == list(before.items())


class Idle(Expressions):
    """An engine for code in which nothing forks: what marked code asks is answered as Python would."""

    def __init__(self):
        pass

    enter = at = mark = head = resume = begin = lambda self, *_: None

    def loop_over(self, site, items):
        return items

    def give(self, site, value):
        return value

    def either(self, site, start, value):
        return value

    def listed(self, key, value):
        return value

    stored = as_dict_row = listed

    def added(self, x, items, name=""):
        return items

    grown, born, plain_calls = {}, {}, set()

    def generate(self, key, items, plain, one):
        return plain(items)

    def comprehend(self, key, items, plain, one):
        return plain(items)

    def of_model(self, read):
        return read()


def ordinary(items, *rest, start=0, **options):
    """Ordinary Python, with most of what is marked."""
    total, seen = start, []
    for i, x in enumerate(items):
        if i in (3, 4) or x is True:
            continue
        seen.append(x if x > 1 else -x)
        total += sum(v for v in seen if v) + len(seen)
        seen[i % len(seen)] = max(seen[: i + 1], default=0)
    else:
        total *= 2
    while total > 50:
        total -= int(total / 3)
    try:
        table = {k: (lambda v: v + total)(v) for k, v in options.items()}
        picked = table["a"]
    except KeyError as error:
        picked = f"no {error!s:>5}"
    return total, picked, [*rest], reversed_pairs(seen)[::-1], divmod(int(total), 7)


def reversed_pairs(xs):
    return [(a, b) for a, b in zip(xs, reversed(xs)) if not a == b]


@pytest.mark.parametrize("call", [((1, 2, 3, 4, 5, 6),), ((0.5, 2, True), 7, 8), ([3],)])
@pytest.mark.parametrize("options", [{}, {"a": 1}, {"start": 100, "b": 2}])
def test_i14_marked_code_does_what_it_did(call, options):
    lines = inspect.getsource(inspect.getmodule(ordinary))
    want = ordinary(*call, **options)
    codes = {f.__code__ for f in (ordinary, reversed_pairs)}
    twins = instrument(Markers(), lines, __file__, codes)
    assert set(twins) == codes
    engine = Idle()
    marked = {f.__name__: type(f)(bind(twins[f.__code__], engine), globals(), f.__name__, f.__defaults__, f.__closure__)
              for f in (ordinary, reversed_pairs)}
    marked["ordinary"].__kwdefaults__ = ordinary.__kwdefaults__
    assert marked["ordinary"](*call, **options) == want
    assert marked["reversed_pairs"]([1, 2, 3]) == reversed_pairs([1, 2, 3])


def test_i15_and_every_other_is_named_here():
    """The table above names each invariant once."""
    assert [f"I{n} " in (__doc__ or "") for n in range(1, 16)] == [True] * 15
