"""`kns capture`."""

from __future__ import annotations

import sys

import click

from kns.cli.inside import become
from kns.cli.lab_options import lab_option, target_argument
from kns.engine.enter import require_program
from kns.errors import UsageError


@click.command()
@target_argument
@click.argument("ifname", required=False)
@click.argument("filter_", metavar="[FILTER]...", nargs=-1, type=click.UNPROCESSED)
@click.option("-w", "--write", metavar="FILE", help="Write packets to FILE; - is stdout.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after so many packets.")
@lab_option
def command(
    *,
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
    require_program("tcpdump")
    become(("tcpdump", *options, *filter_), lab, target)
