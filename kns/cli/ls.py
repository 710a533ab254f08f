"""`kns ls`."""

from __future__ import annotations

import click

from kns.cli.output import output_option, print_json, print_text
from kns.engine.summaries import summaries
from kns.report.ls import ls_json, ls_text


@click.command()
@output_option("json")
def command(output: str | None) -> None:
    """List the labs of this machine."""
    labs = summaries()
    if output == "json":
        print_json(ls_json(labs))
    elif labs:
        print_text(ls_text(labs))
    else:
        click.echo("no lab is running", err=True)
