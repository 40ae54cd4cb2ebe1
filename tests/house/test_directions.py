"""One direction of flow: nothing later is imported by anything earlier. Read from the source text of every file."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAPPED = ("passes", "backends", "models")
STAGES = ("capture", "passes", "backends", "host")
MAY_IMPORT = {
    "errors": {"ir"},
    "ir": {"ir", "errors"},
    "capture": {"capture", "ir", "errors"},
    "passes": {"passes", "ir", "errors"},
    "backends": {"backends", "ir", "errors"},
    "host": {"host", "ir", "errors"},
    "runtime": {"runtime", "ir", "errors", "host"},
    "verify": {"verify", "ir", "errors", "runtime"},
}
"""A folder (or file) of dync → the ones that it may import. What is not listed is the outer shell: it may import all but cli."""
ALSO = {"dync.verify.fuzz": {"api", "sides"}, "dync.verify.plugin": {"api"}, "dync.verify.outside": {"capture"},
    "dync.backends.check": {"runtime"}, "dync.host.tvm.native": {"backends"}, "dync.host.tvm.entry": {"backends"},
    "dync.backends.tvm.backend": {"runtime"}, "dync.backends.torch_mlir": {"runtime"}}
"""Exceptions: fuzz and the pytest plugin are programs of their own that call the api as a user would; what a model may write that is
not its own, capture knows;
check runs code the way the runtime will; what can be loaded and run here, the runtime knows;
a flow that is compiled with its blocks calls them as the backend made them."""
LIGHT = ("runtime", "host", "errors")
HEAVY = ("torch", "libcst", "onnx", "sympy", "networkx", "onnxscript")


def files() -> list[Path]:
    return sorted(p for folder in ("dync", *MAPPED) for p in (ROOT / folder).rglob("*.py"))


def module(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts = ["dync", *parts] if parts[0] in MAPPED else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def stage(name: str) -> str:
    return name.split(".")[1] if name.count(".") else ""


def imports(tree: ast.AST, checking: bool = True) -> list[str]:
    """The absolute modules that a file imports; those under `if TYPE_CHECKING` only when `checking`."""
    found = []
    for node in ast.walk(tree) if checking else _run(tree):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names]
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [f"{node.module}.{a.name}" for a in node.names]
    return found


def _run(tree: ast.AST):
    """The nodes that run when the module is imported: no function bodies, no `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _run(node)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_flow_has_one_direction(path):
    own = stage(module(path))
    used = {stage(i) for i in imports(ast.parse(path.read_text())) if i.startswith("dync.")}
    used -= {a for prefix, allowed in ALSO.items() if module(path).startswith(prefix) for a in allowed}
    if own in MAY_IMPORT:
        assert used <= MAY_IMPORT[own], f"{module(path)} may not import {sorted(used - MAY_IMPORT[own])}"
    elif own not in ("cli", "__main__", "models"):
        assert "cli" not in used


@pytest.mark.parametrize("path", [p for p in files() if stage(module(p)) in LIGHT], ids=lambda p: str(p.relative_to(ROOT)))
def test_light_folders_import_no_compiler(path):
    heavy = {i.split(".")[0] for i in imports(ast.parse(path.read_text()), checking=False)} & set(HEAVY)
    assert not heavy, f"{module(path)} imports {heavy} when it is imported"


@pytest.mark.parametrize("path", [*files(), *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_second_copy_is_never_imported(path):
    tree = ast.parse(path.read_text())
    tops = {i.split(".")[0] for i in imports(tree)}
    assert not tops & set(MAPPED), "import dync.passes, dync.backends, dync.models"
    assert not any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(tree)), "absolute imports only"


def test_a_breach_is_seen():
    tree = ast.parse("def f():\n    from dync.capture import engine\n")
    assert {stage(i) for i in imports(tree)} == {"capture"}
    assert imports(ast.parse("if TYPE_CHECKING:\n    import torch\ndef f():\n    import torch\nimport sys"), checking=False) == ["sys"]


def test_stages_do_not_know_each_other():
    for one in STAGES:
        assert not MAY_IMPORT[one] & (set(STAGES) - {one})


def test_modules_have_one_place():
    """No folder of dync/ is shadowed by a mapped root folder, and no two files are one module."""
    names = [module(p) for p in files()]
    assert len(names) == len(set(names))
    assert not any((ROOT / "dync" / m).exists() for m in MAPPED)
    assert not [p for p in files() if p.stem in ("cuda", "utils", "common")]
    assert "passes" not in sys.modules and "backends" not in sys.modules and "models" not in sys.modules
