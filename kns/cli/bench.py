"""`kns bench`: measurements of what the modes of kube-proxy cost."""

from __future__ import annotations

from pathlib import Path

import click

from kns.cli.options import modes_option
from kns.cli.output import output_option, print_json, print_text, terminal_width
from kns.errors import PlatformError
from kns.experiment.bench.model import BenchOptions
from kns.experiment.bench.services import bench_services
from kns.kinds.networking import ProxyMode
from kns.report.bench import bench_svg, bench_table


def numbers(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Numbers above zero, separated by commas."""
    try:
        found = tuple(int(item) for item in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of numbers such as 1,10,100") from None
    if not all(0 < item <= 100_000 for item in found):
        raise click.BadParameter("numbers go from 1 to 100000")
    return tuple(sorted(set(found)))


@click.group()
def command() -> None:
    """Measure what the modes of kube-proxy cost."""


@command.command()
@modes_option
@click.option(
    "--sizes",
    default="1,10,100,1000,5000,10000",
    show_default=True,
    callback=numbers,
    help="Numbers of services.",
)
@click.option(
    "--endpoints",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Endpoints of each service.",
)
@click.option(
    "--connections",
    type=click.IntRange(10, 10_000),
    default=300,
    show_default=True,
    help="Connections to the first, the middle and the last service.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Decides their order.")
@click.option(
    "--limit",
    type=click.FloatRange(min=0.1),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="A mode that takes longer to load its rules is not tried with more services.",
)
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also draw the plot, with logarithmic axes, into this file.",
)
@output_option("json")
def services(  # noqa: PLR0913 - one for each option
    *,
    modes: tuple[ProxyMode, ...],
    sizes: tuple[int, ...],
    endpoints: int,
    connections: int,
    seed: int,
    limit: float,
    svg: Path | None,
    output: str | None,
) -> int:
    """Latency, CPU and sync time against the number of services, in each mode.

    Builds a lab named `bench` for each point and removes it. The first, the middle and the last
    service, in the order of their names, are called: iptables walks its rules one by one, IPVS and
    nftables look the service up. Exits with 3 if this machine has none of the modes.
    """
    options = BenchOptions(modes, sizes, endpoints, connections, seed, limit)
    report = bench_services(options, lambda line: click.echo(line, err=True))
    if svg is not None:
        svg.write_text(bench_svg(report), encoding="utf-8")
    if output == "json":
        print_json(report.to_json())
    else:
        print_text(bench_table(report, terminal_width()))
    return 0 if report.points else PlatformError.exit_code
