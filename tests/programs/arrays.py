"""NumPy on a tensor's own memory: what torch has a twin for is part of the program."""

import math

import numpy as np
import torch
import torch.nn as nn
from programs.data import rand


def eighths(seed, *shape):
    """Numbers whose sums are exact in any order."""
    return (rand(seed, *shape) * 8).round() / 8 + 1 / 16


class ThereAndBack(nn.Module):
    """A branch on numpy's argmax; results go back to torch in three ways."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        y = self.layer(x).detach().cpu().numpy()
        if int(np.argmax(y)) > 1:
            return torch.from_numpy(np.maximum(y, 0))
        return torch.as_tensor(y * 2), torch.tensor(y[:, :2])

    inputs = staticmethod(lambda seed: (rand(seed, 1, 4),))


class ChosenByNumpy(nn.Module):
    """np.where finds how many there are."""

    def forward(self, x):
        a = x.numpy()
        chosen = np.where(a > a.mean())[0]
        if len(chosen) < 2:
            return torch.zeros(1), a.shape, a.dtype == np.float32
        return x[torch.from_numpy(chosen)], chosen.shape[0]

    inputs = staticmethod(lambda seed: (eighths(seed, 4),))


class RowsOfAnArray(nn.Module):
    """A loop over an array, numbers out of it, and a test for its class."""

    def forward(self, x):
        if isinstance(x, torch.Tensor):
            x = x.numpy()
        total = 0.0
        for row in x if isinstance(x, np.ndarray) else ():
            if row.sum() > 0:
                total += float(row.max())
        return total

    inputs = staticmethod(lambda seed: (eighths(seed, 3, 2),))


class WrittenInNumpy(nn.Module):
    """A write into the array is one into the tensor."""

    def forward(self, x):
        y = x.clone()
        a = y.numpy()
        a[a < 0] = 0
        if a.sum() > 1:
            a[0] += 1
        return y

    inputs = staticmethod(lambda seed: (eighths(seed, 4),))


class ArraysReturned(nn.Module):
    """Arrays and NumPy's scalars are what the caller gets."""

    def forward(self, x):
        a = np.cumsum(x.numpy())
        if a[-1] > 0:
            return a, a.max(), np.sign(a)
        return np.stack([a, a]), a.astype(np.float64), [np.clip(a, -1, 1)]

    inputs = staticmethod(lambda seed: (eighths(seed, 4),))


class ArrayOfNumbers(nn.Module):
    """np.array of numbers that were read from tensors."""

    def forward(self, x):
        a = np.array([t.item() for t in x])
        b = np.concatenate([a, a[np.asarray([1, 0])]])
        if a.argmin() == 0:
            return torch.tensor(b).float(), b.tolist()[0]
        return torch.from_numpy(b), len(b)

    inputs = staticmethod(lambda seed: (eighths(seed, 3),))


class ScalarsInTorch(nn.Module):
    """NumPy's scalars as torch's numbers: bounds of slices, sizes, factors, in Python's own lists, loops and text."""

    def forward(self, x):
        counts = (x > 0).sum(0).numpy()
        names, top, end = ["none", "one", "two", "three", "four"], x.numpy().max(), 0
        parts = []
        for n in counts:
            begin, end = end, min(end + n, len(x))
            parts.append(x[begin:end].sum() * n)
        for i in range(counts[0]):
            parts.append(x[i].clamp(max=x.numpy().mean()).sum())
        chosen = x[:, 0].topk(counts.max())[0], x[np.argsort(counts)], x[x[:, 1].numpy() > 0]
        rest = top * x - counts[1], torch.zeros(counts[1]), torch.full((2,), top), math.sqrt(counts[0]), x > top
        kinds = [isinstance(top, k) for k in (np.generic, np.floating, np.ndarray, int, float)], type(counts[0])
        return torch.stack(parts), chosen, rest, kinds[0], kinds[1] is np.int64, names[counts[1]], f"{counts[0]} and {top:.3f}"

    inputs = staticmethod(lambda seed: (eighths(seed, 4, 2),))


class TensorPlusArray(nn.Module):
    """What NumPy adds to a tensor is a tensor, with NumPy's dtype."""

    def forward(self, x):
        a = x.numpy()[0].astype(np.float64)
        if a[0] > 0:
            return x + a, x.long() * a
        return x - x.numpy(), np.float32(2) * x

    inputs = staticmethod(lambda seed: (eighths(seed, 3, 2),))


class DoublesOfIntegers(nn.Module):
    """Integers give NumPy's doubles, numbers give its scalars, from functions that are no ufuncs too."""

    PATHS = 1

    def forward(self, x):
        count, first = int((x > 0).sum()), x[0].item()
        pair = np.array([count, 2])
        divided = np.divide(count, 2), np.true_divide(count, 4), pair / np.array([2, 4]), np.divide(np.arange(3), count + 1)
        angle = np.hypot(count, 3), np.arctan2(count, 2), np.copysign(count, -1)
        scalars = np.clip(first, -1, 1), np.clip(count, 0, 2), np.clip(count, 0.5, 2), np.nan_to_num(first), np.round(first * 4)
        return divided, angle, scalars

    inputs = staticmethod(lambda seed: (rand(seed, 4),))
