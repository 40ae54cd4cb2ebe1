"""Text, decoding, graph and continuous-time models of the zoo in eager PyTorch."""

import copy

import pytest
import torch

import dync
from dync.capture import capture
from dync.ir.interpret import interpret
from dync.models import albert, captioning, duo_llm, emoe, kangaroo, liquid, mowst, pabee, palbert, semba


def run_all(model, inputs):
    with torch.inference_mode():
        return [model(*args) for args in inputs]


def test_pabee_runs_until_its_classifiers_agree():
    model = pabee.build()
    layers = {n for _, n in run_all(model, pabee.varied_inputs())}
    assert len(layers) >= 3 and min(layers) >= model.albert.patience + 1
    model.albert.patience = 0
    assert {n for _, n in run_all(model, pabee.varied_inputs())} == {12}


def test_pabee_regression_and_mask():
    model = pabee.build(num_labels=1)
    model.albert.regression_threshold = 10.0
    (ids,) = pabee.example_inputs()
    with torch.inference_mode():
        result, layers = model(ids, attention_mask=torch.ones_like(ids))
        torch.testing.assert_close(result, model(ids)[0])
    assert layers == 4 and result.shape == (1, 1)


def test_palbert_stops_where_the_cumulative_probability_passes_q():
    model = palbert.build()
    results = run_all(model, palbert.varied_inputs())
    assert len({r["layers"] for r in results}) >= 4
    assert all(r["cumulative"].item() >= model.q or r["layers"] == 12 for r in results)
    model.train()
    logits, probabilities = model(albert.sentences(1)[0])
    assert logits.shape == (12, 1, 2)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1))


def test_emoe_with_all_experts_is_the_dense_layer():
    torch.manual_seed(0)
    dense = emoe.FeedForward(16, 64)
    split = emoe.EMoE(dense, num_experts=4, top_k=4)
    x = torch.randn(2, 5, 16)
    with torch.inference_mode():
        torch.testing.assert_close(split(x), dense(x))


def test_emoe_leaves_experts_out():
    model = emoe.build()
    used = []
    for block in model.blocks[1::2]:
        for number, expert in enumerate(block.ffn.experts):
            expert.register_forward_hook(lambda *_, number=number: used[-1].append(number))
    for args in emoe.varied_inputs():
        used.append([])
        with torch.inference_mode():
            model(*args)
    assert len({tuple(u) for u in used}) >= 4
    assert min(len(u) for u in used) < 16


def test_duo_llm_routes_three_ways():
    results = run_all(duo_llm.build(), duo_llm.varied_inputs())
    assert {r for _, routes in results for layer in routes for r in layer} == {0, 1, 2}
    assert len({str(routes) for _, routes in results}) >= 12


def test_kangaroo_equals_greedy_decoding():
    model = kangaroo.build()
    with torch.inference_mode():
        for (prompt,) in kangaroo.varied_inputs():
            result = model(prompt)
            assert torch.equal(result["tokens"], model.greedy(prompt))
            assert len(result["accepted"]) < model.max_new_tokens - 1  # some drafts were right


def test_kangaroo_ends_at_the_end_token():
    model = kangaroo.build()
    (prompt,) = kangaroo.example_inputs()
    with torch.inference_mode():
        full = model(prompt)["tokens"]
        model.eos = full[0, 9].item()
        short = model(prompt)["tokens"]
        assert torch.equal(short, model.greedy(prompt)) and short.size(1) <= 10


@pytest.mark.parametrize("build", [captioning.build_resnext, captioning.build_googlenet])
def test_captions_end_at_different_lengths(build):
    captions = run_all(build(), captioning.varied_inputs())
    assert len({c.size(1) for c in captions}) >= 4
    assert all(c[0, -1] == 1 or c.size(1) == 20 for c in captions)
    assert not any((c[0, :-1] == 1).any() for c in captions)


def test_liquid_steps_follow_the_data():
    model = liquid.build()
    results = run_all(model, liquid.varied_inputs())
    assert len({tuple(steps) for _, steps in results}) >= 8
    assert all(y.isfinite().all() for y, _ in results)


def test_liquid_solver_converges():
    model = liquid.build()
    x, times = liquid.example_inputs()
    with torch.inference_mode():
        coarse, _ = model(x, times)
        model.cell.tolerance = 1e-4
        fine, _ = model(x, times)
    torch.testing.assert_close(coarse, fine, atol=0.03, rtol=0)


def test_mowst_asks_the_strong_expert_only_for_unsure_nodes():
    model = mowst.build()
    results = run_all(model, mowst.varied_inputs())
    assert {0, 24} < {n for _, n in results}
    with torch.inference_mode():
        x, edges = mowst.varied_inputs()[1]
        out, count = model(x, edges)
        weak, strong = model.weak(x), model.strong(x, edges)
        unsure = model.confidence(weak) < model.threshold
        assert 0 < count == unsure.sum() < len(x)
        torch.testing.assert_close(out, torch.where(unsure[:, None], strong, weak))
        model.threshold = 0.0
        assert model(x, edges)[1] == 0


def test_semba_is_compiled_with_its_memory():
    """Events in a rolled loop: slices by turn, a list that grows, buffers written in place."""
    model = semba.build()
    compiled = dync.compile(semba.build(), semba.example_inputs(), backend="onnxruntime", host="python")
    for args in semba.varied_inputs():
        with torch.no_grad():
            torch.testing.assert_close(compiled(*args), model(*args))


def test_semba_writes_only_the_memory_of_the_sign():
    model = semba.build()
    src, dst, sign, time = semba.example_inputs()
    before = copy.deepcopy(model.memory.state_dict())
    with torch.inference_mode():
        model(src[:1], dst[:1], torch.ones_like(sign[:1]), time[:1])
    assert not torch.equal(model.memory.pos, before["pos"])
    assert torch.equal(model.memory.neg, before["neg"])
    untouched = [n for n in range(20) if n not in (src[0], dst[0])]
    assert torch.equal(model.memory.pos[untouched], before["pos"][untouched])
    model.memory.reset()
    assert all(torch.equal(a, b) for a, b in zip(model.memory.buffers(), semba.build().memory.buffers()))


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_kangaroo_is_captured():
    """Drafts of several lengths, caches that grow and are cropped, a list of counts: one program, equal to eager."""
    model = kangaroo.build()
    program = capture(model, kangaroo.example_inputs())
    for args in kangaroo.varied_inputs():
        with torch.no_grad():
            wanted = model(*args)
        found, _ = interpret(program, args)
        assert torch.equal(found["tokens"], wanted["tokens"]) and found["accepted"] == wanted["accepted"]
