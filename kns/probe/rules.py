"""A node's rules, read from the kernel, in the order in which packets to a Service meet them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kns.addresses import IPFamily
from kns.compile.names import netns_of_node
from kns.compile.own_rules import own_rules
from kns.engine.labs import RunningLab
from kns.kernel.contents import Interest
from kns.kernel.observe import observe
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.node import Node
from kns.kinds.service import Service
from kns.state.listing import ChainListing, in_order
from kns.state.packet import Destination


def rules_on(
    lab: RunningLab, node: Node, family: IPFamily, service: Service | None = None
) -> tuple[ChainListing, ...]:
    """What packets of that family to the Service, or to anybody, meet on the node.

    The counters are those of this moment. ApplyError if a program refuses to list its rules.
    """
    name = netns_of_node(lab.name, node.name)
    wanted = Interest(iptables=True, nft=True, ipvs=True, counters=True, rules=own_rules())
    (space,) = observe((name,), {name: wanted}).state.netns
    if service is None:
        return in_order(space, family)
    slices = lab.cluster.slices_of(service)
    return in_order(space, family, destinations(service, slices, node, family))


def destinations(
    service: Service, slices: Iterable[EndpointSlice], node: Node, family: IPFamily
) -> tuple[Destination, ...]:
    """Where packets to the Service go: its own addresses and ports, and those of its endpoints."""
    found = (*_frontends(service, node), *_endpoints(slices))
    own = (item for item in found if item.address.version == family.version)
    return tuple(dict.fromkeys(own))


def _frontends(service: Service, node: Node) -> Iterator[Destination]:
    balancer = tuple(item.ip for item in service.load_balancer_ingress if item.ip is not None)
    hosts = (*node.addresses, *node.host_addresses)
    for port in service.ports:
        protocol = port.protocol.lower()
        for address in (*service.cluster_ips, *service.external_ips, *balancer):
            yield Destination(address, protocol, port.port)
        if port.node_port:
            yield from (Destination(address, protocol, port.node_port) for address in hosts)
    if service.health_check_node_port:
        health = service.health_check_node_port
        yield from (Destination(address, "tcp", health) for address in hosts)


def _endpoints(slices: Iterable[EndpointSlice]) -> Iterator[Destination]:
    for item in slices:
        for port in item.ports:
            if port.port is not None:
                for endpoint in item.endpoints:
                    for address in endpoint.addresses:
                        yield Destination(address, port.protocol.lower(), port.port)
