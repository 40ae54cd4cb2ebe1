"""Sets, dicts and Counters whose keys the data decides: memos, seen-sets, counts, walks over a graph."""

from collections import Counter, defaultdict

import torch
import torch.nn as nn
from programs.data import rand, whole


class ExpertMemo(nn.Module):
    """An expert that several rows pick runs once."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(4, 3)
        self.weight = nn.Parameter(torch.randn(3, 4, 4) * 0.3)

    def forward(self, x):
        memo = {}
        rows = []
        for row in x:
            k = self.router(row).argmax().item()
            if k not in memo:
                memo[k] = torch.relu(x.mean(0) @ self.weight[k])
            rows.append(memo[k] + row)
        return torch.stack(rows), sorted(memo), len(memo)

    inputs = staticmethod(lambda seed: (rand(seed, 3, 4),))


class BlockedBigrams(nn.Module):
    """Greedy decoding that says no pair of words twice, and counts its words."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(4, 6)
        self.out = nn.Linear(6, 4)

    def forward(self, first, steps):
        word = first.item()
        seen, counts = set(), Counter([word])
        for _ in range(steps.item()):
            best, score = -1, 0.0
            for n, v in enumerate(self.out(self.words(torch.tensor(word))).softmax(0).tolist()):
                if v / (1 + counts[n]) > score and (word, n) not in seen:
                    best, score = n, v / (1 + counts[n])
            seen.add((word, best))
            counts[best] += 1
            word = best
        return word, len(seen), counts, counts.most_common(1)[0]

    inputs = staticmethod(lambda seed: (torch.tensor(seed % 4), torch.tensor(seed % 7)))


class GraphWalk(nn.Module):
    """Depth first over an adjacency tensor; a KeyError of the model's own ends it."""

    PATHS = 3

    def forward(self, to, start):
        found, stack = {}, [start.item()]
        while stack:
            node = stack.pop()
            if node in found:
                continue
            found[node] = len(found)
            for n in to[node].tolist():
                if n not in found:
                    stack.append(n)
        try:
            return found[3], found
        except KeyError as missing:
            return -missing.args[0], [k * v for k, v in found.items()], max(found, key=found.get)

    inputs = staticmethod(lambda seed: (whole(seed, 0, 5, 5, 2), torch.tensor(seed % 5)))


class KnownByItsValue(nn.Module):
    """Asks the values, and the items, of a dict whose keys are data: who maps to what, as in a map of speakers."""

    def forward(self, x):
        mapped, missed = {}, 0
        for i in (x > 0).nonzero().flatten().tolist():
            to = int(x[i] * 2)
            if to in mapped.values():
                missed += 1
            else:
                mapped[i] = to
        return mapped, missed, (0, 1) in mapped.items(), 7 in mapped.keys()

    inputs = staticmethod(lambda seed: (rand(seed, 5),))


class NeighboursOfANode(nn.Module):
    """A defaultdict of sets that is only read, and one of lists that is written, by numbers of the data: GraphSAGE's adjacency."""

    def __init__(self):
        super().__init__()
        self.near, self.seen = defaultdict(set), defaultdict(list)
        for a, b in ((0, 1), (0, 2), (1, 2), (2, 3)):
            self.near[a].add(b)
            self.near[b].add(a)

    def forward(self, node):
        k = int(node)
        near = self.near[k]
        self.seen[k].append(len(near))
        return len(near), sorted(near), sum(self.seen[k])

    inputs = staticmethod(lambda seed: (torch.tensor(seed % 4),))


class UnionOfManySets(nn.Module):
    """`set.union(*sets)` and other methods that are asked of the class."""

    def forward(self, x):
        sets = [{n, int(v)} for n, v in enumerate(x) if v > 0]
        if not sets:
            return None
        found = []
        for v in x.tolist():
            if v > 0:
                list.append(found, int(v * 3))
        return sorted(set.union(*sets)), dict.get({int(x.argmin()): "least"}, 2), found, str.upper(f"{int(x.argmin())} least")

    inputs = staticmethod(lambda seed: (rand(seed, 4),))
