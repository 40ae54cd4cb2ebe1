"""Liquid networks of the ncps package, unedited."""

import pytest
import torch

from dync.capture import capture
from dync.ir.interpret import interpret
from dync.ir.verify import verify

pytest.importorskip("ncps")


@pytest.mark.parametrize("kind", ["LTC", "CfC"])
def test_a_liquid_network(kind):
    import ncps.torch

    torch.manual_seed(0)
    model = getattr(ncps.torch, kind)(4, 6, batch_first=True).eval()
    program = capture(model, (torch.randn(1, 5, 4),))
    verify(program)
    for _ in range(3):
        x = torch.randn(1, 5, 4)
        with torch.no_grad():
            want = model(x)
        got, _ = interpret(program, (x,))
        assert type(got) is type(want) and all(torch.equal(a, b) for a, b in zip(got, want))
