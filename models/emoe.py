"""EMoE: Unlocking Emergent Modularity in Large Language Models (Qiu et al., NAACL 2024).

The feed-forward layers of a trained transformer are split into experts without new parameters: key vectors (rows of the
first matrix) are clustered into groups of the same size, each group is an expert, and the average of its keys scores it.
Each token goes to its k best experts. Random seeded weights stand for the trained ones.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import seeded


class FeedForward(nn.Module):
    """A dense feed-forward layer [n, d] → [n, d]."""

    def __init__(self, d_model, d_ff):
        super().__init__()
        self.fc1 = nn.Linear(d_model, d_ff)
        self.fc2 = nn.Linear(d_ff, d_model)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


def cluster_keys(keys, num_experts, rounds=10):
    """Balanced k-means over keys [f, d]: index lists int64 [num_experts, f / num_experts]."""
    size = len(keys) // num_experts
    centres = keys[torch.linspace(0, len(keys) - 1, num_experts).long()]
    groups = torch.arange(len(keys)).view(num_experts, size)
    for _ in range(rounds):
        similarity = F.normalize(keys, dim=1) @ F.normalize(centres, dim=1).T
        free = torch.ones(len(keys), dtype=torch.bool)
        groups = []
        for e in range(num_experts):
            chosen = similarity[:, e].masked_fill(~free, -torch.inf).topk(size).indices
            free[chosen] = False
            groups.append(chosen)
        groups = torch.stack(groups)
        centres = keys[groups].mean(1)
    return groups


class Expert(nn.Module):
    """A slice of a dense layer; the second bias stays with the layer."""

    def __init__(self, dense, index):
        super().__init__()
        self.fc1 = nn.Linear(dense.fc1.in_features, len(index))
        self.fc2 = nn.Linear(len(index), dense.fc2.out_features, bias=False)
        with torch.no_grad():
            self.fc1.weight.copy_(dense.fc1.weight[index])
            self.fc1.bias.copy_(dense.fc1.bias[index])
            self.fc2.weight.copy_(dense.fc2.weight[:, index])

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class EMoE(nn.Module):
    """A dense layer's experts, the top k of them for each token: [n, s, d] → [n, s, d]."""

    def __init__(self, dense, num_experts, top_k):
        super().__init__()
        self.num_experts = num_experts
        self.top_k = top_k
        groups = cluster_keys(dense.fc1.weight.detach(), num_experts)
        self.experts = nn.ModuleList(Expert(dense, index) for index in groups)
        self.bias = nn.Parameter(dense.fc2.bias.detach().clone())

    def gate(self):
        return torch.stack([expert.fc1.weight.mean(0) for expert in self.experts])

    def forward(self, hidden_states):
        batch, length, dim = hidden_states.shape
        x = hidden_states.view(-1, dim)
        scores = x @ self.gate().T
        _, selected = torch.topk(scores, self.top_k, dim=-1)
        expert_mask = F.one_hot(selected, num_classes=self.num_experts).permute(2, 1, 0)

        final = torch.zeros_like(x)
        for expert_idx in range(self.num_experts):
            _, top_x = torch.where(expert_mask[expert_idx])
            if top_x.shape[0] == 0:
                continue
            current = self.experts[expert_idx](x[top_x])
            final.index_add_(0, top_x, current)
        final = final + self.bias
        return final.reshape(batch, length, dim)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, d_model, num_heads, d_ff):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = nn.MultiheadAttention(d_model, num_heads, batch_first=True)
        self.norm2 = nn.LayerNorm(d_model)
        self.ffn = FeedForward(d_model, d_ff)

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.ffn(self.norm2(x))


class EMoETransformer(nn.Module):
    """Token ids int64 [n, s] → logits [n, classes]; every second block has experts."""

    def __init__(self, vocab_size=200, d_model=64, num_heads=4, d_ff=256, num_layers=4, num_experts=8, top_k=2, num_classes=4):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.position = nn.Parameter(torch.randn(64, d_model) * 0.02)
        self.blocks = nn.ModuleList(Block(d_model, num_heads, d_ff) for _ in range(num_layers))
        self.norm = nn.LayerNorm(d_model)
        self.classifier = nn.Linear(d_model, num_classes)
        self.num_experts = num_experts
        self.top_k = top_k

    def split(self):
        """Turn the dense layers of every second block into experts, in place."""
        for block in self.blocks[1::2]:
            block.ffn = EMoE(block.ffn, self.num_experts, self.top_k)
        return self

    def forward(self, input_ids):
        x = self.embedding(input_ids) + self.position[: input_ids.size(1)]
        for block in self.blocks:
            x = block(x)
        return self.classifier(self.norm(x).mean(dim=1))


def build(**config):
    with seeded(8):
        return EMoETransformer(**config).split().eval()


def example_inputs():
    return (torch.randint(0, 200, (1, 6), generator=torch.Generator().manual_seed(8)),)


def varied_inputs():
    """Argument tuples of six tokens; each reaches another set of experts."""
    generator = torch.Generator().manual_seed(9)
    return [(torch.randint(0, 200, (1, 6), generator=generator),) for _ in range(16)]
