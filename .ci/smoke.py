"""The installed wheel, used as a stranger would: `compile` writes tiny.dync (needs torch), `run` loads and runs it (needs none)."""

import subprocess
import sys
from pathlib import Path

MODEL = """
import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self, threshold=0.6):
        super().__init__()
        self.a, self.b, self.threshold = nn.Linear(8, 8), nn.Linear(8, 8), threshold

    def forward(self, x):
        y = self.a(x)
        if y.softmax(-1).max().item() > self.threshold:
            return {"y": y, "exit": 0}
        return {"y": self.b(torch.relu(y)), "exit": 1}


def example_inputs():
    return (torch.ones(1, 8),)
"""


def compile_it() -> None:
    Path("tiny.py").write_text(MODEL)
    argv = [
        "compile",
        "tiny.py",
        "-o",
        "tiny.dync",
        "--backend",
        "onnxruntime",
        "--strict",
        "--verify",
        "paths",
        "--param",
        "threshold=0.6:0..1",
    ]
    subprocess.run([sys.executable, "-P", "-m", "dync", *argv], check=True, stdout=subprocess.DEVNULL)


def run_it() -> None:
    import numpy as np

    import dync

    runtime = dync.load("tiny.dync")
    for threshold, way in ((0.0, 0), (1.0, 1)):
        runtime.params["threshold"] = threshold
        found = runtime(np.ones((1, 8), "float32"))
        assert found["exit"] == way and isinstance(found["y"], np.ndarray) and found["y"].shape == (1, 8)
    assert "torch" not in sys.modules
    print(
        f"smoke: python {sys.version.split()[0]}, dync {dync.__version__} from {Path(dync.__file__).parent}: both exits ran without torch"
    )


{"compile": compile_it, "run": run_it}[sys.argv[1]]()
