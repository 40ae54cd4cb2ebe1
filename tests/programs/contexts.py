# ruff: noqa: B007, B904, E501, UP028, UP045 (written as users write)
"""Around the computation: grad modes, autocast, hooks, generators, printing, numpy."""

import contextlib
import logging
import time
import warnings

import torch
import torch.nn as nn
from programs.data import rand

logger = logging.getLogger(__name__)


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),)


class NoGrad(Base):
    def forward(self, x):
        with torch.no_grad():
            score = self.a(x).mean()
            if score > 0:
                x = x * 2
        return self.b(x)


class NoGradDecorator(Base):
    @torch.no_grad()
    def policy(self, x):
        return self.a(x).sum() > 0

    def forward(self, x):
        if self.policy(x):
            return self.b(x)
        return x


class InferenceMode(Base):
    @torch.inference_mode()
    def forward(self, x):
        y = self.a(x)
        if y.sum() > 0:
            return y
        return self.b(x)


class EnableGrad(Base):
    def forward(self, x):
        with torch.enable_grad():
            y = self.a(x)
        y = y.detach()
        if y.mean() > 0:
            with torch.set_grad_enabled(False):
                y = self.b(y)
        return y


class Autocast(Base):
    """bfloat16 inside, float32 outside."""

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.a(x)
            if y.mean() > 0:
                y = self.b(y)
        return y.float(), y.dtype


class ForwardHook(Base):
    """A hook changes the result where the data asks for it."""

    def __init__(self):
        super().__init__()
        self.a.register_forward_hook(self.limit)

    @staticmethod
    def limit(module, args, output):
        if output.abs().max() > 1:
            return output / output.abs().max()
        return None

    def forward(self, x):
        return self.b(self.a(x))


class PreHook(Base):
    def __init__(self):
        super().__init__()

        def shift(module, args):
            (x,) = args
            if x.mean() < 0:
                return (x - x.mean(),)

        self.b.register_forward_pre_hook(shift)

    def forward(self, x):
        return self.b(self.a(x))


class FeatureHook(Base):
    """A hook stores what passes by in a dict of the call's own."""

    def forward(self, x):
        features = {}
        handle = self.a.register_forward_hook(lambda m, i, o: features.__setitem__("a", o))
        try:
            y = self.a(x)
        finally:
            handle.remove()
        return features["a"] + 1 if y.sum() > 0 else y


class Generator(Base):
    """Stages come from a generator; the consumer stops when it is satisfied."""

    def stages(self, x):
        for layer in (self.a, self.b, self.a):
            x = torch.tanh(layer(x))
            yield x

    def forward(self, x):
        for i, y in enumerate(self.stages(x)):
            if y.mean() > 0:
                break
        return y, i


class GeneratorDecides(Base):
    """The generator itself branches."""

    PATHS = 3

    def levels(self, x):
        while True:
            yield x
            if x.norm() < 1:
                return
            x = self.a(x) * 0.5
            if x.shape[0] == 0:
                return

    def forward(self, x):
        total, n = 0, 0
        for level in self.levels(x):
            total = total + level
            n += 1
            if n == 4:
                break
        return total, n


class GeneratorExpression(Base):
    def forward(self, x):
        best = max(layer(x).sum().item() for layer in (self.a, self.b))
        first = next((i for i, layer in enumerate((self.a, self.b)) if layer(x).sum() > 0), -1)
        return best, first


class ContextManager(Base):
    """An own context manager with state."""

    @contextlib.contextmanager
    def scaled(self, factor):
        previous = self.factor
        self.factor = factor
        try:
            yield
        finally:
            self.factor = previous

    factor = 1.0

    def __init__(self):
        super().__init__()
        self.factor = 1.0

    def forward(self, x):
        with self.scaled(2.0 if x.mean() > 0 else 0.5):
            y = self.a(x) * self.factor
        return y * self.factor


class Timed(Base):
    """Wall-clock time is read and thrown away."""

    def forward(self, x):
        start = time.perf_counter()
        y = self.a(x)
        if y.sum() > 0:
            y = self.b(y)
        time.perf_counter() - start
        return y


class Prints(Base):
    """Text goes out on one path only."""

    def forward(self, x):
        if x.sum() > 0:
            print("positive")
            x = self.a(x)
        return x


class Logs(Base):
    def forward(self, x):
        if x.abs().max() > 1.5:
            logger.debug("large input of %s rows", x.shape[0])
            x = x.clamp(-1.5, 1.5)
        return self.a(x)


class Warns(Base):
    def forward(self, x):
        if x.sum() > 2:
            warnings.warn("large input", stacklevel=2)
            x = x / 2
        return x


