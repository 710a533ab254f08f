"""`kns validate`, `kns schema`, `kns script`: the lab file, without a lab. None needs root."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kns.cli import completion
from kns.cli.options import lab_file_argument, output_option, proxy_mode_option
from kns.cli.streams import say
from kns.errors import Problem, SpecError, UsageError
from kns.labfile.shipped import shipped_lab, shipped_labs

if TYPE_CHECKING:
    from kns.labfile.load import LoadedLab


@click.command()
@click.argument(
    "files",
    metavar="LAB.yaml...",
    nargs=-1,
    required=True,
    shell_complete=completion.lab_files,
)
@output_option("json")
def validate(files: tuple[str, ...], output: str | None) -> int:
    """Check lab files and show every error at once, with file, line and column."""
    problems: list[Problem] = []
    for file in files:
        problems += check_file(file)
    errors = [problem for problem in problems if problem.severity == "error"]
    if output == "json":
        click.echo(json.dumps([_problem_json(problem) for problem in problems], indent=2))
    else:
        show_problems(problems)
        if not errors:
            click.echo(f"{', '.join(files)}: no errors")
    return SpecError.exit_code if errors else 0


def check_file(file: str) -> list[Problem]:
    """Every error and warning of the file; the lab it describes is resolved too."""
    from kns.cluster.resolve import resolve

    try:
        loaded = load(file)
        resolution = resolve(loaded.spec)
    except SpecError as error:
        return list(error.problems)
    return [*loaded.warnings, *resolution.warnings]


def load(file: str) -> LoadedLab:
    """Load the lab file; `-` is stdin. UsageError if it can't be read."""
    from kns.labfile.load import load_lab, load_lab_text

    if file == "-":
        return load_lab_text(sys.stdin.read(), file="<stdin>")
    return load_lab(existing_file(file))


def existing_file(file: str) -> Path:
    """The path of a lab file; where there is none of this name, of the lab that comes with kns.

    UsageError with what may have been meant if there is no such lab either.
    """
    path = Path(file)
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:
        # a name that no file can have; ValueError: a NUL in it
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise UsageError(f"{file}: {reason}", hint="name a lab file") from error
    is_folder = exists and path.is_dir()
    if (not exists or is_folder) and (lab := shipped_lab(file)) is not None:
        say(f"{file} is a lab that comes with kns: {lab.path}")
        return lab.path
    if not exists or not file:
        raise UsageError(
            f"{file!r}: no such file" if not file else f"{file}: no such file",
            hint=_nearest_lab(path),
        )
    if is_folder:
        raise UsageError(f"{file} is a folder", hint="name a lab file in it")
    return path


def _nearest_lab(path: Path) -> str:
    found = sorted(str(lab) for lab in Path("labs").glob("*.yaml"))
    same_name = [lab for lab in found if Path(lab).stem == path.stem]
    if same_name:
        return f"did you mean {same_name[0]}?"
    if found:
        return f"labs here: {' '.join(found)}"
    shipped = [lab.name for lab in shipped_labs()]
    if path.stem in shipped:
        return f"did you mean {path.stem}, which comes with kns?"
    return f"name a lab file, or a lab that comes with kns: {' '.join(shipped)}"


def show_problems(problems: Iterable[Problem]) -> None:
    """Print problems on stderr, each with its hint."""
    for problem in problems:
        say(str(problem))
        if problem.hint:
            say(f"  hint: {problem.hint}")


@click.command()
def schema() -> None:
    """Print the JSON schema of the lab file, for completion and checks in an editor."""
    from kns.labfile.schema import lab_schema

    click.echo(json.dumps(lab_schema(), indent=2))


@click.command()
@lab_file_argument
@proxy_mode_option
def script(file: str, proxy_mode: str | None) -> None:
    """Print a POSIX shell script that builds the lab's network by ip, sysctl, iptables-restore.

    It builds from nothing, and kns down removes it; kns up afterwards adds the servers only.
    """
    from kns.cluster.model import ProxyMode
    from kns.engine.up import desire
    from kns.plan.diff import plan
    from kns.plan.shell import script as shell_script
    from kns.state.model import HostState

    mode = ProxyMode(proxy_mode) if proxy_mode else None
    desired = desire(existing_file(file), mode, fresh=True)
    show_problems(desired.loaded.warnings)
    click.echo(shell_script(plan(desired.state, HostState())), nl=False)


def _problem_json(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "severity": str(problem.severity),
        "message": problem.message,
        "hint": problem.hint,
    }
