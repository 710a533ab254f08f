"""`kns probe`: ping or curl from here to there; who answered, and how."""

from __future__ import annotations

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_options import destination_argument, lab_option, source_argument
from kns.cli.options import duration
from kns.cli.output import coloured, output_option, print_json, print_text, width
from kns.engine.settling import running_settled
from kns.errors import UsageError
from kns.probe.ask.places import places_of
from kns.probe.probe import ProbeOptions, probe
from kns.report.probe import probe_text


@click.command()
@source_argument
@destination_argument
@click.option("--port", default="", metavar="PORT", help="A number, or the name of a port.")
@click.option(
    "--proto",
    "protocol",
    type=click.Choice(["tcp", "udp", "sctp", "icmp"]),
    default="tcp",
    show_default=True,
    help="curl, a datagram, or ping alone.",
)
@click.option(
    "--count",
    "-n",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="So many connections, each a new one; shows each backend's share.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 60),
    default=None,
    help="Seconds to wait for a connection (2), or with --for an answer (0.95).",
)
@click.option(
    "--for",
    "seconds",
    metavar="TIME",
    callback=duration,
    help="Ask for so long at a steady rate, and show what was lost when: 10s, 500ms, 2m.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 2000),
    default=50.0,
    show_default=True,
    help="With --for: so many requests a second.",
)
@output_option("json")
@lab_option
def command(  # noqa: PLR0913 - one parameter an option
    *,
    source: str,
    target: str,
    port: str,
    protocol: str,
    count: int,
    timeout: float | None,
    seconds: float | None,
    rate: float,
    output: str | None,
    lab: str | None,
) -> int:
    """Ping and curl from SRC to DST: which path it is, who answered, what the server saw.

    SRC is a pod, a node or `internet`. DST is one of these or a service, with a port if you like
    (pod1:8080, pod1:portname, node1:30080), or an IP, a DNS name or a URL.

    \b
      kns probe pod1 svc-a --count 20
      kns probe internet node1:30080
      kns probe pod1 http://www.example.com/
      kns probe internet svc-a --for 10s --rate 200
    """
    running_lab = running_settled(lab)
    if seconds is not None:
        if protocol != "tcp" or count != 1:
            raise UsageError("--for asks by TCP, as often as --rate and the time say")
        # asyncio takes as long to import as a probe takes
        from kns.cli.watch import DEFAULT_TIMEOUT, Watch, watch_lab  # noqa: PLC0415

        wanted = Watch(seconds, rate, port, DEFAULT_TIMEOUT if timeout is None else timeout)
        return watch_lab(running_lab, (source, target), wanted, output)
    options = ProbeOptions(port=port, protocol=protocol, count=count, timeout=timeout or 2.0)
    places = places_of(running_lab.name, running_lab.paths)
    result = probe(running_lab.cluster, places, source, target, options)
    if output == "json":
        print_json(result.to_json())
    else:
        print_text(probe_text(result, colour=coloured(), width=width()))
    return 0 if result.ok else EXIT_FAILED
