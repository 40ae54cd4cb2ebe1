"""What is put in the place of clocks, generators and streams is the model's only, and only while it is captured."""

import builtins
import datetime
import gc
import logging
import os
import random
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
import torch._dynamo  # it puts another function in the place of torch.manual_seed
from torch import nn

import dync

FUNCTIONS = (
    (time, "perf_counter"), (time, "sleep"), (random, "random"), (np.random, "rand"), (torch, "manual_seed"), (builtins, "open"),
    (builtins, "print"), (warnings, "warn"), (logging.Logger, "info"), (os._Environ, "__getitem__"), (datetime, "datetime"),
    (sys, "stdout"), (sys, "stderr"))


class Waits(nn.Module):
    def __init__(self):
        super().__init__()
        self.clock, self.draw = time.monotonic, random.random

    def forward(self, x):
        start = self.clock()
        for _ in range(3):
            x = torch.relu(x) + self.draw()
            if x.sum() > 0:
                time.sleep(0.0)
        return x if self.clock() >= start else -x


def test_all_is_put_back():
    model, before = Waits(), [getattr(owner, name) for owner, name in FUNCTIONS]
    held, callbacks = dict(vars(model)), list(gc.callbacks)
    dync.capture(model, (torch.ones(2),))
    assert [getattr(owner, name) for owner, name in FUNCTIONS] == before
    assert vars(model) == held and gc.callbacks == callbacks


def test_a_callback_of_the_collector_is_not_the_models():
    """As hypothesis has one, that asks for the time."""
    def asked(phase, info):
        time.perf_counter()
        random.random()

    class Collects(nn.Module):
        def forward(self, x):
            for i in range(4):
                gc.collect(0)
                x = x * 2 if x.sum() > i else x + 1
            return x

    gc.callbacks.append(asked)
    try:
        program = dync.capture(Collects(), (torch.ones(2),))
        assert gc.callbacks[-1] is asked
    finally:
        gc.callbacks.remove(asked)
    assert not any(block.flow.host and any(op.op.startswith(("time", "random")) for op in block.flow.host) for block in program.blocks)


def test_a_hidden_object_is_put_back_when_it_is_refused():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.numbers, self.random = np.zeros(2), random.Random(3)
            self.generator, self.old = np.random.default_rng(3), np.random.RandomState(3)

        def forward(self, x):
            self.numbers += 1
            return x * self.random.random() * self.generator.random() * self.old.rand()

    model = Counts()
    with pytest.raises(dync.CaptureError, match="DY408"):
        dync.capture(model, (torch.ones(2),))
    fresh = Counts()
    assert model.numbers.tolist() == [0, 0] and model.random.getstate() == fresh.random.getstate()
    assert model.generator.random() == fresh.generator.random() and model.old.rand() == fresh.old.rand()


LATE = """
import sys, time, random, warnings, torch, dync
class Net(torch.nn.Module):
    def forward(self, x):
        import late
        return x * 2 if x.sum() > 0 else x
dync.capture(Net(), (torch.ones(2),))
import late
assert late.rand() != late.rand() and late.clock() > 0 and late.datetime.now().year > 2000
with late.opened(__file__) as file:
    assert file.read()
late.say("said")
print("done")
"""


def test_a_module_imported_meanwhile_works_after(tmp_path):
    (tmp_path / "late.py").write_text(
        "from random import random as rand\nfrom time import perf_counter as clock\nfrom datetime import datetime\n"
        "from builtins import open as opened\nfrom builtins import print as say\n"
    )
    (tmp_path / "main.py").write_text(LATE)
    done = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.stdout == "said\ndone\n", done.stderr


def test_an_empty_range_raises_as_in_eager():
    class Draws(nn.Module):
        def forward(self, x):
            return x * random.randint(0, int(x.sum()))

    model, made = Draws(), dync.compile(Draws(), (torch.ones(2),), backend="eager", host="python")
    for call in (model, made):
        with pytest.raises(ValueError, match=r"empty range for randrange\(\) \(0, -1, -1\)"):
            call(-torch.ones(2))
