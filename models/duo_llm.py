"""Duo-LLM: A Framework for Studying Adaptive Computation in Large Language Models (Alizadeh et al., 2024).

Each decoder layer has a big and a small feed-forward module; a router sends every token, layer by layer, through the
small one, the big one, or past both. Random seeded weights.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import seeded

SKIP, SMALL, BIG = 0, 1, 2


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class SwiGLU(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class DuoLayer(nn.Module):
    """Causal attention for all tokens, then a routed feed-forward token by token: [1, s, d] → ([1, s, d], routes)."""

    def __init__(self, dim, num_heads, small, big):
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = RMSNorm(dim)
        self.wqkv = nn.Linear(dim, 3 * dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)
        self.ffn_norm = RMSNorm(dim)
        self.router = nn.Linear(dim, 3)
        self.small = SwiGLU(dim, small)
        self.big = SwiGLU(dim, big)

    def attention(self, x):
        n, s, d = x.shape
        q, k, v = (t.view(n, s, self.num_heads, -1).transpose(1, 2) for t in self.wqkv(x).chunk(3, dim=-1))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(out.transpose(1, 2).reshape(n, s, d))

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        normed = self.ffn_norm(x)
        outputs, routes = [], []
        for t in range(x.size(1)):
            token = normed[:, t]
            route = self.router(token).argmax(dim=-1).item()
            if route == BIG:
                out = x[:, t] + self.big(token)
            elif route == SMALL:
                out = x[:, t] + self.small(token)
            else:
                out = x[:, t]
            outputs.append(out)
            routes.append(route)
        return torch.stack(outputs, dim=1), routes


class DuoLLM(nn.Module):
    """Token ids int64 [1, s] → (logits of the next token [1, vocab], routes: a list of ints per layer)."""

    def __init__(self, vocab_size=128, dim=64, num_heads=4, num_layers=3, small=32, big=192):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim)
        self.layers = nn.ModuleList(DuoLayer(dim, num_heads, small, big) for _ in range(num_layers))
        self.norm = RMSNorm(dim)
        self.output = nn.Linear(dim, vocab_size, bias=False)

    def forward(self, tokens):
        x = self.embedding(tokens)
        all_routes = []
        for layer in self.layers:
            x, routes = layer(x)
            all_routes.append(routes)
        return self.output(self.norm(x[:, -1])), all_routes


def build(**config):
    with seeded(24):
        return DuoLLM(**config).eval()


def example_inputs():
    return (torch.randint(0, 128, (1, 4), generator=torch.Generator().manual_seed(24)),)


def varied_inputs():
    """Argument tuples of four tokens that are routed differently."""
    generator = torch.Generator().manual_seed(25)
    return [(torch.randint(0, 128, (1, 4), generator=generator),) for _ in range(16)]
