"""`kns probe`: ping or curl from here to there; who answered, and how."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial

import click

from kns.cli import completion
from kns.cli.options import lab_option, output_option

EXIT_FAILED = 1


@click.command()
@click.argument(
    "source",
    metavar="SRC",
    shell_complete=partial(completion.names, kinds=("pod", "node", "internet")),
)
@click.argument(
    "target",
    metavar="DST",
    shell_complete=partial(completion.names, kinds=completion.KINDS),
)
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
    default=2.0,
    show_default=True,
    help="Seconds to wait for a connection.",
)
@output_option("json")
@lab_option
def probe(  # noqa: PLR0913 - one parameter an option
    *,
    source: str,
    target: str,
    port: str,
    protocol: str,
    count: int,
    timeout: float,
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
    """
    from kns.engine.labs import running
    from kns.probe.places import places_of
    from kns.probe.probe import Options
    from kns.probe.probe import probe as run_probe
    from kns.report.probe import probe_text

    found = running(lab)
    places = places_of(found.name, found.paths)
    options = Options(port=port, protocol=protocol, count=count, timeout=timeout)
    result = run_probe(found.cluster, places, source, target, options)
    if output == "json":
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        width = min(shutil.get_terminal_size((100, 24)).columns, 110)
        click.echo(probe_text(result, colour=sys.stdout.isatty(), width=width), nl=False)
    return 0 if result.ok else EXIT_FAILED
