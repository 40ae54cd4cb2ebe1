"""A compiler that crashes, hangs, prints or lies costs the block at hand: neither the process, nor the other blocks, nor stdout."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.faulty import Faulty
from support.kernels import kernel

from dync.backends import worker
from dync.backends.base import Target
from dync.backends.worker import Made, Worker, WrongNumber, can_isolate, make
from dync.errors import BackendError

KERNELS = [
    kernel(lambda x: x * 2, {"x": "float32[4]"}),
    kernel(lambda x: x.relu() * 2, {"x": "float32[4]"}),
    kernel(lambda x: x + 1, {"x": "float32[4]"}),
]
FIRST, BAD, LAST = KERNELS


@pytest.fixture
def child(monkeypatch, tmp_path):
    assert can_isolate()
    monkeypatch.setattr(Faulty, "log", tmp_path / "log")
    made = []

    def worker(fault: str) -> Worker:
        monkeypatch.setattr(Faulty, "fault", fault)
        made.append(Worker(Faulty(), KERNELS, Target(), 1))
        return made[-1]

    yield worker
    for one in made:
        one.close()


def processes(log) -> list[str]:
    return [line.split()[2] for line in log.read_text().splitlines()]


def test_one_child_compiles_all_and_is_another_process(child, tmp_path):
    one = child("")
    found = [one.make(k, 60) for k in KERNELS]
    assert all(isinstance(f, Made) and f.worst == 0 for f in found)
    assert len(set(processes(tmp_path / "log"))) == 1 and str(os.getpid()) not in processes(tmp_path / "log")


class Cycle:
    """Garbage for the collector that notes which process destroys it."""

    def __init__(self, log):
        self.itself, self.log = self, log

    def __del__(self):
        with self.log.open("a") as file:
            file.write(f"{os.getpid()}\n")


def test_what_the_parent_left_is_not_destroyed_in_the_child(child, tmp_path):
    """A session of ONNX Runtime waits, when it is destroyed, for threads that only the parent has."""
    one, freed = child("collects"), tmp_path / "freed"
    gc.collect()
    gc.disable()
    try:
        Cycle(freed)
        assert one.make(BAD, 60).worst == 0
    finally:
        gc.enable()
    assert not freed.exists()
    gc.collect()
    assert freed.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("fault,said", [
    ("crashes", r"the faulty compiler crashed \(SIGSEGV\): about to fall over"),
    ("exits", r"the faulty compiler crashed \(exit code 3\): fatal: no such target"),
    ("leaves", "the faulty compiler failed: SystemExit: 2"), ("breaks", "the faulty compiler failed: KeyError: 'aten.odd'"),
    ("refuses", "no rule for this loop"), ("lies", "where eager has")])  # fmt: skip
def test_the_other_kernels_survive(child, fault, said):
    one = child(fault)
    assert one.make(FIRST, 60).worst == 0
    with pytest.raises(BackendError, match=said) as caught:
        one.make(BAD, 60)
    assert isinstance(caught.value, WrongNumber) == (fault == "lies")
    assert one.make(LAST, 60).worst == 0 and one.make(FIRST, 60).worst == 0


def test_a_compiler_that_hangs_is_stopped_with_what_it_started(child, tmp_path):
    one = child("hangs")
    one.make(FIRST, 60)
    with pytest.raises(BackendError, match="the faulty compiler did not finish in 1 s and was stopped"):
        one.make(BAD, 1)
    hung = processes(tmp_path / "log")[-1]
    end = time.monotonic() + 10
    while _alive(int(hung)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _alive(int(hung))
    assert one.make(LAST, 60).worst == 0


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_ends_with_a_parent_that_is_killed_while_it_compiles(tmp_path):
    code = (
        "import os, pathlib, sys, time\n"
        "from dync.backends.worker import Child\n"
        "def answer(question):\n"
        "    pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "Child('slow', answer).ask(None, 600, 'b0')\n"
    )
    noted = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", code, str(noted)])
    until(lambda: noted.is_file() and noted.read_text())
    parent.kill()
    parent.wait()
    until(lambda: ended(Path("/proc") / noted.read_text() / "stat"))


def ended(stat):
    """Also of a process that nobody waits for."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_what_it_prints_stays_in_the_child(child, capfd):
    assert child("prints").make(BAD, 60).worst == 0
    assert capfd.readouterr() == ("", "")


def test_code_that_kills_whoever_runs_it_is_found_out_in_the_child(child, monkeypatch):
    from dync.backends import check

    honest = check.open_code
    monkeypatch.setattr(check, "open_code", lambda k, c, t: (lambda i: os.abort()) if k is BAD else honest(k, c, t))
    one = child("")
    with pytest.raises(BackendError, match="SIGABRT"):
        one.make(BAD, 60)
    assert one.make(LAST, 60).worst == 0


def test_closing_ends_the_child(child, tmp_path):
    one = child("")
    one.make(FIRST, 60)
    one.close()
    assert not _alive(int(processes(tmp_path / "log")[0]))
    assert one.make(LAST, 60).worst == 0


def test_threads_of_libraries_work_in_the_child(child):
    """OpenMP's and torch's pools, which the parent has used before, have no threads after a fork."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.randn(500, 500) @ torch.randn(500, 500)
        big = kernel(lambda x: x @ x, {"x": "float32[500, 500]"})
        one = Worker(Faulty(), [big], Target(), 2)
        try:
            assert one.make(big, 60).worst < 1e-4
        finally:
            one.close()
    finally:
        torch.set_num_threads(before)


def test_in_this_process_exceptions_are_backend_errors_too(monkeypatch):
    monkeypatch.setattr(Faulty, "fault", "breaks")
    with pytest.raises(BackendError, match="the faulty compiler failed: KeyError: 'aten.odd'"):
        make(Faulty(), BAD, Target(), 1)


def test_code_for_another_machine_is_not_run(monkeypatch):
    monkeypatch.setattr(Faulty, "fault", "lies")
    assert math.isnan(make(Faulty(), BAD, Target(), 1, runs=False).worst)


def test_no_children_of_children(monkeypatch):
    monkeypatch.setattr(worker.multiprocessing, "current_process", lambda: type("P", (), {"daemon": True}))
    assert not can_isolate()
