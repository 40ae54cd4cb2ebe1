"""Recursion: over Python trees, over halves of a tensor, to a depth that the data decides."""

from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn as nn
from programs.data import rand


@dataclass
class Tree:
    word: int
    left: Optional["Tree"] = None
    right: Optional["Tree"] = None


TREE = Tree(0, Tree(1, Tree(2), Tree(3)), Tree(4, None, Tree(5)))


class TreeEncoder(nn.Module):
    """Walks a Python tree; a gate decides at each node whether its children matter."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.leaf = nn.Embedding(6, 4)
        self.merge = nn.Linear(8, 4)
        self.tree = TREE

    def encode(self, node, context):
        if node is None:
            return torch.zeros(4)
        here = self.leaf.weight[node.word] + context
        if here.sum() < 0:
            return here
        left = self.encode(node.left, here)
        right = self.encode(node.right, here)
        return torch.tanh(self.merge(torch.cat([left, right]))) + here

    def forward(self, x):
        return self.encode(self.tree, x)

    inputs = staticmethod(lambda seed: (rand(seed, 4),))


class TreeLSTM(nn.Module):
    """Child-sum TreeLSTM over nested tuples; a static tree with a gate on the forget values."""

    def __init__(self):
        super().__init__()
        self.iou = nn.Linear(4, 12)
        self.uiou = nn.Linear(4, 12, bias=False)
        self.f = nn.Linear(4, 4)
        self.f.weight.data *= 4

    def node(self, tree, x):
        index, children = tree
        states = [self.node(child, x) for child in children]
        h_sum = sum((h for h, _ in states), torch.zeros(4))
        i, o, u = (self.iou(x[index]) + self.uiou(h_sum)).chunk(3)
        c = i.sigmoid() * u.tanh()
        for h, child_c in states:
            forget = self.f(h).sigmoid()
            if forget.mean() > 0.5:
                c = c + forget * child_c
        return o.sigmoid() * c.tanh(), c

    def forward(self, x):
        tree = (0, [(1, [(2, []), (3, [])]), (4, [])])
        return self.node(tree, x)[0]

    inputs = staticmethod(lambda seed: (rand(seed, 5, 4) * 2,))


class DecisionTree(nn.Module):
    """A soft tree that is walked hard: one path from root to leaf."""

    PATHS = 4

    def __init__(self, depth=3):
        super().__init__()
        self.depth = depth
        self.split = nn.ModuleList(nn.Linear(4, 1) for _ in range(2**depth - 1))
        self.leaf = nn.Parameter(torch.randn(2**depth, 2))

    def forward(self, x):
        node = 0
        for _ in range(self.depth):
            if self.split[node](x).squeeze() > 0:
                node = 2 * node + 2
            else:
                node = 2 * node + 1
        return self.leaf[node - (2**self.depth - 1)], node

    inputs = staticmethod(lambda seed: (rand(seed, 4) * 2,))


class RecursiveHalving(nn.Module):
    """Splits a tensor until a part is flat or of one element: static sizes bound the depth."""

    PATHS = 3

    def forward(self, x):
        return self.reduce(x)

    def reduce(self, x):
        if x.shape[0] == 1 or x.max() - x.min() < 0.5:
            return x.mean()
        half = x.shape[0] // 2
        return self.reduce(x[:half]) - 0.5 * self.reduce(x[half:])

    inputs = staticmethod(lambda seed: (rand(seed, 4),))


class BoundedRecursion(nn.Module):
    """A depth argument in Python bounds what the data may ask for."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def go(self, x, depth):
        if depth == 0:
            return x, 0
        y = self.layer(x)
        if y.sum() > 0:
            z, n = self.go(y, depth - 1)
            return z, n + 1
        return y, 0

    def forward(self, x):
        return self.go(x, 4)

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class UnboundedRecursion(nn.Module):
    """Only the data ends it."""

    def shrink(self, x):
        if x.norm() < 1:
            return x
        return self.shrink(x * 0.5)

    def forward(self, x):
        return self.shrink(x)

    inputs = staticmethod(lambda seed: (rand(seed, 3) * 3,))


class MutualRecursion(nn.Module):
    PATHS = 3

    def even(self, x, n):
        if n == 0:
            return x
        return self.odd(x + 1 if x.mean() > 0 else x - 1, n - 1)

    def odd(self, x, n):
        if n == 0 or x.sum() > 4:
            return -x
        return self.even(x * 1.5, n - 1)

    def forward(self, x):
        return self.even(x, 4)

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class ShiftReduce(nn.Module):
    """A parser's stack in a Python list, its actions from the data."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.compose = nn.Linear(6, 3)
        self.action = nn.Linear(3, 1)

    def forward(self, words):
        stack = []
        for word in words:
            stack.append(word)
            if len(stack) >= 2 and self.action(stack[-1] + stack[-2]) > 0:
                right, left = stack.pop(), stack.pop()
                stack.append(torch.tanh(self.compose(torch.cat([left, right]))))
        return torch.stack(stack).sum(0), len(stack)

    inputs = staticmethod(lambda seed: (rand(seed, 4, 3) * 2,))


class ArityByToken(nn.Module):
    """A program of tokens, each of which says how many arguments it takes: where the next one begins, the calls tell, up to a bound."""

    def __init__(self, most=4):
        super().__init__()
        self.most, self.names = most, {0: "leaf", 1: "unary", 2: "binary"}
        self.unary, self.binary, self.tokens = nn.Linear(4, 4), nn.Bilinear(4, 4, 4), nn.Linear(4, 3 * most)

    def run(self, x, program, at):
        name = self.names[program[at].item()] if at < self.most else "leaf"
        at += 1
        if name == "leaf":
            return x, at
        given = []
        while len(given) < {"unary": 1, "binary": 2}[name]:
            y, at = self.run(x, program, at)
            given.append(y)
        return getattr(self, name)(*given), at

    def forward(self, x):
        return self.run(x, self.tokens(x).view(self.most, 3).argmax(1), 0)

    inputs = staticmethod(lambda seed: (rand(seed, 4) * 3,))
