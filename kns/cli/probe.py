"""`kns probe`: ping or curl from here to there; who answered, and how."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from kns.cli.options import (
    destination_argument,
    duration,
    lab_option,
    output_option,
    source_argument,
)
from kns.errors import UsageError

if TYPE_CHECKING:
    from kns.cluster.model import Cluster
    from kns.probe.ask.places import Places

EXIT_FAILED = 1


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
    "time",
    metavar="TIME",
    default=None,
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
def probe(  # noqa: PLR0913 - one parameter an option
    *,
    source: str,
    target: str,
    port: str,
    protocol: str,
    count: int,
    timeout: float | None,
    time: str | None,
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
    from kns.engine.labs import running
    from kns.probe.ask.places import places_of
    from kns.probe.probe import Options
    from kns.probe.probe import probe as run_probe
    from kns.report.probe import probe_text

    found = running(lab)
    places = places_of(found.name, found.paths)
    if time is not None:
        if protocol != "tcp" or count != 1:
            raise UsageError("--for asks by TCP, as often as --rate and the time say")
        steady = _Steady(duration(time), rate, port, timeout)
        return _watch(found.cluster, places, (source, target), steady, output)
    options = Options(port=port, protocol=protocol, count=count, timeout=timeout or 2.0)
    result = run_probe(found.cluster, places, source, target, options)
    if output == "json":
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        width = min(shutil.get_terminal_size((100, 24)).columns, 110)
        click.echo(probe_text(result, colour=sys.stdout.isatty(), width=width), nl=False)
    return 0 if result.ok else EXIT_FAILED


@dataclass(frozen=True, slots=True)
class _Steady:
    """What the options say of a steady rate."""

    seconds: float
    rate: float
    port: str
    timeout: float | None


def _watch(
    cluster: Cluster, places: Places, ends: tuple[str, str], steady: _Steady, output: str | None
) -> int:
    from kns.probe.watch import DEFAULT_TIMEOUT, Watch, watch
    from kns.report.watch import watch_text

    def progress(second: int, answered: int, sent: int) -> None:
        click.echo(f"  {second} s: {answered} of {sent} answered", err=True)

    timeout = DEFAULT_TIMEOUT if steady.timeout is None else steady.timeout
    wanted = Watch(steady.seconds, steady.rate, steady.port, timeout)
    shown = progress if sys.stderr.isatty() else lambda _second, _answered, _sent: None
    result = watch(cluster, places, ends, wanted, shown)
    if output == "json":
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        click.echo(watch_text(result, colour=sys.stdout.isatty()), nl=False)
    return 0 if result.ok else EXIT_FAILED
