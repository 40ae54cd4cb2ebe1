"""What torch's linear algebra finds of a matrix, as a decision of the program, where the model may catch the error."""

from __future__ import annotations

from typing import Any

import torch

from dync.capture.tape import of_model
from dync.capture.text import formatted, join

aten = torch.ops.aten
SOLVED = "The solver failed because the input matrix is singular."
INVERTED = " is zero, the inversion could not be completed because the input matrix is singular."
FACTORED = " is not positive-definite)."
REASONS = {
    "linalg.inv": ("The diagonal element ", INVERTED), "inverse": ("The diagonal element ", INVERTED),
    "linalg.solve": (SOLVED,), "torch.linalg.solve": (SOLVED,), "linalg.solve_ex": (SOLVED,),
    **{name: ("The factorization could not be completed because the input is not positive-definite (the leading minor of order ", FACTORED)
       for name in ("linalg.cholesky", "cholesky", "linalg.cholesky_ex")},
}
"""What torch says, in two parts around the number that LAPACK gives."""


def check_linear_algebra(engine: Any, call: Any, read: Any, info: Any, name: str, is_matrix: bool) -> None:
    """Raises LinAlgError on the path where `info` is not 0 somewhere.

    Source: at::_linalg_check_errors in aten/src/ATen/native/BatchLinearAlgebra.cpp.
    """
    if not bool(read(call(aten.any.default, info))):
        return
    batch = call(aten.argmax.default, call(aten.sign.default, call(aten.abs.default, info))) if not is_matrix else None
    number = read(call(aten.take.default, info, batch) if batch is not None else info)
    before, *after = REASONS.get(name, ("The algorithm failed with code ", "."))
    where = [] if batch is None else ["(Batch element ", formatted(engine, read(batch), -1, ""), "): "]
    rest = [formatted(engine, number, -1, ""), *after] if after else []
    raise of_model(torch.linalg.LinAlgError(join(engine, [f"{name}: ", *where, before, *rest])))  # pyright: ignore[reportPrivateImportUsage]
