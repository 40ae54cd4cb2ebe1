"""State from call to call: buffers, counters, attributes, globals."""

import dataclasses

import torch
import torch.nn as nn
from programs.data import rand

CALLS = 0
HISTORY = {"large": 0}


class OneInput(nn.Module):
    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),)


class EmaBuffer(OneInput):
    def __init__(self):
        super().__init__()
        self.register_buffer("ema", torch.zeros(4))
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, x):
        self.steps += 1
        self.ema.mul_(0.9).add_(x.mean(0), alpha=0.1)
        if self.ema.norm() > 0.3:
            return x - self.ema
        return x


class EmaReassigned(OneInput):
    """The buffer is replaced, not written."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        if x.std() > 1:
            self.mean = 0.5 * self.mean + 0.5 * x.mean(0)
        return x - self.mean


class Counter(OneInput):
    def __init__(self):
        super().__init__()
        self.count = 0
        self.total = 0.0

    def forward(self, x):
        if x.sum() > 0:
            self.count += 1
            self.total += x.max().item()
        if self.count > 3:
            self.count = 0
        return x * self.count, self.total

    PATHS = 3


class WarmUp(OneInput):
    """A counter decides, together with data."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls < 4:
            return x
        if self.calls % 2 == 0 and x.mean() > 0:
            return x * 2
        return -x


class FlagAttribute(OneInput):
    def __init__(self):
        super().__init__()
        self.seen_large = False

    def forward(self, x):
        if x.max() > 2:
            self.seen_large = True
        return x / 2 if self.seen_large else x


class BatchNormTraining(OneInput):
    """Running statistics, written by torch itself, behind a gate."""

    TRAIN = True

    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm1d(4)

    def forward(self, x):
        if x.var() > 0.5:
            x = self.bn(x)
        return x

    @staticmethod
    def inputs(seed):
        return (rand(seed, 3, 4),)


class LastOutput(OneInput):
    """The last hidden state is kept in an attribute."""

    def __init__(self):
        super().__init__()
        self.cell = nn.RNNCell(4, 4)
        self.hidden = torch.zeros(2, 4)

    def forward(self, x):
        self.hidden = self.cell(x, self.hidden)
        if self.hidden.abs().mean() > 0.6:
            self.hidden = torch.zeros_like(self.hidden)
        return self.hidden


class GlobalCounter(OneInput):
    def forward(self, x):
        global CALLS
        CALLS += 1
        if x.sum() > 0:
            HISTORY["large"] += 1
        return x * CALLS, HISTORY["large"]


class DictState(OneInput):
    def __init__(self):
        super().__init__()
        self.stats = {"max": 0.0, "n": 0}

    def forward(self, x):
        m = x.max().item()
        if m > self.stats["max"]:
            self.stats["max"] = m
            self.stats["n"] += 1
        return x - self.stats["max"]


class NestedState(nn.Module):
    """A submodule that is called twice keeps a counter of its own."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.inner = Counter()

    def forward(self, x):
        y, _ = self.inner(x)
        if y.sum() > 2:
            y, _ = self.inner(-x)
        return y, self.inner.count

    inputs = staticmethod(OneInput.inputs)


class Momentum(OneInput):
    """Writes a parameter in place, as online learning does."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.velocity = torch.zeros(4)

    @torch.no_grad()
    def forward(self, x):
        y = x * self.weight
        error = y.mean(0) - 0.5
        if error.norm() > 0.5:
            self.velocity = 0.9 * self.velocity + error
            self.weight -= 0.01 * self.velocity
        return y


class Codebook(OneInput):
    """VQ: dead codes are replaced by data."""

    def __init__(self):
        super().__init__()
        self.register_buffer("codes", torch.randn(3, 4))
        self.register_buffer("usage", torch.ones(3))

    def forward(self, x):
        index = torch.cdist(x, self.codes).argmin(-1)
        self.usage.mul_(0.7)
        self.usage.index_add_(0, index, torch.ones(x.shape[0]))
        dead = self.usage < 0.2
        if dead.any():
            self.codes[dead] = x[0]
            self.usage[dead] = 1.0
        return self.codes[index], index


class RaiseAfterWrite(OneInput):
    """What was written before the exception stays written."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.errors = 0

    def forward(self, x):
        self.seen += 1
        if x.sum() > 3:
            self.errors += 1
            raise ValueError("too large")
        return x * self.seen


class MomentumEncoder(OneInput):
    """MoCo: He et al. 2020. The key encoder's weights are assigned, and its step depends on the data."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(4, 3), nn.Linear(4, 3)

    @torch.no_grad()
    def forward(self, x):
        q = self.query(x)
        keep = 0.5 if q.mean() > 0 else 0.9
        for mine, theirs in zip(self.key.parameters(), self.query.parameters()):
            mine.data = mine.data * keep + theirs.data * (1.0 - keep)
        return (q * self.key(x)).sum(-1)


class Cache:
    """A piece of one buffer, and how much of it is taken."""

    def __init__(self, data, length):
        self.data, self.length = data, length

    def put(self, rows):
        start = self.length.item()
        self.data.narrow(0, start, rows.shape[0]).copy_(rows)
        self.length.add_(rows.shape[0])
        return self.data.narrow(0, 0, start + rows.shape[0])


class CachesInOneBuffer(OneInput):
    """Medusa, Cai et al. 2024: key and value caches are rows of one tensor, their lengths elements of another, which is zeroed at once."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.data, self.lengths = torch.zeros(2, 8, 4), torch.zeros(2, dtype=torch.long)
        self.caches = [Cache(self.data[i], self.lengths[i]) for i in range(2)]

    def forward(self, x):
        if self.lengths[0] > 4 or x.sum() > 3:
            self.lengths.zero_()
        keys, values = (cache.put(x * (i + 1)) for i, cache in enumerate(self.caches))
        return (x @ keys.t()).softmax(-1) @ values, self.lengths.clone(), self.data.sum()


@dataclasses.dataclass
class Heard:
    tokens: list = dataclasses.field(default_factory=list)
    last: int = 0


class HeardAnew(OneInput):
    """A streaming decoder: what it keeps is written from call to call, and another object stands there after an end."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.heard = Heard()

    def forward(self, x):
        if x.sum() > 0:
            self.heard.tokens.append(int(x[0, 0] * 10))
            self.heard.last += 1
        heard = self.heard
        if len(heard.tokens) >= 3 or x[0, 1] > 1.5:
            self.heard = Heard()
        return len(heard.tokens), heard.last, sum(heard.tokens)
