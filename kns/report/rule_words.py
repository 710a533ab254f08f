"""A rule in short, and lines that are folded between words, for `kns rules` and `kns trace`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

#: what says in a rule's text how it is written, not what it means
_NOISE = re.compile(r'-m comment --comment "[^"]*" ?|-m [a-z0-9]+ |\s*comment "[^"]*"')
#: all the endpoints of an nft rule that takes one of them
_CHOICES = re.compile(r"map \{ .*\}")


def short(rule: str) -> str:
    """The rule without comments, names of match extensions, and the choices of a map."""
    return _CHOICES.sub("map { … }", _NOISE.sub("", rule)).strip()


def wrapped(text: str, room: int, indent: str = "") -> list[str]:
    """Lines of at most `room` columns, but for words that are longer; names stay whole."""
    return textwrap.wrap(
        text, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def wrapped_lines(lines: Iterable[str], width: int | None) -> str:
    """The lines' text; one wider than `width` goes on in the next, further in."""
    return "".join(f"{part}\n" for line in lines for part in _wrapped_line(line, width))


def _wrapped_line(line: str, width: int | None) -> list[str]:
    if width is None:
        return [line]
    indent = len(line) - len(line.lstrip())
    return wrapped(line, width, " " * (indent + 4)) or [line]


def folded(rule: str, room: int) -> list[str]:
    """A rule on one line or several; if it is too long, its target begins a line of its own."""
    if len(rule) <= room:
        return [rule]
    for word in (" -j ", " -g ", " : goto ", " goto ", " jump ", " ⇒ "):
        condition, found, target = rule.partition(word)
        if found and condition:
            return [*wrapped(condition, room - 2), *wrapped(f"{word.strip()} {target}", room - 2)]
    return wrapped(rule, room - 2)
