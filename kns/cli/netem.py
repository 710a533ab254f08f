"""`kns netem`: delay, loss and the like on the way of packets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kns.cli.fault_options import ANY, WAYS, print_faults, way_ends
from kns.cli.lab_options import lab_option, object_argument
from kns.cli.output import output_option
from kns.cluster.model import Cluster
from kns.engine.faults import change, faults_of
from kns.errors import UsageError
from kns.kinds import faults as quantities
from kns.kinds.fault_edits import with_netem, without_netem
from kns.kinds.faults import Faults, Impairment, NetemFault, impairment_objection
from kns.labfile.wording import RefusedError

#: each option, what reads it, and its line of help
_OPTIONS: dict[str, tuple[Callable[[object], int], str]] = {
    "delay": (quantities.duration, "How long each packet waits: 50ms."),
    "jitter": (quantities.duration, "How much the delay varies: 5ms."),
    "delay-correlation": (quantities.share, "How much a delay follows the one before: 25%."),
    "loss": (quantities.share, "How many packets are lost: 1%."),
    "loss-correlation": (quantities.share, "How much a loss follows the one before."),
    "duplicate": (quantities.share, "How many packets come twice."),
    "duplicate-correlation": (quantities.share, "How much that follows the one before."),
    "corrupt": (quantities.share, "How many packets have a wrong bit."),
    "corrupt-correlation": (quantities.share, "How much that follows the one before."),
    "reorder": (quantities.share, "How many packets don't wait for the delay."),
    "reorder-correlation": (quantities.share, "How much that follows the one before."),
    "rate": (quantities.rate, "Bits per second at most: 10mbit."),
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """What happens to the packets from SRC to DST: delay, loss, a rate …

    SRC and DST are pods, nodes (with their pods), internet, Services (the pods behind them), or
    `any`: then it is about the other's whole link. One direction; for both set it twice.

    \b
      kns netem set node1 node2 --delay 50ms --jitter 5ms
      kns netem set client web --loss 1%
      kns netem set pod1 any --rate 10mbit
    """


def _impairment(function: Callable[..., None]) -> Callable[..., None]:
    for name, (read, words) in reversed(_OPTIONS.items()):
        function = click.option(f"--{name}", callback=_reading(name, read), help=words)(function)
    return function


def _reading(name: str, read: Callable[[object], int]) -> Callable[..., int]:
    def value(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int:
        if text is None:
            return 0
        try:
            return read(text)
        except RefusedError as refused:
            raise UsageError(f"--{name}: {refused.message}", hint=refused.hint) from refused

    return value


_source = object_argument("source", "SRC", *WAYS)
_target = object_argument("target", "DST", *WAYS)


@command.command(name="set")
@_source
@_target
@_impairment
@click.option("--limit", type=click.IntRange(1, 1_000_000), help="Packets that wait at most.")
@output_option("json")
@lab_option
def set_(
    *, source: str, target: str, limit: int | None, output: str | None, lab: str | None, **rest: Any
) -> None:
    """Impair the packets from SRC to DST so, however they were before."""
    impairment = Impairment(**rest, limit=limit or 0)
    if objection := impairment_objection(impairment):
        raise UsageError(objection[0], hint=objection[1])

    def edit(faults: Faults, cluster: Cluster) -> Faults:
        return with_netem(faults, NetemFault(*way_ends(cluster, source, target), impairment))

    print_faults(change(lab, edit), output)


@command.command()
@output_option("json")
@lab_option
def show(output: str | None, lab: str | None) -> None:
    """What is broken on purpose, impaired packets among it."""
    print_faults(faults_of(lab), output)


@command.command()
@object_argument("source", "[SRC", *WAYS, required=False)
@object_argument("target", "DST]", *WAYS, required=False)
@output_option("json")
@lab_option
def clear(source: str | None, target: str | None, output: str | None, lab: str | None) -> None:
    """Impair the packets from SRC to DST no longer; without ends: those of no way."""
    if source is not None and target is None:
        raise UsageError(f"from {source} to whom?", hint=f"name the other end, or {ANY}")

    def edit(faults: Faults, cluster: Cluster) -> Faults:
        if source is None or target is None:
            return without_netem(faults)
        ends = way_ends(cluster, source, target)
        kept = without_netem(faults, *ends)
        if kept == faults:
            raise UsageError(
                f"nothing impairs packets from {source} to {target}", hint="kns netem show"
            )
        return kept

    print_faults(change(lab, edit), output)
