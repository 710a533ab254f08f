"""What README and docs/ claim: their commands run and print what they show, their YAML is valid."""

from __future__ import annotations

import difflib
import re

import pytest

from kns.cli.registry import VERBS
from kns.engine.down import down
from kns.engine.labs import list_labs
from tests import readme_console

TEXTS = {
    str(page.relative_to(readme_console.PROJECT)): page.read_text(encoding="utf-8")
    for page in readme_console.PAGES
}
WITH_COMMANDS = [name for name, text in TEXTS.items() if "```console" in text]
WITH_YAML = [name for name, text in TEXTS.items() if "```yaml" in text]
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")


@pytest.mark.kernel
@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_every_command_does_what_the_page_shows(name: str) -> None:
    """In order: later ones work on the lab that earlier ones brought up."""
    wrong: list[str] = []
    exported: dict[str, str] = {}
    there = set(list_labs())
    for step in readme_console.steps(TEXTS[name]):
        ran = readme_console.run(step, exported)
        output = readme_console.cut(ran.output, step.output)
        shown, found = (readme_console.normal_form(lines) for lines in (step.output, output))
        if (ran.exit_code, found) != (step.exit_code, shown):
            difference = "\n".join(difflib.ndiff(shown, found))
            wrong.append(f"{name}:{step.line}: {step.text}: exit {ran.exit_code}\n{difference}")
    for lab in set(list_labs()) - there:  # a page whose commands failed may leave its own
        down(lab)
    assert not wrong, "\n\n".join([*wrong, "mend it with: python -m tests.readme_console"])


def test_pages_have_commands_and_their_output() -> None:
    found = {name: readme_console.steps(TEXTS[name]) for name in WITH_COMMANDS}
    silent = [
        step.text
        for steps in found.values()
        for step in steps
        if not step.output and "ip route del" not in step.text and not step.exported
    ]
    assert silent == []
    assert (len(found["README.md"]) > 15, len(found["docs/labs.md"]) > 15) == (True, True)


def test_every_verb_is_in_the_command_reference() -> None:
    reference = TEXTS["docs/commands.md"]
    missing = [verb for verb in VERBS if f"`kns {verb}" not in reference]
    assert missing == []


@pytest.mark.parametrize("name", WITH_YAML)
def test_lab_file_of_the_page_is_valid(name: str) -> None:
    from kns.cli.validate import check_lab

    for block in re.findall(r"```yaml\n(.*?)```", TEXTS[name], re.DOTALL):
        assert check_lab([("lab.yaml", block)]) == ()


def test_a_whole_lab_file_is_shown() -> None:
    assert "docs/lab-file.md" in WITH_YAML


@pytest.mark.parametrize("name", [*TEXTS, "CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_to_files(name: str) -> None:
    page = readme_console.PROJECT / name
    text = page.read_text(encoding="utf-8")
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert missing == []


def test_make_targets_that_are_named_exist() -> None:
    makefile = (readme_console.PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named: set[str] = set()
    for name in (*TEXTS, "CONTRIBUTING.md", ".ci/run", "kns/kernel/modules.py"):
        text = (readme_console.PROJECT / name).read_text(encoding="utf-8")
        named |= set(re.findall(r"(?:`|^\s*|\()make ([a-z-]+)", text, re.MULTILINE))
    assert named - targets == set()
