"""`kns rules`: a node's rules as a packet meets them, read from the kernel."""

from __future__ import annotations

import click

from kns.addresses import IPFamily
from kns.cli.lab_options import lab_option, object_argument
from kns.cli.output import coloured, output_option, print_json, print_text, width
from kns.cluster.model import Cluster
from kns.engine.labs import RunningLab, running
from kns.errors import UsageError
from kns.kinds.node import Node
from kns.kinds.service import Service
from kns.probe.names import find, search
from kns.probe.rules import rules_on
from kns.promise.location import LocationKind
from kns.report.rules import Options, rules_json, rules_text

FAMILIES = {str(family).lower(): family for family in IPFamily}


@click.command()
@object_argument("node", "NODE", LocationKind.NODE)
@object_argument("service", "[SERVICE]", LocationKind.SERVICE, required=False)
@click.option("--family", type=click.Choice(list(FAMILIES)), help="Default: the service's first.")
@click.option("--all", "general", is_flag=True, help="Also the rules that packets to anybody meet.")
@click.option("--raw", is_flag=True, help="Each rule as the kernel's program lists it.")
@output_option("json")
@lab_option
def command(  # noqa: PLR0913 - one parameter an option
    *,
    node: str,
    service: str | None,
    family: str | None,
    general: bool,
    raw: bool,
    output: str | None,
    lab: str | None,
) -> None:
    """Show the rules of a node that a packet to SERVICE (or any) meets, in their order.

    Chains are indented by jump and explained; the counters are the kernel's own. In table nat
    they count connections; rules of nftables mode have none.

    \b
      kns rules node1 svc-a
      kns rules node1 shop/front --family ipv6 --raw
    """
    running_lab = running(lab)
    refuse_service_first(running_lab.cluster, node, service)
    found = _service(running_lab, service)
    place = find(running_lab.cluster, node, (LocationKind.NODE,)).item
    assert isinstance(place, Node)  # noqa: S101 - the kind was asked for
    shown = FAMILIES[family] if family else _family(running_lab, found)
    chains = rules_on(running_lab, place, shown, found)
    if output == "json":
        print_json(rules_json(chains))
        return
    options = Options(raw=raw, general=general or found is None, colour=coloured(), width=width(80))
    print_text(rules_text(chains, options))


def refuse_service_first(cluster: Cluster, first: str, second: str | None) -> None:
    """UsageError with the right order, where a service stands in the node's place."""
    if search(cluster, first, (LocationKind.NODE,)) or not search(
        cluster, first, (LocationKind.SERVICE,)
    ):
        return
    is_node = second is not None and search(cluster, second, (LocationKind.NODE,))
    node = second if is_node else cluster.nodes[0].name
    hint = f"kns rules {node} {first}"
    raise UsageError(f"{first!r} is a service; the node comes first", hint=hint)


def _service(lab: RunningLab, name: str | None) -> Service | None:
    """The service of that name, if one is named; UsageError if no rule can be about it."""
    if name is None:
        return None
    service = find(lab.cluster, name, (LocationKind.SERVICE,)).item
    assert isinstance(service, Service)  # noqa: S101 - the kind was asked for
    if not service.cluster_ips:
        hint = "kns dns asks for its name, which is all there is to it"
        raise UsageError(
            f"{service.full_name} has no address, so kube-proxy has no rules", hint=hint
        )
    return service


def _family(lab: RunningLab, service: Service | None) -> IPFamily:
    """The service's first family, else the cluster's."""
    families = service.ip_families if service else lab.cluster.network.families
    return families[0]
