"""Labs like those of public bug reports and questions, and what kns must say of them.

Each file of tests/reports tells in its first lines the right value with its source, the commands
that show it and the words that must be, or must not be (`not:`), in what they print.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.cli.main import main
from kns.engine.down import down
from tests.cli.process import kns
from tests.end_to_end.labfiles import leftovers
from tests.readme_console import PROJECT

pytestmark = pytest.mark.kernel

REPORTS = sorted((PROJECT / "tests/reports").glob("*.yaml"))
LAB = "report"
NOT = "not: "


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    down(LAB)
    assert leftovers(LAB) == {}


def steps(text: str) -> list[tuple[str, list[str]]]:
    """The commands of the first comment, each with the words that it must print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("# $ kns "):
            found.append((line.removeprefix("# $ kns "), []))
        elif line.startswith("#   "):
            found[-1][1].append(line.removeprefix("#   "))
    return found


def is_in(word: str, text: str) -> bool:
    """Whether the text has the words, which may stand behind `not:`, wherever its lines break."""
    return " ".join(word.removeprefix(NOT).split()) in " ".join(text.split())


@pytest.mark.parametrize("file", REPORTS, ids=lambda file: file.stem)
def test_report(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = steps(file.read_text(encoding="utf-8"))
    assert all(words for _, words in commands)
    if any(not command.startswith("validate ") for command, _ in commands):
        assert main(["up", str(file)]) == 0
    capsys.readouterr()
    for command, words in commands:
        argv = [str(file) if word == "FILE" else word for word in command.split()]
        if argv[0] == "exec":  # the program takes the process over
            printed = kns(*argv).stdout
        else:
            main(argv)
            printed = "".join(capsys.readouterr())
        wrong = [word for word in words if is_in(word, printed) is word.startswith(NOT)]
        assert wrong == [], f"kns {command}:\n{printed}"
