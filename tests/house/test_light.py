"""`import dync` and `dync --help` are quick and load neither torch nor a compiler."""

import subprocess
import sys

HEAVY = "('torch', 'libcst', 'onnx', 'onnxscript', 'tvm', 'sympy', 'torch_mlir', 'iree.compiler', 'onnxruntime')"


def python(code: str, cwd=None) -> str:
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=cwd, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_dync_is_light(tmp_path):
    assert python(f"import dync, sys; print([m for m in {HEAVY} if m in sys.modules])", tmp_path) == "[]"


def test_light_names_stay_light(tmp_path):
    code = "import dync, sys; dync.load, dync.Program, dync.Runtime, dync.ArtifactError, dir(dync); "
    assert python(code + f"print([m for m in {HEAVY} if m in sys.modules])", tmp_path) == "[]"


def test_functions_are_not_hidden_by_packages_of_the_same_name(tmp_path):
    code = "import dync, dync.capture, dync.verify, dync.bench, dync.explain, types; "
    names = "(dync.capture, dync.verify, dync.bench, dync.explain)"
    assert python(code + f"print([isinstance(f, types.FunctionType) for f in {names}])", tmp_path) == "[True, True, True, True]"


def test_unknown_names_are_attribute_errors(tmp_path):
    code = "import dync\ntry: dync.nothing\nexcept AttributeError as e: print(e)"
    assert python(code, tmp_path) == "module 'dync' has no attribute 'nothing'"


def test_help_imports_no_torch(tmp_path):
    code = f"from dync.cli import invoke; import sys; invoke(['--help']); print([m for m in {HEAVY} if m in sys.modules])"
    assert python(code, tmp_path).splitlines()[-1] == "[]"
