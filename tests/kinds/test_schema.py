"""The JSON schema accepts what kns accepts, and refuses what an editor should underline."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
import yaml

from kns.kinds.schema import lab_schema
from tests import lab_file_doc
from tests.readme_console import PROJECT

LABS = sorted((PROJECT / "labs").glob("*.yaml"))


def problems(document: object) -> list[str]:
    validator = jsonschema.Draft202012Validator(lab_schema())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def lab_document(text: str) -> dict[str, Any]:
    found = [item for item in yaml.safe_load_all(text) if item and item.get("kind") == "Lab"]
    document: dict[str, Any] = found[0]
    return document


def test_schema_is_valid_itself() -> None:
    jsonschema.Draft202012Validator.check_schema(lab_schema())


def test_defaults_are_those_of_what_is_read() -> None:
    schema: dict[str, Any] = lab_schema()
    balancer = schema["$defs"]["LoadBalancer"]["properties"]
    assert balancer["mode"]["default"] == "l2"
    assert balancer["pool"]["default"] == ["198.51.100.0/24", "2001:db8:198::/112"]


@pytest.mark.parametrize("file", LABS, ids=lambda file: file.stem)
def test_schema_accepts_every_lab(file: Any) -> None:
    assert problems(lab_document(file.read_text(encoding="utf-8"))) == []


def test_schema_accepts_the_readmes_lab() -> None:
    block = re.search(
        r"```yaml\n(.*?)```", lab_file_doc.FILE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert block is not None
    assert problems(lab_document(block[1])) == []


@pytest.mark.parametrize(
    "text",
    [
        "kind: Lab",
        "{apiVersion: kns/v1, kind: Lab, metadata: {name: x}, nodes: [{name: n}], podz: []}",
        "{apiVersion: kns/v1, kind: Lab, metadata: {name: x}, nodes: []}",
        "{apiVersion: kns/v1, kind: Lab, metadata: {name: x}, nodes: [{name: n, colour: red}]}",
        "{apiVersion: kns/v2, kind: Lab, metadata: {name: x}, nodes: [{name: n}]}",
    ],
)
def test_schema_refuses(text: str) -> None:
    assert problems(yaml.safe_load(text)) != []


def test_field_reference_is_what_the_schema_says() -> None:
    assert lab_file_doc.FILE.read_text(encoding="utf-8") == lab_file_doc.document(), (
        "python -m tests.lab_file_doc"
    )
