"""State that changes its structure from call to call: None, tensors that grow, lists, dicts, records."""

import collections
from dataclasses import dataclass

import torch
import torch.nn as nn
from programs.data import rand
from programs.state import OneInput

RECENT = []


class NoneToTensor(OneInput):
    """The first call makes the state."""

    def __init__(self):
        super().__init__()
        self.previous = None

    def forward(self, x):
        if self.previous is None:
            change = torch.zeros(())
        else:
            change = (x - self.previous).norm()
        self.previous = x.clone()
        if change > 2:
            return x * 0
        return x + change


class CacheGrows(OneInput):
    """A key-value cache in the module grows with every call."""

    def __init__(self):
        super().__init__()
        self.cache = None

    def forward(self, x):
        self.cache = x if self.cache is None else torch.cat([self.cache, x])
        if self.cache.sum() > 0:
            return self.cache.mean(0)
        return x.mean(0)

    RUNS = 6


class ListAttribute(OneInput):
    """A log in a list of the module, kept from call to call without end."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def forward(self, x):
        if x.sum() > 0:
            self.losses.append(x.mean().item())
        return x

    RUNS = 6


class ListReset(OneInput):
    """The list is filled anew in each call and handed out: only scratch."""

    def __init__(self):
        super().__init__()
        self.features = []

    def forward(self, x):
        self.features = []
        for scale in (1, 2, 3):
            self.features.append(x * scale)
        if x.sum() > 0:
            return torch.stack(self.features).sum(0)
        return x

    RUNS = 8


class OnlyWritten(OneInput):
    """Kept for whoever wants to look, read by no call: no form depends on it."""

    FORMS = 1

    def __init__(self):
        super().__init__()
        self.weights = None

    def forward(self, x):
        self.weights = torch.softmax(x, -1)
        if x.sum() > 0:
            self.parts = [x, x.sum().item()]
            return x
        return -x


class ReadLater(OneInput):
    """Read on one path only."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.last = None

    def forward(self, x):
        if x.sum() > 0 and self.last is not None:
            x = x + self.last
        self.last = x
        return x


class KeysAndValues(OneInput):
    """Both caches grow together, transposed as attention wants them; emptied when full."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))
        self.keys = None
        self.values = None

    def heads(self, x):
        return x.view(1, -1, 2, 2).transpose(1, 2)

    def forward(self, x):
        k, v = self.heads(self.k(x)), self.heads(self.v(x))
        if self.keys is not None:
            k, v = torch.cat([self.keys, k], dim=2), torch.cat([self.values, v], dim=2)
        self.keys, self.values = k, v
        y = torch.softmax(self.heads(self.q(x)) @ k.transpose(2, 3), -1) @ v
        if k.shape[2] > 8:
            self.keys = self.values = None
        if y.sum() > 0:
            return y, k.shape[2]
        return -y, k.shape[2]

    PATHS = 4


class BufferGrows(OneInput):
    """A buffer that is empty at first and grows."""

    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.zeros(0, 4))

    def forward(self, x):
        if x.sum() > 0:
            self.memory = torch.cat([self.memory, x])
        return self.memory.sum(0), self.memory.shape[0]


class BufferNone(OneInput):
    """A buffer that is registered as None."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", None)

    def forward(self, x):
        if self.scale is None:
            self.scale = x.abs().max()
        elif x.sum() > 0:
            self.scale = torch.maximum(self.scale, x.abs().max())
        return x / self.scale


class Absent(OneInput):
    """The attribute is made by the first call."""

    PATHS = 3

    def forward(self, x):
        if not hasattr(self, "seen"):
            self.seen = x.mean(0)
            return x
        if (x.mean(0) - self.seen).sum() > 0:
            self.seen = x.mean(0)
        return x + self.seen


