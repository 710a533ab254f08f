"""docs/json.md: each command prints JSON of the form that the document shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.process import kns
from tests.readme_console import PROJECT

pytestmark = pytest.mark.kernel

TEXT = (PROJECT / "docs/json.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## `kns (.*?)`\n.*?```json\n(.*?)```", re.MULTILINE | re.DOTALL)
LAB = "labs/four-paths.yaml"
#: app.yaml of the document: a Service that selects nothing
APP = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
"""
#: objects whose keys are names of the lab
MAPPINGS = {"addresses", "backends", "causes", "outcomes", "wrong"}


@pytest.fixture(scope="module", autouse=True)
def lab() -> Iterator[None]:
    assert kns("up", LAB).returncode == 0
    yield
    kns("down", "four-paths")


def form(value: object, name: str = "") -> object:
    """The keys and kinds of a JSON value; of a list, those of its first item."""
    match value:
        case dict() if name in MAPPINGS:
            return "mapping"
        case dict():
            return {key: form(item, key) for key, item in value.items()}
        case list():
            return [form(item) for item in value[:1]]
        case bool() | str():
            return type(value).__name__
        case int() | float():
            return "number"
        case _:
            return "null"


@pytest.mark.parametrize(("command", "shown"), SECTION.findall(TEXT))
def test_json_has_the_form_that_is_documented(command: str, shown: str, tmp_path: Path) -> None:
    app = tmp_path / "app.yaml"
    app.write_text(APP, encoding="utf-8")
    words = [str(app) if word == app.name else word for word in shlex.split(command)]
    done = kns(*words, *(("-l", "four-paths") if "pod1" in command else ()))
    assert form(json.loads(done.stdout)) == form(json.loads(shown))


def test_every_section_is_found() -> None:
    assert len(SECTION.findall(TEXT)) == TEXT.count("\n## `kns")
