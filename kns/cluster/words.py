"""Names on their way into a text file whose syntax they must not become a part of.

A lab file's names are checked where they are read. Each writer of a configuration (hosts,
resolv.conf, zone file, Corefile, HAProxy's, nginx') passes them through here all the same, so that
whatever once slips through a check stays one word: no line break, quote, brace, semicolon,
comment or variable.
"""

from __future__ import annotations

import re

_NO_WORD = re.compile(r"[^A-Za-z0-9._-]")
_NO_WORD_OR_COLON = re.compile(r"[^A-Za-z0-9._:-]")


def word(text: str) -> str:
    """The name as one word; one that Kubernetes takes for a name stays as it is."""
    return _NO_WORD.sub("_", text)


def word_with_colons(text: str) -> str:
    """The same for what may be an IPv6 address, or `name:value`."""
    return _NO_WORD_OR_COLON.sub("_", text)
