"""`kns exec`, `kns shell`, `kns capture`: the user's own programs inside a lab."""

from __future__ import annotations

import os
import sys

import click

from kns.cli.options import lab_option, target_argument
from kns.errors import UsageError


@click.command()
@target_argument("pod", "node", "internet")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-c", "--container", help="The container of a pod (default: its first).")
@lab_option
def exec_(target: str, command: tuple[str, ...], container: str | None, lab: str | None) -> None:
    """Run COMMAND in a pod, a node, a host of the internet, or the fabric.

    It is a program of this machine, in that netns; in a pod with the pod's own resolv.conf, hosts
    file, hostname and environment. Its exit code is passed on.

    \b
      kns exec pod1 -- curl -s svc-a
      kns exec pod1 -c sidecar -- env
      kns exec node1 -- iptables-save -t nat
      kns exec fabric -- ip route
    """
    _become(command, target=target, container=container, lab=lab)


@click.command()
@target_argument("pod", "node", "internet")
@click.option("-c", "--container", help="The container of a pod (default: its first).")
@lab_option
def shell(target: str, container: str | None, lab: str | None) -> None:
    """Start a shell in a pod, a node, a host of the internet, or the fabric."""
    _become((os.environ.get("SHELL", "/bin/sh"),), target=target, container=container, lab=lab)


@click.command()
@target_argument("pod", "node", "internet")
@click.argument("ifname", required=False)
@click.argument("filter_", metavar="[FILTER]...", nargs=-1, type=click.UNPROCESSED)
@click.option("-w", "--write", metavar="FILE", help="Write packets to FILE; - is stdout.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after so many packets.")
@lab_option
def capture(
    target: str,
    ifname: str | None,
    filter_: tuple[str, ...],
    write: str | None,
    count: int | None,
    lab: str | None,
) -> None:
    """Watch the packets of TARGET by tcpdump: on IFNAME (default: any), matching FILTER.

    \b
      kns capture node1
      kns capture node1 cni0 tcp port 8080
      kns capture pod1 eth0 -w - | wireshark -k -i -
    """
    if write == "-" and sys.stdout.isatty():
        raise UsageError("packets would go to the terminal", hint="-w - | wireshark -k -i -")
    options = ["-i", ifname or "any"]
    options += ["-U", "-w", write] if write else ["-l", "-n", "-e"]
    options += ["-c", str(count)] if count else []
    # tcpdump gives up root for a user of its own, who can't write where the caller can
    options += ["-Z", "root"] if write and write != "-" else []
    from kns.kernel.processes import which

    which("tcpdump")  # says which package it is in
    _become(("tcpdump", *options, *filter_), target=target, container=None, lab=lab)


def _become(
    command: tuple[str, ...], *, target: str, container: str | None, lab: str | None
) -> None:
    from kns.cli.targets import context_of
    from kns.engine.labs import running
    from kns.kernel import processes

    running_lab = running(lab)
    context = context_of(running_lab, target, container)
    sys.stdout.flush()
    processes.replace(command, context=context)
