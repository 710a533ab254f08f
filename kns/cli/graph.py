"""`kns graph`."""

from __future__ import annotations

from collections.abc import Callable

import click

from kns.cli.lab_files import complete_files, load
from kns.cli.lab_options import lab_argument, lab_option, one_lab
from kns.cli.output import print_text
from kns.cluster.resolve import resolve
from kns.engine.labs import running
from kns.report.graph import Picture, dot, mermaid, picture
from kns.report.graph_svg import html, svg

FORMS: dict[str, Callable[[Picture], str]] = {
    "svg": svg,
    "html": html,
    "mermaid": mermaid,
    "dot": dot,
}


@click.command()
@lab_argument
@lab_option
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMS)),
    default="svg",
    show_default=True,
    help="html: pointing at a service shows its pods.",
)
@click.option(
    "-f",
    "--file",
    metavar="LAB.yaml",
    shell_complete=complete_files,
    help="Draw this file; no lab needs to run.",
)
def command(lab_name: str | None, lab: str | None, form: str, file: str | None) -> None:
    """Draw a lab: internet, fabric, nodes, pods, and the pods behind each service.

    \b
      kns graph > lab.svg
      kns graph -f labs/four-paths.yaml --format mermaid
      kns graph --format dot | dot -Tpng > lab.png
    """
    if file is not None:
        cluster = resolve(load(file).spec).cluster
    else:
        cluster = running(one_lab(lab_name, lab)).cluster
    print_text(FORMS[form](picture(cluster)))
