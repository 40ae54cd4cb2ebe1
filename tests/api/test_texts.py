"""Lists of texts that are made as the model runs: compiled, in files, copied, and inside an engine."""

from __future__ import annotations

import copy

import pytest
import torch
from programs.harness import call_of, load
from programs.texts import LabelsOfDetections, RecordsWithNames, WordsOfCharacters
from torch import nn

import dync
from dync.ir import interned


def texts(x):
    """What a result holds beside tensors."""
    if isinstance(x, (list, tuple)):
        return [texts(v) for v in x]
    return None if hasattr(x, "dtype") else x


@pytest.mark.parametrize("backend", ("eager", "onnxruntime"))
@pytest.mark.parametrize("cls", (LabelsOfDetections, WordsOfCharacters, RecordsWithNames))
def test_files_and_copies_say_the_same(cls, backend, tmp_path) -> None:
    model = load(cls)
    compiled = dync.compile(model, call_of(cls, 0)[0], backend=backend, host="python")
    compiled.save(tmp_path / "m.dync")
    for run in (compiled, copy.deepcopy(compiled), dync.load(tmp_path / "m.dync")):
        for seed in range(6):
            args, _ = call_of(cls, seed)
            assert texts(run(*args)) == texts(model(*args))
    assert not interned._interned.texts and not interned._interned.numbers  # what calls kept went with them


class Labels(nn.Module):
    def forward(self, x):
        labels, n = [], 0
        while n < 20 and x.sum() < 20:
            x = x + x.abs() * 0.3 + 0.1
            if x[1] > 1:
                labels.append((n, f"{n:02d}: {x.max():.2f}, {bool(x[0] > 1)}"))
            else:
                labels.append((n, "small"))
            n += 1
        return labels, x


def test_an_engine_carries_the_numbers_of_texts(tmp_path) -> None:
    model = Labels()
    compiled = dync.compile(model, (torch.randn(3),), backend="onnxruntime", host="onnx")
    compiled.save(tmp_path / "m.dync")
    for run in (compiled, dync.load(tmp_path / "m.dync")):
        for scale in (0.1, 0.5, 1.0, 3.0, 30.0):
            x = torch.linspace(-1, 1, 3) * scale
            assert run(x)[0] == model(x)[0]
