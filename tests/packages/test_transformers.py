"""Whole unedited models of transformers with the eager loop over hit experts: captured, verified, equal to eager bit for bit."""

import copy

import pytest
import torch

import dync
from dync.capture import capture
from dync.ir.interpret import interpret
from dync.ir.verify import verify

transformers = pytest.importorskip("transformers")

SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
MODELS = {
    "Mixtral": {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2},
    "Olmoe": {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2},
    "Qwen2Moe": {**SMALL, "intermediate_size": 48, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 24,
                 "num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2},
    "GptOss": {**SMALL, "intermediate_size": 32, "num_key_value_heads": 2, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    "DeepseekV3": {**SMALL, "intermediate_size": 48, "moe_intermediate_size": 24, "num_key_value_heads": 4, "n_routed_experts": 4,
                   "n_group": 2, "topk_group": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1, "kv_lora_rank": 8,
                   "q_lora_rank": 16,
                   "qk_rope_head_dim": 8, "v_head_dim": 8, "qk_nope_head_dim": 8},
}


def check(model, **kwargs):
    generator = torch.Generator().manual_seed(0)
    program = capture(model, (torch.randint(3, 60, (1, 6), generator=generator),), kwargs)
    verify(program)
    paths = set()
    for _ in range(4):
        ids = torch.randint(3, 60, (1, 6), generator=generator)
        with torch.no_grad():
            want = model(ids, **kwargs)
        got, trace = interpret(program, (ids,), kwargs)
        assert type(got) is type(want) and torch.equal(got[0], want[0])
        paths.add(trace.path)
    assert len(paths) > 1


@pytest.mark.part(2)
@pytest.mark.parametrize("name", MODELS)
def test_a_causal_language_model_with_experts(name):
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForCausalLM")(getattr(transformers, f"{name}Config")(**MODELS[name], **TOKENS)).eval()
    model.set_experts_implementation("eager")
    check(model, use_cache=False)


def test_a_model_as_it_is_by_default():
    """Experts by grouped_mm, and a cache object in what it returns: one block that ONNX Runtime takes."""
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = transformers.MixtralModel(transformers.MixtralConfig(**MODELS["Mixtral"], **TOKENS)).eval()
    ids = torch.randint(3, 60, (2, 6))
    compiled = dync.compile(model, (ids,), backend="onnxruntime", strict=True)
    for seed in range(4):
        ids = torch.randint(3, 60, (2, 6), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            want = model(ids)
        got = compiled(ids)
        assert type(got) is type(want) and type(got.past_key_values) is type(want.past_key_values)
        for a, b in zip(got.past_key_values.layers, want.past_key_values.layers, strict=True):
            torch.testing.assert_close((a.keys, a.values), (b.keys, b.values), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(got.last_hidden_state, want.last_hidden_state, rtol=1e-4, atol=1e-4)
        assert got.past_key_values.get_seq_length() == 6


def test_a_decoding_step_that_fills_the_callers_cache():
    """One step, unedited, with the caller's DynamicCache of any length: it grows in place, and is what comes back."""
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, intermediate_size=48, num_key_value_heads=2, **TOKENS)).eval()
    cache = transformers.DynamicCache()
    ids = torch.randint(3, 60, (1, 7))
    with torch.no_grad():
        model(ids[:, :3], past_key_values=cache)
    layers = [{"keys": {2: "past=1..60"}, "values": {2: "past=1..60"}}] * 2
    step = dync.compile(model, (ids[:, 3:4],), {"past_key_values": copy.deepcopy(cache)}, backend="onnxruntime", strict=True,
                        dynamic_shapes={"past_key_values": {"layers": layers}})
    mine = copy.deepcopy(cache)
    for n in range(3, 7):
        with torch.no_grad():
            want = model(ids[:, n : n + 1], past_key_values=cache)
        got = step(ids[:, n : n + 1], past_key_values=mine)
        assert got.past_key_values is mine and mine.get_seq_length() == n + 1
        torch.testing.assert_close(got.logits, want.logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mine.layers[1].values, cache.layers[1].values, rtol=1e-4, atol=1e-4)


def test_the_switch_transformer():
    torch.manual_seed(0)
    config = transformers.SwitchTransformersConfig(vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_sparse_encoder_layers=1,
                                                   num_decoder_layers=2, num_sparse_decoder_layers=1, num_heads=4, num_experts=4)
    model = transformers.SwitchTransformersEncoderModel(config).eval()
    model.set_experts_implementation("eager")
    check(model)


class Generates(torch.nn.Module):
    """transformers' own `generate`, with its cache."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model.generate(ids, max_new_tokens=6, do_sample=False)


@pytest.mark.slow
def test_generate_is_one_onnx_file_unedited(tmp_path):
    """Captured, interpreted, and written for plain ONNX Runtime: eager's tokens, with its stopping rule."""
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=8, n_positions=32, initializer_range=0.8, **TOKENS)
    model = Generates(transformers.GPT2LMHeadModel(config)).eval()
    program = capture(model, (torch.tensor([[3, 4, 5]]),))
    verify(program)
    dync.compile(program, (torch.tensor([[3, 4, 5]]),), backend="onnxruntime", host="onnx").save(tmp_path / "generate.onnx")
    plain = onnxruntime.InferenceSession(tmp_path / "generate.onnx")
    lengths = set()
    for seed in range(12):
        ids = torch.randint(3, 8, (1, 3), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            want = model(ids)
        assert torch.equal(interpret(program, (ids,))[0], want)
        exit, *found = plain.run(None, {"ids": ids.numpy()})
        assert any(torch.equal(torch.from_numpy(f), want) for f in found if f.shape == want.shape), (exit, found)
        lengths.add(want.shape[1])
    assert len(lengths) > 1


def test_a_model_that_counts_the_tokens_of_its_images():
    """LLaVA raises through torch._check_with where the text has another number of them than the image gives."""
    torch.manual_seed(0)
    vision = transformers.CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=8,
                                           patch_size=4, projection_dim=16)
    text = transformers.LlamaConfig(**SMALL, intermediate_size=32, num_key_value_heads=2, **TOKENS)
    config = transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_id=63)
    model = transformers.LlavaForConditionalGeneration(config).eval()
    ids, pixels = torch.randint(3, 60, (1, 9)), torch.rand(1, 3, 8, 8)
    ids[0, 1:5] = 63
    model(ids, pixel_values=pixels)  # the first call installs hooks
    program = capture(model, (ids,), {"pixel_values": pixels})
    for tokens in (4, 5):
        given = ids.clone()
        given[0, 1:1 + tokens] = 63
        if tokens == 4:
            with torch.no_grad():
                want = model(given, pixel_values=pixels).logits
            assert torch.equal(interpret(program, (given,), {"pixel_values": pixels})[0].logits, want)
            continue
        with pytest.raises(ValueError) as eager, torch.no_grad():
            model(given, pixel_values=pixels)
        with pytest.raises(ValueError) as ours:
            interpret(program, (given,), {"pixel_values": pixels})
        assert str(ours.value) == str(eager.value)


@pytest.mark.slow
def test_global_attention_where_the_data_asks_for_it():
    torch.manual_seed(0)
    ends = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = transformers.LongformerConfig(**SMALL, intermediate_size=48, attention_window=[4, 4], **ends)
    model = transformers.LongformerModel(config).eval()
    ids = torch.randint(3, 60, (1, 8))
    program = capture(model, (ids,), {"global_attention_mask": torch.zeros(1, 8, dtype=torch.long)})
    paths = set()
    for places in ((), (0,), (0, 4)):
        mask = torch.zeros(1, 8, dtype=torch.long)
        mask[0, list(places)] = 1
        with torch.no_grad():
            want = model(ids, global_attention_mask=mask)
        got, trace = interpret(program, (ids,), {"global_attention_mask": mask})
        assert type(got) is type(want) and torch.equal(got[0], want[0])
        paths.add(trace.path)
    assert len(paths) > 1
