"""JEI-DNN: Jointly-Learned Exit and Inference for a Dynamic Neural Network (Regol, Chataoui and Coates, ICLR 2024).

A frozen vision transformer with inference modules at intermediate layers. Learned gates, not a confidence threshold,
decide the exit: each gate reads uncertainty statistics of its module's prediction. Random seeded weights.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import balance, images, seeded


class TransformerBlock(nn.Module):
    """Pre-norm: [n, s, d] → [n, s, d]."""

    def __init__(self, dim, num_heads, mlp_ratio=2):
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim * mlp_ratio), nn.GELU(), nn.Linear(dim * mlp_ratio, dim))

    def forward(self, x):
        b, n, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, n, 3, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        x = x + self.proj(attended)
        return x + self.mlp(self.norm2(x))


class Gate(nn.Module):
    """Logits [n, classes] → probability of leaving here [n]. Features: largest probability, entropy, scaled entropy, margin."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 1)

    def forward(self, logits):
        p = torch.softmax(logits, dim=1)
        top2 = torch.topk(p, 2, dim=1).values
        entropy = -torch.sum(p * torch.log(p + 1e-8), dim=1)
        scaled = torch.softmax(logits / 2, dim=1)
        scaled_entropy = -torch.sum(scaled * torch.log(scaled + 1e-8), dim=1)
        features = torch.stack((top2[:, 0], entropy, scaled_entropy, top2[:, 0] - top2[:, 1]), dim=1)
        return torch.sigmoid(self.linear(features)).squeeze(1)


class JEIDNN(nn.Module):
    """Input float32 [1, 3, 32, 32] → (logits [1, classes], exit number, gates' probabilities as a list of [1])."""

    def __init__(self, depth=6, dim=64, num_heads=4, patch=4, num_classes=10):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, (32 // patch) ** 2 + 1, dim) * 0.02)
        self.blocks = nn.ModuleList(TransformerBlock(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        self.ims = nn.ModuleList(nn.Linear(dim, num_classes) for _ in range(depth - 1))
        self.gates = nn.ModuleList(Gate() for _ in range(depth - 1))

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.size(0), -1, -1), x), dim=1) + self.pos_embed
        probabilities = []
        for i, block in enumerate(self.blocks[:-1]):
            x = block(x)
            logits = self.ims[i](x[:, 0])
            exit_prob = self.gates[i](logits)
            probabilities.append(exit_prob)
            if exit_prob >= 0.5:
                return logits, i, probabilities
        x = self.norm(self.blocks[-1](x))
        return self.head(x[:, 0]), len(self.blocks) - 1, probabilities


def build():
    with seeded(64):
        model = JEIDNN().eval()
        with torch.no_grad():
            for im in model.ims:
                im.weight.mul_(4.0)
    balance(model, [gate.linear for gate in model.gates], [(x,) for x in images(96, seed=64)])
    with torch.no_grad():
        for gate in model.gates:
            gate.linear.bias.sub_(0.2)
    return model


def example_inputs():
    return (images(1, seed=64)[0],)


def varied_inputs():
    """Argument tuples that leave at different exits."""
    return [(x,) for x in images(24, seed=64)]
