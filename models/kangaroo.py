"""Kangaroo: Lossless Self-Speculative Decoding via Double Early Exiting (Liu et al., NeurIPS 2024).

The first layers of a language model and a small adapter draft tokens; drafting halts as soon as the draft's confidence
drops below a threshold (the second early exit). The remaining layers verify all drafted tokens at once. The result is
the one of plain greedy decoding. Random seeded weights.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import seeded


class DecoderLayer(nn.Module):
    """Pre-norm causal layer with a growing cache: x [1, s, d] and (keys, values) or None → (x, cache)."""

    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def heads(self, x):
        return x.view(x.size(0), x.size(1), self.num_heads, -1).transpose(1, 2)

    def forward(self, x, cache=None):
        q, k, v = (self.heads(t) for t in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        if cache is not None:
            k = torch.cat((cache[0], k), dim=2)
            v = torch.cat((cache[1], v), dim=2)
        past = k.size(2) - q.size(2)
        mask = torch.ones(q.size(2), k.size(2), dtype=torch.bool).tril(past)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(attended.transpose(1, 2).reshape(x.shape))
        return x + self.mlp(self.norm2(x)), (k, v)


class Adapter(nn.Module):
    """One attention layer and two norms between the shallow layers and the shared head."""

    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm_in = nn.LayerNorm(dim)
        self.layer = DecoderLayer(dim, num_heads)

    def forward(self, x, cache=None):
        return self.layer(self.norm_in(x), cache)


def crop(cache, length):
    """The first `length` positions of each layer's cache."""
    return [(k[:, :, :length], v[:, :, :length]) for k, v in cache]


class Kangaroo(nn.Module):
    """Prompt int64 [1, s] → {"tokens": [1, s + new], "accepted": list of ints per round}."""

    def __init__(self, vocab_size=64, dim=48, num_heads=4, shallow=1, deep=3, steps=4, threshold=0.6, max_new_tokens=12, eos=0):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim)
        self.position = nn.Embedding(128, dim)
        self.shallow = nn.ModuleList(DecoderLayer(dim, num_heads) for _ in range(shallow))
        self.adapter = Adapter(dim, num_heads)
        self.deep = nn.ModuleList(DecoderLayer(dim, num_heads) for _ in range(deep))
        self.norm = nn.LayerNorm(dim)
        self.lm_head = nn.Linear(dim, vocab_size, bias=False)
        self.steps = steps
        self.threshold = threshold
        self.max_new_tokens = max_new_tokens
        self.eos = eos

    def embed(self, tokens, start):
        return self.embedding(tokens) + self.position(torch.arange(start, start + tokens.size(1)))

    def run(self, layers, x, caches):
        new = []
        for i, layer in enumerate(layers):
            x, cache = layer(x, caches[i] if caches is not None else None)
            new.append(cache)
        return x, new

    def forward(self, tokens):
        prompt = tokens.size(1)
        x, shallow_cache = self.run(self.shallow, self.embed(tokens, 0), None)
        _, adapter_cache = self.adapter(x)
        hidden, deep_cache = self.run(self.deep, x, None)
        next_token = self.lm_head(self.norm(hidden[:, -1])).argmax(dim=-1, keepdim=True)
        tokens = torch.cat((tokens, next_token), dim=1)
        accepted = []
        while tokens.size(1) - prompt < self.max_new_tokens and next_token.item() != self.eos:
            # draft, until the shallow model is no longer sure of itself
            length = tokens.size(1)
            drafts, features = [], []
            token = next_token
            for step in range(self.steps):
                x, shallow_cache = self.run(self.shallow, self.embed(token, length - 1 + step), shallow_cache)
                features.append(x)
                adapted, adapter_cache = self.adapter(x, adapter_cache)
                probs = self.lm_head(self.norm(adapted[:, -1])).softmax(dim=-1)
                confidence, token = probs.max(dim=-1, keepdim=True)
                if step == self.steps - 1 or confidence.item() < self.threshold:
                    break
                drafts.append(token)
            # verify all drafted tokens in one pass of the deep layers
            hidden, deep_cache = self.run(self.deep, torch.cat(features, dim=1), deep_cache)
            verified = self.lm_head(self.norm(hidden)).argmax(dim=-1)
            count = 0
            for i, draft in enumerate(drafts):
                if verified[0, i] != draft[0, 0] or draft.item() == self.eos:
                    break
                count += 1
            next_token = verified[:, count : count + 1]
            tokens = torch.cat((tokens, verified[:, : count + 1]), dim=1)
            accepted.append(count)
            shallow_cache = crop(shallow_cache, length + count)
            adapter_cache = crop([adapter_cache], length + count)[0]
            deep_cache = crop(deep_cache, length + count)
        return {"tokens": tokens[:, : prompt + self.max_new_tokens], "accepted": accepted}

    def greedy(self, tokens):
        """Plain greedy decoding without caches: [1, s] → [1, s + new]; what `forward` must equal."""
        for _ in range(self.max_new_tokens):
            x = self.embed(tokens, 0)
            for layer in (*self.shallow, *self.deep):
                x, _ = layer(x)
            token = self.lm_head(self.norm(x[:, -1])).argmax(dim=-1, keepdim=True)
            tokens = torch.cat((tokens, token), dim=1)
            if token.item() == self.eos:
                break
        return tokens


def build():
    """Deep layers and adapter of small effect, so that many drafts are right; its end token is one they choose at times."""
    with seeded(72):
        model = Kangaroo(eos=52).eval()
        with torch.no_grad():
            for layer in (*model.deep, model.adapter.layer):
                layer.out.weight.mul_(0.3)
                layer.mlp[-1].weight.mul_(0.3)
            model.lm_head.weight.mul_(6.0)
    return model


def example_inputs():
    return varied_inputs()[0]


def varied_inputs():
    """Argument tuples: prompts of five tokens."""
    generator = torch.Generator().manual_seed(72)
    return [(torch.randint(1, 64, (1, 5), generator=generator),) for _ in range(12)]
