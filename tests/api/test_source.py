"""MODEL: what a user writes, and what is said when it is wrong."""

import sys
import textwrap

import pytest
import torch
from safetensors.torch import save_file

from dync.errors import UsageError
from dync.source import open_model

NET = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Linear(width, 2)
    def forward(self, x):
        return self.fc(x)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files below a folder of its own; sys.path and sys.modules are as before afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def _write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    yield _write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def refused(spec, *args, **kwargs) -> str:
    with pytest.raises(UsageError) as caught:
        open_model(str(spec), *args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_only_class_of_a_file(write):
    found = open_model(str(write("net1.py", NET)))
    assert type(found.model).__name__ == "Net" and not found.model.training


@pytest.mark.parametrize("extra,want", [
    ("def build():\n    return Net(6)\nmodel = Net(5)", 6), ("model = Net(5)\nclass Other(nn.Module): pass", 5),
    ("class Net2(Net): pass\nmodel = Net", 4)])  # fmt: skip
def test_build_then_model_then_class(write, extra, want):
    assert open_model(str(write("net2.py", NET + extra))).model.fc.in_features == want


def test_a_name_may_be_class_function_or_object(write):
    path = write("net3.py", NET + "def make(width): return Net(width)\nready = Net(7)\nclass Box:\n    Net = Net\n")
    assert open_model(f"{path}:Net", {"width": 3}).model.fc.in_features == 3
    assert open_model(f"{path}:make", {"width": 3}).model.fc.in_features == 3
    assert open_model(f"{path}:ready").model.fc.in_features == 7
    assert open_model(f"{path}:Box.Net").model.fc.in_features == 4
    assert "already built" in refused(f"{path}:ready", {"width": 3})


def test_a_module_by_dotted_name(write, monkeypatch, tmp_path):
    write("somepackage/__init__.py", "")
    write("somepackage/inner.py", NET)
    monkeypatch.chdir(tmp_path)
    assert open_model("somepackage.inner:Net").model.fc.in_features == 4


def test_a_file_finds_its_neighbours_from_any_directory(write, monkeypatch, tmp_path_factory):
    write("neighbour_of_net.py", "WIDTH = 9\n")
    path = write("net4.py", NET + "from neighbour_of_net import WIDTH\ndef build(): return Net(WIDTH)\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert open_model(str(path)).model.fc.in_features == 9


def test_a_file_with_relative_imports_is_a_member_of_its_package(write):
    write("pack/__init__.py", "")
    write("pack/sizes.py", "WIDTH = 11\n")
    path = write("pack/net.py", NET + "from .sizes import WIDTH\ndef build(): return Net(WIDTH)\n")
    assert open_model(str(path)).model.fc.in_features == 11


def test_a_file_named_like_a_library_does_not_hide_it(write):
    before = sys.modules["inspect"]
    assert open_model(str(write("inspect.py", NET))).namespace.__name__ == "dync_user_inspect"
    assert sys.modules["inspect"] is before


def test_the_same_weights_each_time(write):
    path = str(write("net5.py", NET))
    a, b, c = open_model(path).model, open_model(path).model, open_model(path, seed=1).model
    assert torch.equal(a.fc.weight, b.fc.weight) and not torch.equal(a.fc.weight, c.fc.weight)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "wrapped.pt"])
def test_weights(write, tmp_path, name):
    path, state = write("net6.py", NET), {"fc.weight": torch.ones(2, 4), "fc.bias": torch.zeros(2)}
    if name.endswith("safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save({"state_dict": state} if "wrapped" in name else state, tmp_path / name)
    assert open_model(str(path), weights=tmp_path / name).model.fc.weight.sum() == 8


def test_weights_that_do_not_fit(write, tmp_path):
    path = write("net7.py", NET)
    save_file({"fc.weight": torch.ones(2, 5), "extra": torch.ones(1)}, tmp_path / "w.safetensors")
    text = refused(path, weights=tmp_path / "w.safetensors")
    assert "missing fc.bias" in text and "unexpected extra" in text and "(2, 5), wanted (2, 4)" in text
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    assert "not a safetensors file" in refused(path, weights=tmp_path / "bad.safetensors")
    assert "no such file" in refused(path, weights=tmp_path / "none.pt")


def test_pickles_are_not_run(write, tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run!",)

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    assert "cannot be loaded as plain weights" in refused(write("net8.py", NET), weights=tmp_path / "evil.pt")


def test_unknown_files_and_names(write, tmp_path):
    path = write("net9.py", NET)
    assert "no such file" in refused(tmp_path / "none.py")
    assert f"candidates: {path}:Net" in refused(f"{path}:Nothing")
    assert "no such file or module: nopackage.nomodule" in refused("nopackage.nomodule:Net")
    assert "not a Python file" in refused(write("net.txt", "x"))
    assert "holds no model" in refused(write("empty.py", "x = 1"))
    assert "is a int" in refused(write("number.py", "model = 1"))
    assert "returned a int" in refused(write("wrong.py", "def build(): return 1"))


def test_several_candidates_are_listed(write):
    path = write("two.py", NET + "class Second(nn.Module): pass\n")
    text = refused(path)
    assert f"{path}:Net" in text and f"{path}:Second" in text


def test_imported_classes_are_no_candidates(write):
    assert open_model(str(write("net10.py", NET + "from torch.nn import Linear\n"))).model.fc.in_features == 4


def test_arguments_that_lack_or_do_not_fit(write):
    path = write("needs.py", NET.replace("width=4", "width"))
    assert "missing a required argument: 'width'" in refused(path) and "--init" in refused(path)
    assert "unexpected keyword argument 'depth'" in refused(path, {"width": 1, "depth": 2})


@pytest.mark.parametrize("text,line,kind", [
    ("import torch\nimport nothing_of_that_name\n", 2, "ModuleNotFoundError"), ("x = (\n", 1, "SyntaxError"),
    ("1 / 0\n", 1, "ZeroDivisionError"),
    ("import sys\nsys.exit(3)\n", 2, "SystemExit"), ("def build():\n    return undefined\n", 2, "NameError")])  # fmt: skip
def test_users_code_that_fails_is_one_line_with_its_place(write, text, line, kind):
    path = write("fails.py", text)
    shown = refused(path)
    assert shown.startswith(f"{path}:{line}: {kind}:")


def test_a_neighbour_that_fails_is_named(write):
    neighbour = write("broken_neighbour.py", "x = 1\nraise ValueError('no\\nluck')\n")
    assert refused(write("net11.py", "import broken_neighbour\n")).startswith(f"{neighbour}:2: ValueError: no (")
