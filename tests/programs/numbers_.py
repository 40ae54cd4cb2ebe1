"""Python numbers read from tensors: arithmetic, comparisons, math, sizes."""

import math

import torch
import torch.nn as nn
from programs.data import rand, whole


class AdaptiveStep(nn.Module):
    """Euler with step doubling; step size and time are Python floats."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.field = nn.Linear(3, 3)

    def forward(self, y):
        t, h = 0.0, 0.4
        accepted = rejected = 0
        for _ in range(5):
            full = y + h * torch.tanh(self.field(y))
            half = y + h / 2 * torch.tanh(self.field(y))
            two = half + h / 2 * torch.tanh(self.field(half))
            error = (full - two).abs().max().item()
            if error < 0.01:
                y, t = two, t + h
                accepted += 1
                h = min(h * 1.5, 1.0)
            else:
                h = h * max(0.2, 0.9 * math.sqrt(0.01 / error))
                rejected += 1
        return y, t, h, accepted, rejected

    inputs = staticmethod(lambda seed: (rand(seed, 3) * 3,))


class Dopri(nn.Module):
    """A step-size controller over 0-d tensors, with torchdiffeq's factor rule."""

    PATHS = 2

    def optimal(self, last_step, error_ratio, safety=0.9, ifactor=10.0, dfactor=0.2, order=2):
        if error_ratio == 0:
            return last_step * ifactor
        if error_ratio < 1:
            dfactor = torch.ones((), dtype=last_step.dtype)
        error_ratio = error_ratio.type_as(last_step)
        exponent = torch.tensor(order, dtype=last_step.dtype).reciprocal()
        factor = torch.min(torch.as_tensor(ifactor), torch.max(safety / error_ratio**exponent, torch.as_tensor(dfactor)))
        return last_step * factor

    def forward(self, y):
        dt = torch.tensor(0.5)
        for _ in range(3):
            k1 = -y
            k2 = -(y + dt * k1)
            error = ((k2 - k1).abs() * dt / 2 / (0.05 + 0.1 * y.abs())).max()
            accept = error <= 1
            if accept:
                y = y + dt * (k1 + k2) / 2
            dt = self.optimal(dt, error)
        return y, dt

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class Arithmetic(nn.Module):
    PATHS = 2

    def forward(self, x):
        a, b = x.mean().item(), float(x.std())
        c = a * 2 + b / 3 - 1
        n = int(abs(c) * 3)
        k = math.floor(a * 5)
        if a < b < 2:
            c += 1
        return x * c + n, c, k, n, round(c, 2), max(a, b), math.exp(a), -a, abs(b), a**2, n % 3, n // 2, a // 0.5, a % 0.3, n / 7

    inputs = staticmethod(lambda seed: (rand(seed, 4),))


class IntegerMath(nn.Module):
    PATHS = 2

    def forward(self, n):
        k = n.item()
        odd = k % 2 == 1
        parts = (k + 3) // 4, -(-k // 4), k << 1, k & 3, k**2, divmod(k, 5)
        if odd:
            k = 3 * k + 1
        return k, odd, parts, k > 10, float(k) / 3

    inputs = staticmethod(lambda seed: (whole(seed, 0, 20),))


class ChainedCompare(nn.Module):
    PATHS = 4

    def forward(self, x):
        m = x.mean()
        if -0.2 < m < 0.2:
            return x
        if 0.2 <= m <= x.max() < 1.5:
            return x + 1
        if not m > 0 or x[0] == x[1] != x[2]:
            return x - 1
        return x * 3

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class Clamped(nn.Module):
    def forward(self, x):
        scale = min(max(x.max().item(), 0.5), 2.0)
        bias = max(0, int(x.sum().item()))
        if scale == 2.0:
            x = x / scale
        return x * scale + bias, scale, bias

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class NormClip(nn.Module):
    def forward(self, x, max_norm=1.5):
        total = x.norm()
        coefficient = max_norm / (total + 1e-6)
        if coefficient < 1:
            x = x * coefficient
        return x, float(total)

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class IsFinite(nn.Module):
    def forward(self, x):
        loss = x.sum().item()
        if math.isnan(loss) or math.isinf(loss):
            return torch.nan_to_num(x), False
        return x, math.isfinite(loss)

    @staticmethod
    def inputs(seed):
        x = rand(seed, 4)
        if seed % 3 == 1:
            x[seed % 4] = float("nan")
        if seed % 4 == 2:
            x[0] = float("inf")
        return (x,)


