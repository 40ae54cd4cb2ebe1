# ruff: noqa: B007, B904, E501, UP045 (written as users write)
"""Loops whose number of turns depends on the data."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand, whole


class AdaptiveComputation(nn.Module):
    """Graves' ACT: halting probabilities add up to one."""

    PATHS = 3

    def __init__(self, max_steps=6):
        super().__init__()
        self.cell = nn.GRUCell(4, 5)
        self.halt = nn.Linear(5, 1)
        self.halt.weight.data *= 5
        self.max_steps = max_steps

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 5)
        total = x.new_zeros(x.shape[0], 1)
        out = torch.zeros_like(h)
        steps = 0
        while steps < self.max_steps and (total < 0.99).any():
            h = self.cell(x, h)
            p = torch.sigmoid(self.halt(h))
            p = torch.where(total + p > 0.99, 1 - total, p)
            out = out + p * h
            total = total + p
            steps += 1
        return out, steps

    inputs = staticmethod(lambda seed: (rand(seed, 2, 4) * 2,))


class ActForLoop(nn.Module):
    """The same, with a for and a break."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.cell = nn.RNNCell(4, 4)
        self.halt = nn.Linear(4, 1)

    def forward(self, x):
        h = torch.zeros(1, 4)
        remainder, accumulated = 1.0, 0.0
        states = 0
        for step in range(5):
            h = self.cell(x, h)
            p = torch.sigmoid(self.halt(h)).item()
            if accumulated + p >= 0.95 or step == 4:
                states = states + remainder * h
                break
            accumulated += p
            remainder -= p
            states = states + p * h
        return states, step + 1, remainder

    inputs = staticmethod(lambda seed: (rand(seed, 1, 4) * 2,))


class PonderNet(nn.Module):
    """Halts by Bernoulli draws; all steps' outputs are kept."""

    PATHS = 3

    def __init__(self, max_steps=5):
        super().__init__()
        self.max_steps = max_steps
        self.cell = nn.GRUCell(4, 4)
        self.out = nn.Linear(4, 2)
        self.lam = nn.Linear(4, 1)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 4)
        un_halted = h.new_ones((h.shape[0],))
        halted = h.new_zeros((h.shape[0],))
        p_m = h.new_zeros((h.shape[0],))
        p, y = [], []
        for n in range(1, self.max_steps + 1):
            if n == self.max_steps:
                lambda_n = h.new_ones(h.shape[0])
            else:
                lambda_n = torch.sigmoid(self.lam(h))[:, 0]
            p_n = un_halted * lambda_n
            p.append(p_n)
            y.append(self.out(h))
            halt = torch.bernoulli(lambda_n) * (1 - halted)
            p_m = p_m * (1 - halt) + p_n * halt
            un_halted = un_halted * (1 - lambda_n)
            halted = halted + halt
            if not self.training and halted.sum() == h.shape[0]:
                break
            h = self.cell(x, h)
        return torch.stack(p), torch.stack(y), p_m

    inputs = staticmethod(lambda seed: (rand(seed, 2, 4),))


