"""`kns compare`: one lab in each of kube-proxy's modes, side by side."""

from __future__ import annotations

import json

import click

from kns.cli.bench import modes_option
from kns.cli.files import existing_file
from kns.cli.options import lab_file_argument, output_option
from kns.cluster.model import ProxyMode
from kns.errors import PlatformError

EXIT_FAILED = 1
#: no mode could be had on this machine
EXIT_PLATFORM = PlatformError.exit_code


@click.command()
@lab_file_argument
@modes_option
@output_option("json")
def compare(file: str, modes: tuple[ProxyMode, ...], output: str | None) -> int:
    """Build the lab of LAB.yaml in each mode, verify it, measure it, remove it.

    Side by side: rules and their size, sync times, latency of a new connection, who answered, and
    every promise that is another in another mode. Exits with 1 if a mode breaks a promise, with
    3 if this machine has none of the modes. Modes that it lacks are named.
    """
    from kns.experiment.compare import compare as run_compare
    from kns.report.compare import compare_text

    report = run_compare(existing_file(file), modes, lambda line: click.echo(line, err=True))
    if output == "json":
        click.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        click.echo(compare_text(report), nl=False)
    if not report.results:
        return EXIT_PLATFORM
    return EXIT_FAILED if report.failed else 0
