"""`kns rules`: a node's rules as a packet meets them, read from the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

import click

from kns.addresses import IPFamily
from kns.cli.lab_options import lab_option, object_argument
from kns.cli.output import output_option, print_json, print_text
from kns.compile.names import netns_of_node
from kns.compile.proxy.base import RuleSystem
from kns.compile.proxy.by_mode import proxy
from kns.engine.labs import RunningLab, running
from kns.errors import ApplyError, UsageError
from kns.kernel import processes
from kns.kinds.service import Service
from kns.probe.names import find
from kns.promise.location import LocationKind
from kns.report.rules import Entry, parse_counted, rules_json, rules_text, walk
from kns.report.rules_ipvs import walk_ipvs
from kns.report.rules_nft import walk_nft
from kns.state.nft import parse_tables

FAMILIES = {str(family).lower(): family for family in IPFamily}


@click.command()
@object_argument("node", "NODE", LocationKind.NODE)
@object_argument("service", "[SERVICE]", LocationKind.SERVICE, required=False)
@click.option("--family", type=click.Choice(list(FAMILIES)), help="Default: the service's first.")
@output_option("json")
@lab_option
def command(
    node: str, service: str | None, family: str | None, output: str | None, lab: str | None
) -> None:
    """Show the rules of a node that a packet to SERVICE (or any) meets, in their order.

    Chains are indented by jump and explained; the counters are the kernel's own. In table nat
    they count connections; rules of nftables mode have none.

    \b
      kns rules node1 svc-a
      kns rules node1 shop/front --family ipv6
    """
    running_lab = running(lab)
    found = _service(running_lab, service)
    name = _node(running_lab, node)
    shown = FAMILIES[family] if family else _family(running_lab, found)
    entries = tuple(_entries(running_lab, name, found, shown))
    if output == "json":
        print_json(rules_json(entries))
    else:
        print_text(rules_text(entries))


def _entries(
    lab: RunningLab, node: str, service: Service | None, family: IPFamily
) -> Iterator[Entry]:
    """What the lab's kube-proxy mode has for the service on the node."""
    for listing in proxy(lab.cluster.network.kube_proxy.mode).listings(family):
        yield from _explained(listing.system, _read(lab, node, *listing.argv), service)


def _explained(system: RuleSystem, text: str, service: Service | None) -> Iterable[Entry]:
    name = service.full_name if service else ""
    match system:
        case RuleSystem.IPTABLES:
            return walk(parse_counted(text), name)
        case RuleSystem.NFTABLES:
            return (entry for table in parse_tables(text) for entry in walk_nft(table, name))
        case RuleSystem.IPVS:
            return walk_ipvs(text, service)
        case unknown:
            assert_never(unknown)


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


def _node(lab: RunningLab, name: str) -> str:
    """The node's name; UsageError if there is none."""
    return find(lab.cluster, name, (LocationKind.NODE,)).item.name


def _read(lab: RunningLab, node: str, *argv: str) -> str:

    context = processes.Context(netns_of_node(lab.name, node))
    done = processes.run(argv, context=context)
    if done.returncode != 0:
        raise ApplyError(done.stderr.strip(), op=argv[0], netns=context.netns)
    return done.stdout
