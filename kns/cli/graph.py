"""`kns graph`."""

from __future__ import annotations

from collections.abc import Callable

import click

from kns.cli.lab_files import complete_files, load
from kns.cli.lab_options import lab_argument, lab_option, one_lab
from kns.cli.output import print_text
from kns.cluster.resolve import resolve
from kns.engine.labs import running
from kns.kinds.ingress import CONTROLLER_NAMESPACE
from kns.kinds.networking import DNS_NAMESPACE
from kns.report.graph import Picture, picture
from kns.report.graph_svg import html, svg
from kns.report.graph_text import dot, mermaid

#: namespaces of what a cluster itself brings
SYSTEM = (DNS_NAMESPACE, CONTROLLER_NAMESPACE)
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
    "files",
    multiple=True,
    metavar="LAB.yaml",
    shell_complete=complete_files,
    help="Draw this file; no lab needs to run.",
)
@click.option("-n", "--namespace", metavar="NAMESPACE", help="What is in this namespace alone.")
@click.option("--no-system", is_flag=True, help="Without kube-system and the Ingress controller.")
def command(
    *,
    lab_name: str | None,
    lab: str | None,
    form: str,
    files: tuple[str, ...],
    namespace: str | None,
    no_system: bool,
) -> None:
    """Draw a lab: internet, router, nodes with their bridges, pods, and who is behind a service.

    \b
      kns graph > lab.svg
      kns graph --no-system --format html > lab.html
      kns graph -f labs/four-paths.yaml --format mermaid
      kns graph --format dot | dot -Tpng > lab.png
    """
    if files:
        cluster = resolve(load(files).spec).cluster
    else:
        cluster = running(one_lab(lab_name, lab)).cluster

    def shown(name: str) -> bool:
        return namespace in (None, name) and not (no_system and name in SYSTEM)

    print_text(FORMS[form](picture(cluster, shown)))
