"""Colours by hand for output that must start fast: rich takes longer to import than a probe."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Painter:
    """Wraps text in escape sequences, or leaves it alone where nobody would see colours."""

    colour: bool = False

    def __call__(self, text: str, style: Style) -> str:
        """The text in that style."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.colour and text else text
