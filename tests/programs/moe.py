"""Mixtures of experts in all their spellings."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand, whole


class Expert(nn.Module):
    def __init__(self, dim=6, hidden=8):
        super().__init__()
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.down(F.silu(self.up(x)))


class Experts(nn.Module):
    PATHS = 3

    def __init__(self, dim=6, experts=4):
        super().__init__()
        self.router = nn.Linear(dim, experts, bias=False)
        self.experts = nn.ModuleList(Expert(dim) for _ in range(experts))
        self.num_experts = experts

    @staticmethod
    def inputs(seed):
        return (rand(seed, 3, 6) * 2,)


class MaskAny(Experts):
    def forward(self, x):
        choice = self.router(x).argmax(dim=-1)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            mask = choice == i
            if mask.any():
                out[mask] = expert(x[mask])
        return out


class Nonzero(Experts):
    def forward(self, x):
        weights, choice = self.router(x).softmax(-1).max(-1)
        out = x.new_zeros(x.shape)
        for i in range(self.num_experts):
            rows = (choice == i).nonzero(as_tuple=True)[0]
            if len(rows) > 0:
                out[rows] = weights[rows, None] * self.experts[i](x[rows])
        return out


class NonzeroSqueeze(Experts):
    def forward(self, x):
        choice = self.router(x).argmax(-1)
        out = torch.empty_like(x)
        for i, expert in enumerate(self.experts):
            idx = torch.nonzero(choice == i).squeeze(-1)
            if idx.numel() == 0:
                continue
            out.index_copy_(0, idx, expert(x.index_select(0, idx)))
        return out


class Mixtral(Experts):
    """transformers' block: one-hot masks, where, index_add_."""

    top_k = 2

    def forward(self, hidden_states):
        batch_size, sequence_length, hidden_dim = hidden_states.shape
        hidden_states = hidden_states.view(-1, hidden_dim)
        router_logits = self.router(hidden_states)
        routing_weights = F.softmax(router_logits, dim=1, dtype=torch.float)
        routing_weights, selected_experts = torch.topk(routing_weights, self.top_k, dim=-1)
        routing_weights /= routing_weights.sum(dim=-1, keepdim=True)
        routing_weights = routing_weights.to(hidden_states.dtype)
        final = torch.zeros((batch_size * sequence_length, hidden_dim), dtype=hidden_states.dtype, device=hidden_states.device)
        expert_mask = F.one_hot(selected_experts, num_classes=self.num_experts).permute(2, 1, 0)
        for expert_idx in range(self.num_experts):
            expert_layer = self.experts[expert_idx]
            idx, top_x = torch.where(expert_mask[expert_idx])
            if top_x.shape[0] == 0:
                continue
            current_state = hidden_states[None, top_x].reshape(-1, hidden_dim)
            current = expert_layer(current_state) * routing_weights[top_x, idx, None]
            final.index_add_(0, top_x, current.to(hidden_states.dtype))
        return final.reshape(batch_size, sequence_length, hidden_dim), router_logits

    @staticmethod
    def inputs(seed):
        return (rand(seed, 1, 2, 6) * 2,)


class HitExperts(Experts):
    """Newer transformers: only the experts that were hit are looped over."""

    def forward(self, x):
        weights, selected = self.router(x).softmax(-1).topk(2, dim=-1)
        mask = F.one_hot(selected, num_classes=self.num_experts).permute(2, 1, 0)
        out = torch.zeros_like(x)
        hit = torch.greater(mask.sum(dim=(-1, -2)), 0).nonzero()
        for expert_idx in hit:
            expert = self.experts[expert_idx]
            idx, top_x = torch.where(mask[expert_idx].squeeze(0))
            out.index_add_(0, top_x, expert(x[top_x]) * weights[top_x, idx, None])
        return out


