"""Programs that capture refuses today, each with the code of its refusal."""

EXPECTED = {
    "UnboundedRecursion": "DY320",  # only the data ends the recursion
    "NumpyWithoutTwin": "DY201",  # a tensor's contents leave torch
    "GeneratorWithoutEnd": "DY310",  # a generator's loop is written out turn by turn
}

KNOWN_WRONG: dict[str, str] = {}
"""Captured today, and not the same as eager: bugs. A program that comes right must leave this table."""
