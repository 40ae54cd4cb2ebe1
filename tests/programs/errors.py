# ruff: noqa: B007, B904, E501, UP045 (written as users write)
"""Exceptions that depend on data: raised, caught, raised again, asserted."""

import torch
import torch.nn as nn
from programs.data import rand


class OneInput(nn.Module):
    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 3),)


class RaiseValue(OneInput):
    def forward(self, x):
        if x.sum() > 3:
            raise ValueError("too large")
        return x * 2


class RaiseWithNumbers(OneInput):
    def forward(self, x):
        m = x.max().item()
        if m > 1.5:
            raise ValueError("max is", m, x.argmax().item())
        return m


class RaiseClass(OneInput):
    def forward(self, x):
        if (x < -1).any():
            raise NotImplementedError
        return x.exp()


class AssertMessage(OneInput):
    def forward(self, x):
        assert x.abs().max() < 2.5, "input out of range"
        return x / 2.5


class AssertPlain(OneInput):
    def forward(self, x):
        y = x.softmax(-1)
        assert y.max() < 0.9
        return y


class TryFallback(OneInput):
    def check(self, x):
        if x.mean() < 0:
            raise ValueError("negative")
        return x.sqrt()

    def forward(self, x):
        try:
            return self.check(x.abs() * x.sign().mean())
        except ValueError:
            return torch.zeros_like(x)


class TryElseFinally(OneInput):
    PATHS = 3

    def forward(self, x):
        log = []
        try:
            log.append("try")
            if x.sum() > 2:
                raise KeyError("big")
            if x.sum() < -2:
                raise IndexError("small")
        except KeyError as e:
            y = x - 1
            log.append(e.args[0])
        except (IndexError, TypeError):
            y = x + 1
        else:
            y = x
            log.append("else")
        finally:
            log.append("finally")
        return y, log


class NotConverged(RuntimeError):
    """Carries a tensor and a number."""


class RaiseCustom(OneInput):
    def forward(self, x):
        for step in range(4):
            x = x / 2
            if x.abs().max() < 0.2:
                return x, step
        raise NotConverged("gave up", 4)


class Reraise(OneInput):
    def forward(self, x):
        try:
            if x[0, 0] > 0.5:
                raise ValueError("inner")
            return x
        except ValueError as e:
            if x.sum() > 1:
                raise
            raise RuntimeError("outer") from e


class NestedTry(OneInput):
    PATHS = 3

    def forward(self, x):
        trace = 0
        for row in x:
            try:
                try:
                    if row[0] > 0.5:
                        raise StopIteration
                    trace += 1
                except StopIteration:
                    if row[1] > 0:
                        raise LookupError("row")
                    trace += 10
            except LookupError:
                trace += 100
        return x * trace, trace


class ExceptionAsBreak(OneInput):
    """A search leaves two loops by an exception."""

    class Found(Exception):
        pass

    def forward(self, x):
        try:
            for i in range(2):
                for j in range(3):
                    if x[i, j] > 1.0:
                        raise self.Found(i, j)
        except self.Found as found:
            i, j = found.args
            return x[i, j], i, j
        return None, -1, -1


class FinallyReturn(OneInput):
    def forward(self, x):
        y = x
        try:
            if x.sum() > 0:
                return y + 1
            y = y * 3
        finally:
            y = y - 1
        return y


class Contract(OneInput):
    """Checks in a helper that other code calls, with text fixed at capture."""

    @staticmethod
    def require(condition, message):
        if not condition:
            raise ValueError(message)

    def forward(self, x):
        self.require(torch.isfinite(x).all(), "not finite")
        self.require((x.sum(-1) > -4).all(), f"rows of {x.shape[1]} sum to too little")
        return x.sum(-1)


class TorchCheck(OneInput):
    def forward(self, x):
        torch._assert(x.max() < 3.0, "too large")
        return x + 1


class SuppressedError(OneInput):
    def forward(self, x):
        import contextlib

        y = x
        with contextlib.suppress(ValueError):
            if x.sum() > 0:
                raise ValueError
            y = x * 2
        return y


class NotPositive(ArithmeticError):
    def __init__(self, message, least):
        super().__init__(message)
        self.least = least


class RaiseWithFields(OneInput):
    """A class whose arguments are not what it passes on, and that carries numbers and tensors as attributes."""

    def forward(self, x):
        if x.min() < -1:
            error = NotPositive(f"of {len(x)} rows", x.min().item())
            error.where = x.argmin()
            raise error
        return x.exp()
