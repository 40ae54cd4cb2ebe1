"""What holds for every model of the zoo."""

from importlib import import_module
from pathlib import Path

import pytest
import torch

from dync import models
from dync.models import ZOO

NOT_A_MODEL = {"__init__", "albert", "demo", "train_fashion_exits", "untrained"}


def test_every_file_is_in_the_zoo():
    files = {p.stem for p in Path(models.__path__[0]).glob("*.py")} - NOT_A_MODEL
    assert files == {where.partition(":")[0].rpartition(".")[2] for where in ZOO.values()}


@pytest.mark.parametrize("name", [n for n in ZOO if not n.startswith(("skipnet", "shallow"))])
def test_example_inputs_run_and_build_repeats(name):
    module, _, function = ZOO[name].partition(":")
    build = getattr(import_module(module), function)
    args = import_module(module).example_inputs()
    first, second = build(), build()
    assert not first.training
    with torch.inference_mode():
        a, b = (torch.utils._pytree.tree_leaves(model(*args)) for model in (first, second))
    assert all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(a, b, strict=True))