class FixedPoint(nn.Module):
    """Iterates until the step is small (deep equilibrium)."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 4) * 0.2)

    def forward(self, x):
        z = torch.zeros_like(x)
        while True:
            new = torch.tanh(z @ self.w + x)
            if (new - z).norm() < 1e-3:
                break
            z = new
        return new

    inputs = staticmethod(lambda seed: (rand(seed, 2, 4),))


class FixedPointCapped(nn.Module):
    PATHS = 2

    def __init__(self, cap=6):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 4) * 0.1)
        self.cap = cap

    def forward(self, x):
        z, residuals = torch.zeros_like(x), []
        for i in range(self.cap):
            new = torch.tanh(z @ self.w + x)
            residual = (new - z).norm().item()
            residuals.append(residual)
            z = new
            if residual < 0.05:
                break
        return z, residuals

    inputs = staticmethod(lambda seed: (rand(seed, 2, 4),))


class NewtonRoot(nn.Module):
    """A while over Python floats."""

    PATHS = 3

    def forward(self, x):
        target = x.abs().sum().item()
        guess = 1.0
        while abs(guess * guess - target) > 1e-3:
            guess = 0.5 * (guess + target / guess)
        return x / guess, guess

    inputs = staticmethod(lambda seed: (rand(seed, 3) + 0.5,))


class RangeItem(nn.Module):
    PATHS = 3

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x, n):
        for _ in range(n.item()):
            x = torch.relu(self.layer(x))
        return x

    inputs = staticmethod(lambda seed: (rand(seed, 2, 4), whole(seed, 0, 5)))


class RangeItemIndex(nn.Module):
    """The loop's variable is used in numbers and in a tensor's index."""

    PATHS = 3

    def forward(self, x, n):
        total = 0
        for i in range(int(n)):
            x[i] = x[i] * (i + 1)
            total += i
        return x, total

    inputs = staticmethod(lambda seed: (rand(seed, 5, 2), whole(seed, 0, 6)))


class WhileTensor(nn.Module):
    PATHS = 3

    def forward(self, x):
        while x.sum() > 1:
            x = x / 2
        return x

    inputs = staticmethod(lambda seed: (rand(seed, 3) * 4,))


class WhileCounter(nn.Module):
    """Tensor and counter both in the test; continue in the body."""

    PATHS = 3

    def forward(self, x):
        i, skipped = 0, 0
        while i < 20 and x.max() > 0.1:
            i += 1
            if x.min() < -1:
                x = x + 0.5
                skipped += 1
                continue
            x = x * 0.7
        return x, i, skipped

    inputs = staticmethod(lambda seed: (rand(seed, 3) * 2,))


class WhileElse(nn.Module):
    PATHS = 3

    def forward(self, x):
        n = 0
        while n < 4:
            if x.abs().max() < 0.5:
                status = "small"
                break
            x = x * 0.6
            n += 1
        else:
            status = "gave up"
            x = x.clamp(-0.5, 0.5)
        return x, status

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class ForElse(nn.Module):
    PATHS = 3

    def __init__(self):
        super().__init__()
        self.detectors = nn.ModuleList(nn.Linear(4, 1) for _ in range(3))

    def forward(self, x):
        for i, detector in enumerate(self.detectors):
            if detector(x).sum() > 0.3:
                label = i
                break
        else:
            label = -1
        return label, x * label

    inputs = staticmethod(lambda seed: (rand(seed, 1, 4),))


class NestedBreaks(nn.Module):
    PATHS = 4

    def forward(self, x):
        hits = 0
        for i in range(3):
            for j in range(3):
                if x[i, j] < -0.5:
                    break
                if x[i, j] > 1:
                    continue
                hits += 1
            else:
                hits += 10
        return x.sum() * hits, hits

    inputs = staticmethod(lambda seed: (rand(seed, 3, 3),))


class NestedWhile(nn.Module):
    """A loop that ends by data inside another."""

    PATHS = 3

    def forward(self, x):
        outer = inner = 0
        while x.norm() > 0.5:
            while x.max() > 1:
                x = x - 0.3
                inner += 1
            x = x * 0.5
            outer += 1
        return x, outer, inner

    inputs = staticmethod(lambda seed: (rand(seed, 3) * 2,))


class Bisection(nn.Module):
    """Two bounds are tightened; floats are carried."""

    PATHS = 3

    def forward(self, x):
        low, high = x.min().item() - 1.0, x.max().item() + 1.0
        for _ in range(6):
            mid = (low + high) / 2
            if (x > mid).sum() >= 2:
                low = mid
            else:
                high = mid
        return (x > low).float() * x, low, high

    inputs = staticmethod(lambda seed: (rand(seed, 4),))


class PowerIteration(nn.Module):
    PATHS = 3

    def __init__(self):
        super().__init__()
        self.register_buffer("a", torch.tensor([[2.0, 0.5], [0.5, 1.0]]))

    def forward(self, v):
        last = torch.tensor(0.0)
        for step in range(8):
            v = F.normalize(self.a @ v, dim=0)
            value = v @ self.a @ v
            if torch.abs(value - last) < 1e-2:
                break
            last = value
        return value, step

    inputs = staticmethod(lambda seed: (rand(seed, 2),))


class LoopUntilPositive(nn.Module):
    """for over an iterator with next(), left by StopIteration's default."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

    def forward(self, x):
        pending = iter(self.layers)
        layer = next(pending, None)
        while layer is not None and x.sum() < 1:
            x = layer(x) + 0.2
            layer = next(pending, None)
        return x

    inputs = staticmethod(lambda seed: (rand(seed, 1, 3),))


