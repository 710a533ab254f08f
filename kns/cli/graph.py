"""`kns graph`."""

from __future__ import annotations

from collections.abc import Callable

import click

from kns.cli import completion
from kns.cli.options import lab_argument, lab_option, one_lab


@click.command()
@lab_argument
@lab_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["svg", "html", "mermaid", "dot"]),
    default="svg",
    show_default=True,
    help="html: pointing at a service shows its pods.",
)
@click.option(
    "-f",
    "--file",
    metavar="LAB.yaml",
    shell_complete=completion.lab_files,
    help="Draw this file; no lab needs to run.",
)
def graph(lab_name: str | None, lab: str | None, form: str, file: str | None) -> None:
    """Draw a lab: internet, fabric, nodes, pods, and the pods behind each service.

    \b
      kns graph > lab.svg
      kns graph -f labs/four-paths.yaml --format mermaid
      kns graph --format dot | dot -Tpng > lab.png
    """
    from kns.report.graph import Picture, dot, mermaid, picture
    from kns.report.graph_svg import html, svg

    if file is not None:
        from kns.cli.files import load
        from kns.cluster.resolve import resolve

        cluster = resolve(load(file).spec).cluster
    else:
        from kns.engine.labs import running

        cluster = running(one_lab(lab_name, lab)).cluster
    forms: dict[str, Callable[[Picture], str]] = {
        "svg": svg,
        "html": html,
        "mermaid": mermaid,
        "dot": dot,
    }
    click.echo(forms[form](picture(cluster)), nl=False)
