# ruff: noqa: B007, B904, E501, UP045 (written as users write)
"""How people write Python around a model: closures, super(), mixins, properties, decorators, arguments of all kinds."""

import functools
from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        if x.sum() > 0:
            return self.a(x)
        return self.b(x)

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),)


class SuperForward(Base):
    def forward(self, x):
        x = super().forward(x)
        if x.mean() > 0.1:
            x = super().forward(x * 2)
        return self.c(x)

    PATHS = 3


class NormMixin:
    def normalise(self, x):
        if x.std() > 1:
            return (x - x.mean()) / x.std()
        return x


class ScaleMixin:
    scale = 3.0

    def normalise(self, x):
        x = super().normalise(x)
        return x * self.scale if x.max() > 0.5 else x


class Mixins(ScaleMixin, NormMixin, Base):
    PATHS = 3

    def forward(self, x):
        return super().forward(self.normalise(x))


class Properties(Base):
    limit = 0.3

    @property
    def threshold(self):
        return self.limit * 2

    @property
    def weight_norm(self):
        return self.a.weight.norm()

    def forward(self, x):
        if x.mean() > self.threshold - 0.5:
            return x / self.weight_norm
        return x


class NonlocalCounter(Base):
    PATHS = 3

    def forward(self, x):
        count = 0
        best = None

        def visit(y):
            nonlocal count, best
            if y.mean() > 0:
                count += 1
                best = y if best is None else torch.maximum(best, y)

        for layer in (self.a, self.b):
            visit(layer(x))
        visit(x)
        return count, best


class ClosureOverState(Base):
    """Functions made in forward, over variables that gates change."""

    def forward(self, x):
        scale = 1.0
        if x.max() > 1:
            scale = 0.5

        def apply(layer):
            return layer(x) * scale

        y = apply(self.a)
        if y.sum() > 0:
            scale = 2.0
        return y + apply(self.b)

    PATHS = 3


class HigherOrder(Base):
    def gate(self, x, then, otherwise):
        return then(x) if x.mean() > 0 else otherwise(x)

    def forward(self, x):
        y = self.gate(x, self.a, lambda t: self.b(t) * 0.5)
        return self.gate(y, functools.partial(torch.clamp, min=0.1), torch.neg)

    PATHS = 3


class StarArgs(Base):
    def combine(self, *tensors, scale=1.0, **options):
        total = sum(tensors)
        if options.get("relu") and total.min() < 0:
            total = total.relu()
        return total * scale

    def forward(self, *inputs, **flags):
        y = self.combine(*inputs, scale=0.5, relu=flags["relu"])
        if y.max() > 1:
            y = self.combine(y, self.a(y), **flags)
        return y

    PATHS = 3

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4), rand(seed, 2, 4, salt=1)), {"relu": True}


class OptionalMask(Base):
    def forward(self, x, mask: Optional[torch.Tensor] = None, *, residual: bool = True):
        y = self.a(x)
        if mask is not None:
            if mask.any():
                y = y.masked_fill(mask, 0.0)
            else:
                y = y * 2
        if residual and y.sum() > 0:
            y = y + x
        return y

    PATHS = 3

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),), {"mask": rand(seed, 2, 4, salt=2) > 1.5}


class OptionalAbsent(OptionalMask):
    """The same model, called without its mask."""

    PATHS = 2

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4), None)


class BatchDict(Base):
    """A dict comes in, as data loaders give it."""

    def forward(self, batch):
        x, lengths = batch["x"], batch["lengths"]
        if "mask" in batch and batch["mask"].all():
            x = self.a(x)
        if lengths.max() > 2:
            x = x[:, : x.shape[1] // 2]
        return {**{k: v for k, v in batch.items() if k != "x"}, "y": x}

    PATHS = 3

    @staticmethod
    def inputs(seed):
        return ({"x": rand(seed, 2, 4), "lengths": torch.tensor([1, 1 + seed % 3]), "mask": torch.tensor([True, seed % 2 == 0])},)


class ListOfTensors(Base):
    def forward(self, levels):
        merged = levels[-1]
        for level in reversed(levels[:-1]):
            if level.mean() > merged.mean():
                merged = merged + level
        first, *rest = levels
        return merged, first if merged.sum() > 0 else rest

    PATHS = 3

    @staticmethod
    def inputs(seed):
        return ([rand(seed, 2, 4, salt=i) for i in range(3)],)


def logged(function):
    @functools.wraps(function)
    def wrapper(self, *args, **kwargs):
        result = function(self, *args, **kwargs)
        if result.isnan().any():
            return torch.zeros_like(result)
        return result * 2

    return wrapper


class Decorated(Base):
    @logged
    def forward(self, x):
        if x.sum() > 0:
            return self.a(x).abs().log()
        return self.b(x).sqrt()

    PATHS = 2


def clamp_output(limit):
    def decorate(function):
        def inner(*args, **kwargs):
            y = function(*args, **kwargs)
            return y.clamp(-limit, limit) if y.abs().max() > limit else y

        return inner

    return decorate


class DecoratorWithArgument(Base):
    @clamp_output(0.8)
    def head(self, x):
        return self.a(x)

    def forward(self, x):
        return self.head(x) + self.head(-x)

    PATHS = 3


class ClassAndStatic(Base):
    factor = 2

    @classmethod
    def enlarge(cls, x):
        return x * cls.factor if x.min() > -1 else x

    @staticmethod
    def shrink(x):
        if x.max() > 1:
            return x / 2
        return x

    def forward(self, x):
        return self.shrink(self.enlarge(x))

    PATHS = 3


class Controller:
    """A plain Python object with methods and state for one call."""

    def __init__(self, budget):
        self.budget = budget
        self.log = []

    def allows(self, score):
        if score > 0 and self.budget > 0:
            self.budget -= 1
            self.log.append(True)
            return True
        self.log.append(False)
        return False


class PlainObject(Base):
    PATHS = 3

    def forward(self, x):
        controller = Controller(budget=2)
        for layer in (self.a, self.b, self.a):
            if controller.allows(layer(x).mean()):
                x = layer(x)
        return x, controller.budget, controller.log


class GetAttr(nn.Module):
    """A wrapper hands unknown names to what it wraps."""

    def __init__(self):
        super().__init__()
        self.inner = Base()

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)

    def forward(self, x):
        if x.sum() > 0:
            return self.a(x)
        return self.inner(x) + self.b(x)

    inputs = Base.inputs


