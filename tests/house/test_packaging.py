"""The package list is the tree, and everything that an artifact or a demo needs is in the wheel."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAPPED = ("passes", "backends", "models")


def test_the_package_list_is_the_tree():
    found = set()
    for top in ("dync", *MAPPED):
        for folder in {p.parent for p in (ROOT / top).rglob("*.py")}:
            parts = folder.relative_to(ROOT).parts
            found.add(".".join(parts if parts[0] == "dync" else ("dync", *parts)))
    assert set(CONFIG["tool"]["setuptools"]["packages"]) == found


def test_every_package_has_an_init():
    for top in ("dync", *MAPPED):
        for folder in {p.parent for p in (ROOT / top).rglob("*.py")}:
            assert (folder / "__init__.py").exists(), folder


def test_the_extras_are_those_promised():
    extras = CONFIG["project"]["optional-dependencies"]
    assert {"onnx", "tvm", "mlir", "inductor", "models", "dev", "all"} <= set(extras)
    assert all("torch==2.13.0" in extras[e] for e in ("capture", "inductor", "models"))


def test_running_needs_no_compiler():
    needs = {re.split(r"[<>=]", d)[0] for d in CONFIG["project"]["dependencies"]}
    assert needs == {"numpy", "msgspec", "safetensors", "cyclopts", "rich"}


def test_the_changelog_knows_the_version():
    import dync

    assert f"## {dync.__version__}" in (ROOT / "CHANGELOG.md").read_text()
