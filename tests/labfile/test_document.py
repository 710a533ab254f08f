"""The YAML door: data, marks, and the limits that keep garbage out."""

from __future__ import annotations

import pytest

from kns.errors import SpecError
from kns.labfile import parse as parse_module
from kns.labfile.document import path_text
from kns.labfile.parse import parse_documents, parse_stream
from kns.labfile.scalars import plain_value


def messages(content: str | bytes) -> list[str]:
    return [str(problem) for problem in parse_stream(content, "f").problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False),
        ("yes", "yes"), ("off", "off"), ("y", "y"), ("12", 12), ("-3", -3), ("+4", 4), ("010", 10),
        ("0x1f", 31), ("0o17", 15), ("1_000", "1_000"), ("12:30", "12:30"), ("1.5", 1.5),
        ("1e3", 1000.0), (".5", 0.5), ("1.2.3", "1.2.3"), ("fd00::1", "fd00::1"), ("0x", "0x"),
        ("2024-01-02", "2024-01-02"), ("-", "-"), (".", "."), ("99999999999999999999", 1e20),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    actual = plain_value(text)
    assert (actual, type(actual)) == (value, type(value))


def test_quoted_scalars_are_strings() -> None:
    (document,) = parse_documents("a: '1'\nb: \"true\"\nc: |\n  2\nd: !!str 3\ne: ! 4\n", "f")
    assert document.data == {"a": "1", "b": "true", "c": "2\n", "d": "3", "e": "4"}


def test_keys_are_strings_whatever_they_look_like() -> None:
    (document,) = parse_documents("1: a\ntrue: b\nnull: c\n", "f")
    assert document.data == {"1": "a", "true": "b", "null": "c"}


def test_marks_are_those_of_keys_and_values() -> None:
    text = "# comment\nservices:\n- name: a\n  ports: [{port: 80},\n    {port: x}]\n"
    (document,) = parse_documents(text, "f")
    assert document.mark() == (2, 1)
    assert document.mark(("services", 0)) == (3, 3)
    assert document.mark(("services", 0, "ports", 1, "port")) == (5, 12)
    assert document.mark(("services", 0, "ports", 1, "port"), key=True) == (5, 6)


def test_mark_of_what_is_not_written_is_that_of_its_parent() -> None:
    (document,) = parse_documents("a:\n  b: {c: 1}\n", "f")
    assert document.mark(("a", "b", "missing", 3)) == (2, 6)


def test_documents_of_a_stream_keep_their_lines() -> None:
    first, second = parse_documents("a: 1\n---\n---\n# empty above\nb: 2\n", "f")
    assert (first.data, second.data) == ({"a": 1}, {"b": 2})
    assert second.mark(("b",)) == (5, 4)


def test_merge_keys_add_what_is_not_set() -> None:
    text = "base: &b {a: 1, b: 2}\nmore: &m {b: 9, c: 3}\nx: {a: 0, <<: [*b, *m]}\n"
    (document,) = parse_documents(text, "f")
    assert document.data["x"] == {"a": 0, "b": 2, "c": 3}  # type: ignore[index]
    assert document.mark(("x", "c")) == (2, 20)


def test_merge_key_of_something_else_is_an_error() -> None:
    assert messages("a: {<<: 1}\n") == ["f:1:5: a: << takes a mapping or a list of mappings"]


def test_every_duplicate_key_is_told_and_reading_goes_on() -> None:
    assert messages("a: 1\nb: {c: 1, c: 2}\na: 3\n---\nx: !foo 1\n") == [
        'f:2:11: b: the key "c" is already set on line 2',
        'f:3:1: the key "a" is already set on line 1',
        "f:5:4: x: the tag !foo is not supported",
    ]


def test_anchors_do_not_reach_the_next_document() -> None:
    assert messages("a: &x 1\n---\nb: *x\n") == ["f:3:4: b: the alias *x refers to no anchor"]


def test_an_alias_may_be_a_key() -> None:
    (document,) = parse_documents("a: &k name\n*k : 1\n", "f")
    assert document.data == {"a": "name", "name": 1}


