"""The flows to a Service that two settings of kube-proxy could treat differently. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from kns.addresses import IPAddress, IPFamily
from kns.kinds.node import Node
from kns.kinds.service import Service, ServicePort, TrafficPolicy
from kns.promise.flow import Flow, FrontendKind, port_label
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.masquerade import leaving

LOCALHOST = ip_address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class FrontendAtNode:
    """A way in to a Service port at one node."""

    kind: FrontendKind
    address: IPAddress
    number: int
    label: str
    is_other_address: bool = False


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks; `from_outside`: led to the node by whatever routes or balances there."""

    location: Location
    label: str
    from_outside: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A flow, and the node at which it is looked at."""

    flow: Flow
    node: Node
    service: Service
    frontend: FrontendAtNode
    client: Client


def service_cases(lookup: Lookup, service: Service, nodes: Iterable[Node]) -> Iterator[Case]:
    """Every way in to the Service, from every kind of client, at each of the nodes."""
    for node in nodes:
        for family in lookup.cluster.network.families:
            clients = tuple(_clients(lookup, service, node, family))
            for port in service.ports if service.cluster_ip(family) is not None else ():
                for frontend in _frontends(service, port, node, family):
                    for client in clients:
                        if _can_ask(client, frontend):
                            flow = Flow(
                                client.location, frontend.address, frontend.number, port.protocol
                            )
                            yield Case(flow, node, service, frontend, client)


def telling_nodes(lookup: Lookup, service: Service) -> tuple[Node, ...]:
    """One node of each kind that matters to the Service: with endpoints and without, by zone."""
    endpoints = [e for item in lookup.cluster.slices_of(service) for e in item.endpoints]
    hosts = {endpoint.node_name for endpoint in endpoints}
    hinted = {name for endpoint in endpoints for name in endpoint.hint_nodes}
    zones = {zone for endpoint in endpoints for zone in endpoint.hint_zones}
    seen: dict[tuple[bool, bool, str], Node] = {}
    for node in lookup.cluster.nodes:
        zone = node.zone if node.zone in zones else ""
        seen.setdefault((node.name in hosts, node.name in hinted, zone), node)
    return tuple(seen.values())


def _can_ask(client: Client, frontend: FrontendAtNode) -> bool:
    if frontend.address.is_loopback:
        return client.label == NODE
    if client.label == ENDPOINT:
        return frontend.kind is FrontendKind.NODE_PORT and not frontend.is_other_address
    return not client.from_outside or frontend.kind is not FrontendKind.CLUSTER_IP


#: the kinds of client
NODE, PODS, OUTSIDE = "the node itself", "pods", "clients outside the cluster"
ENDPOINT = "endpoints on other nodes, where pods keep their address towards nodes"


def _clients(lookup: Lookup, service: Service, node: Node, family: IPFamily) -> Iterator[Client]:
    if node.address(family) is None:
        return
    yield Client(Location(node), NODE)
    backends = {
        address
        for item in lookup.cluster.slices_of(service)
        for endpoint in item.endpoints
        for address in endpoint.addresses
    }
    for pod in lookup.cluster.pods_on(node.name):
        address = pod.address(family)
        if address is not None and address not in backends and not pod.host_network:
            yield Client(Location(pod), PODS)
            break
    for host in lookup.cluster.internet[:1]:
        if any(address.version == family.version for address in host.addresses):
            yield Client(Location(host), OUTSIDE, from_outside=True)
    if service.external_traffic_policy is TrafficPolicy.LOCAL:
        yield from _guests(lookup, service, node, family)


def _guests(lookup: Lookup, service: Service, node: Node, family: IPFamily) -> Iterator[Client]:
    """An endpoint of another node that comes to this one as itself, if there is one.

    A lab says whether pods are masqueraded towards nodes; of a real cluster nobody has told.
    """
    own = node.address(family)
    for item in lookup.cluster.slices_of(service):
        for endpoint in item.endpoints:
            pod = lookup.pods.get(endpoint.addresses[0])
            if pod is None or own is None or pod.node == node.name or pod.address(family) is None:
                continue
            is_told = bool(lookup.cluster.network.node_cidrs)
            if not is_told or leaving(lookup, pod, own) == pod.address(family):
                yield Client(Location(pod), ENDPOINT, from_outside=True)
                return


def _frontends(
    service: Service, port: ServicePort, node: Node, family: IPFamily
) -> Iterator[FrontendAtNode]:
    def one(kind: FrontendKind, address: IPAddress, words: str) -> FrontendAtNode:
        return FrontendAtNode(kind, address, port.port, f"{words} {address}:{port.port}")

    name = port_label(service, port)
    cluster_ip = service.cluster_ip(family)
    if cluster_ip is not None:
        label = f"cluster IP of {name}"
        yield FrontendAtNode(FrontendKind.CLUSTER_IP, cluster_ip, port.port, label)
    for address in service.external_ips:
        if address.version == family.version:
            yield one(FrontendKind.EXTERNAL_IP, address, "external IP")
    for point in service.load_balancer_ingress:
        if point.ip is not None and point.ip.version == family.version and point.ip_mode == "VIP":
            yield one(FrontendKind.LOAD_BALANCER_IP, point.ip, "load balancer IP")
    if port.node_port:
        yield from _node_port(port.node_port, node, family)


def _node_port(number: int, node: Node, family: IPFamily) -> Iterator[FrontendAtNode]:
    own = node.address(family)
    if own is None:
        return
    kind = FrontendKind.NODE_PORT
    yield FrontendAtNode(kind, own, number, f"node port {number}")
    for address in node.host_addresses:
        if address.version == family.version:
            label = f"node port {number} at another address of the node"
            yield FrontendAtNode(kind, address, number, label, is_other_address=True)
            break
    if family is IPFamily.IPV4:
        yield FrontendAtNode(kind, LOCALHOST, number, f"127.0.0.1:{number}")
