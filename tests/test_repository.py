"""What the repository's own files say of each other: hooks, CI, package and Makefile agree."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import Any

import yaml

from kns import __version__
from tests.readme_console import PROJECT

PACKAGE: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def load(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))
    return found


def pythons() -> list[str]:
    """The releases of Python that the package says it runs on."""
    found = (re.fullmatch(r".* Python :: (3\.\d+)", item) for item in PACKAGE["classifiers"])
    return [match[1] for match in found if match]


def test_pre_commit_runs_what_make_check_runs() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    (repository,) = load(".pre-commit-config.yaml")["repos"]
    hooks = [hook["entry"] for hook in repository["hooks"]]
    assert hooks == [line.strip() for line in recipe[1].splitlines()]


def test_ci_tests_every_python_that_the_package_names() -> None:
    matrix = load(".github/workflows/ci.yml")["jobs"]["python"]["strategy"]["matrix"]
    assert matrix["python"] == pythons()
    assert PACKAGE["requires-python"] == f">={pythons()[0]}"


def test_release_finds_the_version_and_its_changes() -> None:
    """The release workflow reads both with these very expressions."""
    workflow = (PROJECT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert r's/^__version__ = "\(.*\)"$/\1/p' in workflow
    source = (PROJECT / "kns/__init__.py").read_text(encoding="utf-8")
    assert re.findall(r'^__version__ = "(.*)"$', source, re.MULTILINE) == [__version__]
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {__version__} " in changelog


def test_every_page_of_docs_is_in_the_sites_navigation() -> None:
    """`make docs` builds the site, strictly; index and tutorial are cut from the README there."""
    written = {path.name for path in (PROJECT / "docs").glob("*.md")}
    named = {name for item in load("mkdocs.yml")["nav"] for name in item.values()}
    assert named == written | {"index.md", "tutorial.md"}


def test_rooms_that_are_described_are_those_that_there_are() -> None:
    text = (PROJECT / "docs/internals.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`kns/([a-z]+)`", text))
    assert described == {path.parent.name for path in (PROJECT / "kns").glob("*/__init__.py")}


def test_every_issue_form_asks_for_something() -> None:
    for path in sorted((PROJECT / ".github/ISSUE_TEMPLATE").glob("*.yml")):
        if path.name != "config.yml":
            form = load(str(path.relative_to(PROJECT)))
            assert form["name"]
            assert [item["attributes"]["label"] for item in form["body"]]


def test_no_two_public_classes_share_a_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in sorted((PROJECT / "kns").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(PROJECT)))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}
