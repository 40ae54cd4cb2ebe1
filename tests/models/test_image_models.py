"""The image models of the zoo in eager PyTorch: their paths depend on the data."""

import pytest
import torch

from dync.models import blockdrop, shallow_deep, skipnet


def run_all(model, inputs):
    with torch.inference_mode():
        return [model(*args) for args in inputs]


@pytest.mark.parametrize("build", [skipnet.build_feedforward, skipnet.build_recurrent])
def test_skipnet_skips_by_the_image(build):
    results = run_all(build(), skipnet.varied_inputs())
    paths = {tuple(decisions) for _, decisions in results}
    assert len(paths) >= 6
    assert all(len(p) == 15 for p in paths)
    assert all(logits.shape == (1, 10) and logits.isfinite().all() for logits, _ in results)


def test_blockdrop_runs_what_the_policy_says():
    model = blockdrop.build()
    results = run_all(model, blockdrop.varied_inputs())
    assert len({tuple(policy[0].tolist()) for _, policy in results}) >= 8
    (x,) = blockdrop.example_inputs()
    with torch.inference_mode():
        everything = model.rnet.forward_policy(x, torch.ones(15))
        torch.testing.assert_close(everything, model.rnet(x))


@pytest.mark.parametrize(
    "build", [shallow_deep.build_vgg, shallow_deep.build_resnet, shallow_deep.build_wide_resnet, shallow_deep.build_mobilenet]
)
def test_shallow_deep_leaves_early(build):
    model = build()
    results = run_all(model, shallow_deep.varied_inputs())
    assert {early for *_, early in results} == {True, False}
    assert len({number for _, number, _ in results}) >= 4
    (x,) = shallow_deep.example_inputs()
    with torch.inference_mode():
        model.confidence_threshold = 2.0
        torch.testing.assert_close(model(x)[0], model.forward_all(x)[-1])


def test_building_is_seeded_and_leaves_the_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = shallow_deep.build_mobilenet(), shallow_deep.build_mobilenet()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
