"""Functions that only ask for a value's class are marked wherever the model can come to them; functions it cannot come to are let alone."""

import sys
import types

import pytest
import torch

import dync
from dync.capture.reach import within_reach

HELPERS = '''
import functools

def kind(v):
    return 10.0 if type(v) is int else 1.0

def local(v):
    return 10.0 if type(v) is int else 1.0

def passed(v):
    return 10.0 if type(v) is int else 1.0

def wrapped(f):
    @functools.wraps(f)
    def call(*args):
        return f(*args)
    return call

@wrapped
def decorated(v):
    return 10.0 if type(v) is int else 1.0

class Tool:
    weigh = staticmethod(lambda v: 10.0 if type(v) is int else 1.0)

    def __init__(self, ask):
        self.ask = ask

    def method(self, v):
        return 10.0 if type(v) is int else 1.0

    @property
    def asked(self):
        return 10.0 if type(self.ask) is int else 1.0

TABLE = {"one": [lambda v: 10.0 if type(v) is int else 1.0]}
'''
MODEL = '''
import functools
import torch
from torch import nn
import askers_one as one
from askers_one import decorated

class Model(nn.Module):
    def __init__(self, ask=None):
        super().__init__()
        self.ask, self.tool, self.weigh = ask, one.Tool(one.passed), one.Tool(None).method

    def forward(self, x):
        n = int(x.sum())
        return x * VALUE

    def two(self, n):
        from askers_two import local
        return local(n)
'''
VALUES = {
    "module": "one.kind(n)",
    "imported when it runs": "self.two(n)",
    "given to the model": "self.ask(n)",
    "decorated": "decorated(n)",
    "partial": "functools.partial(one.kind, n)()",
    "static": "one.Tool.weigh(n)",
    "property": "one.Tool(n).asked",
    "table": "one.TABLE['one'][0](n)",
    "given to a class": "self.tool.ask(n)",
    "bound": "self.weigh(n)",
}


@pytest.fixture
def homes(tmp_path, monkeypatch):
    """Modules askers_one and askers_two; both loaded."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("askers_one", "askers_two"):
        (tmp_path / f"{name}.py").write_text(HELPERS)
        monkeypatch.delitem(sys.modules, name, raising=False)
        __import__(name)
    return tmp_path


def module_at(path, text, name):
    path.write_text(text)
    made = types.ModuleType(name)
    made.__file__ = str(path)
    exec(compile(text, str(path), "exec"), made.__dict__)
    return made


@pytest.mark.parametrize("name", VALUES)
def test_every_way_to_a_helper_is_seen(homes, name):
    home = module_at(homes / "asking_model.py", MODEL.replace("VALUE", VALUES[name]), "asking_model")
    model = home.Model(sys.modules["askers_two"].passed)
    art = dync.compile(model, (torch.ones(3),), target="cpu", backend="eager")
    for x in (torch.ones(3), torch.full((3,), 2.0)):
        assert torch.equal(art(x), model(x)) and torch.equal(art(x), x * 10)


def test_what_is_alive_elsewhere_is_let_alone(homes):
    far = module_at(homes / "far.py", "class Far:\n    def forward(self, v):\n        return type(v)\n", "far")
    near = module_at(homes / "near.py", "def forward(v):\n    return type(v)\n", "near")
    start = [near.forward.__code__]
    assert within_reach(start, [vars(near)], []) == [near.forward]
    assert far.Far.forward in within_reach(start, [vars(near)], [far.Far()])
