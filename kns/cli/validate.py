"""`kns validate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_files import complete_files, existing_file
from kns.cli.output import output_option, print_json
from kns.cli.streams import say, say_problems
from kns.cluster.resolve import resolve
from kns.errors import Problem, Severity, SpecError
from kns.kinds.load import is_lab_text, load_files, read_lab
from kns.report.problems import problem_json
from kns.report.words import counted

File = tuple[str, str | bytes]


@click.command()
@click.argument(
    "files", metavar="LAB.yaml...", nargs=-1, required=True, shell_complete=complete_files
)
@click.option("--strict", is_flag=True, help="Exit with 1 where there are warnings.")
@output_option("json")
def command(files: tuple[str, ...], *, strict: bool, output: str | None) -> int:
    """Check lab files and show every error at once, with file, line and column.

    Files without a Lab document belong to the lab before them, or to the first one.
    """
    problems = [problem for lab in _labs(files) for problem in check_lab(lab)]
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if output == "json":
        print_json([problem_json(problem) for problem in problems])
    else:
        say_problems(problems)
        if not errors:
            warned = f", {counted(len(problems), 'warning')}" if problems else ""
            click.echo(f"{', '.join(files)}: no errors{warned}")
    if errors:
        return SpecError.exit_code
    return EXIT_FAILED if strict and problems else 0


def _labs(files: Sequence[str]) -> list[list[File]]:
    """The files of each lab; one that can't be read is a lab of its own, and tells why."""
    labs: list[list[File]] = []
    waiting: list[File] = []
    for name in files:
        file = _read(name)
        if len(files) == 1:
            return [[file]]
        if is_lab_text(file[1], file[0]):
            labs.append([*waiting, file])
            waiting = []
        elif labs:
            labs[-1].append(file)
        else:
            waiting.append(file)
    return labs or [waiting]


def _read(name: str) -> File:
    if name == "-":
        return "<stdin>", sys.stdin.read()
    path = existing_file(name)
    return str(path), read_lab(path)


def check_lab(files: Sequence[File]) -> tuple[Problem, ...]:
    """Every error and warning of a lab's files; the lab that they describe is resolved too."""
    warnings: tuple[Problem, ...] = ()
    try:
        loaded = load_files(files)
        warnings = loaded.warnings
        resolution = resolve(loaded.spec)
    except SpecError as error:
        return tuple(sorted((*error.problems, *error.warnings, *warnings)))
    for note in loaded.notes:
        say(note)
    return (*warnings, *resolution.warnings)
