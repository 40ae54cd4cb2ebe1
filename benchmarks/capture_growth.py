"""What capture costs, and how it grows with independent constructs: gates, loops and experts; BERT with 12 exits and a whole MoE model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.options import Options
from benchmarks.result import Cell, Result


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 16), nn.ReLU())


class Gates(nn.Module):
    """`count` blocks in a row, each behind a gate of its own: float32 [1, 16] → [1, 16]."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(nn.Linear(16, 2) for _ in range(count))
        self.blocks = nn.ModuleList(mlp() for _ in range(count))

    def forward(self, x):
        for gate, block in zip(self.gates, self.blocks, strict=True):
            if gate(x).argmax() == 1:
                x = block(x)
        return x


class Loops(nn.Module):
    """`count` loops in a row, each until its own block has shrunk the state: float32 [1, 16] → [1, 16]."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(mlp() for _ in range(count))

    def forward(self, x):
        for block in self.blocks:
            turns = 0
            while x.abs().sum() > 1 and turns < 20:
                x = 0.5 * x + 0.1 * block(x)
                turns += 1
            x = x * 4
        return x


class Experts(nn.Module):
    """`count` experts, each on the rows that choose it: float32 [8, 16] → [8, 16]."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.router = nn.Linear(16, count)
        self.experts = nn.ModuleList(mlp() for _ in range(count))

    def forward(self, x):
        weight, chosen = self.router(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for n, expert in enumerate(self.experts):
            rows = (chosen == n).nonzero().squeeze(-1)
            if rows.numel() == 0:
                continue
            out.index_add_(0, rows, expert(x[rows]) * weight[rows, None])
        return out


class BertWithExits(nn.Module):
    """transformers' BERT encoder, with a classifier after each of 12 layers that ends the call when it is sure: int64 [1, 12] → [1, 2]."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(hidden_size=64, num_attention_heads=4, intermediate_size=128, vocab_size=100, num_hidden_layers=12)
        config._attn_implementation = "eager"
        bert = BertModel(config)
        self.embeddings, self.layers = bert.embeddings, bert.encoder.layer
        self.exits = nn.ModuleList(nn.Linear(64, 2) for _ in range(12))

    def forward(self, ids):
        hidden = self.embeddings(ids)
        logits = None
        for n, (layer, exit) in enumerate(zip(self.layers, self.exits, strict=True)):
            hidden = layer(hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
            logits = exit(hidden[:, 0])
            p = logits.softmax(-1)
            if -(p * p.log()).sum() < 0.62:
                return logits, n
        return logits, 11


def mixtral() -> nn.Module:
    from transformers import MixtralConfig, MixtralForCausalLM

    model = MixtralForCausalLM(MixtralConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        num_local_experts=8, num_experts_per_tok=2, max_position_embeddings=64, use_cache=False))
    model.set_experts_implementation("eager")
    return model


def tokens() -> tuple[torch.Tensor]:
    return (torch.randint(3, 60, (1, 12)),)


SUBJECTS: tuple[tuple[str, Callable[[int], nn.Module], tuple[int, ...], Callable[[], tuple[torch.Tensor]]], ...] = (
    ("gates", Gates, (10, 20, 50), lambda: (torch.randn(1, 16) * 3,)),
    ("loops", Loops, (4, 8, 16), lambda: (torch.randn(1, 16) * 3,)),
    ("experts", Experts, (8, 16, 32), lambda: (torch.randn(8, 16) * 3,)),
    ("BERT, exits", lambda count: BertWithExits(), (12,), tokens),
    ("Mixtral, layers", lambda count: mixtral(), (2,), tokens),
)


def run(options: Options) -> Result:
    import dync

    dync.capture(Gates(2).eval(), (torch.randn(1, 16),))  # imports
    rows: list[tuple[Cell, ...]] = []
    notes = ["8 random inputs each, bit for bit against eager"]
    for name, make, counts, example in SUBJECTS:
        costs = []
        for count in counts:
            torch.manual_seed(0)
            blocks, seconds, right = one(make(count).eval(), example)
            costs.append(seconds / count)
            rows.append((name, count, blocks, blocks / count, seconds, 1e3 * costs[-1], "equal" if right else "WRONG"))
        if len(counts) > 1:
            notes.append(f"{name}: {counts[-1]} cost {costs[-1] / costs[0]:.2f} times as much each as {counts[0]}")
    columns = ("construct", "count", "blocks", "blocks each", "capture CPU s", "CPU ms each", "against eager")
    title = "Capture: what it costs, and how it grows with independent constructs"
    return Result("capture-growth", title, columns, tuple(rows), tuple(notes), all(r[-1] == "equal" for r in rows))


def one(model: nn.Module, example: Callable[[], tuple[torch.Tensor]]) -> tuple[int, float, bool]:
    """Blocks, seconds of one processor that capture took, and whether all outputs are those of eager."""
    import dync
    from dync.ir.interpret import interpret

    start = time.process_time()
    program = dync.capture(model, example())
    seconds = time.process_time() - start
    with torch.no_grad():
        right = all(same(interpret(program, x)[0], model(*x)) for x in (example() for _ in range(8)))
    return len(program.blocks), seconds, right


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return all(map(same, a, b)) if isinstance(a, (tuple, list)) else a == b
