"""Plain aligned columns, as kubectl prints them: three spaces between, no lines, no colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: kubectl's padding between columns
GAP = "   "


@dataclass(frozen=True, slots=True)
class Table:
    """Column heads and rows of the same length."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def prefixed(table: Table, prefix: str) -> Table:
    """The same with something before each name, if there is a column of names (events: wide)."""
    if "NAME" not in table.heads:
        return table
    at = table.heads.index("NAME")
    rows = tuple((*row[:at], prefix + row[at], *row[at + 1 :]) for row in table.rows)
    return Table(table.heads, rows)


def render_table(table: Table, width: int | None = None) -> str:
    """The table as text, with no space at the end of a line and a newline at the end.

    Where it is wider than `width`, long cells go on in the next line of their column, folded
    between words and after commas: the widest column first, none below its head or a whole word.
    """
    lines = [table.heads, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.heads))]
    if width is not None:
        _narrow(widths, lines, width)
    return "".join(f"{text}\n" for line in lines for text in _folded_row(line, widths))


def _narrow(widths: list[int], lines: Sequence[Sequence[str]], width: int) -> None:
    """Take columns away from those that can be folded, the widest first."""
    least = [max(_longest_word(line[column]) for line in lines) for column in range(len(widths))]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    while excess > 0:
        column = max(range(len(widths)), key=lambda n: (widths[n] > least[n], widths[n]))
        if widths[column] == least[column]:
            return
        widths[column] -= 1
        excess -= 1


def _longest_word(text: str) -> int:
    return max(map(len, _words(text)), default=0)


def _words(text: str) -> list[str]:
    """What may stand on a line of its own: words, and what a comma ends."""
    return text.replace(",", ", ").split() if " " not in text else text.split()


def _folded_row(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    folded = [_fold(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for number in range(max(map(len, folded))):
        yield _row([lines[number] if number < len(lines) else "" for lines in folded], widths)


def _fold(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    joint = " " if " " in cell else ""
    lines = [""]
    for word in _words(cell):
        longer = f"{lines[-1]}{joint}{word}" if lines[-1] else word
        if len(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
    return GAP.join(padded).rstrip()
