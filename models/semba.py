"""SEMBA: Representation Learning in Continuous-Time Dynamic Signed Networks (Sharma et al., CIKM 2023).

Signed events (source, target, sign, time) arrive in time order. Every node has two memories, one of friendly and one of
hostile events; an event writes the memory of its sign at both ends, by balance theory with a friend's friendly memory
("a friend of a friend") or an enemy's hostile one. Before it is written, each event's sign is predicted. Random seeded weights.
"""

import torch
from torch import nn

from dync.models.untrained import seeded


class TimeEncoder(nn.Module):
    """Elapsed time [n] → [n, dim]."""

    def __init__(self, dim):
        super().__init__()
        self.lin = nn.Linear(1, dim)

    def forward(self, t):
        return torch.cos(self.lin(t.unsqueeze(-1)))


class SignedMemory(nn.Module):
    """Two memories per node, written in place for the nodes of an event only."""

    def __init__(self, num_nodes, dim, time_dim):
        super().__init__()
        self.time = TimeEncoder(time_dim)
        self.gru_pos = nn.GRUCell(2 * dim + time_dim, dim)
        self.gru_neg = nn.GRUCell(2 * dim + time_dim, dim)
        self.register_buffer("pos", torch.zeros(num_nodes, dim))
        self.register_buffer("neg", torch.zeros(num_nodes, dim))
        self.register_buffer("last_update", torch.zeros(num_nodes))

    def reset(self):
        self.pos.zero_()
        self.neg.zero_()
        self.last_update.zero_()

    @torch.no_grad()
    def update(self, src, dst, sign, t):
        elapsed = self.time(t - self.last_update[src].unsqueeze(0))
        if sign > 0:
            message = torch.cat((self.pos[dst].unsqueeze(0), self.neg[dst].unsqueeze(0), elapsed), dim=-1)
            self.pos[src] = self.gru_pos(message, self.pos[src].unsqueeze(0)).squeeze(0)
        else:
            message = torch.cat((self.neg[dst].unsqueeze(0), self.pos[dst].unsqueeze(0), elapsed), dim=-1)
            self.neg[src] = self.gru_neg(message, self.neg[src].unsqueeze(0)).squeeze(0)

    @torch.no_grad()
    def touch(self, src, dst, t):
        self.last_update[src] = t.squeeze(0)
        self.last_update[dst] = t.squeeze(0)


class SEMBA(nn.Module):
    """Events in time order: src, dst, sign int64 [e] and time float32 [e] → logit that each sign is positive [e]."""

    def __init__(self, num_nodes=20, dim=16, time_dim=8):
        super().__init__()
        self.features = nn.Embedding(num_nodes, dim)
        self.memory = SignedMemory(num_nodes, dim, time_dim)
        self.embed = nn.Linear(3 * dim, dim)
        self.predictor = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def embedding(self, node):
        return torch.tanh(self.embed(torch.cat((self.features(node), self.memory.pos[node], self.memory.neg[node]))))

    def forward(self, src, dst, sign, time):
        logits = []
        for i in range(src.size(0)):
            s, d, t = src[i], dst[i], time[i : i + 1]
            logits.append(self.predictor(torch.cat((self.embedding(s), self.embedding(d)))))
            self.memory.update(s, d, sign[i], t)
            self.memory.update(d, s, sign[i], t)
            self.memory.touch(s, d, t)
        return torch.cat(logits)


def build():
    with seeded(44):
        return SEMBA().eval()


def example_inputs():
    return varied_inputs()[0]


def varied_inputs():
    """Argument tuples: eight events of random signs."""
    generator = torch.Generator().manual_seed(44)
    out = []
    for _ in range(8):
        src = torch.randint(0, 20, (8,), generator=generator)
        dst = (src + torch.randint(1, 20, (8,), generator=generator)) % 20
        sign = torch.randint(0, 2, (8,), generator=generator) * 2 - 1
        out.append((src, dst, sign, torch.rand(8, generator=generator).cumsum(0)))
    return out
