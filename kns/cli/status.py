"""`kns status`."""

from __future__ import annotations

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_options import lab_argument, lab_option, one_lab
from kns.cli.output import output_option, print_json, print_text, terminal_width
from kns.engine.status import status
from kns.report.printable import printable
from kns.report.status import status_json, status_text


@click.command()
@lab_argument
@lab_option
@output_option("json")
def command(lab_name: str | None, lab: str | None, output: str | None) -> int:
    """Say how a lab is, and what in the kernel is not as its file says.

    Exit code 0 if it is healthy, 1 if it is not.
    """
    found = status(one_lab(lab_name, lab))
    if output == "json":
        print_json(status_json(found))
    else:
        print_text(printable(status_text(found, terminal_width())))
    return 0 if found.healthy else EXIT_FAILED
