"""`kns validate`."""

from __future__ import annotations

import click

from kns.cli.lab_files import complete_files, load
from kns.cli.output import output_option, print_json
from kns.cli.streams import say_problems
from kns.cluster.resolve import resolve
from kns.errors import Problem, Severity, SpecError
from kns.report.problems import problem_json


@click.command()
@click.argument(
    "files", metavar="LAB.yaml...", nargs=-1, required=True, shell_complete=complete_files
)
@output_option("json")
def command(files: tuple[str, ...], output: str | None) -> int:
    """Check lab files and show every error at once, with file, line and column."""
    problems = [problem for file in files for problem in check_file(file)]
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if output == "json":
        print_json([problem_json(problem) for problem in problems])
    else:
        say_problems(problems)
        if not errors:
            click.echo(f"{', '.join(files)}: no errors")
    return SpecError.exit_code if errors else 0


def check_file(file: str) -> tuple[Problem, ...]:
    """Every error and warning of the file; the lab it describes is resolved too."""
    try:
        loaded = load(file)
        resolution = resolve(loaded.spec)
    except SpecError as error:
        return error.problems
    return (*loaded.warnings, *resolution.warnings)
