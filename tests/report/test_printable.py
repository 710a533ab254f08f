"""What a terminal would obey is shown instead."""

from __future__ import annotations

import pytest

from kns.report.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, ünïcode → ✔\n\tindented", "plain words, ünïcode → ✔\n\tindented"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("over\rwrite\b\x7f", r"over\x0dwrite\x08\x7f"),
        ("\x9b2J", r"\x9b2J"),
        ("pod\u202e1\u2066", r"pod\u202e1\u2066"),
        ("a\u2028b", r"a\u2028b"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