class NumpyWithoutTwin(Base):
    """torch has nothing for numpy.unwrap."""

    def forward(self, x):
        import numpy as np

        y = self.a(x)
        array = y.detach().cpu().numpy()
        if array.mean() > 0:
            return torch.from_numpy(np.unwrap(array))
        return y


class NumpyConstants(Base):
    """numpy on static values only."""

    def forward(self, x):
        import numpy as np

        scales = np.linspace(0.5, 1.5, 4, dtype=np.float32)
        x = x * torch.from_numpy(scales)
        if x.sum() > 0:
            x = x * float(np.sqrt(2.0))
        return x


class ExitStack(Base):
    def forward(self, x):
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            y = self.a(x)
            if y.mean() > 0:
                stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
            y = self.b(y)
        return y.float()


class CheckpointLike(Base):
    """A function is called through another that knows nothing of it."""

    def segment(self, x):
        return self.a(x) if x.sum() > 0 else self.b(x)

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        return checkpoint(self.segment, x, use_reentrant=False) + 1


class CompiledDecorator(Base):
    """@torch.compiler.disable and @torch.jit.ignore are only marks in eager."""

    @torch.compiler.disable
    def decide(self, x):
        return x.mean() > 0

    def forward(self, x):
        if self.decide(x):
            return self.a(x)
        return self.b(x)


class Stages(nn.Module):
    def __init__(self, count=4):
        super().__init__()
        self.stages = nn.ModuleList(nn.Linear(4, 4) for _ in range(count))

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),)


class GeneratorOfGates(Stages):
    """Twelve gates in a generator, which carries a value of its own from one to the next."""

    def __init__(self):
        super().__init__(12)

    def gated(self, x):
        for stage in self.stages:
            if stage(x).sum() > 0:
                x = stage(x)
            yield x

    def forward(self, x):
        return sum(y for y in self.gated(x))


class GeneratorCounts(Stages):
    """What the generator keeps is a number; the consumer branches too."""

    def count(self, x):
        n = 0
        for stage in self.stages:
            if stage(x).sum() > 0:
                n += 1
            yield n

    def forward(self, x):
        t = x
        for i, n in enumerate(self.count(x)):
            t = t + n if t.sum() * n > i else t - 1
        return t


class GeneratorSkips(Stages):
    """One path takes a value more than the other; what remains differs, though nothing but Python knows."""

    def numbers(self):
        for k in (1, 1, 1, 5):
            yield k

    def forward(self, x):
        numbers = self.numbers()
        next(numbers)
        if x.sum() > 0:
            next(numbers)
        y = x + 1 if x[0, 0] > 0 else x
        next(numbers)
        return y + next(numbers, 7)


class GeneratorFilters(Stages):
    """Yields on one side of a branch only."""

    def chosen(self, x):
        for stage in self.stages:
            if stage(x).sum() > 0:
                yield stage(x)

    def forward(self, x):
        total, n = x * 0, 0
        for y in self.chosen(x):
            total, n = total + y, n + 1
        return total, n


class GeneratorDelegates(Stages):
    """`yield from`, and a consumer that takes the first value by hand."""

    def inner(self, x):
        for stage in self.stages:
            y = stage(x) if stage(x).mean() > 0 else x * 0.5
            yield y
        return y

    def outer(self, x):
        last = yield from self.inner(x)
        if last.sum() > 0:
            yield last * 2

    def forward(self, x):
        values = self.outer(x)
        total = next(values)
        for i, y in enumerate(values):
            total = total + y * i
        return total


class GeneratorTwice(Stages):
    """Two generators in step, each with branches."""

    def one(self, x, sign):
        for stage in self.stages[:3]:
            if sign * stage(x).sum() > 0:
                x = stage(x)
            yield x

    def forward(self, x):
        total = x * 0
        for a, b in zip(self.one(x, 1), self.one(x, -1)):
            if (a - b).sum() > 0:
                total = total + a
            else:
                total = total - b
        return total


class GeneratorWithoutEnd(Stages):
    """Only the data ends the generator."""

    def halves(self, x):
        while x.abs().sum() > 0.01:
            x = x * 0.5
            yield x

    def forward(self, x):
        total = x * 0
        for y in self.halves(x):
            total = total + y
        return total


class HooksInForward(nn.Module):
    """Hooks that forward sets and takes away: their handles hold weak references, which each run makes anew, and paths join all the same."""

    PATHS = 4

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(10))

    def forward(self, x):
        kept = {}

        def keep(module, given, result):
            kept[module] = result if module not in kept else kept[module] + result
            return kept[module] * 0.9

        handles = [layer.register_forward_hook(keep) for layer in self.layers]
        try:
            for layer in self.layers:
                x = layer(x) if x.sum() > 0 else layer(-x)
        finally:
            for handle in handles:
                handle.remove()
        return x, list(kept.values())

    inputs = staticmethod(lambda seed: (rand(seed, 3),))