class CountsToList(Experts):
    """Tokens are sorted by expert, then split by counts (DeepSeek's inference path)."""

    def forward(self, x):
        choice = self.router(x).argmax(-1)
        order = choice.argsort(stable=True)
        counts = torch.bincount(choice, minlength=self.num_experts).tolist()
        sorted_tokens = x[order]
        outputs, start = [], 0
        for i, count in enumerate(counts):
            end = start + count
            if count == 0:
                continue
            outputs.append(self.experts[i](sorted_tokens[start:end]))
            start = end
        out = torch.cat(outputs, dim=0)
        result = torch.empty_like(out)
        result[order] = out
        return result


class SplitByCounts(Experts):
    """No decision at all: the sizes alone are dynamic."""

    PATHS = 1

    def forward(self, x):
        choice = self.router(x).argmax(-1)
        order = torch.argsort(choice, stable=True)
        sizes = torch.stack([(choice == i).sum() for i in range(self.num_experts)]).tolist()
        chunks = torch.split(x[order], sizes)
        out = torch.cat([expert(chunk) for expert, chunk in zip(self.experts, chunks)])
        return torch.zeros_like(x).index_copy(0, order, out)


class Capacity(Experts):
    """Each expert takes at most two tokens; the rest goes through unchanged."""

    capacity = 2

    def forward(self, x):
        gates, choice = self.router(x).softmax(-1).max(-1)
        out = x.clone()
        dropped = 0
        for i, expert in enumerate(self.experts):
            slots = torch.nonzero(choice == i).flatten()
            if slots.numel() > self.capacity:
                dropped += slots.numel() - self.capacity
                slots = slots[: self.capacity]
            if slots.numel():
                out[slots] = gates[slots].unsqueeze(1) * expert(x[slots])
        return out, dropped

    @staticmethod
    def inputs(seed):
        return (rand(seed, 5, 6) * 2,)


class SwitchRouter(Experts):
    """Switch transformer: an auxiliary loss beside the output."""

    def forward(self, x):
        probs = F.softmax(self.router(x), dim=-1)
        top, index = torch.max(probs, dim=-1)
        fraction = F.one_hot(index, self.num_experts).float().mean(0)
        loss = (fraction * probs.mean(0)).sum() * self.num_experts
        out = torch.zeros_like(x)
        for i in range(self.num_experts):
            token_mask = index.eq(i)
            if not token_mask.any():
                continue
            out[token_mask] = self.experts[i](x[token_mask]) * top[token_mask].unsqueeze(-1)
        return {"out": out, "aux": loss, "probs": probs}


class OneExpertPerCall(Experts):
    """The batch as a whole goes to one expert."""

    def forward(self, x):
        best = self.router(x.mean(0)).argmax().item()
        return self.experts[best](x), best


class NamedExperts(nn.Module):
    """Experts in a ModuleDict, picked by a computed name."""

    def __init__(self):
        super().__init__()
        self.names = ["relu", "tanh", "plain"]
        self.router = nn.Linear(6, 3)
        self.experts = nn.ModuleDict({"relu": nn.Sequential(nn.Linear(6, 6), nn.ReLU()), "tanh": nn.Sequential(nn.Linear(6, 6), nn.Tanh()),
                                      "plain": nn.Identity()})

    def forward(self, x):
        name = self.names[self.router(x).sum(0).argmax().item()]
        return self.experts[name](x), name

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 6) * 2,)


class RowByRow(Experts):
    """Each row picks its expert by index."""

    def forward(self, x):
        choice = self.router(x).argmax(-1)
        rows = []
        for row, index in zip(x, choice):
            rows.append(self.experts[index](row))
        return torch.stack(rows)

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 6) * 2,)


class SharedExpert(Experts):
    """A shared expert always runs; a routed one only when its weight is large."""

    def __init__(self):
        super().__init__()
        self.shared = Expert()

    def forward(self, x):
        out = self.shared(x)
        weights = self.router(x).softmax(-1)
        for i, expert in enumerate(self.experts):
            w = weights[:, i : i + 1]
            if w.max() > 0.3:
                out = out + w * expert(x)
        return out


