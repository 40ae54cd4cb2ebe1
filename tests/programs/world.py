# ruff: noqa: B007, B904, E501, S311, UP045 (written as users write)
"""What a model asks of the world outside of it, and what it says there: in its place, in its order, each time."""

import logging
import random
import sys
import time
import warnings
from random import choice
from random import random as draw
from time import perf_counter

import numpy as np
import torch
import torch.nn as nn
from programs.data import rand

log = logging.getLogger(__name__)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.pick = random.random
        self.clock = time.monotonic

    @staticmethod
    def inputs(seed):
        return (rand(seed, 3, 4),)


class TeacherForcing(Small):
    """Scheduled sampling: Bengio et al. 2015."""

    PATHS = 8

    def forward(self, x):
        y, outs = x[:, 0], []
        for t in range(4):
            h = torch.tanh(self.layers[0](x + y[:, None]))
            outs.append(h)
            y = x[:, t] if random.random() < 0.5 else h[:, 0]
        return torch.stack(outs)


class LayerDrop(Small):
    """Fan et al. 2020, with NumPy's generator and one that was imported by name."""

    TRAIN = True
    PATHS = 5

    def forward(self, x):
        for layer in self.layers:
            if self.training and np.random.uniform(0, 1) < 0.4:
                continue
            x = torch.relu(layer(x)) + draw()
        return x


class DrawnWhile(Small):
    """A loop that only the draws end."""

    def forward(self, x):
        n = 0
        while random.random() < 0.8:
            x = x * 0.9 + np.random.normal(0.5, scale=0.1)
            n += np.random.randint(3)
        return x, n


class DrawnChoice(Small):
    PATHS = 6

    def forward(self, x):
        f = choice([torch.relu, torch.tanh, torch.sigmoid])
        for _ in range(random.randint(1, 3)):
            x = f(x) * random.choice((1, 2, 5))
        return x[random.randrange(x.shape[0])] + random.gauss(0, 1)


class DrawnByBound(Small):
    """The range of the draw depends on data."""

    def forward(self, x):
        n = random.randint(0, abs(int(x.sum() * 3)))
        return x * n if n > 1 else -x + np.random.choice(5)


class HeldDraw(Small):
    """The function that draws is kept in an attribute."""

    def forward(self, x):
        first, second = self.pick(), self.pick()
        return x * (second - first) if first < second else x - first


class SeedsItself(Small):
    """Draws of all generators, seeded on the way, by data too."""

    def forward(self, x):
        generator = torch.manual_seed(5)
        noise = torch.rand(4, generator=generator)
        random.seed(3)
        if x.sum() > 0:
            torch.manual_seed(int(x.abs().sum() * 100))
            np.random.seed(int(x.abs().sum()))
        return x + noise * random.uniform(1, 2) + torch.randn(4) * np.random.rand()


class SeededGenerator(Small):
    """A generator made and seeded in the call draws the same each time."""

    def forward(self, x):
        order = np.random.default_rng(7).permutation(4)
        return x[:, order] if x.sum() > 0 else x * random.Random(2).random()


class Anytime(Small):
    """Layers run until the time is up."""

    def forward(self, x):
        start, done = perf_counter(), 0
        for layer in self.layers:
            x = layer(x)
            done += 1
            if x.sum() > 0:
                time.sleep(0.003)
            if time.perf_counter() - start > 0.002:
                break
        return x.shape, done > 0


class TimesItself(Small):
    """The clock is kept in an attribute."""

    PATHS = 1

    def forward(self, x):
        start = self.clock()
        time.sleep(0.001)
        if self.clock() - start < 0.0009:
            return x
        return self.layers[1](x)


class SaysMuch(Small):
    """Texts go to all places, with numbers of the call in them."""

    def forward(self, x):
        print("in", x.shape[0], file=sys.stderr)
        log.debug("sum %.3f of %s", x.sum().item(), tuple(x.shape))
        if x.mean() > 0:
            warnings.warn(f"mean {x.mean().item():.2f}", RuntimeWarning, stacklevel=2)
            log.warning("positive %(n)d", {"n": 3})
            logging.getLogger("other").log(logging.ERROR, f"max {x.max().item()}")
        for i in range(int(x.abs().sum())):
            log.info("turn %d", i)
            sys.stdout.write(f"{i};")
            x = x * 0.5
        sys.stderr.write("done\n")
        return x


class CaughtAndLogged(Small):
    """The usual handler: log and go on."""

    def forward(self, x):
        try:
            if x.sum() > 0:
                raise ValueError("too large")
            x = self.layers[2](x)
        except ValueError as error:
            log.exception("fallback: %s", error)
            x = x.clamp(max=0)
        return x


class DrawnOrder(Small):
    """Layers in an order that is drawn, a choice by probabilities of the data, and some noise."""

    PATHS = 3

    def forward(self, x):
        for k in np.random.permutation(3):
            x = torch.relu(self.layers[int(k)](x))
        row = np.random.choice(3, p=x.sum(1).softmax(0).double().numpy())
        noise = torch.from_numpy(np.random.normal(0.0, 0.1, size=4)).float()
        return x[row] + noise if row > 0 else x[row], random.sample([10, 20, 30, 40], 2)
