"""The trained early-exit classifier in eager PyTorch."""

import gzip
from collections import Counter

import numpy as np
import pytest
import torch

from dync.models import fashion_exits, train_fashion_exits


@pytest.fixture(scope="module")
def answers():
    """(predicted, exit) of every image of the sample, and the labels."""
    model = fashion_exits.build()
    images, labels = fashion_exits.sample()
    with torch.inference_mode():
        results = [model(image[None]) for image in images]
    return [(int(logits.argmax()), number) for logits, number in results], labels.tolist()


def test_accuracy_on_real_images(answers):
    results, labels = answers
    assert sum(p == label for (p, _), label in zip(results, labels)) / len(labels) > 0.92


def test_every_exit_is_used(answers):
    used = Counter(number for _, number in answers[0])
    assert set(used) == {0, 1, 2}
    assert min(used.values()) > 40


def test_threshold_moves_the_exit():
    (x,) = fashion_exits.example_inputs()
    model = fashion_exits.build(threshold=0.0)
    with torch.inference_mode():
        assert model(x)[1] == 0
        model.threshold = 1.0
        logits, number = model(x)
    assert number == 2 and logits.shape == (1, 10)


def test_training_returns_all_exits():
    outputs = fashion_exits.FashionExits().train()(torch.rand(4, 1, 28, 28))
    assert [tuple(y.shape) for y in outputs] == [(4, 10)] * 3


def test_committed_files_are_small():
    assert fashion_exits.WEIGHTS.stat().st_size < 1_000_000
    assert fashion_exits.SAMPLE.stat().st_size < 500_000


def test_training_script_writes_a_loadable_model(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for part, count in (("train", 5_128), ("t10k", 520)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = (rng.integers(0, 40, (count, 28, 28)) + 20 * labels[:, None, None]).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes(), 1))
    monkeypatch.setattr("sys.argv", ["train", str(tmp_path), "--out", str(tmp_path / "out"), "--epochs", "1", "--threads", "1"])
    torch.manual_seed(0)
    train_fashion_exits.main()
    assert "set THRESHOLD" in capsys.readouterr().out
    monkeypatch.setattr(fashion_exits, "WEIGHTS", tmp_path / "out" / fashion_exits.WEIGHTS.name)
    assert not fashion_exits.build().training


def test_leave_takes_the_first_confident_exit():
    sure, unsure = torch.tensor([9.0, 0.0]), torch.tensor([0.1, 0.0])
    logits = torch.stack([torch.stack([unsure, sure]), torch.stack([sure.flip(0), unsure]), torch.stack([unsure, unsure])])
    prediction, taken = train_fashion_exits.leave(logits, 0.9)
    assert taken.tolist() == [1, 0] and prediction.tolist() == [1, 0]
