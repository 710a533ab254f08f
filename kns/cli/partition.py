"""`kns partition`."""

from __future__ import annotations

import click

from kns.cli.fault_options import WAYS, partition_of, print_faults
from kns.cli.lab_options import lab_option, object_argument
from kns.cli.output import output_option
from kns.cluster.model import Cluster
from kns.engine.faults import change
from kns.errors import UsageError
from kns.kinds.fault_edits import with_partition, without_partition
from kns.kinds.faults import Faults


@click.command()
@object_argument("one", "A", *WAYS, required=False)
@object_argument("other", "B", *WAYS, required=False)
@click.option("--heal", is_flag=True, help="Let packets pass again; without sides: everywhere.")
@output_option("json")
@lab_option
def command(
    *, one: str | None, other: str | None, heal: bool, output: str | None, lab: str | None
) -> None:
    """Keep two sides apart: no packet passes between A and B, in neither direction.

    A side is a pod, a node (with its pods), internet, a Service (the pods behind it), or several
    with commas. kns restore --all and kns up end it, too.

    \b
      kns partition node1 node2,node3
      kns partition client svc/web
      kns partition --heal
    """
    if other is None and (one is not None or not heal):
        raise UsageError("which two sides?", hint="kns partition A B; --heal alone ends them all")

    def edit(faults: Faults, cluster: Cluster) -> Faults:
        if one is None or other is None:
            return without_partition(faults)
        sides = partition_of(cluster, one, other)
        if not heal:
            return with_partition(faults, sides)
        kept = without_partition(faults, sides)
        if kept == faults:
            raise UsageError(f"{one} and {other} are not apart", hint="kns status tells who is")
        return kept

    print_faults(change(lab, edit), output)
