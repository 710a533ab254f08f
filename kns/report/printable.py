"""Text from outside (a lab file, an argument, a server's answer), made fit for a terminal.

A terminal obeys what it is sent: an escape sequence in a name would recolour, retitle or wipe it,
and a right-to-left override would show another name than the one that counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import TypeVar, cast

T = TypeVar("T")

#: C0 but newline and tab, DEL, C1; Unicode's line ends and its marks and overrides of direction
_OBEYED = (
    *(code for code in range(0x20) if chr(code) not in "\n\t"),
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _OBEYED}


def printable(text: str) -> str:
    """The text with each character that a terminal would obey written as its escape."""
    return text if text.isascii() and text.isprintable() else text.translate(_SHOWN)


def shown(value: T) -> T:
    """The value with each text in it printable: in dataclasses, tuples and mappings too.

    For what is painted afterwards: in the finished text nobody can tell a colour of ours from a
    server's.
    """
    return cast("T", _shown(value))


def _shown(value: object) -> object:
    match value:
        case Enum():
            return value
        case str():
            return printable(value)
        case tuple():
            return tuple(map(_shown, value))
        case Mapping():
            return {_shown(key): _shown(item) for key, item in value.items()}
        case _:
            return _with_shown_fields(value)


def _with_shown_fields(value: object) -> object:
    if not is_dataclass(value) or isinstance(value, type):
        return value
    before = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    changes = {name: after for name, old in before.items() if (after := _shown(old)) != old}
    return replace(value, **changes) if changes else value
