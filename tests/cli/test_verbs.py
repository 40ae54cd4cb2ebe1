"""The verbs on a model outside the repository: exit codes, JSON on stdout, progress on stderr, nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from dync.cli import VERBS, invoke

MODEL = """
import torch
from torch import nn


class Exits(nn.Module):
    def __init__(self, threshold=0.6):
        super().__init__()
        torch.manual_seed({seed})
        self.a, self.b, self.threshold = nn.Linear(8, 8), nn.Linear(8, 8), threshold

    def forward(self, x):
        y = self.a(x)
        if y.softmax(-1).max().item() > self.threshold:
            return {{"y": y, "exit": 0}}
        return {{"y": [self.b(torch.relu(y)), None], "exit": 1}}


def example_inputs():
    return (torch.randn(1, 8),)
"""
PARAM = ("--param", "threshold=0.6:0..1")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with two models of other weights, an input, and a compiled artifact."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "exits_model.py").write_text(MODEL.format(seed=0))
    (folder / "other_model.py").write_text(MODEL.format(seed=1))
    np.save(folder / "x.npy", np.ones((1, 8), "float32"))
    path = list(sys.path)
    argv = ["compile", str(folder / "exits_model.py"), "-o", str(folder / "a.dync"), "--backend", "onnxruntime", "--strict", *PARAM]
    assert invoke(argv) == 0
    yield folder
    sys.path[:] = path


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_compile_prints_numbered_steps_and_a_report(home, capsys):
    assert invoke(["compile", "exits_model.py:Exits", "-o", "b.dync", "--input", "x:f32[1,8]", "--verify", "off", "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert [b["backend"] for b in found["blocks"]] == ["onnxruntime"] * len(found["blocks"]) and found["target"] == "cpu"
    assert [line for line in shown.err.splitlines() if line.startswith("[")][0].startswith("[1/7] load exits_model.py:Exits")


def test_the_artifact_holds_what_was_verified(home):
    with zipfile.ZipFile(home / "a.dync") as archive:
        coverage = json.loads(archive.read("verify/coverage.json"))
        manifest = json.loads(archive.read("manifest.json"))
    assert coverage["ok"] is True and coverage["runs"] > 1
    assert manifest["meta"]["origin"]["model"].endswith("exits_model.py")


def test_run_stores_leaves_under_their_paths(capsys):
    assert invoke(["run", "a.dync", "--input", "x=@x.npy", "-o", "y.npz", "--param", "threshold=1.0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    arrays = np.load("y.npz")
    assert set(arrays.files) == {"y[0]", "exit"} and arrays["exit"] == 1 and arrays["y[0]"].shape == (1, 8)
    assert found["path"] and {o["name"] for o in found["outputs"]} == {"y[0]", "exit"} and "= False" in found["decisions"][0]
    assert invoke(["run", "a.dync", "--input", "x=@x.npy", "-o", "y.npz", "--param", "threshold=0.0"]) == 0
    assert np.load("y.npz")["exit"] == 0


@pytest.mark.parametrize("argv,code,said", [
    (["--input", "x=@x.npy", "--param", "threshold=7"], 2, "threshold"),
    (["--input", "x=@x.npy", "--param", "nothing=1"], 2, "unknown run-time parameter"),
    (["--input", "z=@x.npy"], 2, "no input 'z'; inputs: x"), ([], 2, "no value for the input 'x'"),
    (["--input", "x=@none.npy"], 2, "no such file: none.npy"),
    (["--input", "x=@wide.npy"], 2, "guard error: "), (["--input", "x=@ints.npy"], 2, "guard error: "),
    (["--input", "x=@flat.npy"], 2, "guard error: ")])  # fmt: skip
def test_run_refuses_what_does_not_fit(argv, code, said, capsys, home):
    np.save("wide.npy", np.ones((1, 9), "float32"))
    np.save("ints.npy", np.ones((1, 8), "int64"))
    np.save("flat.npy", np.ones(8, "float32"))
    assert invoke(["run", "a.dync", "-o", "none.npz", *argv]) == code
    shown = capsys.readouterr().err.splitlines()[-1]
    assert said in shown and not (home / "none.npz").exists()


def test_inspect_imports_no_torch(home):
    code = "import sys, dync.cli; code = dync.cli.invoke(['inspect', 'a.dync', '--json']); sys.exit(code or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=home)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (
        found["inputs"] == [{"path": "x", "type": "float32[1, 8]"}]
        and found["params"][0]["name"] == "threshold"
        and found["kernels"][0]["needs"] == ["onnxruntime"]
    )


def test_inspect_as_text(capsys):
    assert invoke(["inspect", "a.dync"]) == 0
    text = capsys.readouterr().out
    assert "input x: float32[1, 8]" in text and "param threshold = 0.6, within 0.0..1.0" in text


def test_explain(capsys):
    assert invoke(["explain", "exits_model.py", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)["constructs"][0]
    assert one["became"] == "early return" and one["span"]["line"] == 14 and "self.threshold" in one["text"]
    assert invoke(["explain", "exits_model.py"]) == 0
    text = capsys.readouterr().out
    assert "exits_model.py:14:" in text and "^^^" in text


def test_explain_of_what_cannot_be_captured_shows_the_diagnostics(capsys, home):
    (home / "storage_net.py").write_text(MODEL.format(seed=0).replace("y.softmax(-1).max().item()", "y.untyped_storage().nbytes()"))
    assert invoke(["explain", "storage_net.py"]) == 4
    shown = capsys.readouterr().err
    assert "capture error: storage_net.py:14:" in shown and "DY" in shown


def test_verify_its_own_model_and_another(capsys):
    assert invoke(["verify", "a.dync", "--json", "--budget", "40"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] and found["uncovered"] == []
    assert invoke(["verify", "a.dync", "--against", "exits_model.py", "--require-coverage"]) == 0
    assert invoke(["verify", "a.dync", "--against", "other_model.py", "--budget", "20"]) == 1


def test_verify_without_a_model_to_compare_with(home, capsys, monkeypatch, tmp_path):
    (tmp_path / "a.dync").write_bytes((home / "a.dync").read_bytes())
    recorded = str(home / "exits_model.py")
    (home / "exits_model.py").rename(home / "moved.py")
    try:
        monkeypatch.chdir(tmp_path)
        assert invoke(["verify", "a.dync"]) == 2
        assert recorded in capsys.readouterr().err
        assert invoke(["bench", "a.dync", "--seconds", "0.05", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert set(found["paths"][0]["latency"]) == {"dync"} and "eager" in found["not_run"]
    finally:
        (home / "moved.py").rename(home / "exits_model.py")


def test_bench(capsys):
    assert invoke(["bench", "a.dync", "--seconds", "0.1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["paths"][0]["latency"]) == {"dync", "eager"} and found["paths"][0]["ratio"]["eager"] > 0
    assert sum(p["share"] for p in found["paths"]) == pytest.approx(1) and found["throughput"]["dync"] > 0
    assert invoke(["bench", "a.dync", "--vs", "nothing"]) == 2


def test_targets(capsys):
    assert invoke(["targets", "--json"]) == 0
    found = {b["name"]: b for b in json.loads(capsys.readouterr().out)["backends"]}
    assert found["eager"]["available"] and found["onnxruntime"]["available"] and found["onnxruntime"]["version"]
    assert invoke(["targets"]) == 0 and "onnxruntime" in capsys.readouterr().out


@pytest.mark.parametrize("argv,said", [
    (["--backend", "nope"], "unknown backend 'nope'"), (["--host", "nope"], "unknown host"), (["--target", "tpu"], "unknown target"),
    (["--passes", "nope"], "unknown pass"),
    (["--batching", "per-sample"], "per-sample"), (["--param", "threshold=0.6"], "needs a range"),
    (["--input", "x:f32"], "cannot read --input"),
    (["--verify", "maybe"], "maybe"), (["--nothing"], "--nothing")])  # fmt: skip
def test_wrong_usage_is_exit_2_and_one_line(argv, said, capsys, home):
    assert invoke(["compile", "exits_model.py", "-o", "c.dync", *argv]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert said in shown[-1] and shown[-1].startswith("usage error: ") and not (home / "c.dync").exists()


def test_an_onnx_file_runs_where_dync_is_not(home, capsys):
    import subprocess
    import sys

    assert invoke(["compile", "exits_model.py:Exits", "-o", "plain.onnx", "--host", "python"]) == 2
    assert invoke(["compile", "exits_model.py:Exits", "-o", "plain.onnx", "--input", "x:f32[1,8]"]) == 0
    capsys.readouterr()
    code = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession("plain.onnx")
found = session.run(None, {"x": numpy.load("x.npy")})
assert not {"dync", "torch"} & set(sys.modules)
print(int(found[0]))
"""
    np.save(home / "x.npy", np.ones((1, 8), np.float32))
    run = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=True)
    assert int(run.stdout) in (0, 1)