class Deleted(OneInput):
    """The attribute is deleted when the data says so."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.bias = torch.ones(4)

    def forward(self, x):
        y = x + self.bias if hasattr(self, "bias") else x
        if x.sum() > 1:
            if hasattr(self, "bias"):
                del self.bias
        elif x.sum() < -1:
            self.bias = x[0] * 2
        return y


class ReadyFlag(OneInput):
    """A flag says whether the tensor is there: no path is without code."""

    PATHS = 3
    TRAPS = 0

    def __init__(self):
        super().__init__()
        self.ready = False
        self.memory = None

    def forward(self, x):
        if not self.ready:
            self.memory = x * 2
            self.ready = True
            return x
        if x.mean() > 0:
            self.memory = self.memory + x
        return self.memory


class Window(OneInput):
    """The last three inputs."""

    def __init__(self):
        super().__init__()
        self.last = []

    def forward(self, x):
        self.last.append(x)
        if len(self.last) > 3:
            self.last.pop(0)
        y = torch.stack(self.last).mean(0)
        if y.sum() > 0:
            return y
        return x


class DequeWindow(OneInput):
    def __init__(self):
        super().__init__()
        self.last = collections.deque(maxlen=2)

    def forward(self, x):
        y = sum(self.last, x)
        if y.sum() > 0:
            self.last.append(x)
        return y, len(self.last)


class NumbersUntilFull(OneInput):
    """A list of numbers, thrown away when full."""

    def __init__(self):
        super().__init__()
        self.scores = []

    def forward(self, x):
        if x.sum() > 0:
            self.scores.append(x.max().item())
        if len(self.scores) == 3:
            self.scores = []
        return x * sum(self.scores)


class DictGrows(OneInput):
    """Keys come in the order that data decides."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.best = {}

    def forward(self, x):
        name = "large" if x.sum() > 0 else "small"
        self.best[name] = torch.maximum(self.best[name], x) if name in self.best else x
        return torch.stack(list(self.best.values())).sum(0), list(self.best)


class TwoOrNone(OneInput):
    """Two attributes that come one by one."""

    PATHS = 4

    def __init__(self):
        super().__init__()
        self.low = None
        self.high = None

    def forward(self, x):
        if x.sum() > 0:
            self.high = x if self.high is None else torch.maximum(self.high, x)
        else:
            self.low = x if self.low is None else torch.minimum(self.low, x)
        if self.low is None or self.high is None:
            return x
        return self.high - self.low


class TupleState(OneInput):
    """An LSTM's hidden state as a tuple, None at first."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 3)
        self.state = None

    def forward(self, x):
        self.state = self.cell(x, self.state)
        h, c = self.state
        if c.abs().mean() > 0.3:
            self.state = None
        return h


class ModeString(OneInput):
    """A string says what comes next."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.mode = "warm"

    def forward(self, x):
        if self.mode == "warm":
            self.mode = "hot" if x.sum() > 0 else "cold"
            return x
        if self.mode == "cold":
            self.mode = "warm"
            return x - 1
        if x.sum() < 0:
            self.mode = "warm"
        return x + 1


@dataclass
class Stats:
    mean: torch.Tensor
    count: int = 0


class RecordState(OneInput):
    """A dataclass in an attribute."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.stats = None

    def forward(self, x):
        if self.stats is None:
            self.stats = Stats(x.mean(0))
        elif x.sum() > 0:
            self.stats = Stats((self.stats.mean + x.mean(0)) / 2, self.stats.count + 1)
        return x - self.stats.mean, self.stats.count


class RecordWritten(OneInput):
    """A dataclass whose fields are written."""

    def __init__(self):
        super().__init__()
        self.stats = Stats(torch.zeros(4))

    def forward(self, x):
        if x.sum() > 0:
            self.stats.mean = (self.stats.mean + x.mean(0)) / 2
            self.stats.count += 1
        return x - self.stats.mean, self.stats.count


class SameTensorTwice(OneInput):
    """Two names of one tensor, from the first call on; it is written in place through one of them."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.one = None
        self.other = None

    def forward(self, x):
        if self.one is None:
            self.one = self.other = x.clone()
        elif x.sum() > 0:
            self.one.add_(1)
        else:
            self.one = x.clone()
        return self.other + self.one


class ViewOfState(OneInput):
    """One attribute is a row of the other, and is written in place."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.table = None
        self.row = None

    def forward(self, x):
        if self.table is None:
            self.table = x.clone()
            self.row = self.table[0]
        if x.sum() > 0:
            self.row.mul_(2)
            return self.table.sum(0)
        return self.table - self.row


class CountThenTensor(OneInput):
    """A number that becomes a tensor, and a number of another type."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.total = 0

    def forward(self, x):
        if x.sum() > 0:
            self.total = self.total + x.sum()
        elif isinstance(self.total, torch.Tensor):
            self.total = self.total.item()
        else:
            self.total = self.total + 1
        return x * self.total


