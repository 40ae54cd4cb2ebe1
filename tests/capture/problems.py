"""Models that capture refuses, and where: each marks its problems with a comment `# DY…` on their lines, in order of columns."""

import array
import datetime
import io
import itertools
import os
import random
import uuid
import warnings

import numpy as np
import torch
from torch import nn


class Outside(nn.Module):
    def forward(self, x):
        return x + float(np.unwrap(x.numpy()).mean())  # DY201


class Reshaped(nn.Module):
    def forward(self, x):
        y = x.clone()
        if x.sum() > 0:
            y.data = y * 2  # DY202
        return y + 1, y


class Learns(nn.Module):
    def forward(self, x):
        loss = x.sum()
        loss.backward()  # DY203
        return loss


class TextOfTensor(nn.Module):
    def forward(self, x):
        print(str(x))  # DY207
        return x


class Draws(nn.Module):
    def forward(self, x):
        random.seed()  # DY209
        np.random.seed(seed=None)  # DY209
        if random.sample("ab", 1)[0]:  # DY209
            return x
        return -x


class DrawsFromItsOwn(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator()

    def forward(self, x):
        return x * torch.rand(4, generator=self.generator)  # DY209


class DrawsByDefault(nn.Module):
    @staticmethod
    def noisy(x, draw=random.random):
        return x * draw()

    def forward(self, x):  # DY209
        return self.noisy(x)


class ReadsTheWorld(nn.Module):
    def forward(self, x):
        if os.environ.get("FAST") or os.getenv("QUICK"):  # DY209 # DY209
            return x
        with open(__file__) as file:  # DY209
            n = len(file.read())
        return x * n, uuid.uuid4().hex, datetime.datetime.now().year  # DY209 # DY209


class HiddenState(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = itertools.count()
        self.turns = itertools.cycle([1, 2])
        self.stream = io.StringIO()
        self.random = random.Random(0)
        self.generator = np.random.default_rng(0)
        self.numbers = np.zeros(3)
        self.few = array.array("d", [0.0])
        self.made = (n for n in range(100))
        self.walked = iter([1.0, 2.0, 3.0])
        self.unused = itertools.count(), np.zeros(4)

    def forward(self, x):
        x = x * next(self.count)  # DY408
        x = x * next(self.turns)  # DY408
        x = x * next(self.made)  # DY408
        x = x * next(self.walked)  # DY408
        self.stream.write("x")  # DY408
        x = x * self.random.random()  # DY408
        x = x * self.generator.random()  # DY408
        self.numbers[0] += 1  # DY408
        self.few[0] += 1  # DY408
        return x * float(self.numbers[0])


class OwnWarning(UserWarning):
    pass


class WarnsOfItsOwn(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            warnings.warn("large", OwnWarning, stacklevel=1)  # DY211
        return x


class DrawsFromNumpy(nn.Module):
    def forward(self, x):
        y = x * float(np.random.rand(100)[0])  # DY209
        if random.choices([0, 1], [1, 2])[0]:  # DY209
            y = y + torch.from_numpy(np.random.default_rng().random(3))  # DY209
        return y


class PrintsToFile(nn.Module):
    def __init__(self):
        super().__init__()
        self.file = io.StringIO()

    def forward(self, x):
        if x.sum() > 0:
            print("large", file=self.file)  # DY211
        return x


class Recursion(nn.Module):
    def halve(self, x):  # DY320
        if x.norm() < 1:
            return x
        return self.halve(x / 2)

    def forward(self, x):
        return self.halve(x)


class GrowingLog(nn.Module):
    def __init__(self):
        super().__init__()
        self.log = []

    def forward(self, x):
        self.log = [x.sum(), self.log]  # DY401
        return x


class ModuleState(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.other = nn.Linear(4, 4)

    def forward(self, x):
        y = self.head(x)
        if y.sum() > 0:
            self.head = self.other  # DY402
        return y


class SharedList(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = [], []

    def forward(self, x):
        self.a = [x]
        self.b = self.a  # DY405
        return x


class StridedState(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = None

    def forward(self, x):
        y = x.clone()
        if self.rows is not None:
            y += self.rows.sum()
        self.rows = y.t()  # DY406
        y.add_(1)
        return y


class ReturnsObject(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x, object()  # DY403
        return x


class RaisesAfterWritingTheCallersList(nn.Module):
    def forward(self, x, seen):
        seen.append(x)  # DY407
        assert x.sum() > 0
        return x

    inputs = staticmethod(lambda: (torch.ones(2, 4), []))


class LeavesAnObjectInTheCallersDict(nn.Module):
    def forward(self, x, state):
        state["h"] = object()  # DY407
        return x

    inputs = staticmethod(lambda: (torch.ones(2, 4), {"h": torch.ones(2, 4)}))


class Gradient(nn.Module):
    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            return torch.autograd.grad((x**3).sum(), x)[0]  # DY203


class Pullback(nn.Module):
    def forward(self, x):
        y, back = torch.func.vjp(torch.sin, x)  # DY203
        return back(y) if y.sum() > 0 else y


class Many(nn.Module):
    """Every one of them is reported, though some stand behind others and some inside `try`."""

    def __init__(self):
        super().__init__()
        self.log = []

    def forward(self, x):
        scale = np.unwrap(x.numpy()).mean()  # DY201
        y = x * random.vonmisesvariate(0, 1)  # DY209
        if x.sum() > 0:
            y = y.resize_(9)  # DY202
            return y, object()  # DY403
        if x.sum() < -1:
            try:
                y.sum().backward()  # DY203
            except Exception:
                y = y + scale
            print(str(y))  # DY207
        self.log = [self.log]  # DY401
        return y


def inputs():
    return (torch.ones(2, 4),)


class Settings:
    width = 4


class ReturnsItsOwnObject(nn.Module):
    def __init__(self):
        super().__init__()
        self.settings = Settings()

    def forward(self, x):  # DY403
        return self.settings


class GivenListGrowsInALoop(nn.Module):
    """Named is what grows, not the variable before it."""

    @staticmethod
    def inputs():
        return torch.ones(2, 4), []

    def forward(self, x, seen):
        for _ in range(int(x.sum())):  # DY312
            x = x * 0.9
            seen.append(x.sum())
        return x


class SlotInSharedMemory(nn.Module):
    """A slot keeps its value by itself; here it begins as a view of what is written."""

    def __init__(self):
        super().__init__()
        self.base = torch.zeros(4)
        self.view = self.base[:2]

    def forward(self, x):
        self.base += x.sum(0)
        self.view = self.view * 2  # DY405
        return self.view + 1


class BuffersThatSwap(nn.Module):
    def __init__(self):
        super().__init__()
        self.both = torch.zeros(2, 4)
        self.current, self.next = self.both[0], self.both[1]

    def forward(self, x):
        self.next.copy_(self.current + x[0])
        self.current, self.next = self.next, self.current  # DY405 DY405
        return self.both.sum(0)


class KeepsAViewThatIsWritten(nn.Module):
    def __init__(self):
        super().__init__()
        self.base, self.kept = torch.zeros(4), None
        self.part = self.base[:2]

    def forward(self, x):
        if self.kept is not None:
            self.kept += 1  # DY405
        self.kept = self.part if x.sum() > 0 else self.base[2:]
        return self.base + 0


class SetsAWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = torch.zeros(4)

    def forward(self, x):
        self.base.set_(x[0] * 2)  # DY202
        return self.base + 1


class ArrayOverAWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = torch.zeros(4)
        self.array = self.base.numpy()

    def forward(self, x):
        self.base += x[0]  # DY405
        return torch.from_numpy(self.array) * 1


class WritesFiles(nn.Module):
    def forward(self, x):
        torch.save(x, __file__)  # DY209
        np.save(__file__, [1])  # DY209
        os.environ["DYNC_TEST"] = "1"  # DY209
        with open(__file__, "w") as file:  # DY209
            file.write("")
        if x.sum() > 0:
            os.remove(__file__)  # DY209
        elif x.sum() < -1:
            os.rename(__file__, "gone")  # DY209
        elif x.sum() < -2:
            os.system("true")  # DY209
        return x


class WritesJson(nn.Module):
    def forward(self, x):
        import json

        print(json.dumps({"loss": x[0, 0].item()}))  # DY208
        return x
