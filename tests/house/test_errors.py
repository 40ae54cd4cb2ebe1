"""One tree of errors; each class has the exit code of the contract."""

import pytest

import dync
from dync.cli.console import INTERNAL, complain, plain_name
from dync.ir.types import Span


@pytest.mark.parametrize("name,code", [
    ("UsageError", 2), ("GuardError", 2), ("ArtifactError", 2), ("VerifyError", 1), ("CaptureError", 4), ("BackendError", 5)])  # fmt: skip
def test_exit_codes(name, code):
    cls = getattr(dync, name)
    assert issubclass(cls, dync.DyncError) and cls.exit_code == code


def test_an_error_is_one_line_with_its_class_in_plain_words(capsys):
    assert complain(dync.BackendError("onnxruntime is not installed")) == 5
    assert capsys.readouterr().err == "backend error: onnxruntime is not installed\n"


def test_a_capture_error_shows_all_its_diagnostics(capsys):
    span = Span("model.py", 41, 8, 41, 12)
    error = dync.CaptureError(dync.Diagnostic("DY101", span, "one"), dync.Diagnostic("DY102", span, "two", "because", "that"))
    assert complain(error) == 4
    shown = capsys.readouterr().err
    assert "model.py:41:9: DY101: one" in shown and "DY102: two" in shown and "why: because" in shown and "instead: that" in shown


def test_dyncs_own_bugs_are_told_apart(capsys):
    assert complain(KeyError("x")) == INTERNAL
    assert "internal error: KeyError" in capsys.readouterr().err


def test_file_errors_name_the_file(capsys, tmp_path):
    with pytest.raises(OSError) as caught:
        (tmp_path / "none" / "x").write_text("")
    assert complain(caught.value) == 2
    assert str(tmp_path / "none" / "x") in capsys.readouterr().err


def test_plain_names():
    assert plain_name(dync.GuardError("")) == "guard error" and plain_name(dync.DyncError("")) == "dync error"


def test_a_missing_library_says_what_to_install(capsys):
    with pytest.raises(ModuleNotFoundError) as caught:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    assert complain(caught.value) == 2
    assert capsys.readouterr().err == "usage error: this needs torch, which is not installed: pip install 'dync[capture]'\n"
