"""`kns uncordon`."""

from __future__ import annotations

import click

from kns.cli.lab_options import lab_option, nodes_argument
from kns.cli.live_change import change_lab, timeout_option
from kns.cli.output import output_option
from kns.engine.node_verbs import cordon


@click.command()
@nodes_argument
@timeout_option
@output_option("json")
@lab_option
def command(*, nodes: tuple[str, ...], timeout: float, output: str | None, lab: str | None) -> int:
    """Have new pods on a node again."""
    return change_lab(
        lab,
        lambda client: (cordon(client, node, unschedulable=False) for node in nodes),
        timeout,
        output,
    )
