"""The image models of the zoo in eager PyTorch: their paths depend on the data."""

import pytest
import torch

from dync.models import blockdrop, jei_dnn, ofa, rbqe, shallow_deep, skipnet, window_cascade


def run_all(model, inputs):
    with torch.inference_mode():
        return [model(*args) for args in inputs]


@pytest.mark.parametrize("build", [pytest.param(skipnet.build_feedforward, marks=pytest.mark.slow), skipnet.build_recurrent])
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


def test_window_cascade_passes_on_only_what_is_inside_the_window():
    model = window_cascade.build()
    results = run_all(model, window_cascade.varied_inputs())
    assert {r["accept"] for r in results} == {True, False}
    assert len({r["members"] for r in results}) >= 3
    assert all(r["members"] == 4 or not model.low < r["uncertainty"].item() < model.high for r in results)


def test_rbqe_returns_an_image_of_the_first_good_quality():
    model = rbqe.build()
    results = run_all(model, rbqe.varied_inputs())
    assert all(image.shape == (1, 1, 64, 64) for image, _ in results)
    assert len({number for _, number in results}) >= 3
    with torch.inference_mode():
        assert all(number == 4 or model.quality(image) > model.threshold for image, number in results)


def test_tchebichef_rows_are_orthonormal():
    kernel = rbqe.tchebichef()
    torch.testing.assert_close(kernel @ kernel.T, torch.eye(8))
    torch.testing.assert_close(kernel[0], torch.full((8,), 8**-0.5))


def test_jei_dnn_leaves_by_its_gates():
    results = run_all(jei_dnn.build(), jei_dnn.varied_inputs())
    assert len({number for _, number, _ in results}) >= 4
    for _, number, probabilities in results:
        assert [p.item() >= 0.5 for p in probabilities] == [False] * (len(probabilities) - 1) + [number < 5]


def test_ofa_slices_one_supernet():
    (x,) = ofa.example_inputs()
    model = ofa.build()
    outputs = []
    with torch.inference_mode():
        for configuration in ofa.CONFIGURATIONS:
            model.set_active(**configuration)
            outputs.append(model(x))
    assert all(y.shape == (1, 10) for y in outputs)
    assert not torch.allclose(outputs[0], outputs[1])


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_ofa_smaller_kernel_is_the_centre(kernel_size):
    conv = ofa.DynamicDepthwiseConv(4, 1)
    edge = (7 - kernel_size) // 2
    with torch.inference_mode():
        torch.testing.assert_close(conv.filters(4, kernel_size), conv.weight[:, :, edge : 7 - edge, edge : 7 - edge])
