"""Tables with a row for each model of the zoo: rows taken in one run replace their older ones in docs/benchmarks.md, the others stay."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.machine import commit
from benchmarks.result import Cell, Result, cell

Row = tuple[Cell, ...]
Summary = Callable[[Sequence[Row]], str]
"""One line about all rows; cells of older rows are text."""


def chosen(models: Sequence[str]) -> dict[str, str]:
    """Those models of the zoo, all where none are named. Raises SystemExit for a name that is not in it."""
    from dync.models import ZOO

    if unknown := set(models) - set(ZOO):
        raise SystemExit(f"unknown model {', '.join(sorted(unknown))}; known: {', '.join(ZOO)}")
    return {name: where for name, where in ZOO.items() if not models or name in models}


def taken() -> str:
    """Commit and load of the machine, as a cell."""
    return f"{commit()}, load {os.getloadavg()[0]:.1f}"


def merged(new: Result, before: str, summary: Summary) -> Result:
    """`new` with the rows of its older section in `before`, the text of the page, that it does not have, and a summary of all.

    Notes that begin with a model's name and ": " belong to that model.
    """
    from dync.models import ZOO

    section = next((part for part in before.split("\n## ") if part.partition("\n")[0] == new.title), "")
    old = {row[0]: row for row in map(_cells, section.splitlines()) if len(row) == len(new.columns) and row[0] in ZOO}
    fresh = {str(row[0]): row for row in new.rows}
    rows = tuple((old | fresh)[name] for name in ZOO if name in old | fresh)
    said = [line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")]
    kept = [n for n in said if (model := n.partition(": ")[0]) in old and model not in fresh]
    notes = sorted((*kept, *new.notes), key=lambda n: list(ZOO).index(n.partition(": ")[0]))
    return replace(new, rows=rows, notes=(summary(rows), *notes))


def total(rows: Sequence[Row], column: int) -> int:
    """The sum of a column of whole numbers; empty cells count nothing."""
    return sum(int(text) for row in rows if (text := cell(row[column])))


def _cells(line: str) -> Row:
    return tuple(c.strip() for c in line.strip("| ").replace("\\|", "\0").split("|")) if line.startswith("| ") else ("",)
