"""Every refusal with its code, line and column, and all problems of a model at once."""

import inspect
import linecache
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from capture import problems
from torch import nn

import dync

MODELS = [c for c in vars(problems).values() if inspect.isclass(c) and issubclass(c, nn.Module) and c.__module__ == problems.__name__]


def marked(cls):
    """(code, line) of each comment in the class."""
    lines, first = inspect.getsourcelines(cls)
    return [(code, first + n) for n, line in enumerate(lines) for code in re.findall(r"# (DY\d+)", line)]


def refused(model, args):
    with pytest.raises(dync.CaptureError) as caught:
        dync.capture(model, args)
    return caught.value


@pytest.mark.parametrize("cls", MODELS, ids=lambda c: c.__name__)
def test_problem(cls, golden):
    error = refused(cls(), getattr(cls, "inputs", problems.inputs)())
    assert [(d.code, d.span.line) for d in error.diagnostics] == marked(cls)
    assert all(d.why and d.remedy and d.span.file == problems.__file__ for d in error.diagnostics)
    for d in error.diagnostics:
        text = linecache.getline(d.span.file, d.span.line)
        assert text[: d.span.col].strip() != text.strip() and not text[d.span.col].isspace()
    golden(str(error).replace(problems.__file__, Path(problems.__file__).name) + "\n")


def test_the_models_exception_handlers_do_not_see_refusals():
    class Swallows(nn.Module):
        def forward(self, x):
            try:
                return x + float(np.unwrap(x.numpy()).sum())
            except Exception:
                return x

    assert [d.code for d in refused(Swallows(), (torch.ones(2),)).diagnostics] == ["DY201"]