class ShrinkingBatch(nn.Module):
    """Rows that are sure leave; the loop goes on with the others until none is left (depth-adaptive batches)."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        alive = torch.arange(x.shape[0])
        result = torch.zeros(x.shape[0], 3)
        for layer in self.layers:
            x = torch.tanh(layer(x))
            logits = self.head(x)
            done = logits.softmax(-1).amax(-1) > 0.45
            if done.any():
                result[alive[done]] = logits[done]
            alive = alive[~done]
            x = x[~done]
            if alive.numel() == 0:
                break
        else:
            result[alive] = self.head(x)
        return result

    @staticmethod
    def inputs(seed):
        return (rand(seed, 4, 6) * 3,)


class ExpertChoice(nn.Module):
    """Experts pick tokens; tokens that nobody picked are passed on."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(6, 3)
        self.w = nn.Parameter(torch.randn(3, 6, 6) * 0.4)

    def forward(self, x):
        scores = self.router(x).softmax(-1)
        _, picked = scores.t().topk(2, dim=-1)
        out = torch.zeros_like(x)
        for e in range(3):
            out.index_add_(0, picked[e], x[picked[e]] @ self.w[e])
        missed = torch.ones(x.shape[0], dtype=torch.bool)
        missed[picked.flatten()] = False
        if missed.any():
            out[missed] = x[missed]
        return out, int(missed.sum())

    @staticmethod
    def inputs(seed):
        return (rand(seed, 5, 6) * 2,)


class TwoLevelMoE(nn.Module):
    PATHS = 3

    def __init__(self):
        super().__init__()
        self.first, self.second = MaskAny(experts=2), MaskAny(experts=2)
        self.norm = nn.LayerNorm(6)

    def forward(self, x):
        return self.second(self.norm(x + self.first(x)))

    @staticmethod
    def inputs(seed):
        return (rand(seed, 3, 6) * 2,)


class RunningLoad(nn.Module):
    """How full each expert is, counted in a Python list at an index that the data decides."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(3, 2)
        self.experts = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))

    def forward(self, tokens):
        load = [0, 0]
        choice = self.router(tokens).argmax(-1)
        out = []
        for t in range(tokens.size(0)):
            e = int(choice[t])
            if load[e] < 2:
                load[e] += 1
                out.append(self.experts[e](tokens[t]))
            else:
                out.append(tokens[t])
        return torch.stack(out), load

    @staticmethod
    def inputs(seed):
        return (rand(seed, 4, 3),)


class CountsSplit(nn.Module):
    """bincount with a least length, as a Python list, for split."""

    PATHS = 1

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

    def forward(self, x, expert):
        counts = torch.bincount(expert, minlength=3).tolist()
        return torch.cat([f(part) for f, part in zip(self.experts, torch.split(x, counts))])

    @staticmethod
    def inputs(seed):
        return (rand(seed, 6, 3), whole(seed, 0, 3, 6).sort().values)


class CapacityDropsLists(nn.Module):
    """Lengths of index sets inside comprehensions, in new_tensor, and in a slice."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.switch = nn.Linear(4, 2)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x):
        routes = self.switch(x).argmax(-1)
        rows = [torch.eq(routes, i).nonzero(as_tuple=True)[0] for i in range(2)]
        counts = x.new_tensor([len(r) for r in rows])
        dropped = []
        for i in range(2):
            if len(rows[i]) > 2:
                dropped.append(rows[i][2:])
                rows[i] = rows[i][:2]
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            out[rows[i]] = expert(x[rows[i]])
        if dropped:
            d = torch.cat(dropped)
            out[d] = x[d]
        return out, counts, len(dropped)

    @staticmethod
    def inputs(seed):
        return (rand(seed, 4, 4),)


class DepthPerRow(nn.Module):
    """Chosen tokens of each row go through a whole layer; the input is written."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True)

    def forward(self, x):
        chosen = x.mean(-1) > 0
        for i in range(2):
            if chosen[i].sum() < 2:
                continue
            x[i, chosen[i]] = self.layer(x[i, chosen[i]].unsqueeze(0))[0]
        return x

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4, 4),)
