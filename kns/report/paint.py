"""Colours by hand for output that must start fast: rich takes longer to import than a probe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Style(StrEnum):
    """SGR parameters (ECMA-48)."""

    GOOD = "32"
    BAD = "1;31"
    TITLE = "1"
    QUIET = "2"
    NAME = "36"
    CHANGED = "33"


#: what stands before what is as it should be, and before what is not
GOOD_MARK, BAD_MARK = "✔", "✘"


@dataclass(frozen=True, slots=True)
class Painter:
    """Wraps text in escape sequences, or leaves it alone where nobody would see colours."""

    colour: bool = False

    def __call__(self, text: str, style: Style) -> str:
        """The text in that style."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.colour and text else text


#: a text that is not broken, and how it is painted
Part = tuple[str, Style | None]


def packed(parts: Iterable[Part], room: int, paint: Painter, gap: int = 2) -> list[str]:
    """The parts on as few lines as have room for them, `gap` blanks between; a mark has one."""
    lines: list[str] = []
    used = 0
    for text, style in parts:
        body = text if style is None else paint(text, style)
        blanks = 1 if used == 1 else gap
        if lines and used + blanks + len(text) <= room:
            lines[-1] += f"{'':{blanks}}{body}"
            used += blanks + len(text)
        else:
            lines.append(body)
            used = len(text)
    return lines
