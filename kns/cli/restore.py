"""`kns restore`."""

from __future__ import annotations

import click

from kns.cli.fault_options import LINKS, ends, print_faults
from kns.cli.lab_options import lab_option, object_argument
from kns.cli.output import output_option
from kns.cluster.model import Cluster
from kns.engine.faults import change
from kns.errors import UsageError
from kns.kinds.fault_edits import with_link_up, with_ready
from kns.kinds.faults import Faults


@click.command()
@object_argument("names", "[NODE|POD…]", *LINKS, required=False, several=True)
@click.option("--all", "everything", is_flag=True, help="End every fault, of whatever kind.")
@output_option("json")
@lab_option
def command(
    *, names: tuple[str, ...], everything: bool, output: str | None, lab: str | None
) -> None:
    """Put back the cable of a node or pod, and let it be ready again.

    \b
      kns restore node2
      kns restore --all
    """
    if everything == bool(names):
        raise UsageError("what is to be restored?", hint="name pods or nodes, or --all")

    def edit(faults: Faults, cluster: Cluster) -> Faults:
        if everything:
            return Faults()
        found = ends(cluster, names, LINKS)
        return with_ready(with_link_up(faults, *found), *found)

    print_faults(change(lab, edit), output)
