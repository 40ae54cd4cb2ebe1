"""`dync targets`."""

from __future__ import annotations

from dync.cli.console import emit
from dync.cli.words import Json
from dync.targets import targets as run


def targets(*, json: Json = False) -> int:
    """Show the backends, and what each can compile and run here."""
    emit(run(), json)
    return 0
