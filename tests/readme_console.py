"""The ```console blocks of the README and of docs/: commands, and what they print.

    scripts/in-throwaway .venv/bin/python -m tests.readme_console [PAGE…]

runs them and writes their output into the pages.
A command line starts with `$ `; `# exit 1` after it says that it is meant to fail so. What
`export NAME=$(…)` sets holds for the rest of the page. `kubectl` is the newest that the tests have.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import kubectl

PROJECT = Path(__file__).resolve().parents[1]
README = PROJECT / "README.md"
#: what is told to users
PAGES = (README, *sorted((PROJECT / "docs").glob("*.md")))
#: stands in a page for lines that are left out
CUT = "..."
_EXPORT = re.compile(r"export (\w+)=\$\((.*)\)$")
_EXIT = re.compile(r"\s+# exit (\d+)$")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a page, the exit code and the output that it shows."""

    line: int
    text: str
    exit_code: int
    output: tuple[str, ...]

    @property
    def argv(self) -> list[str]:
        """The command; `kns` is the one of this interpreter."""
        found = _EXPORT.match(self.text)
        words = shlex.split(found[2] if found else _EXIT.sub("", self.text))
        programs = {"kns": [sys.executable, "-m", "kns.cli.main"]}
        if words[0] == "kubectl":
            programs["kubectl"] = [str(kubectl.program(max(kubectl.RELEASES)))]
        return [*programs.get(words[0], words[:1]), *words[1:]]

    @property
    def exported(self) -> str:
        """The name of the variable that holds what the command prints; empty if none does."""
        found = _EXPORT.match(self.text)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    exit_code: int
    output: tuple[str, ...]


def steps(text: str) -> tuple[Step, ...]:
    """Every command of every ```console block, in order."""
    found: list[Step] = []
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            said = _EXIT.search(line)
            found.append(Step(number, line[2:], int(said[1]) if said else 0, ()))
        elif inside and found:
            last = found[-1]
            found[-1] = Step(last.line, last.text, last.exit_code, (*last.output, line))
    return tuple(found)


def run(step: Step, exported: dict[str, str]) -> Ran:
    """Run the command, 110 columns wide; what it says on either stream, in order.

    `exported`: the page's variables, to which it may add one.
    """
    done = subprocess.run(
        step.argv,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **exported, "COLUMNS": "110"},
    )
    if step.exported:
        exported[step.exported] = done.stdout.strip()
        return Ran(done.returncode, ())
    return Ran(done.returncode, tuple(line.rstrip() for line in done.stdout.splitlines()))


def cut(ran: tuple[str, ...], shown: tuple[str, ...]) -> tuple[str, ...]:
    """What was printed, left out where the page has a line `...`: as much before and after it."""
    if CUT not in shown:
        return ran
    head = shown.index(CUT)
    tail = len(shown) - head - 1
    return (*ran[:head], CUT, *ran[len(ran) - tail :])


def normal_form(lines: tuple[str, ...]) -> list[str]:
    """The words of the output without what differs from run to run: numbers, order, folding.

    Words, because one digit more in a cell folds the next word of it into another line.
    Nor what is in brackets: which backend a packet was sent to decides whose address it is. Nor
    who asked for a MAC address: the kernel does when it has forgotten one.
    """
    lasting = [line for line in lines if "│ ARP: " not in line]
    shortened = [re.sub(r"\d+(,\d{3})*(\.\d+)?", "N", line) for line in lasting]
    plain = [re.sub(r"[█▉▊▋▌▍▎▏▬]+|\([^)]*\)", " ", line) for line in shortened]
    return sorted(word for line in plain for word in line.split())


def with_output(text: str) -> Iterator[str]:
    """The page's lines with the output of its commands as they are now."""
    by_line = {step.line: step for step in steps(text)}
    inside = skipping = False
    exported: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            inside, skipping = line == "```console", False
        step = by_line.get(number)
        if step is not None:
            yield line
            ran = run(step, exported)
            print(f"{ran.exit_code} {line}", file=sys.stderr)
            yield from cut(ran.output, step.output)
            skipping = True
        elif not (inside and skipping):
            yield line


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:] or PAGES):
        lines = list(with_output(page.read_text(encoding="utf-8")))
        page.write_text("\n".join(lines) + "\n", encoding="utf-8")
