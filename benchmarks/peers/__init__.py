"""Other ways to run the same model. Each peer is a function from a model and example arguments to a callable.

A peer that does not take a model raises Refused with one line that says why.
"""

from pathlib import Path

ROOT = f"{Path(__file__).parents[2]}/"
"""Where this project lies, which is nobody's business in a report."""


class Refused(Exception):
    """A peer does not take this model; the message is the reason."""


def reason(error: BaseException, most: int = 150) -> str:
    """The class and the first telling line of a foreign error, with the project's files by their path in it."""
    lines = [line.strip() for line in str(error).replace(ROOT, "").splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:most]