class Percentile(nn.Module):
    """Numbers become indices into a sorted tensor."""

    PATHS = 2

    def forward(self, x, q):
        ordered = x.sort().values
        position = q.item() * (x.numel() - 1)
        low = math.floor(position)
        high = math.ceil(position)
        if low == high:
            return ordered[low]
        return ordered[low] + (ordered[high] - ordered[low]) * (position - low)

    inputs = staticmethod(lambda seed: (rand(seed, 5), torch.tensor([0.0, 0.1, 0.25, 0.5, 0.77, 1.0][seed % 6])))


class BoolArithmetic(nn.Module):
    PATHS = 2

    def forward(self, x):
        up = (x.sum() > 0).item()
        high = bool(x.max() > 1)
        votes = up + high
        if votes == 2:
            x = x + 1
        return x * votes, votes, up and high, up is True, up == high, not up

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class TensorFromNumbers(nn.Module):
    PATHS = 2

    def forward(self, x):
        a, b = x.min().item(), x.max().item()
        span = b - a
        if span > 2:
            return torch.tensor([a, b, span])
        return torch.full((2,), span) + torch.tensor(a)

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class Accumulated(nn.Module):
    """sum(), min() and sorted() over numbers of gates."""

    PATHS = 3

    def forward(self, x):
        costs = []
        for row in x:
            if row.sum() > 0:
                costs.append(1.0)
                row.mul_(2)
            else:
                costs.append(0.25)
        total = sum(costs)
        return x, total, max(costs), total / len(costs)

    inputs = staticmethod(lambda seed: (rand(seed, 3, 2),))


class Hysteresis(nn.Module):
    """A state machine over strings."""

    PATHS = 3

    def forward(self, x):
        state, switches = "off", 0
        for value in x:
            if state == "off" and value > 0.8:
                state, switches = "on", switches + 1
            elif state == "on" and value < 0.2:
                state, switches = "off", switches + 1
        return state, switches, x.sum() * switches

    inputs = staticmethod(lambda seed: (rand(seed, 4),))


class BuiltinsPassedOn(nn.Module):
    """float, int, len and their like given to map and sorted."""

    def forward(self, x):
        mean, spread = map(float, (x.mean(), x.std()))
        order = sorted(x[0], key=float)
        counts = list(map(int, (x > 0).sum(0)))
        if mean > 0 and counts[0] < 2:
            return spread * mean, order[0]
        return sum(map(len, [x[x[:, 0] > 0], x])), order[-1], counts

    inputs = staticmethod(lambda seed: (rand(seed, 3, 2),))


class BoolsAsNumbers(nn.Module):
    """Bools of integers and of floats, together, with numbers, and where Python takes them for the integers that they are."""

    def forward(self, x):
        count, first = int((x > 0).sum()), x[0].item()
        two, up = count == 2, first > 0
        both = two | up, up & two, two == up, up != two, up ^ two, two | 2, 3 & up, True & two, False | up
        numbers = -two, +up, abs(up), ~two, two / 2, 7 // (two + 1), 2**up, two % 2, two - up, up * count, count + True
        compared = up > two, two <= 1, count > two, count < True, two == 1, up != first, max(two, up), min(count, True), max(two, count)
        compared += max(up, first), min(first, up), max(two, 1.5, first), min(0.5, two)
        parts = first.real, first.imag, count.numerator, count.denominator, two.real, hasattr(first, "imag"), hasattr(first, "numerator")
        close = math.isclose(first, x[1].item(), abs_tol=1.0), math.isclose(count, 2), math.isclose(first, first * (1 + 1e-10))
        return both, numbers, compared, parts, close, x[x > 0].__len__(), "{:>{w}} {:.{}f}".format(count, first, 2, w=5)

    inputs = staticmethod(lambda seed: (rand(seed, 4),))