class GrowsOnAPath(OneInput):
    """Grows by rows that pass a threshold; used behind a shape test."""

    def __init__(self):
        super().__init__()
        self.kept = None

    def forward(self, x):
        new = x[x.sum(1) > 0]
        self.kept = new if self.kept is None else torch.cat([self.kept, new])[-5:]
        if self.kept.shape[0] == 0:
            return x
        return x + self.kept.max(0).values

    @staticmethod
    def inputs(seed):
        return (rand(seed, 3, 4),)


class RaiseAfterAppend(OneInput):
    """The list keeps what was appended before the exception."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.trail = []

    def forward(self, x):
        if len(self.trail) > 2:
            self.trail.clear()
        self.trail.append(x.sum())
        if x.sum() > 2:
            raise ValueError("too large")
        return x


class GlobalList(OneInput):
    """A list of the module's file."""

    def forward(self, x):
        if x.sum() > 0:
            RECENT.append(x.mean())
        if len(RECENT) > 2:
            del RECENT[:]
        return sum(RECENT, x)


class InnerCache(nn.Module):
    def __init__(self):
        super().__init__()
        self.cache = None

    def forward(self, x):
        self.cache = x if self.cache is None else torch.cat([self.cache, x], 0)
        return self.cache.mean(0, keepdim=True).expand_as(x)


class LayersWithCaches(OneInput):
    """One growing cache a layer, in submodules, behind gates."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(InnerCache() for _ in range(3))
        self.gate = nn.Linear(4, 1)

    def forward(self, x):
        for layer in self.layers:
            y = layer(x)
            if self.gate(y).mean() > 0:
                x = x + y
        return x


class NumberOfCalls(OneInput):
    """A counter counts turns of a loop and sizes."""

    def __init__(self):
        super().__init__()
        self.rounds = 1
        self.trace = None

    def forward(self, x):
        y = x
        while y.abs().max() < 3:
            y = y * 1.5
            self.rounds += 1
        self.trace = y if self.trace is None else self.trace + y
        return self.trace / self.rounds


class WriteIntoCache(OneInput):
    """A fixed cache written at a position that is counted and then wraps."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.cache = None
        self.position = 0

    def forward(self, x):
        if self.cache is None:
            self.cache = torch.zeros(3, 2, 4)
        self.cache[self.position] = x
        self.position = (self.position + 1) % 3
        y = self.cache.mean(0)
        if y.sum() > 0:
            return y
        return x


class WriteAtDataPosition(OneInput):
    """`cache[:, position] = k` at a position that the data decides."""

    def __init__(self):
        super().__init__()
        self.register_buffer("cache", torch.zeros(2, 5, 4))

    def forward(self, x):
        position = (x.abs().sum() * 7).long() % 5
        self.cache[:, position] = x
        if self.cache.sum() > 0:
            return self.cache.mean(1)
        return x


class WriteAtItem(WriteAtDataPosition):
    """The same with a Python number, and a slice up to it."""

    def forward(self, x):
        position = int((x.abs().sum() * 7).long() % 5)
        self.cache[:, position] = x
        seen = self.cache[:, : position + 1]
        if seen.sum() > 0:
            return seen.mean(1)
        return x


class EmaOfModel(OneInput):
    """An average of the weights, made by the first call."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.average = None

    @torch.no_grad()
    def forward(self, x):
        if self.average is None:
            self.average = {n: p.clone() for n, p in self.linear.named_parameters()}
        elif x.sum() > 0:
            for n, p in self.linear.named_parameters():
                p.add_(0.1)
                self.average[n].mul_(0.9).add_(p, alpha=0.1)
        return nn.functional.linear(x, self.average["weight"], self.average["bias"])


class KeptInput(OneInput):
    """The input itself is kept, and the next call writes into what it kept."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.kept = None

    def forward(self, x):
        if self.kept is not None and x.sum() > 0:
            self.kept.add_(x)
            x = x + self.kept
        self.kept = x
        return x * 2


class Sessions(OneInput):
    """A state for each user, whose number comes with the data; the one that was away longest goes when there are too many."""

    def __init__(self):
        super().__init__()
        self.sessions = collections.OrderedDict()
        self.cell = nn.GRUCell(4, 3)

    def forward(self, x):
        user = int(x.abs().sum()) % 4
        if user in self.sessions:
            self.sessions.move_to_end(user)
            hidden = self.sessions[user]
        else:
            hidden = torch.zeros(1, 3)
        hidden = self.cell(x[:1], hidden)
        self.sessions[user] = hidden
        if len(self.sessions) > 2:
            self.sessions.popitem(last=False)
        return hidden, len(self.sessions)

    RUNS = 6
