"""Train models/fashion_exits.py on Fashion-MNIST and write its weights and its sample of test images.

    apt-get install -y dataset-fashion-mnist
    python -m dync.models.train_fashion_exits /usr/share/datasets/fashion-mnist --out models/data

The last 5,000 training images are held out; the default threshold is chosen on them, never on test images.
"""

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from dync.models.fashion_exits import SAMPLE, WEIGHTS, FashionExits

HELD_OUT = 5_000
SAMPLE_SIZE = 512
LOSS_WEIGHTS = (0.5, 0.7, 1.0)
ACCURACY_GIVEN_UP = 0.002


def read_idx(path: Path) -> torch.Tensor:
    """A gzipped idx file of unsigned bytes, as uint8 of the file's own shape."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise SystemExit(f"{path}: not an idx file of unsigned bytes")
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape).copy())


def read(folder: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images uint8 [n, 28, 28] and labels int64 [n] of "train" or "t10k"."""
    return read_idx(folder / f"{part}-images-idx3-ubyte.gz"), read_idx(folder / f"{part}-labels-idx1-ubyte.gz").long()


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror half of the batch and shift the whole batch by up to two pixels."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    x = torch.where(mirrored, x.flip(-1), x)
    dy, dx = torch.randint(0, 5, (2,), generator=generator).tolist()
    return functional.pad(x, (2, 2, 2, 2))[:, :, dy : dy + 28, dx : dx + 28]


def train(model: FashionExits, images: torch.Tensor, labels: torch.Tensor, epochs: int, batch: int, rate: float, seed: int) -> None:
    """Joint cross entropy over all exits, SGD with a one-cycle rate."""
    generator = torch.Generator().manual_seed(seed)
    model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = len(images) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * steps)
    start = time.perf_counter()
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for step in range(steps):
            index = order[step * batch : (step + 1) * batch]
            x = augment(images[index].unsqueeze(1).float() / 255, generator).contiguous(memory_format=torch.channels_last)
            target = labels[index]
            exits = zip(LOSS_WEIGHTS, model(x))
            loss = torch.stack([w * functional.cross_entropy(y, target, label_smoothing=0.05) for w, y in exits]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2}/{epochs}  loss {total / steps:.4f}  {time.perf_counter() - start:.0f} s", flush=True)
    model.eval().to(memory_format=torch.contiguous_format)


@torch.no_grad()
def exits(model: FashionExits, images: torch.Tensor) -> torch.Tensor:
    """All exits' logits in evaluation mode, [exits, n, classes]."""
    parts = []
    for x in images.split(500):
        x = model.stem(x.unsqueeze(1).float() / 255)
        logits = []
        for stage, head in zip(model.stages, model.heads):
            x = stage(x)
            logits.append(head(x))
        parts.append(torch.stack(logits))
    return torch.cat(parts, 1)


def leave(logits: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions [n] and exit numbers [n] at a threshold."""
    confident = logits.softmax(-1).amax(-1) > threshold
    confident[-1] = True
    taken = confident.int().argmax(0)
    return logits.argmax(-1).gather(0, taken[None])[0], taken


def report(logits: torch.Tensor, labels: torch.Tensor, threshold: float) -> str:
    prediction, taken = leave(logits, threshold)
    per_exit = [f"{(y.argmax(-1) == labels).float().mean():.4f}" for y in logits]
    shares = [f"{(taken == i).float().mean():.3f}" for i in range(len(logits))]
    return f"each exit alone {per_exit}; at {threshold:.2f}: accuracy {(prediction == labels).float().mean():.4f}, shares {shares}"


def calibrate(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The lowest threshold, in hundredths, that costs at most ACCURACY_GIVEN_UP against full depth."""
    floor = (logits[-1].argmax(-1) == labels).float().mean() - ACCURACY_GIVEN_UP
    for hundredths in range(30, 100):
        prediction, _ = leave(logits, hundredths / 100)
        if (prediction == labels).float().mean() >= floor:
            return hundredths / 100
    raise SystemExit("no threshold keeps the accuracy of full depth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the four idx .gz files")
    parser.add_argument("--out", type=Path, default=WEIGHTS.parent)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    images, labels = read(options.folder, "train")
    test_images, test_labels = read(options.folder, "t10k")

    model = FashionExits()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    train(model, images[:-HELD_OUT], labels[:-HELD_OUT], options.epochs, options.batch, options.rate, options.seed)

    held_out = exits(model, images[-HELD_OUT:])
    threshold = calibrate(held_out, labels[-HELD_OUT:])
    print("held out:", report(held_out, labels[-HELD_OUT:], threshold))
    print("test:    ", report(exits(model, test_images), test_labels, threshold))
    print(f"set THRESHOLD = {threshold} in fashion_exits.py")

    options.out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, options.out / WEIGHTS.name)
    with open(options.out / SAMPLE.name, "wb") as file:
        np.savez_compressed(file, images=test_images[:SAMPLE_SIZE].numpy(), labels=test_labels[:SAMPLE_SIZE].numpy().astype(np.uint8))
    for name in (WEIGHTS.name, SAMPLE.name):
        print(f"{options.out / name}: {(options.out / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
