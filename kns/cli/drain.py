"""`kns drain`."""

from __future__ import annotations

import click

from kns.cli.lab_options import lab_option, node_argument
from kns.cli.live_change import change_lab, timeout_option
from kns.cli.output import output_option
from kns.engine.node_verbs import drain


@click.command()
@node_argument
@click.option("--ignore-daemonsets", is_flag=True, help="Leave the pods of DaemonSets there.")
@click.option("--force", is_flag=True, help="Also pods that nobody makes again.")
@timeout_option
@output_option("json")
@lab_option
def command(
    *,
    node: str,
    ignore_daemonsets: bool,
    force: bool,
    timeout: float,
    output: str | None,
    lab: str | None,
) -> int:
    """Cordon a node and evict its pods: their workloads make others elsewhere.

    It waits until they are gone and the others ready, and says what that has done to the network;
    `kns uncordon NODE` lets pods come back. Exit code 1 if it is not done in time.
    """
    return change_lab(
        lab,
        lambda client: drain(client, node, ignore_daemon_sets=ignore_daemonsets, force=force),
        timeout,
        output,
    )
