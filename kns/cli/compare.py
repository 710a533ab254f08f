"""`kns compare`."""

from __future__ import annotations

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_files import existing_files, lab_files_argument
from kns.cli.options import modes_option
from kns.cli.output import output_option, print_json, print_text
from kns.errors import PlatformError
from kns.experiment.compare import compare
from kns.kinds.networking import ProxyMode
from kns.report.compare import compare_text


@click.command()
@lab_files_argument
@modes_option
@output_option("json")
def command(files: tuple[str, ...], modes: tuple[ProxyMode, ...], output: str | None) -> int:
    """Build the lab of LAB.yaml in each mode, verify it, measure it, remove it.

    Side by side: rules and their size, sync times, latency of a new connection, who answered, and
    every promise that is another in another mode. Exits with 1 if a mode breaks a promise, with
    3 if this machine has none of the modes. Modes that it lacks are named.
    """
    path, *more = existing_files(files)
    report = compare(path, modes, lambda line: click.echo(line, err=True), more)
    if output == "json":
        print_json(report.to_json())
    else:
        print_text(compare_text(report))
    if not report.results:
        return PlatformError.exit_code
    return EXIT_FAILED if report.failed else 0
