# ruff: noqa: B007, E501, UP045 (written as users write)
"""The caller's own lists, dicts and objects, written by forward."""

from __future__ import annotations

from collections import OrderedDict
from typing import Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand


class AppendsToTheCallersList(nn.Module):
    @staticmethod
    def inputs(seed):
        return rand(seed, 2, 4), [rand(seed, 2, 4, salt=1)]

    def forward(self, x, seen):
        if x.sum() > 0:
            seen.append(x * 2)
        else:
            seen[0] = seen[0] - x
        y = x + seen[-1]
        if y.mean() > 1:
            y = y - seen.pop(0)
        return y, len(seen)


class UpdatesTheCallersDict(nn.Module):
    @staticmethod
    def inputs(seed):
        return rand(seed, 2, 4), {"h": rand(seed, 2, 4, salt=1), "step": None, "old": torch.zeros(4)}

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 4)

    def forward(self, x, state):
        state["h"] = self.cell(x, state["h"])
        if state["h"].norm() > 1.2:
            state["step"] = state["h"].argmax(1)
            del state["old"]
        return {"y": state["h"] * 2, "state": state}


class KeysAndValuesInPlace(nn.Module):
    """A decoder's cache as a list of pairs, replaced one by one; the second layer is skipped by a gate."""

    DYNAMIC = None

    @staticmethod
    def inputs(seed):
        return rand(seed, 1, 1, 8), [(rand(seed, 1, 3, 8, salt=k), rand(seed, 1, 3, 8, salt=k + 5)) for k in range(2)]

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 24) for _ in range(2))

    def forward(self, x, past: Optional[list[tuple[torch.Tensor, torch.Tensor]]] = None):
        for i, layer in enumerate(self.layers):
            q, k, v = layer(x).chunk(3, -1)
            k, v = torch.cat([past[i][0], k], 1), torch.cat([past[i][1], v], 1)
            past[i] = (k, v)
            x = x + F.scaled_dot_product_attention(q, k, v)
            if x.abs().max() > 2:
                break
        return x


class LayerCache:
    def __init__(self):
        self.keys, self.values = None, None

    def update(self, k, v):
        self.keys = k if self.keys is None else torch.cat([self.keys, k], 1)
        self.values = v if self.values is None else torch.cat([self.values, v], 1)
        return self.keys, self.values


class Cache:
    def __init__(self):
        self.layers, self.seen = [], 0

    def update(self, k, v, layer):
        while len(self.layers) <= layer:
            self.layers.append(LayerCache())
        self.seen += k.shape[1] if layer == 0 else 0
        return self.layers[layer].update(k, v)


class CacheObject(nn.Module):
    """An empty cache, filled layer by layer and returned with the result."""

    @staticmethod
    def inputs(seed):
        return rand(seed, 1, 2, 8), Cache()

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 24) for _ in range(3))

    def forward(self, x, cache):
        for i, layer in enumerate(self.layers):
            q, k, v = layer(x).chunk(3, -1)
            x = x + F.scaled_dot_product_attention(q, *cache.update(k, v, i))
            if x.abs().max() > 3:
                return x, cache
        return x * 2, cache


class FilledCacheObject(CacheObject):
    PATHS = 3

    @staticmethod
    def inputs(seed):
        cache = Cache()
        for i in range(3):
            cache.update(rand(seed, 1, 3, 8, salt=i), rand(seed, 1, 3, 8, salt=i + 5), i)
        return rand(seed, 1, 2, 8), cache


class CountsInARolledLoop(nn.Module):
    @staticmethod
    def inputs(seed):
        return rand(seed, 4), {"x": torch.zeros(4), "log": [torch.zeros(4), torch.ones(4)]}

    def forward(self, x, memory):
        while x.norm() > 0.5:
            x = x * 0.6
            memory["x"] = memory["x"] + x
            memory["log"][0] = memory["log"][1] * x
        return memory["log"][0] + 1


class ReordersTheCallersDict(nn.Module):
    """Least recently used: a key that is met goes to the end, the first is dropped when there are more than three."""

    @staticmethod
    def inputs(seed):
        return rand(seed, 3), OrderedDict((k, rand(seed, 3, salt=n)) for n, k in enumerate("abc"))

    def forward(self, x, used):
        key = "a" if x[0] > 0 else "b" if x[1] > 0 else "new"
        if key not in used:
            used[key] = x
        used.move_to_end(key)
        if len(used) > 3:
            used.popitem(last=False)
        return next(iter(used.values())) + used[key]


class WritesBehindAnAlias(nn.Module):
    """The write goes through a name of its own, in a method, and into what another container holds."""

    @staticmethod
    def inputs(seed):
        return rand(seed, 3), {"inner": {"a": rand(seed, 3, salt=1), "kept": [1, "two"]}, "other": (torch.ones(3), [])}

    def forward(self, x, given):
        inner, extra = given["inner"], given["other"][1]
        if x.max() > 0:
            self.note(inner, x)
            extra.extend([x, x.sum()])
        moved = dict(inner)
        moved["a"] = moved["a"] * 2
        return moved, inner

    def note(self, where, x):
        where["a"] = where["a"] + x
        where["kept"] = [*where["kept"], len(where["kept"])]
