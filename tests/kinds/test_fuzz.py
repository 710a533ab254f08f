"""No input makes the loader raise anything but SpecError, and what it accepts can be resolved."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kns.cluster.resolve import resolve
from kns.errors import SpecError
from kns.kinds.load import load_lab_text
from kns.labfile.parse import parse_stream
from tests import fuzz

RICH = (Path(__file__).parent / "rich.yaml").read_bytes()
#: values that are wrong in most places, and near misses of right ones
VALUES: list[object] = [
    None, True, False, 0, 1, -1, 80, 65536, 10**12, 1.5, float("inf"), "", "x", "None", "8080",
    "10.244.0.0/16", "10.96.0.10", "fd00::/64", "::1", "fe80::1%eth0", "0.0.0.0/0", "::/0",
    "255.255.255.255", "10.0.0.0/33", "a" * 300, "ü", "a.b", "-", "*", "{}", "web", "node1", "IPv6",
    "ipv6", "dual", "ipv4", "NodePort", "ExternalName", "Lab", [], {}, [[]], [{}], ["x"], {"x": 1},
    [None], {"name": "x"}, [{"name": "x"}], [{"port": 80}], ["10.0.0.1", "::1"],
]  # fmt: skip


def load_and_resolve(content: bytes | str) -> None:
    """Passes for a lab and for a SpecError; whatever else is raised fails the test."""
    error = refusal(content)
    assert error is None or (error.problems and all(p.message for p in error.problems))


def refusal(content: bytes | str) -> SpecError | None:
    try:
        spec = load_lab_text(content).spec
        first = resolve(spec)
    except SpecError as error:
        return error
    assert resolve(spec, first.leases) == first
    return None


@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"{" * 2000)
@example(b"- " * 5000)
@example(b"? " * 2000)
@example(b"&a [*a]")
@example(b"a: &a {<<: *a}")
@example(b"<<: [1, {a: 2}]\n")
@example(b"&a ? *a : b")
@example(b"kind: Lab\nnodes: 0x\n")
@example(b"a: 9999999999999999999999999999999999")
@example(b"%YAML 9.9\n--- a")
@example(b"a: !!int x")
@example("a: \ud800".encode("utf-8", "surrogatepass"))
def test_any_bytes_are_a_lab_or_a_spec_error(content: bytes) -> None:
    load_and_resolve(content)


@given(st.text(max_size=200))
@example("a: \ud800")
def test_any_text_is_a_lab_or_a_spec_error(content: str) -> None:
    load_and_resolve(content)


def positions(data: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(data, dict):
        for key, item in data.items():
            found += positions(item, (*path, key))
    elif isinstance(data, list):
        for index, item in enumerate(data):
            found += positions(item, (*path, index))
    return found


DOCUMENTS = [document.data for document in parse_stream(RICH, "rich.yaml").documents]
POSITIONS = positions(DOCUMENTS)


@st.composite
def mutated_labs(draw: st.DrawFn) -> str:
    """The rich lab with one to four of its values replaced, removed, renamed or doubled."""
    documents = copy.deepcopy(DOCUMENTS)
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(POSITIONS))
        parent: object = documents
        for step in path[:-1]:
            try:
                parent = parent[step]  # type: ignore[index]
            except (KeyError, IndexError, TypeError):
                parent = None
        change(draw, parent, path[-1])
    text = "---\n".join(json.dumps(document) + "\n" for document in documents)
    return text.replace("Infinity", ".inf")


def change(draw: st.DrawFn, parent: object, step: str | int) -> None:
    value = copy.deepcopy(draw(st.sampled_from(VALUES)))
    how = draw(st.sampled_from(["replace", "replace", "remove", "rename", "double"]))
    if isinstance(parent, dict) and step in parent:
        if how == "remove":
            del parent[step]
        elif how == "rename":
            parent[f"{step}x"] = parent.pop(step)
        else:
            parent[step] = value
    elif isinstance(parent, list) and isinstance(step, int) and step < len(parent):
        if how == "remove":
            del parent[step]
        elif how == "double":
            parent.append(copy.deepcopy(parent[step]))
        else:
            parent[step] = value


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(mutated_labs())
def test_a_mutated_lab_is_a_lab_or_a_spec_error(content: str) -> None:
    load_and_resolve(content)


def test_structures_that_are_mutated_are_obeyed_or_refused() -> None:
    assert fuzz.run(range(150)) == []


def test_mutations_are_of_every_kind_and_outcome() -> None:
    texts = [fuzz.mutated(seed) for seed in range(150)]
    refused = [refusal(text) is not None for text, is_lab in texts if is_lab]
    assert 10 < sum(refused) < len(refused) - 5 < len(texts) - 40


@pytest.mark.parametrize("value", ["null", "[]", "1", "x", "[null]", "{}"])
def test_container_that_is_none_is_told_where_it_stands(value: str) -> None:
    text = f"""
apiVersion: kns/v1
kind: Lab
metadata: {{name: x}}
nodes: [{{name: node1}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  containers:
  - {value}
"""
    error = refusal(text)
    assert error is not None
    assert {problem.line for problem in error.problems} == {12}


def test_the_rich_lab_itself_is_sound() -> None:
    load_and_resolve(RICH)
    assert load_lab_text(RICH).spec.name == "rich"


@pytest.mark.parametrize("cut", range(0, len(RICH), 257))
def test_a_truncated_lab_is_a_lab_or_a_spec_error(cut: int) -> None:
    load_and_resolve(RICH[:cut])
