"""Stages, their lines on stderr, and the report's text."""

import sys

import pytest

from dync.cli.console import emit, steps
from dync.ir.types import Span
from dync.progress import stage
from dync.report import BlockReport, CompileReport, Refusal, size, table


def test_stages_are_numbered_lines_on_stderr(capsys):
    with steps(2):
        with stage("capture", "model.py") as one:
            one.note = "3 blocks"
        with stage("write", "out.dync") as two:
            two.tick(1, 2)
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert (
        shown.out == ""
        and lines[0] == "[1/2] capture model.py ..."
        and lines[1].startswith("      3 blocks, 0.0")
        and lines[2] == "[2/2] write out.dync ..."
    )
    assert one.seconds > 0


def test_a_stage_that_fails_is_not_shown_as_done(capsys):
    with pytest.raises(ValueError), steps(1), stage("capture"):
        raise ValueError
    assert capsys.readouterr().err == "[1/1] capture ...\n"


def test_nobody_listens_by_default(capsys):
    with stage("quiet") as one:
        one.tick(1, 1)
    assert capsys.readouterr() == ("", "") and one.seconds >= 0


def test_a_bar_only_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with steps(1), stage("compile") as one:
        one.tick(1, 2)
        one.tick(2, 2)
    assert "compile" in capsys.readouterr().err


def report() -> CompileReport:
    refusal = Refusal("onnxruntime", "no kernel for aten.nonzero", Span("model.py", 7, 4))
    blocks = (BlockReport("b0", "onnxruntime", "preferred", 0.25, 1500, 1e-7),
              BlockReport("b1", "eager", "fallback", 0.5, 10, 0.0, refused=(refusal,)),
              BlockReport("b2", "onnxruntime", "preferred", 0, 1500, 1e-7, same_as="b0"))  # fmt: skip
    return CompileReport("Net", "cpu", "python", blocks, {"capture": 0.5}, 1510, 2_000_000)


def test_a_report_says_block_backend_reason():
    text = str(report())
    assert "2 distinct" in text and "code 1.5 kB, weights 2.0 MB" in text and "as b0" in text
    assert "not onnxruntime: no kernel for aten.nonzero (model.py:7:5)" in text
    assert report()["b1"].backend == "eager"
    with pytest.raises(KeyError):
        report()["b9"]


def test_data_goes_to_stdout_as_text_or_json(capsys):
    import json

    emit(report(), True)
    assert json.loads(capsys.readouterr().out)["blocks"][1]["refused"][0]["span"]["line"] == 7
    emit({"worst": float("nan")}, True)
    assert json.loads(capsys.readouterr().out) == {"worst": None}
    emit(report(), False)
    assert capsys.readouterr().out.startswith("Net: 3 blocks with code")


@pytest.mark.parametrize("count,text", [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3_000_000_000, "3.00 GB")])
def test_sizes(count, text):
    assert size(count) == text


def test_tables_are_aligned():
    assert table(("a", "b"), [("xx", "y")]) == ["a   b", "xx  y"]
