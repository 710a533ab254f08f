"""Plain aligned columns, as kubectl prints them: three spaces between, no lines, no colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: kubectl's padding between columns
GAP = "   "


@dataclass(frozen=True, slots=True)
class Table:
    """Column heads and rows of the same length."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def render_table(table: Table) -> str:
    """The table as text, with no space at the end of a line and a newline at the end."""
    lines = [table.heads, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.heads))]
    return "".join(f"{_row(line, widths)}\n" for line in lines)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
    return GAP.join(padded).rstrip()