def test_a_model_that_raises_in_forward(capsys, home):
    (home / "raising_model.py").write_text(MODEL.format(seed=0).replace("y = self.a(x)", "y = self.a(x.reshape(3, 5))"))
    assert invoke(["compile", "raising_model.py", "-o", "c.dync"]) in (2, 4)
    shown = capsys.readouterr().err
    assert "raising_model.py:13" in shown and "Traceback" not in shown and not (home / "c.dync").exists()


def test_a_mismatch_writes_nothing(home, capsys, monkeypatch):
    from dync.errors import VerifyError
    from dync.verify.report import Report

    def differs(self, require_coverage=False):
        raise VerifyError("Exits: call 0 differs")

    monkeypatch.setattr(Report, "raise_for_status", differs)
    assert invoke(["compile", "exits_model.py", "-o", "c.dync"]) == 1
    shown = capsys.readouterr().err
    assert "verify error: Exits: call 0 differs" in shown and "--verify off" in shown and not (home / "c.dync").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "newer", "empty"])
def test_damaged_artifacts_are_refused(damage, home, capsys):
    data = bytearray((home / "a.dync").read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 255
    wrong = {"cut": data[:-100], "flipped": data, "text": b"hello", "newer": data.replace(b'"schema": 1', b'"schema": 9'), "empty": b""}[
        damage
    ]
    (home / "bad.dync").write_bytes(wrong)
    assert invoke(["run", "bad.dync", "--input", "x=@x.npy", "-o", "z.npz"]) == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith("artifact error: ") and not (home / "z.npz").exists()


def test_a_missing_artifact_and_a_folder_that_is_not_there(capsys):
    assert invoke(["inspect", "none.dync"]) == 2
    assert "none.dync" in capsys.readouterr().err
    assert invoke(["compile", "exits_model.py", "-o", "nowhere/c.dync"]) == 2
    assert "no such folder: nowhere" in capsys.readouterr().err


def test_a_traceback_only_with_debug():
    with pytest.raises(Exception, match="none.dync"):
        invoke(["inspect", "none.dync", "--debug"])


def test_unknown_verbs_and_help(capsys):
    assert invoke(["nosuchverb"]) == 2
    assert "nosuchverb" in capsys.readouterr().err
    assert invoke(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS) and "Exit codes" in text
    assert invoke(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __import__("dync").__version__


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_help_and_json(verb, capsys):
    assert invoke([verb, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_error(home):
    done = subprocess.run(f"{sys.executable} -P -m dync inspect a.dync | head -1", shell=True, capture_output=True, text=True, cwd=home)
    assert done.stdout.startswith("a.dync: Exits") and done.stderr == ""


def test_fuzz(capsys, tmp_path):
    code = invoke(["fuzz", "--count", "1", "--seed", "2", "-o", str(tmp_path), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ok"] else 1) and found["count"] == 1 and found["backends"] == ["onnxruntime"]
    assert invoke(["fuzz", "--backend", "nope"]) == 2


@pytest.mark.parametrize("sent, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_fuzz_tells_what_ran_when_a_signal_ends_it(sent, code, capsys, monkeypatch):
    from dync.verify.fuzz.check import Finding
    from dync.verify.fuzz.worker import Worker

    asked = []

    def check(worker, path, backends, hosts):
        asked.append(path)
        if len(asked) == 3:
            os.kill(os.getpid(), sent)
            time.sleep(1)  # the signal comes while this network is in work
        return Finding("same", stages={"interpret": "", "eager/python": "DeclinedError: not today"})

    monkeypatch.setattr(Worker, "check", check)
    before, ours = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job may ignore it
    try:
        assert invoke(["fuzz", "--count", "50", "--backend", "eager", "--json"]) == code
    finally:
        signal.signal(signal.SIGINT, ours)
    found = json.loads(capsys.readouterr().out)
    assert found["stopped"] and not found["ok"] and found["kinds"] == {"same": 2} and found["count"] == 50
    assert found["declined"] == {"eager/python: DeclinedError: not today": 2} and signal.getsignal(signal.SIGTERM) is before


def test_fuzz_tells_of_a_failure_when_it_comes(capsys, monkeypatch):
    from dync.verify.fuzz.check import Finding
    from dync.verify.fuzz.worker import Worker

    said = []

    def check(worker, path, backends, hosts):
        said.append(capsys.readouterr().err)
        return Finding("hang", "eager/python", "no answer [in time]") if "network_5" in str(path) else Finding("same")

    monkeypatch.setattr(Worker, "check", check)
    assert invoke(["fuzz", "--seed", "5", "--count", "30", "--backend", "eager"]) == 1
    assert "network 5: hang in eager/python: no answer [in time]" in "".join(said)


def test_an_artifact_that_runs_in_torch_runs_in_a_fresh_process(home):
    assert invoke(["compile", "exits_model.py", "-o", "e.dync", "--backend", "eager", "--verify", "off"]) == 0
    argv = [sys.executable, "-P", "-m", "dync", "run", "e.dync", "--input", "x=@x.npy", "-o", "e.npz"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=home)
    assert done.returncode == 0 and np.load(home / "e.npz")["exit"] in (0, 1), done.stderr
