"""`kns unready`."""

from __future__ import annotations

import click

from kns.cli.fault_options import PODS, ends, pods_argument, print_faults
from kns.cli.lab_options import lab_option
from kns.cli.output import output_option
from kns.cluster.model import Cluster
from kns.engine.faults import change
from kns.kinds.fault_edits import with_ready, with_unready
from kns.kinds.faults import Faults


@click.command()
@pods_argument
@click.option("--undo", is_flag=True, help="Let it be as ready as it is by itself.")
@output_option("json")
@lab_option
def command(*, names: tuple[str, ...], undo: bool, output: str | None, lab: str | None) -> None:
    """Make a pod not ready: no Service leads to it any more, but it runs on.

    \b
      kns unready web-1
      kns unready web-1 --undo
    """

    def edit(faults: Faults, cluster: Cluster) -> Faults:
        found = ends(cluster, names, PODS)
        return with_ready(faults, *found) if undo else with_unready(faults, *found)

    print_faults(change(lab, edit), output)
