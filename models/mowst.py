"""Mowst: Mixture of Weak and Strong Experts on Graphs (Zeng et al., ICLR 2024).

A light MLP looks at each node's own features. Where its prediction is dispersed enough it is the answer; for the other
nodes a graph network is run on their neighbourhood. Random seeded weights.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import seeded


class WeakExpert(nn.Module):
    """An MLP on node features [n, f] → logits [n, classes]."""

    def __init__(self, features, hidden, num_classes):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))

    def forward(self, x):
        return self.net(x)


class SAGEConv(nn.Module):
    """Mean over neighbours, edges int64 [2, e] from source to target: [n, f] → [n, out]."""

    def __init__(self, features, out):
        super().__init__()
        self.lin_neighbour = nn.Linear(features, out)
        self.lin_self = nn.Linear(features, out, bias=False)

    def forward(self, x, edge_index):
        source, target = edge_index
        summed = torch.zeros_like(x).index_add_(0, target, x[source])
        degree = torch.zeros(x.size(0), dtype=x.dtype).index_add_(0, target, torch.ones_like(source, dtype=x.dtype))
        return self.lin_neighbour(summed / degree.clamp(min=1).unsqueeze(1)) + self.lin_self(x)


class StrongExpert(nn.Module):
    """Two layers of message passing: [n, f] → logits [n, classes]."""

    def __init__(self, features, hidden, num_classes):
        super().__init__()
        self.conv1 = SAGEConv(features, hidden)
        self.conv2 = SAGEConv(hidden, num_classes)

    def forward(self, x, edge_index):
        return self.conv2(F.relu(self.conv1(x, edge_index)), edge_index)


def k_hop_edges(nodes, edge_index, num_nodes, hops):
    """The edges within `hops` steps into `nodes` (bool [num_nodes])."""
    source, target = edge_index
    reached = nodes.clone()
    kept = torch.zeros(edge_index.size(1), dtype=torch.bool)
    for _ in range(hops):
        kept = kept | reached[target]
        reached[source[reached[target]]] = True
    return edge_index[:, kept]


class Mowst(nn.Module):
    """Features float32 [n, f] and edges int64 [2, e] → (logits [n, classes], number of nodes the strong expert answered)."""

    def __init__(self, features=16, hidden=32, num_classes=5, threshold=0.5):
        super().__init__()
        self.weak = WeakExpert(features, hidden, num_classes)
        self.strong = StrongExpert(features, 2 * hidden, num_classes)
        self.threshold = threshold
        # the largest variance that a distribution over the classes can have
        self.max_dispersion = (num_classes - 1) / num_classes**2

    def confidence(self, logits):
        return logits.softmax(dim=-1).var(dim=-1, unbiased=False) / self.max_dispersion

    def forward(self, x, edge_index):
        out = self.weak(x)
        unsure = self.confidence(out) < self.threshold
        if not unsure.any():
            return out, 0
        edges = k_hop_edges(unsure, edge_index, x.size(0), hops=2)
        strong = self.strong(x, edges)
        out[unsure] = strong[unsure]
        return out, int(unsure.sum())


def build():
    with seeded(33):
        model = Mowst().eval()
        with torch.no_grad():
            model.weak.net[-1].weight.mul_(6.0)
    return model


def example_inputs():
    return varied_inputs()[0]


def varied_inputs():
    """Argument tuples: graphs of 24 nodes and 72 edges, where none, some or all nodes need the strong expert."""
    generator = torch.Generator().manual_seed(33)
    out = []
    for i in range(12):
        x = torch.randn(24, 16, generator=generator) * (60.0, 2.0, 0.5, 0.1)[i % 4]
        out.append((x, torch.randint(0, 24, (2, 72), generator=generator)))
    return out
