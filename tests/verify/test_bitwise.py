"""A fixed run of random networks, bit for bit; `python tests/verify/bitwise.py FIRST COUNT` makes longer ones."""

import sys
from pathlib import Path

import pytest

import dync

sys.path.insert(0, str(Path(__file__).parent))
import bitwise  # noqa: E402


@pytest.mark.parametrize("seed", range(7000, 7012))
def test_a_random_network(seed, tmp_path):
    assert bitwise.compare(bitwise.build(seed, tmp_path)) == "same"


def test_a_wrong_program_is_found(tmp_path):
    """The comparison sees a program that is another model's: the same network with a weight changed."""
    module = bitwise.build(7000, tmp_path)
    calls, other = module.inputs(), module.build()
    for weight in other.parameters():
        weight.data += 0.5
    with pytest.raises(AssertionError):
        bitwise.compare_runs(dync.capture(other, calls[0]), module.build(), calls)
