"""TVM's code for CUDA, made without a GPU: machine code from every kernel, and what is said where it cannot be made."""

from __future__ import annotations

import pytest
import torch
from support.backend_cases import CASES
from support.kernels import kernel

from dync.backends.base import Available, Declined, Target
from dync.backends.tvm import gpu
from dync.backends.tvm.backend import Tvm

FATBIN = bytes.fromhex("50ed55ba")
"""How a fat binary begins."""
FAMILIES = ("mlp", "conv-bn-relu", "argmax", "softmax-nan", "nonzero", "topk", "index-put", "scatter-add", "cumsum", "unique")
"""Cases whose kernels are scheduled by different rules; tests/gpu has them all, on a GPU."""


@pytest.fixture
def tvm() -> Tvm:
    backend = Tvm()
    answer = backend.available()
    if isinstance(answer, Declined) or not gpu.assembler():
        pytest.skip("TVM or nvcc is not here")
    return backend


@pytest.mark.parametrize("name", [n for n in FAMILIES if n in CASES])
def test_kernels_become_machine_code(tvm: Tvm, name: str):
    found = CASES[name].kernel()
    code = tvm.compile(found, Target("cuda", "sm_90"))
    assert code.settings["device"] == "cuda" and code.members["kernels.fatbin"].startswith(FATBIN)


def test_each_architecture_has_its_code(tvm: Tvm):
    found = kernel(lambda x, a: (x @ a).relu(), {"x": "float32[8, 64]"}, {"a": torch.randn(64, 32)})
    answer = tvm.available()
    assert isinstance(answer, Available) and {f"cuda:{a}" for a in gpu.ARCHITECTURES} < set(answer.can_compile)
    made = {a: tvm.compile(found, Target("cuda", a)).members["kernels.fatbin"] for a in ("", "sm_80", "sm_90")}
    assert made[""] == made["sm_80"] != made["sm_90"]


def test_what_there_is_no_code_for(monkeypatch: pytest.MonkeyPatch):
    found = kernel(lambda x: x * 2, {"x": "float32[4]"})
    declined = Tvm().supports(found, Target("cuda", "sm_20"))
    assert isinstance(declined, Declined) and "sm_80" in declined.reason
    monkeypatch.setattr(gpu, "assembler", lambda: None)
    declined = Tvm().supports(found, Target("cuda", "sm_90"))
    assert isinstance(declined, Declined) and "install nvcc" in declined.reason
