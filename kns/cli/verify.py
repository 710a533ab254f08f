"""`kns verify`: prove all four paths and everything the lab file promises."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_options import lab_argument, lab_option, one_lab
from kns.cli.options import waiting_option
from kns.cli.output import obeys_escapes, on_terminal, output_option, print_json, width
from kns.cli.streams import say
from kns.engine.labs import NO_AGENT, load_applied
from kns.errors import UsageError
from kns.probe.verify import Progress, VerifyReport, with_warnings
from kns.probe.verify_lab import Observer, verify_lab
from kns.report.junit import junit_error, junit_xml
from kns.report.verify import PLAIN_WIDTH, print_report, verify_console, workflow_annotations


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
@click.option("--strict", is_flag=True, help="What the lab file is warned of fails, too.")
@waiting_option(
    60.0, "How long to wait for pods that are about to be ready or gone; 0: not at all."
)
@click.option("-v", "--verbose", is_flag=True, help="Show the checks, with their evidence.")
@click.option("--all", "every", is_flag=True, help="Show every check that passed.")
@output_option("json")
@lab_option
def command(  # noqa: PLR0913 - one parameter an option
    *,
    lab_name: str | None,
    only: str,
    junit: Path | None,
    strict: bool,
    timeout: float,
    verbose: bool,
    every: bool,
    output: str | None,
    lab: str | None,
) -> int:
    """Carry out every check that the lab file implies, with real ping and curl, in parallel.

    Pods that are about to be ready, or gone, are waited for; a lab that changes meanwhile is proved
    as it is then. Exits with 1 if a check fails. The ids are those of -o json: --only
    pod-to-service/hairpin.
    """
    prove = partial(_verify, only=only, timeout=timeout, strict=strict)
    if junit is None:
        report = prove(one_lab(lab_name, lab))
    else:
        report = _verify_for_junit(lab_name, lab, junit, prove)
    if output == "json":
        print_json(report.to_json())
    else:
        console = verify_console(sys.stdout, terminal=on_terminal(), width=width(PLAIN_WIDTH, None))
        print_report(console, report, verbose=verbose, every=every)
    if os.environ.get("GITHUB_ACTIONS"):
        for line in workflow_annotations(report):
            say(line)
    if NO_AGENT in report.drift:
        # one cause that makes nearly every check fail is worth a line of its own
        say(
            f"hint: the agent of {report.lab} is not running, so no built-in server answers:"
            " kns up with the lab's file starts it"
        )
    return EXIT_FAILED if report.failed else 0


def _verify(lab: str | None, only: str, timeout: float, *, strict: bool) -> VerifyReport:
    line = _StatusLine(obeys_escapes(sys.stderr))
    observer = Observer(line.waiting, partial(line.left, timeout), line.progress)
    try:
        found, report = verify_lab(lab, only, timeout, observer)
    finally:
        line.end()
    return with_warnings(report, load_applied(found.paths).warnings) if strict else report


class _StatusLine:
    """How far a run is: on one line of a terminal, else what is waited for alone."""

    def __init__(self, terminal: bool) -> None:  # noqa: FBT001
        self._terminal = terminal

    def waiting(self, what: str) -> None:
        """A pod that is on its way."""
        self._line(f"waiting: {what}") if self._terminal else say(f"waiting: {what}")

    def left(self, timeout: float, what: str) -> None:
        """A pod that is not there yet."""
        self.end()
        say(f"not so after {timeout:g} s, checked as it is: {what}")

    def progress(self, found: Progress) -> None:
        """The checks done so far."""
        failed = f", {found.failed} failed" if found.failed else ""
        if self._terminal:
            self._line(f"{found.done} of {found.total} checks{failed}")

    def end(self) -> None:
        """The line is gone."""
        if self._terminal:
            self._line("")

    @staticmethod
    def _line(text: str) -> None:
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)


def _verify_for_junit(
    argument: str | None,
    option: str | None,
    file: Path,
    prove: Callable[[str | None], VerifyReport],
) -> VerifyReport:
    """The file exists afterwards whatever happened, so that CI shows the reason."""
    try:
        report = prove(one_lab(argument, option))
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
