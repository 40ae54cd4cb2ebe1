"""What a benchmark hands back: a table whose cells stay numbers until they are shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True)
class Result:
    """One table. `ok` is False when an output was wrong; `notes` say what did not run and why."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    ok: bool = True
    command: str = ""
    ran: str = ""
    """dync's version and the machine's load."""

    def record(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)


def cell(value: Cell) -> str:
    """A cell for people: three significant digits for small numbers, nothing for None."""
    match value:
        case None:
            return ""
        case float() if abs(value) >= 100:
            return f"{value:.0f}"
        case float():
            return f"{value:.3g}"
        case _:
            return str(value)


def markdown(result: Result) -> str:
    """A section of docs/benchmarks.md."""
    lines = [f"## {result.title}", "", f"`{result.command}`" + (f" ({result.ran})" if result.ran else ""), ""]
    lines += ["| " + " | ".join(result.columns) + " |", "|" + "---|" * len(result.columns)]
    lines += ["| " + " | ".join(cell(c).replace("|", "\\|") for c in row) + " |" for row in result.rows]
    if result.notes:
        lines += ["", *(f"- {note}" for note in result.notes)]
    return "\n".join(lines) + "\n"