def test_too_deep_is_an_error_and_not_a_crash() -> None:
    (message,) = messages("[" * 100_000)
    # PyYAML's own limit, where it has one, is met by its look-ahead: 1,000 levels on one line
    assert message in {f"f:1:{n}: nested deeper than 100 levels" for n in (101, 1001)}
    assert messages("[\n" * 200) == ["f:101:1: nested deeper than 100 levels"]


def test_a_bomb_of_aliases_is_defused() -> None:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for last, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{last}'] * 10)}]")
    (message,) = messages("\n".join(lines))
    assert message.endswith("aliases add more than 200000 values")


def test_limits_of_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse_module, "MAX_BYTES", 2 * 1024**2)
    assert messages("#" * (2 * 1024**2 + 1)) == ["f: larger than 2 MiB"]
    monkeypatch.setattr(parse_module, "MAX_VALUES", 10)
    assert messages("[" + "[], " * 11 + "]") == ["f:1:38: [9]: more than 10 values"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: \x00", "f:1:4: NUL byte: this is not a text file"),
        (b"a: b\nc: \xff\n", "f:2:4: byte 0xff is not valid UTF-8"),
        (b"\xff\xfea\x00", "f:1:1: the file is UTF-16, not UTF-8"),
        (b"\xef\xbb\xbfa: \x07", "f:1:4: not valid YAML: control characters are not allowed"),
        ("ä: \x07".encode(), "f:1:4: not valid YAML: control characters are not allowed"),
        (b"a: b: c\n", "f:1:5: not valid YAML: mapping values are not allowed in this context"),
        (b"a: @x\n", "f:1:4: not valid YAML: found character that cannot start any token"),
    ],
)
def test_garbage_has_a_place(content: bytes, message: str) -> None:
    (actual,) = messages(content)
    assert actual.startswith(message)


def test_utf8_with_a_byte_order_mark_is_fine() -> None:
    (document,) = parse_documents(b"\xef\xbb\xbfa: 1\n", "f")
    assert document.data == {"a": 1}


def test_json_is_yaml() -> None:
    (document,) = parse_documents('{"a": [1, "b", null], "c": {"d": 1.5}}', "f")
    assert document.data == {"a": [1, "b", None], "c": {"d": 1.5}}


def test_parse_documents_raises_all_problems() -> None:
    with pytest.raises(SpecError) as caught:
        parse_documents("a: 1\na: 2\nb: [\n", "f")
    assert [problem.line for problem in caught.value.problems] == [2, 4]


def test_path_text_reads_as_kubernetes_writes_it() -> None:
    path = ("services", 0, "ports", 1, "targetPort")
    assert path_text(path) == "services[0].ports[1].targetPort"
    assert path_text(("labels", "app.kubernetes.io/name")) == "labels[app.kubernetes.io/name]"
    assert path_text(()) == ""


def test_the_parser_without_libyaml_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from yaml import SafeLoader

    text = "a: &x {b: [1, 'two', ~]}\nc: *x\n---\n- d\n"
    fast = [(d.data, d.marks) for d in parse_documents(text, "f")]
    monkeypatch.setattr(parse_module, "_Parser", SafeLoader)
    assert [(d.data, d.marks) for d in parse_documents(text, "f")] == fast


# -- templates -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a:\n  name: {{ .Release.Name }}\n", 2),
        ("{{- if .Values.x }}\na: 1\n", 1),
        ('a:\n  name: {{ include "x" . }}-y\n', 2),
        ("a: 1\nports: [{port: {{ .Values.port }}}]\n", 2),
        ("a:\n  b: c\n  {{- with .Values.d }}\n  e: f\n", 3),
        ("a:\n{% if x %}\n  b: c\n{% endif %}\n", 2),
    ],
)
def test_a_template_is_told_as_one(text: str, line: int) -> None:
    (problem,) = parse_stream(text, "x.yaml").problems
    assert problem.message.startswith("this is a template: ")
    assert problem.line == line
    assert problem.hint.startswith("run helm template (or kustomize build) first")


@pytest.mark.parametrize(
    "text", ['a: "{{ x }}"\n', "a: |\n  {{- x }}\nb: 1\n\n\n\nc: [\n", "a: {? {b: c} : d}"]
)
def test_what_only_quotes_a_template_is_none(text: str) -> None:
    problems = parse_stream(text, "x.yaml").problems
    assert not any("template" in problem.message for problem in problems)
