"""pytest plugin: a user's own test suite checks a model in three lines.

    def test_my_network(dync_check):
        dync_check(Net(), (torch.randn(1, 3, 32, 32),))

    @pytest.mark.dync(backend="onnxruntime", require_coverage=True)      options for every check of the test

This file imports neither torch nor a backend: pytest loads it in every project where dync is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import nn

    from dync.verify.report import Report

COMPILE = frozenset({"target", "backend", "host", "passes", "dynamic_shapes", "params", "batching", "strict"})
VERIFY = frozenset({"inputs", "cover", "budget", "seed", "atol", "rtol", "require_coverage"})


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker."""
    config.addinivalue_line(
        "markers", f"dync({', '.join(f'{n}=...' for n in sorted(COMPILE | VERIFY))}): options for the dync_check fixture"
    )


@pytest.fixture
def dync_check(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[..., Report]:
    """check(model, args, kwargs=None, **options) → Report: compiles and verifies; fails the test with the report when they differ.

    options: those of dync.compile and dync.verify, and `require_coverage`; they replace the marker's.
    """
    marked: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("dync"))):
        marked |= mark.kwargs

    def check(model: nn.Module, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Report:
        __tracebackhide__ = True
        from dync.api import compile
        from dync.verify.run import verify

        chosen = marked | options
        if unknown := sorted(chosen.keys() - COMPILE - VERIFY):
            raise TypeError(f"unknown options: {', '.join(unknown)}; known: {', '.join(sorted(COMPILE | VERIFY))}")
        inputs = [*chosen.get("inputs", ()), (tuple(args), dict(kwargs or {}))]
        compiled = compile(model, args, kwargs, **{n: v for n, v in chosen.items() if n in COMPILE})
        report = verify(model, compiled, inputs, **{n: v for n, v in chosen.items() if n in VERIFY - {"inputs", "require_coverage"}})
        record_property("dync", report.to_json())
        if report.exit_code(bool(chosen.get("require_coverage"))):
            pytest.fail(str(report), pytrace=False)
        return report

    return check
