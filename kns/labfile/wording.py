"""What is said of a wrong value, in the words of k8s.io/apimachinery's field errors.

`Required value`, `Invalid value: "x": …`, `Unsupported value: "x": supported values: …`,
`Duplicate value: "x"`: as kubectl's users know them.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections.abc import Collection, Iterable

from kns.hints import closest

#: of so many known words a hint is looked for, and so many of them are compared in full
_KNOWN_MAX, _COMPARED = 1000, 8


class RefusedError(Exception):
    """A value is not what its place takes. Without `message`, the faults tell what is wrong."""

    def __init__(self, message: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @staticmethod
    def invalid(value: object, message: str, hint: str = "") -> RefusedError:
        """Kubernetes' `Invalid value: "x": message`."""
        return RefusedError(f"Invalid value: {shown(value)}: {message}", hint)


def shown(value: object) -> str:
    """A value as Kubernetes shows it in an error, cut at 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def quoted_list(words: Iterable[str]) -> str:
    """`"a", "b", "c"`."""
    return ", ".join(f'"{word}"' for word in words)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word closest to `word`, or nothing.

    difflib takes 40 µs for each word: of many it compares those that share most letters and pairs
    of letters, so that a file with an error in each of its lines is answered in seconds.
    """
    import heapq

    by_lower = {item.lower(): item for item in itertools.islice(known, _KNOWN_MAX)}
    wanted = word.lower()
    parts = _parts(wanted)
    alike = heapq.nlargest(_COMPARED, by_lower, key=lambda item: len(parts & _parts(item)))
    close = closest(wanted, alike)
    return f'did you mean "{by_lower[close]}"?' if close else ""


def unknown_hint(name: str, known: Collection[str]) -> str:
    """What a field of no known name may have been meant to be, or all that there are."""
    found = did_you_mean(name, known)
    return found or (f"known fields: {', '.join(known)}" if known else "")


@functools.lru_cache(4096)
def _parts(word: str) -> frozenset[str]:
    """Its letters and pairs of letters."""
    return frozenset(word) | {word[at : at + 2] for at in range(len(word) - 1)}


def unsupported(value: object, words: Iterable[str]) -> RefusedError:
    """`Unsupported value: "x": supported values: "a", "b"`."""
    known = [word for word in words if word]
    hint = did_you_mean(value, known) if isinstance(value, str) else _quoted(value, known)
    message = f"Unsupported value: {shown(value)}: supported values: {quoted_list(known)}"
    return RefusedError(message, hint)


def _quoted(value: object, known: Iterable[str]) -> str:
    """The word that was meant by a number: YAML reads 1.30 as 1.3."""
    for word in known:
        with contextlib.suppress(ValueError):
            if isinstance(value, int | float) and float(word) == value:
                return f'put it in quotes: "{word}"'
    return ""


def wrong_type(wanted: str, value: object) -> RefusedError:
    """`must be an integer, not the string "80"`."""
    hint = ""
    if wanted == "a string" and isinstance(value, bool | int | float):
        hint = f'put it in quotes: "{json.dumps(value)}"'
    elif wanted == "an integer" and isinstance(value, str) and value.isdecimal():
        hint = f"write it without quotes: {value}"
    elif wanted == "true or false" and isinstance(value, str):
        hint = "write true or false, without quotes"
    elif wanted == "a list" and isinstance(value, dict):
        hint = "begin each item with `- `"
    return RefusedError(f"must be {wanted}, not {_kind(value)}", hint)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    names = {bool: "the boolean", int: "the number", float: "the number", str: "the string"}
    return f"{names.get(type(value), 'the value')} {shown(value)}"
