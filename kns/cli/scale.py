"""`kns scale`."""

from __future__ import annotations

import click

from kns.cli.lab_options import lab_option, namespace_option
from kns.cli.live_change import change_lab, complete_workload, timeout_option
from kns.cli.output import output_option
from kns.engine import workload_verbs
from kns.errors import UsageError


@click.command()
@click.argument(
    "wanted", metavar="NAME=COUNT...", nargs=-1, required=True, shell_complete=complete_workload
)
@namespace_option
@timeout_option
@output_option("json")
@lab_option
def command(
    *,
    wanted: tuple[str, ...],
    namespace: str,
    timeout: float,
    output: str | None,
    lab: str | None,
) -> int:
    """Have workloads of so many pods: Deployments, StatefulSets, ReplicaSets.

    It waits until the pods are ready, or gone, and says what that has done to the network. Exit
    code 1 if they are not in time.

    \b
      kns scale web=5
      kns scale statefulset/db=2 web=0
    """
    counts = [_count(word) for word in wanted]
    return change_lab(
        lab,
        lambda client: (
            workload_verbs.scale(client, name, count, namespace) for name, count in counts
        ),
        timeout,
        output,
    )


def _count(word: str) -> tuple[str, int]:
    name, equals, count = word.rpartition("=")
    if not equals or not name or not (count.isascii() and count.isdecimal()):
        raise UsageError(f"{word!r} is no name with a count", hint="kns scale web=5")
    return name, int(count)
