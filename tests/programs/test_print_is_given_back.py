"""Nothing in torch keeps what capture puts in the place of `print`."""

import subprocess
import sys

CODE = """
import torch, dync
class Net(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.relu(x) if x.sum() > 0 else x
dync.capture(Net(), (torch.ones(2),))
torch.export.export(torch.nn.ReLU(), (torch.ones(2),))
print("exported")
"""


def test_export_works_after_a_capture():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=200)
    assert done.stdout == "exported\n", done.stderr
