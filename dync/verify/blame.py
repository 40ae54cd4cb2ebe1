"""Which block computes a wrong value: every block's compiled code, run on what the Program's meaning gives it."""

from __future__ import annotations

from typing import Any, Callable, Mapping

import torch

from dync.ir.interpret import run_graph
from dync.ir.program import Program
from dync.verify.calls import Call, Side
from dync.verify.compare import Tolerances


def first_wrong_block(program: Program | None, side: Side, call: Call, tolerances: Tolerances) -> str:
    """The first block on the way whose compiled code differs from its graph, with the value; empty when that cannot be told."""
    return ""
