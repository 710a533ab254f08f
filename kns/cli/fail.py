"""`kns fail`."""

from __future__ import annotations

import click

from kns.cli.fault_options import linked, links_argument, print_faults
from kns.cli.lab_options import lab_option
from kns.cli.output import output_option
from kns.cluster.model import Cluster
from kns.engine.faults import change
from kns.kinds.fault_edits import with_link_down
from kns.kinds.faults import Faults


@click.command()
@links_argument
@output_option("json")
@lab_option
def command(names: tuple[str, ...], output: str | None, lab: str | None) -> None:
    """Pull the cable of a node or pod: its eth0 loses its carrier.

    kns restore puts it back, and so does kns up of a file that does not say it (`faults:`).

    \b
      kns fail node2
      kns fail web-1
    """

    def edit(faults: Faults, cluster: Cluster) -> Faults:
        return with_link_down(faults, *linked(cluster, names))

    print_faults(change(lab, edit), output)
