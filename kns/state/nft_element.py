"""An element of an nft set or map as a value: `10.96.0.1 . tcp . 80 comment "web" : goto web`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ELEMENT = re.compile(r'((?:"[^"]*"|[^"])*?)(?: comment "([^"]*)")?(?: : (.*))?')


@dataclass(frozen=True, slots=True)
class Element:
    """`key` has a part for each of a concatenation; `value` is empty in a set."""

    key: str
    comment: str = ""
    value: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of its key."""
        return tuple(self.key.split(" . "))


def parse_element(text: str) -> Element:
    """The element as `nft -s list` prints it; in a comment any characters but quotes may stand."""
    found = _ELEMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"not an element of nft: {text}")
    return Element(found[1], found[2] or "", found[3] or "")
