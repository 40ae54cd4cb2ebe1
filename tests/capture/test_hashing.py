"""The order of Python's sets, on whole tensors, against Python's own."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dync.capture.comprehend import hash_order
from dync.capture.hashing import MODULUS, hashes, places, tables

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-40, 40) | st.integers(0, 400) | st.integers(-2, 2).map(lambda n: n * MODULUS)
INTEGERS |= st.integers(0, 60).map(lambda n: n * 32)  # these meet


def do(function: Any, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is
@given(st.lists(INTEGERS, unique=True, max_size=400))
def test_the_order_is_that_of_a_set(numbers: list[int]):
    hashed = hashes(do, torch.tensor(numbers, dtype=torch.int64))
    assert hashed.tolist() == [hash(n) for n in numbers]
    ordered = [numbers[n] for n in hash_order(hashed).tolist()]
    one_by_one = set()
    for n in numbers:
        one_by_one.add(n)
    assert ordered == list(set(numbers)) == list(one_by_one) == list(frozenset(tuple(numbers)))
    if numbers:
        found, apart = places(do, hashed, len(numbers))
        assert not apart or ordered == [numbers[n] for n in torch.argsort(found).tolist()]


@given(st.integers(1, 3000), st.integers(0, 3000))
def test_numbers_below_the_size_of_the_table_never_meet(n: int, most: int):
    numbers = torch.randperm(max(n, most) + 1)[:n]
    found, apart = places(do, numbers, n)
    if int(numbers.max()) <= next(last for least, last in reversed(tables()) if n >= least):
        assert apart and list(set(numbers.tolist())) == sorted(numbers.tolist()) == sorted(found.tolist())
