"""`kns compare`."""

from __future__ import annotations

import click
from click.core import ParameterSource

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_files import existing_files, lab_files_argument
from kns.cli.options import modes_option
from kns.cli.output import output_option, print_json, print_text, terminal_width
from kns.errors import PlatformError, UsageError
from kns.experiment.compare import compare
from kns.experiment.setting import ProxyVariant, proxy_variant
from kns.kinds.networking import ProxyMode
from kns.report.compare import compare_text


def _variants(
    _context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[ProxyVariant, ...]:
    """Each setting once."""
    return tuple(dict.fromkeys(proxy_variant(text) for text in value))


@click.command()
@lab_files_argument
@modes_option
@click.option(
    "--proxy",
    "variants",
    multiple=True,
    callback=_variants,
    metavar="MODE[@V]",
    help="A mode, and kube-proxy's release if not the file's; several; in place of --modes.",
)
@output_option("json")
def command(
    files: tuple[str, ...],
    modes: tuple[ProxyMode, ...],
    variants: tuple[ProxyVariant, ...],
    output: str | None,
) -> int:
    """Build the lab of LAB.yaml in each mode, verify it, measure it, remove it.

    Side by side: rules and their size, sync times, latency of a new connection, who answered, and
    every promise that is another in another mode. Exits with 1 if a mode breaks a promise, with
    3 if this machine has none of the modes. Modes that it lacks are named.

    \b
      kns compare LAB.yaml --proxy iptables@1.30 --proxy nftables@1.37
    """
    # not when an option is read: that happens in the order in which they are typed
    source = click.get_current_context().get_parameter_source("modes")
    if variants and source is ParameterSource.COMMANDLINE:
        raise UsageError("--modes and --proxy say the same", hint="give one of them")
    path, *more = existing_files(files)
    chosen = variants or tuple(ProxyVariant(mode) for mode in modes)
    report = compare(path, chosen, lambda line: click.echo(line, err=True), more)
    if output == "json":
        print_json(report.to_json())
    else:
        print_text(compare_text(report, terminal_width()))
    if not report.results:
        return PlatformError.exit_code
    return EXIT_FAILED if report.failed else 0
