"""An element of a set or map of nft: whatever stands in its comment is the comment's."""

from __future__ import annotations

import pytest

from kns.state.nft import Element, parse_element

KEY = "10.96.0.1 . tcp . 80"


@pytest.mark.parametrize(
    ("text", "element"),
    [
        ("10.96.0.1", Element("10.96.0.1")),
        (f"{KEY} : goto web", Element(KEY, value="goto web")),
        (f'{KEY} comment "a : b . c, d" : drop', Element(KEY, "a : b . c, d", "drop")),
        ('10.96.0.1 comment "a comment : b"', Element("10.96.0.1", "a comment : b")),
    ],
)
def test_element_is_key_comment_and_value(text: str, element: Element) -> None:
    assert parse_element(text) == element


def test_key_of_a_concatenation_has_parts() -> None:
    assert parse_element(f'{KEY} comment "a . b" : drop').parts == ("10.96.0.1", "tcp", "80")


def test_open_quote_is_an_error() -> None:
    with pytest.raises(ValueError, match="not an element of nft"):
        parse_element('10.96.0.1 comment "web')
