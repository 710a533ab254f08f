"""`kns exec`."""

from __future__ import annotations

import click

from kns.cli.inside import become
from kns.cli.lab_options import container_option, lab_option, target_argument


@click.command()
@target_argument
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@container_option("its first")
@lab_option
def command(target: str, words: tuple[str, ...], container: str | None, lab: str | None) -> None:
    """Run COMMAND in a pod, a node, a host of the internet, or the fabric.

    It is a program of this machine, in that netns; in a pod with the pod's own resolv.conf, hosts
    file, hostname and environment. Its exit code is passed on.

    \b
      kns exec pod1 -- curl -s svc-a
      kns exec pod1 -c sidecar -- env
      kns exec node1 -- iptables-save -t nat
      kns exec fabric -- ip route
    """
    become(words, lab, target, container)
