"""`kns trace`: one packet's way, hop by hop, with each rule it met."""

from __future__ import annotations

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_options import destination_argument, lab_option, source_argument
from kns.cli.output import coloured, output_option, print_json, print_text, width
from kns.engine.settling import running_settled
from kns.probe.ask.places import places_of
from kns.probe.probe import ProbeOptions
from kns.probe.trace.run import trace
from kns.report.trace import trace_text


@click.command()
@source_argument
@destination_argument
@click.option("--port", default="", metavar="PORT", help="A number, or the name of a port.")
@click.option(
    "--proto",
    "protocol",
    type=click.Choice(["tcp", "udp", "icmp"]),
    default="tcp",
    show_default=True,
    help="curl, a datagram, or ping.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 60),
    default=2.0,
    show_default=True,
    help="Seconds to wait for a connection.",
)
@output_option("json")
@lab_option
def command(  # noqa: PLR0913 - one parameter an option
    *,
    source: str,
    target: str,
    port: str,
    protocol: str,
    timeout: float,
    output: str | None,
    lab: str | None,
) -> int:
    """Follow one packet from SRC to DST and back: each link, each rule, each translation.

    Sends one real probe, as `kns probe` does, and watches every link of the lab meanwhile. Where
    the packet does not arrive, it shows the last place that saw it, and what stopped it there.

    \b
      kns trace pod1 svc-a
      kns trace internet node1:30080
      kns trace pod1 pod3 --proto icmp
    """
    found = running_settled(lab)
    places = places_of(found.name, found.paths)
    options = ProbeOptions(port=port, protocol=protocol, timeout=timeout)
    result = trace(found.cluster, places, source, target, options)
    if output == "json":
        print_json(result.to_json())
    else:
        print_text(trace_text(result, colour=coloured(), width=width(80)))
    return 0 if result.probe.ok else EXIT_FAILED
