"""The compile cache: hits across weights and processes, damage, a full disk, two writers."""

from __future__ import annotations

import multiprocessing
import warnings
from pathlib import Path

import pytest
from support.backend_cases import w
from support.kernels import kernel

from dync.backends.base import BlockCode, Target
from dync.backends.cache import Cache, cache_key, default_folder
from dync.backends.kernels import structure_key

CODE = BlockCode(
    "onnxruntime",
    "k",
    {"model.onnx": b"\x00bytes\n\xff", "more": b""},
    ("a", "b"),
    {"inputs": ["i0"], "initializers": {"w0": "a", "w1": "b"}},
    ("onnxruntime",),
)


def mlp(*names: str):
    a, b = names
    scope: dict = {}
    exec(f"def f(x, {a}, {b}):\n    return (x @ {a}).relu() @ {b}\n", scope)
    return kernel(scope["f"], {"x": "float32[2, 4]"}, {a: w(4, 8), b: w(8, 3)})


def key(k) -> str:
    return cache_key(structure_key(k), "onnxruntime", "1.0", Target())


def test_a_round_trip(tmp_path):
    k = mlp("a", "b")
    Cache(tmp_path).put(key(k), k, CODE)
    found = Cache(tmp_path).get(key(k), k)
    assert found == CODE


def test_a_twin_finds_it_with_its_own_weights(tmp_path):
    first, twin = mlp("a", "b"), mlp("c", "d")
    assert key(first) == key(twin)
    Cache(tmp_path).put(key(first), first, CODE)
    found = Cache(tmp_path).get(key(twin), twin)
    assert found.weights == ("c", "d") and found.settings["initializers"] == {"w0": "c", "w1": "d"} and found.members == CODE.members


@pytest.mark.parametrize("change", [("eager", "1.0", Target()), ("onnxruntime", "1.1", Target()), ("onnxruntime", "1.0", Target("cuda"))])
def test_what_the_code_depends_on_is_in_the_key(change):
    k = mlp("a", "b")
    assert cache_key(structure_key(k), *change) != key(k)
    assert cache_key(structure_key(k), "onnxruntime", "1.0", Target(), threads=2) != key(k)


def test_other_sizes_are_another_kernel():
    other = kernel(lambda x, a, b: (x @ a).relu() @ b, {"x": "float32[3, 4]"}, {"a": w(4, 8), "b": w(8, 3)})
    assert key(other) != key(mlp("a", "b"))


def test_nothing_there(tmp_path):
    k = mlp("a", "b")
    assert Cache(tmp_path / "none").get(key(k), k) is None
    assert Cache(tmp_path, enabled=False).get(key(k), k) is None


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: b"", lambda d: d[:40], lambda d: d[:-2] + b"xx", lambda d: b"[1]\n", lambda d: b"\xff" * 50]
)
def test_damage_is_noticed_and_written_anew(tmp_path, damage):
    k, cache = mlp("a", "b"), Cache(tmp_path)
    cache.put(key(k), k, CODE)
    path = cache.path(key(k))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="damaged"):
        assert cache.get(key(k), k) is None
    cache.put(key(k), k, CODE)
    assert cache.get(key(k), k) == CODE


def test_a_folder_that_cannot_be_written_costs_nothing_else(tmp_path):
    (tmp_path / "file").write_text("")
    k, cache = mlp("a", "b"), Cache(tmp_path / "file")
    with pytest.warns(UserWarning, match="cannot keep"):
        cache.put(key(k), k, CODE)
    assert cache.get(key(k), k) is None


def test_a_full_disk_leaves_no_piece(tmp_path, monkeypatch):
    import os

    k, cache = mlp("a", "b"), Cache(tmp_path)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.warns(UserWarning, match="No space left"):
        cache.put(key(k), k, CODE)
    assert not [p for p in Path(tmp_path).rglob("*") if p.is_file()]


def _write(folder: str, name: str, times: int) -> None:
    k = mlp("a", "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(times):
            Cache(Path(folder)).put(name, k, CODE)
            assert Cache(Path(folder)).get(name, k) == CODE


def test_two_processes_write_and_read_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(str(tmp_path), "entry", 20)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0, 0]
    assert len([p for p in Path(tmp_path).rglob("*") if p.is_file()]) == 1


def test_the_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "dync"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "dync"
