"""The demo, from compilation to its last sentence."""

import io
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from dync.models import demo, fashion_exits

pytest.importorskip("onnxruntime")


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_demo_agrees_and_says_so(tmp_path, one_thread):
    out = io.StringIO()
    assert demo.show(Console(file=out, width=200), tmp_path / "m.dync", threads=1, rounds=1) == 0
    text = out.getvalue()
    assert "the same results as eager PyTorch on every path" in text
    assert "3 paths reached, 0 uncovered" in text
    assert (tmp_path / "m.dync").stat().st_size < 2_000_000


@pytest.mark.parametrize(("margin", "is_flip"), [(1e-8, True), (0.1, False)])
def test_another_exit_is_a_flip_only_near_the_threshold(margin, is_flip):
    model = fashion_exits.build()
    images = fashion_exits.sample()[0][:4]

    def traced(image):
        logits, number = model(image)
        return (logits, number + 1 if number < 2 else 1), SimpleNamespace(decisions=[SimpleNamespace(margin=margin)] * 3)

    eager, ours, flips = demo.run_all(model, SimpleNamespace(traced=traced), images)
    assert all(a != b for a, b in zip(eager, ours))
    assert bool(flips) is is_flip and all(m == margin for m in flips.values())