class CallableModule(Base):
    """A module calls another's method instead of its forward."""

    def __init__(self):
        super().__init__()
        self.inner = SuperForward()

    def forward(self, x):
        y = self.inner.forward(x) if x.max() > 1 else Base.forward(self.inner, x)[:, :2]
        return y

    PATHS = 4


class Config:
    def __init__(self, **kwargs):
        self.__dict__.update(kwargs)


class ConfigFlags(Base):
    """Static flags beside data: only the data's decisions may show in the program."""

    def __init__(self):
        super().__init__()
        self.config = Config(activation="gelu", use_gate=True, layers=2, eps=1e-3)

    def forward(self, x):
        for i in range(self.config.layers):
            x = getattr(F, self.config.activation)(self.a(x))
            if self.config.use_gate:
                if x.norm() < self.config.eps + 0.5:
                    return x
            else:
                x = self.b(x)
        return self.c(x)


class Walrus(Base):
    def forward(self, x):
        if (y := self.a(x)).sum() > 0 and (m := y.max().item()) > 0.5:
            return y * m
        while (n := y.norm().item()) > 1.5 and (y := y * 0.5) is not None:
            if n < 3:
                break
        return y, n

    PATHS = 3


class Ternaries(Base):
    def forward(self, x):
        y = self.a(x) if x.mean() > 0 else self.b(x)
        z = y if y.max().item() > 0.2 and y.min().item() < 0 or x[0, 0] > 1 else -y
        k = 1 if z.sum() > 0 else 2 if z.sum() > -2 else 3
        return (z + y)[:, :k], k

    PATHS = 4


class ShortCircuit(Base):
    """and/or give a value; the right side must not run when the left decides."""

    def first(self, x):
        self.called = True
        return x.sum() > 0

    def forward(self, x):
        chosen = None
        flag = bool(x.max() > 1) or bool(x.min() < -1)
        y = (flag and self.a(x)) if flag else x
        chosen = chosen or y
        if not (x.mean() > 0 or x.var() > 2) and flag:
            chosen = chosen + 1
        return chosen

    PATHS = 3


class Comprehensions(Base):
    def forward(self, x):
        layers = [self.a, self.b]
        outputs = [layer(x) if x.sum() > 0 else x for layer in layers]
        picked = [o for o in outputs if o.mean() > 0]
        named = {f"out{i}": o * 2 for i, o in enumerate(picked)}
        return outputs, named, len(picked)

    PATHS = 3


class AnyAll(Base):
    def forward(self, x):
        rows = list(x)
        if any(row.sum() > 2 for row in rows):
            x = self.a(x)
        if all((row > -1).all() for row in rows):
            x = x + 1
        return x, sum(1 for row in rows if row[0] > 0)

    PATHS = 3


class SortedByScore(Base):
    """Python's own sort, over numbers that the data decides."""

    def forward(self, x):
        scored = sorted(((row.sum().item(), i) for i, row in enumerate(x)), reverse=True)
        return [x[i] for _, i in scored]

    PATHS = 2


class MaxByKey(Base):
    def forward(self, x):
        candidates = [self.a(x), self.b(x), x]
        best = max(candidates, key=lambda c: c.mean().item())
        return best + 1

    PATHS = 2