class GrowingList(nn.Module):
    """A list grows in a loop that the data ends."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.cell = nn.RNNCell(3, 3)

    def forward(self, x):
        h, states = torch.zeros_like(x), []
        while len(states) < 5:
            h = self.cell(x, h)
            states.append(h)
            if h.norm() > 0.9:
                break
        return torch.stack(states, dim=1)

    inputs = staticmethod(lambda seed: (rand(seed, 1, 3),))


class EnumerateHits(nn.Module):
    """enumerate and zip over rows whose number the data decides."""

    PATHS = 1

    def forward(self, x):
        total = torch.zeros(())
        for n, i in enumerate((x > 0).nonzero(as_tuple=True)[0], start=1):
            total = total + x[i] / n
        low, order = (x < 0).nonzero(as_tuple=True)[0], x.argsort()
        for i, j in zip(low, order):
            total = total * 0.5 + x[i] - x[j]
        for i, j in zip(low.tolist(), low.flip(0).tolist()):
            total = total + x[i] * x[j]
        return total

    @staticmethod
    def inputs(seed):
        return (rand(seed, 5),)


class TransformerUntilHalt(nn.Module):
    """Long chains of operations from constants alone and from data meet in the test."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True)
        self.halt = nn.Linear(4, 1)

    def forward(self, x):
        p = torch.zeros(x.shape[:2])
        n = torch.zeros(x.shape[:2])
        while ((p < 0.9) & (n < 4)).any():
            q = torch.sigmoid(self.halt(x)).squeeze(-1)
            going = (p < 1.0).float()
            stops = (p + q * going > 0.9).float() * going
            going = (p + q * going <= 0.9).float() * going
            p = p + q * going
            p = p + stops * (1 - p)
            n = n + going + stops
            x = self.layer(x)
        return x, n

    @staticmethod
    def inputs(seed):
        return (rand(seed, 1, 3, 4),)


class LongList(nn.Module):
    """A loop over a list hides where it stands: it is never rolled, however long."""

    def forward(self, x):
        for _ in [None] * 50:
            if x.sum() > 0:
                x = x - 0.2
        return x

    @staticmethod
    def inputs(seed):
        return (rand(seed, 3),)


class ColumnOfScratch(nn.Module):
    """A solver's step: the derivatives stand in the columns of a scratch tensor, the last one begins the next step if it is accepted."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.f = nn.Linear(3, 3)

    def step(self, y, f, h):
        k = torch.empty(*y.shape, 3)
        k[..., 0] = f
        for i in range(2):
            k[..., i + 1] = torch.tanh(self.f(y + h * k[..., : i + 1].sum(-1)))
        return y + h * k.mean(-1), k[..., -1], (k[..., 2] - k[..., 1]).abs().max()

    def forward(self, y):
        t, h = torch.zeros(()), torch.tensor(0.5)
        f = torch.tanh(self.f(y))
        steps = 0
        while t < 4:
            y_next, f_next, error = self.step(y, f, h)
            accept = error <= 0.3
            if h <= 0.05:
                accept = True
            if accept:
                t, y, f = t + h, y_next, f_next
            h = (h * torch.where(error < 0.1, 1.5, 0.7)).clamp(0.05, 1.0)
            steps += 1
        return y, f, steps

    inputs = staticmethod(lambda seed: (rand(seed, 2, 3) * 2,))


class WindowOfTurn(nn.Module):
    """A slice at the turn's place has one element: the turn is never below zero, nor beyond the last."""

    def forward(self, x):
        level = torch.zeros(())
        for i in range(x.size(0)):
            now = x[i : i + 1]
            level = torch.tanh(0.5 * level + now.squeeze(0))
            if level > 0.9:
                level = level - now.squeeze(0)
        return level

    @staticmethod
    def inputs(seed):
        return (rand(seed, 60),)


class BackAndForth(nn.Module):
    """Two counters, one that falls, and a third that does both."""

    def forward(self, x):
        low, high, at = 0, x.size(0) - 1, 30
        while low < high and x[low : low + 1].sum() + x[high] > -1.5:
            if x[at] > 0:
                at = max(at - 2, 0)
            else:
                at = min(at + 1, 59)
            low, high = low + 1, high - 1
        return x[low : high + 1].sum(), at

    @staticmethod
    def inputs(seed):
        return (rand(seed, 60),)


class PlacesInRanges(nn.Module):
    """A range of unknown length is asked for its last number, for one that it has not, for a part, and whether it is another."""

    def forward(self, x):
        n = int((x > 0).sum())
        last = range(1, n)[-1] if n > 1 else None
        try:
            third = range(0, 2 * n, 2)[2]
        except IndexError as error:
            third = str(error)
        return last, third, [i for i in range(n + 1)[1:]], range(n)[:-1][-1] if n > 2 else -1, range(n) == range(3), range(n) == range(1, n)

    inputs = staticmethod(lambda seed: (rand(seed, 5),))
