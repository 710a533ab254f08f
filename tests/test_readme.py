"""What the README claims: its commands run and print what it shows, its YAML is valid."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from kns.cli.registry import VERBS
from tests import readme_console

TEXT = readme_console.README.read_text(encoding="utf-8")
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")


@pytest.mark.kernel
def test_every_command_does_what_the_readme_shows() -> None:
    """In order: later ones work on the lab that earlier ones brought up."""
    wrong: list[str] = []
    for step in readme_console.steps(TEXT):
        ran = readme_console.run(step)
        output = readme_console.cut(ran.output, step.output)
        shown, found = (readme_console.normal_form(lines) for lines in (step.output, output))
        if (ran.exit_code, found) != (step.exit_code, shown):
            difference = "\n".join(difflib.ndiff(shown, found))
            wrong.append(f"README.md:{step.line}: {step.text}: exit {ran.exit_code}\n{difference}")
    assert not wrong, "\n\n".join([*wrong, "mend it with: python -m tests.readme_console"])


def test_readme_has_commands_and_their_output() -> None:
    found = readme_console.steps(TEXT)
    silent = [step.text for step in found if not step.output and "ip route del" not in step.text]
    assert (len(found) > 15, silent) == (True, [])


def test_every_verb_is_in_the_command_reference() -> None:
    reference = TEXT.partition("## Commands")[2].partition("## The lab file")[0]
    missing = [verb for verb in VERBS if f"`kns {verb}" not in reference]
    assert missing == []


def test_lab_file_of_the_readme_is_valid(tmp_path: Path) -> None:
    from kns.cli.validate import check_file

    block = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    file = tmp_path / "lab.yaml"
    file.write_text(block[1], encoding="utf-8")
    assert check_file(str(file)) == ()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_to_files(name: str) -> None:
    text = (readme_console.PROJECT / name).read_text(encoding="utf-8")
    missing = [link for link in LINK.findall(text) if not (readme_console.PROJECT / link).exists()]
    assert missing == []


def test_make_targets_that_are_named_exist() -> None:
    makefile = (readme_console.PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named: set[str] = set()
    for name in ("README.md", "CONTRIBUTING.md", ".ci/run", "kns/kernel/modules.py"):
        text = (readme_console.PROJECT / name).read_text(encoding="utf-8")
        named |= set(re.findall(r"(?:`|^\s*|\()make ([a-z-]+)", text, re.MULTILINE))
    assert named - targets == set()
