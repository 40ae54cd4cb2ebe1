"""Kernels of a Program, and the keys that say which of them are alike."""

from __future__ import annotations

import pytest
import torch
from support.kernels import kernel
from support.programs import CASES

from dync.backends.kernels import content_key, kernels, renamed_weights, structure_key


def linear(weights: dict[str, torch.Tensor], shape: str = "float32[N, 4]"):
    name = next(iter(weights))
    scope: dict = {}
    exec(f"def f(x, {name}):\n    return x @ {name}\n", scope)
    return kernel(scope["f"], {"x": shape}, weights)


@pytest.mark.parametrize("name", CASES)
def test_every_block_with_code_has_a_kernel(name):
    program = CASES[name].program()
    found = kernels(program)
    for block in program.blocks:
        assert (block.name in found) == any(n.op == "call_function" for n in block.graph.nodes)
    for block, k in found.items():
        assert tuple(v.name for v in k.inputs) == program.block(block).flow.inputs
        assert set(k.weights) == set(program.block(block).weights)


def test_ranges_come_along():
    assert kernels(CASES["hits"].program())["b1"].ranges == {"N": (1, 64)}


def test_names_do_not_count():
    a, b = linear({"a": torch.ones(4, 3)}), linear({"b": torch.zeros(4, 3)}, "float32[M, 4]")
    assert structure_key(a) == structure_key(b)
    assert renamed_weights(a, b) == {"a": "b"}


def test_weights_bytes_count_in_the_content():
    a, same, other = (linear({"a": f(4, 3)}) for f in (torch.ones, torch.ones, torch.zeros))
    assert content_key(a) == content_key(same) != content_key(other)


def test_a_number_that_is_expanded_has_bytes():
    """Its stride is 0, which is contiguous where there is one number."""
    a, same, other = (kernel(lambda x, a: x * a, {"x": "float32[2, 4]"}, {"a": torch.tensor(n).expand(1, 1)}) for n in (0.5, 0.5, 0.25))
    assert content_key(a) == content_key(same) != content_key(other)


@pytest.mark.parametrize(
    "other",
    [
        lambda: linear({"a": torch.ones(4, 5)}),
        lambda: linear({"a": torch.ones(4, 3)}, "float32[2, 4]"),
        lambda: linear({"a": torch.ones(4, 3, dtype=torch.float64)}, "float64[N, 4]"),
        lambda: kernel(lambda x, a: x @ a + 1, {"x": "float32[N, 4]"}, {"a": torch.ones(4, 3)}),
    ],
)
def test_shapes_types_and_operators_count(other):
    assert structure_key(other()) != structure_key(linear({"a": torch.ones(4, 3)}))


def test_constants_count_with_their_type():
    one, true, float_one = (kernel(f, {"x": "float32[3]"}) for f in (lambda x: x * 1, lambda x: x * True, lambda x: x * 1.0))
    assert len({structure_key(k) for k in (one, true, float_one)}) >= 2
    two = kernel(lambda x: x * 2, {"x": "float32[3]"})
    assert structure_key(two) != structure_key(one)


def test_sharing_counts():
    shared = kernel(lambda x, a: x @ a @ a, {"x": "float32[2, 3]"}, {"a": torch.ones(3, 3)})
    apart = kernel(lambda x, a, b: x @ a @ b, {"x": "float32[2, 3]"}, {"a": torch.ones(3, 3), "b": torch.ones(3, 3)})
    assert structure_key(shared) != structure_key(apart)


def test_a_weight_that_a_block_writes_is_known_to_all():
    from support.programs import stateful

    found = kernels(stateful())
    assert found["b0"].mutates == ("x", "seen") and found["b0"].written == {"seen"}


def test_a_writing_block_gets_a_functional_form_beside_its_graph():
    from support.programs import stateful

    from dync.passes.graph.functionalize import functionalize

    k = kernels(stateful(), functionalize)["b0"]
    assert k.functional is not None and {n for n, _ in k.functional.copies} == {"x", "seen"} and k.graph is not k.functional.graph