class MatchClass(Base):
    def kind(self, x):
        return ("pos", x.mean()) if x.sum() > 0 else ("neg",)

    def forward(self, x):
        match self.kind(x):
            case ("pos", m) if m > 0.5:
                return x - m
            case ("pos", _):
                return x
            case ("neg",):
                return -x

    PATHS = 3


class DelAndRebind(Base):
    def forward(self, x):
        y = self.a(x)
        if y.sum() > 0:
            z = y * 2
        else:
            z = y - 1
        del y
        x = z
        if x.max() > 1:
            y = 3
        else:
            y = x.min()
        return x * y

    PATHS = 3


class MaybeUnbound(Base):
    """A name that only one path binds, read only where it is bound."""

    def forward(self, x):
        positive = x.sum() > 0
        if positive:
            extra = self.a(x)
        y = self.b(x)
        if positive:
            y = y + extra
        return y


class LocalImportAndClass(Base):
    def forward(self, x):
        import math

        class Box:
            def __init__(self, value):
                self.value = value

        box = Box(x)
        if x.mean() > 0:
            box.value = box.value * math.pi
        else:
            box.value = self.a(box.value)
        return box.value


class Dunder(Base):
    """Operators on the user's own class."""

    class Pair:
        def __init__(self, left, right):
            self.left, self.right = left, right

        def __add__(self, other):
            return Dunder.Pair(self.left + other.left, self.right + other.right)

        def __bool__(self):
            return bool(self.left.sum() > self.right.sum())

    def forward(self, x):
        pair = self.Pair(x, self.a(x)) + self.Pair(self.b(x), x)
        if pair:
            return pair.left
        return pair.right


class AsksForClasses(nn.Module):
    """Numbers and tensors are told apart by their classes, in an inner function and in comprehensions."""

    PATHS = 2

    @staticmethod
    def inputs(seed):
        return (rand(seed, 3),)

    def forward(self, x):
        def scaled(value):
            if type(value) is torch.Tensor:
                return value.sum()
            return value * 2.0 if value.__class__ is float else float(value)

        parts = [x, x.sum().item(), int(x.abs().max() > 1), 2]
        whole = sum(type(p) is int for p in parts)
        if x.mean() > 0:
            parts.append(x * 2)
        return sum(scaled(p) for p in parts) + whole


class DecidedInInit(nn.Module):
    """What an object made in forward holds is decided at the end of its `__init__`, of the base's, or of a method that either calls last."""

    @staticmethod
    def inputs(seed):
        return (rand(seed, 4) + (seed % 3 - 1) / 2,)

    class Box:
        def __init__(self, x):
            self.values, self.tag = x, "whole"
            if x.min() < -0.5:
                self.values = x.clamp(min=0)
                self.tag = "clipped"

    class Tall(Box):
        def __init__(self, x):
            self.kind = 0
            super().__init__(x)

    class SetUp:
        def __init__(self, x):
            self.x, self.grade = x, 0
            self.set_up()

        def set_up(self):
            for value in self.x:
                if value > 0.5:
                    break
                self.grade += 1

    def forward(self, x):
        box, tall = self.Box(x), self.Tall(-x)
        return box.values, box.tag, tall.values.sum(), tall.tag, self.SetUp(x).grade, [self.Box(part).tag for part in x.chunk(2)]


@dataclass
class Boxes:
    values: torch.Tensor
    tag: str = "whole"

    def __post_init__(self):
        if self.values.min() < -0.5:
            self.values, self.tag = self.values.clamp(min=0), "clipped"


class DecidedInPostInit(nn.Module):
    """And a dataclass in its `__post_init__`, in a loop of unknown length."""

    def forward(self, x):
        kept = [Boxes(row) for row in x[x[:, 0] > 0]]
        whole = Boxes(x[0])
        return [b.values for b in kept], sum(b.tag == "clipped" for b in kept), whole.tag

    inputs = staticmethod(lambda seed: (rand(seed, 9, 3),))


class Strides:
    """An iterator that decides how far it goes after what it gives."""

    def __init__(self, x):
        self.x, self.at = x, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.at >= 4:
            raise StopIteration
        try:
            return self.x[self.at]
        finally:
            self.move()

    def move(self):
        if self.x[self.at] > 0:
            self.at += 1
        else:
            self.at += 2


class DecidedInNext(nn.Module):
    def forward(self, x):
        total = x.new_zeros(())
        for value in Strides(x):
            total = total * 2 + value
        return total

    inputs = staticmethod(lambda seed: (rand(seed, 4),))


class Rows(list):
    def __len__(self):
        return super().__len__() * 2


class LengthsByMethod(nn.Module):
    """`__len__` called as a method: of a tensor, of a list, and of the base's by `super()`."""

    def forward(self, x):
        kept = x[x > 0]
        rows = Rows(x.tolist())
        if kept.__len__() > 2:
            rows.append(1.0)
        return kept.__len__(), rows.__len__(), len(rows), [v for v in x.tolist() if v > 0].__len__()

    inputs = staticmethod(lambda seed: (rand(seed, 5),))
