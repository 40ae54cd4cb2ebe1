"""One of several modules, functions or constants, picked by a number that the data decides."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand, whole


class Branches(nn.Module):
    PATHS = 3

    def __init__(self):
        super().__init__()
        self.pick = nn.Linear(6, 3)
        self.branches = nn.ModuleList([nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.ReLU()), nn.Identity()])

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 6) * 2,)


class ByItem(Branches):
    def forward(self, x):
        return self.branches[self.pick(x).mean(0).argmax().item()](x)


class ByTensor(Branches):
    def forward(self, x):
        index = self.pick(x).mean(0).argmax()
        return self.branches[index](x)


class ByInt(Branches):
    def forward(self, x):
        k = int(torch.argmax(self.pick(x)[0]))
        layer = self.branches[k]
        return layer(x) + k


class Twice(Branches):
    """The second pick depends on the first one's result."""

    PATHS = 4

    def forward(self, x):
        x = self.branches[self.pick(x)[0].argmax().item()](x)
        x = self.branches[self.pick(x)[1].argmax().item()](x)
        return x


class Negative(Branches):
    def forward(self, x):
        k = self.pick(x).sum(0).argmax().item()
        return self.branches[-k](x)


class Functions(nn.Module):
    PATHS = 3

    def forward(self, x, kind):
        activations = [torch.relu, torch.sigmoid, lambda t: t * 2, F.softplus]
        return activations[kind.item()](x)

    @staticmethod
    def inputs(seed):
        return rand(seed, 3), whole(seed, 0, 4)


class Constants(nn.Module):
    PATHS = 3

    def forward(self, x, kind):
        scale = (0.5, 1.0, 4.0)[kind.item()]
        name = ["low", "mid", "high"][kind.item()]
        return x * scale, name, scale

    @staticmethod
    def inputs(seed):
        return rand(seed, 3), whole(seed, 0, 3)


class DictByItem(nn.Module):
    PATHS = 2

    def forward(self, x, kind):
        table = {0: x + 1, 1: x * 2, 2: -x}
        k = kind.item()
        if k in table:
            return table[k]
        return x

    @staticmethod
    def inputs(seed):
        return rand(seed, 3), whole(seed, 0, 5)


class OutOfRange(nn.Module):
    """Python's own IndexError where the data asks for what is not there."""

    PATHS = 3

    def forward(self, x, kind):
        factors = [1.0, 2.0, 3.0]
        try:
            return x * factors[kind.item()]
        except IndexError:
            return x

    @staticmethod
    def inputs(seed):
        return rand(seed, 3), whole(seed, 0, 5)


class MatchItem(Branches):
    PATHS = 3

    def forward(self, x):
        match self.pick(x)[0].argmax().item():
            case 0:
                y = self.branches[0](x)
            case 1:
                y = self.branches[1](x) * 2
            case _:
                y = x
        return y


class MatchGuard(nn.Module):
    PATHS = 3

    def forward(self, x, n):
        match (n.item(), x.mean().item()):
            case (0, _):
                return x
            case (k, m) if m > 0:
                return x * k
            case (k, m):
                return x - m

    @staticmethod
    def inputs(seed):
        return rand(seed, 3), whole(seed, 0, 3)


class ElifChain(nn.Module):
    PATHS = 4

    def forward(self, x, n):
        n = n.item()
        if n == 0:
            return x.sum()
        elif n == 1:
            return x.mean()
        elif n in (2, 3):
            return x.max()
        else:
            return x.min()

    @staticmethod
    def inputs(seed):
        return rand(seed, 3), whole(seed, 0, 6)


class EmbeddingByTask(nn.Module):
    """A task id in a tensor picks head and norm."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleDict({"0": nn.Linear(4, 2), "1": nn.Linear(4, 5)})

    def forward(self, x, task):
        return self.heads[str(int(task))](x)

    @staticmethod
    def inputs(seed):
        return rand(seed, 2, 4), whole(seed, 0, 2)


class LayerDepth(nn.Module):
    """The data says how many of the layers run."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))

    def forward(self, x, depth):
        for i, layer in enumerate(self.layers):
            if i >= depth:
                break
            x = torch.relu(layer(x))
        return x

    @staticmethod
    def inputs(seed):
        return rand(seed, 2, 4), whole(seed, 0, 5)


class RowPick(nn.Module):
    """A symbolic index into a tensor is plain tensor code."""

    def forward(self, x, i):
        k = i.item()
        row = x[k]
        if row.sum() > 0:
            return row, x[: k + 1].sum()
        return x[k, 1:], x[k:].sum()

    @staticmethod
    def inputs(seed):
        return rand(seed, 4, 3), whole(seed, 0, 4)


class MethodOfATensor(nn.Module):
    """A bound method of one of several tensors, or of a list with one of them, is called behind the join of the paths that bind it."""

    def forward(self, x, y):
        if x.sum() > y.sum():
            act, kept = x.add, [x]
        else:
            act, kept = y.add, [y]
        put = kept.append
        for v in (x, y):
            act = act(v).mul if v.mean() > 0 else act(-v).mul
            put(v * 2)
        return act(3), kept

    inputs = staticmethod(lambda seed: (rand(seed, 3), rand(seed, 3, salt=1)))
