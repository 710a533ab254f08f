"""`kns verify`: prove all four paths and everything the lab file promises."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_options import lab_argument, lab_option, one_lab
from kns.cli.output import output_option, print_json
from kns.engine.labs import agent_pid, running
from kns.errors import UsageError
from kns.probe.ask.places import places_of
from kns.probe.verify import CheckResult, VerifyReport
from kns.probe.verify import verify as run_verify
from kns.report.junit import junit_error, junit_xml
from kns.report.verify import print_report, verify_console


class _JunitCommand(click.Command):
    """Writes --junit's file also where the other arguments are wrong: CI has no other report."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            file = _junit_of(given)
            if file is not None:
                _write(file, junit_error("kns verify", UsageError(error.format_message())))
            raise


def _junit_of(args: Sequence[str]) -> Path | None:
    """The value of --junit in arguments that click can't parse as a whole."""
    for index, word in enumerate(args):
        name, _, value = word.partition("=")
        if name == "--junit":
            value = value or next(iter(args[index + 1 :]), "")
            return Path(value) if value and not Path(value).is_dir() else None
    return None


@click.command(cls=_JunitCommand)
@lab_argument
@click.option("--only", default="", metavar="REGEX", help="Only checks whose id matches.")
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write JUnit XML, on every way out.",
)
@click.option("--all", "every", is_flag=True, help="List every check that passed.")
@output_option("json")
@lab_option
def command(
    *,
    lab_name: str | None,
    only: str,
    junit: Path | None,
    every: bool,
    output: str | None,
    lab: str | None,
) -> int:
    """Carry out every check that the lab file implies, with real ping and curl, in parallel.

    Exits with 1 if a check fails. The ids are those of -o json: --only pod-to-service/hairpin.
    """
    if junit is None:
        report = _verify(one_lab(lab_name, lab), only)
    else:
        report = _verify_for_junit(lab_name, lab, only, junit)
    if output == "json":
        print_json(report.to_json())
    else:
        console = verify_console(sys.stdout, terminal=sys.stdout.isatty())
        print_report(console, report, every=every)
    if report.failed:
        _say_if_nobody_serves(report.lab)
    return EXIT_FAILED if report.failed else 0


def _say_if_nobody_serves(lab: str) -> None:
    """One cause that makes nearly every check fail is worth a line of its own."""

    if agent_pid(lab) is None:
        click.echo(
            f"hint: the agent of {lab} is not running, so no built-in server answers: kns up with"
            " the lab's file starts it",
            err=True,
        )


def _verify(lab: str | None, only: str) -> VerifyReport:

    found = running(lab)
    places = places_of(found.name, found.paths)
    if not sys.stderr.isatty():
        return run_verify(found.cluster, places, only=only)
    counter = _Counter()
    try:
        return run_verify(found.cluster, places, only=only, report=counter)
    finally:
        counter.clear()


def _verify_for_junit(
    argument: str | None, option: str | None, only: str, file: Path
) -> VerifyReport:
    """The file exists afterwards whatever happened, so that CI shows the reason."""

    try:
        report = _verify(one_lab(argument, option), only)
    except BaseException as error:
        _write(file, junit_error(f"kns verify {argument or option or ''}".strip(), error))
        raise
    _write(file, junit_xml(report))
    return report


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--junit {file}: {error.strerror}") from error


class _Counter:
    """The checks done so far, on one line of the terminal."""

    def __init__(self) -> None:
        self._done = 0
        self._failed = 0

    def __call__(self, result: CheckResult) -> None:
        self._done += 1
        self._failed += not result.ok
        failed = f", {self._failed} failed" if self._failed else ""
        click.echo(f"\r{self._done} checks{failed} … {result.path:<24}", nl=False, err=True)

    def clear(self) -> None:
        """Leave the line empty."""
        click.echo("\r\x1b[K", nl=False, err=True)
