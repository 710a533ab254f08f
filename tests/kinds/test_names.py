"""Names: what Kubernetes allows and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kns.kinds import names

CASES: list[tuple[Callable[[str], str], list[str], list[str]]] = [
    (
        names.label_objection,
        ["a", "0", "a-b", "a" * 63],
        ["", "-", "a-", "-a", "A", "a.b", "a_b", "a" * 64, "ä", "a\n"],
    ),
    (names.service_name_objection, ["a", "a-0"], ["0", "0a", "", "a.b", "a" * 64, "a\n"]),
    (
        names.subdomain_objection,
        ["a.b", "0.a-b", "a" * 253],
        ["a..b", ".a", "a.", "a.-b", "a" * 254, ""],
    ),
    (
        names.port_name_objection,
        ["http", "a1", "1a", "a" * 15],
        ["", "80", "a--b", "-a", "a-", "a_b", "HTTP", "a" * 16],
    ),
    (
        names.label_key_objection,
        ["a", "A_b.c", "x.io/a", "a" * 63, "x.io/A"],
        ["", "/a", "x.io/", "a/b/c", "X.io/a", "-a", "a" * 64, "a b"],
    ),
    (names.label_value_objection, ["", "a", "A.b_c-d", "1" * 63], ["-", "a b", "a" * 64, "a/b"]),
    (names.env_name_objection, ["A", "_x", ".a", "a-b.C"], ["", "1A", "a b", "ä", "a\n"]),
]


@pytest.mark.parametrize(
    ("check", "good", "bad"), CASES, ids=[check.__name__ for check, _, _ in CASES]
)
def test_names(check: Callable[[str], str], good: list[str], bad: list[str]) -> None:
    assert [name for name in good if check(name)] == []
    assert [name for name in bad if not check(name)] == []


def test_hint_is_a_name_that_would_be_taken() -> None:
    assert names.name_hint("My_Web.1", names.label_objection) == 'did you mean "my-web-1"?'
    assert names.name_hint("My.Web", names.subdomain_objection) == 'did you mean "my.web"?'
    assert names.name_hint("1a", names.service_name_objection) == ""
    assert names.name_hint("___", names.label_objection) == ""
