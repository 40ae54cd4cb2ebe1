"""torch's own control flow operators, which eager runs as Python does, and text that holds numbers of the run."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand, whole
from torch._higher_order_ops.while_loop import while_loop

torch.cond(torch.tensor(True), torch.sin, torch.cos, (torch.ones(1),))  # its first call in a process patches nn.Module


class OneInput(nn.Module):
    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),)


class Cond(OneInput):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        y = torch.cond(x.sum() > 0, lambda v: self.a(v), lambda v: self.b(v).relu(), (x,))
        return torch.cond(pred=y.mean() > 0.1, true_fn=torch.sin, false_fn=torch.cos, operands=(y,))

    PATHS = 3


class WhileLoop(OneInput):
    def __init__(self):
        super().__init__()
        self.step = nn.Linear(4, 4)

    def forward(self, x):
        def going(i, h):
            return (h.abs().mean() > 0.2) & (i < 20)

        def turn(i, h):
            return i + 1, torch.tanh(self.step(h)) * 0.9

        i, h = while_loop(going, turn, (torch.tensor(0), x))
        return torch.while_loop(lambda v: v.sum() < 3, lambda v: [v + 0.5], [h]), i


class TextAcrossBranches(OneInput):
    def forward(self, x):
        size = x.abs().sum().item()
        text = f"{size:.2f}" if size > 6 else f"small {size:.1f}"
        if x.max() > 1:
            x = x + 1
        while x.sum() < 4:
            x = x + 1
        return x, text

    PATHS = 3


class TextInLoop(OneInput):
    def forward(self, x):
        text, turns = "turns:", 0
        while x.sum() > 0 and turns < 4:
            x, turns = x - 0.5, turns + 1
            text += f" {x.sum().item():.2f}"
        return x, text


class TextAsKey(OneInput):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({f"layer_{i}": nn.Linear(4, 4) for i in range(4)})

    def forward(self, x):
        name = f"layer_{int(x[0].argmax())}"
        if x.sum() > 0:
            x = x * 2
        while x.abs().max() > 1:
            x = x * 0.5
        return self.layers[name](x), name

    PATHS = 3


class IntegersAsTensors(nn.Module):
    """One-number tensors where torch takes integers, as in SimOTA's `topk(cost[g], k=counts[g])`."""

    def forward(self, cost, counts, n):
        n = int(n)
        cost, counts = cost[:n], counts[:n]
        chosen = torch.zeros_like(cost)
        for g in range(n):
            _, at = torch.topk(cost[g], k=counts[g], largest=False)
            chosen[g][at] = 1
        padded = F.pad(cost, (0, counts.sum())) if n else cost
        return chosen, padded, torch.roll(cost, counts.sum(), 1), cost.kthvalue(counts.max(), dim=1)[0] if n else None

    @staticmethod
    def inputs(seed):
        return rand(seed, 3, 8), whole(seed, 1, 4, 3), torch.tensor(seed % 4)
