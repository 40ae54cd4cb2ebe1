"""The pytest plugin and the hypothesis strategies, as a user's suite would use them."""

from importlib.metadata import entry_points

import onnx  # noqa: F401  loaded once a process, before pytester takes away what its runs import
import pytest
import torch
from hypothesis import given, settings
from support.programs import CASES

from dync.ir.interpret import interpret
from dync.verify.strategies import arguments, calls

pytest_plugins = ["pytester"]

MODEL = """
    import pytest, torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.low = nn.Linear(4, 4)

        def forward(self, x):
            if self.low(x).sum() > LIMIT:
                return {"y": x, "exit": 0}
            return {"y": self.low(x), "exit": 1}
"""


def run(pytester, limit, test):
    import textwrap

    pytester.makepyfile(textwrap.dedent(MODEL).replace("LIMIT", limit) + textwrap.dedent(test))
    installed = any(e.value == "dync.verify.plugin" for e in entry_points(group="pytest11"))
    return pytester.runpytest_inprocess(*([] if installed else ["-p", "dync.verify.plugin"]))


def test_three_lines_check_a_model(pytester):
    result = run(
        pytester,
        "0",
        """
        def test_net(dync_check):
            report = dync_check(Net(), (torch.ones(1, 4),), backend="eager", budget=20)
            assert report.covered
    """,
    )
    result.assert_outcomes(passed=1)


def test_an_exit_that_never_fires_fails_when_coverage_is_required(pytester):
    result = run(
        pytester,
        "float('inf')",
        """
        @pytest.mark.dync(backend="eager", budget=6, require_coverage=True)
        def test_net(dync_check):
            dync_check(Net(), (torch.ones(1, 4),))
    """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*not reached: decision*true*"])


def test_unknown_options_are_refused(pytester):
    result = run(
        pytester,
        "0",
        """
        def test_net(dync_check):
            dync_check(Net(), (torch.ones(1, 4),), bakend="eager")
    """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*unknown options: bakend*"])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(calls(CASES["early_exit"].program().signature))
def test_drawn_calls_fit_the_signature(call):
    interpret(CASES["early_exit"].program(), call.args, call.kwargs, call.params)
    assert -10 <= call.params["threshold"] <= 10 and call.args[0].shape == (2, 4) and call.args[0].dtype == torch.float32


@settings(max_examples=20, deadline=None, derandomize=True)
@given(arguments(CASES["diamond"].program().signature))
def test_drawn_dimensions_are_in_range(drawn):
    (x,), kwargs = drawn
    assert 1 <= x.shape[0] <= 64 and not kwargs


@pytest.mark.parametrize("module", ["dync.verify.plugin"])
def test_the_plugin_imports_no_torch(module):
    import subprocess
    import sys

    code = f"import {module}, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True).stdout.strip() == "False"
