"""Compiled code on a GPU. $DYNC_GPU_BUNDLE names a file made by bundle.py elsewhere; without it one is made here, for this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dync.runtime.device import present
from gpu import bundle, replay

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not present(), reason="there is no GPU here")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    if given := os.environ.get("DYNC_GPU_BUNDLE"):
        return bundle.read(Path(given))
    return bundle.write(tmp_path_factory.mktemp("gpu") / "bundle", step=4)


def test_equal_to_eager(made: bundle.Bundle):
    assert made.blocks and made.programs
    assert not dict(replay.failures(made))
