# ruff: noqa: B006, B019, RUF012, UP033 (written as users write)
"""Models whose calls write what is not theirs: globals, attributes of classes, default arguments, attributes of functions, caches."""

import collections
import functools

import torch
from capture import outside_helper
from capture.outside_helper import CALLED, SHARED, Tracker, bump
from torch import nn

CALLS = 0
TOTALS = {"n": 0}
FORMER = torch.zeros(3)


class GlobalNumber(nn.Module):
    def forward(self, x):
        global CALLS
        CALLS += 1
        return x * CALLS if CALLS % 3 else -x


class GlobalTensor(nn.Module):
    def forward(self, x):
        global FORMER
        y = x + FORMER
        FORMER = y if y.sum() > 0 else x
        return y


class GlobalDict(nn.Module):
    def forward(self, x):
        TOTALS["n"] += 1
        return x * TOTALS["n"]


class OtherModule(nn.Module):
    def forward(self, x):
        outside_helper.count = outside_helper.count + 2
        outside_helper.STATE["n"] += 1
        return x * outside_helper.count + outside_helper.STATE["n"]


class OthersFunction(nn.Module):
    def forward(self, x):
        return x * bump() if x.sum() > 0 else x


class OthersObjects(nn.Module):
    def forward(self, x):
        SHARED.total += 1
        Tracker.seen.append(1)
        return CALLED(x) * SHARED.total + len(Tracker.seen)


class OfTheClass(nn.Module):
    calls = 0
    cache = {}

    def forward(self, x):
        OfTheClass.calls += 1
        if "h" in self.cache:
            x = x + self.cache["h"]
        self.cache["h"] = x
        return x * type(self).calls


class OfABase(OfTheClass):
    """What a subclass writes through `self` is an attribute of its own."""

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


class CountsNames(nn.Module):
    registry = collections.defaultdict(int)

    @classmethod
    def note(cls, name):
        cls.registry[name] += 1
        return cls.registry[name]

    def forward(self, x):
        return x * self.note("a" if x.sum() > 0 else "b")


def scaled(x, cache={}):
    cache["n"] = cache.get("n", 0) + 1
    return x * cache["n"]


class DefaultArgument(nn.Module):
    def forward(self, x):
        return scaled(x)


def counted(x):
    counted.calls += 1
    return x * counted.calls


counted.calls = 0


class OfAFunction(nn.Module):
    def forward(self, x):
        return counted(x)


@functools.cache
def ramp(n):
    return torch.arange(n, dtype=torch.float32)


class Cached(nn.Module):
    """A tensor behind `lru_cache` is made anew in the program; the cache itself stays the model's."""

    @functools.lru_cache(maxsize=4)
    def mask(self, n, strict=False):
        return ramp(n) > (1 if strict else 0)

    @staticmethod
    @functools.lru_cache
    def half(n):
        return n // 2

    def forward(self, x):
        y = torch.where(self.mask(x.shape[0]), x, ramp(x.shape[0]))
        return y * self.half(7) if y.sum() > 0 else y.masked_fill(self.mask(x.shape[0], strict=True), 0.0)
