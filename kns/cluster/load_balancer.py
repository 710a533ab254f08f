"""Who stands for a LoadBalancer Service's address: MetalLB's rules, pure.

    eligible   the nodes that may take the address: those with an endpoint of the service that is
               ready, or ends and still serves (externalTrafficPolicy Local), or every node if it
               has one anywhere (Cluster)
    elected    layer 2: the one eligible node that answers ARP, the lowest of
               sha256(node + "#" + address), as MetalLB's speaker sorts them
    announced  BGP: what a node advertises to its router, one host route an address
    healthy    proxy: the nodes to which a layer 4 proxy outside sends connections

Source: MetalLB speaker/layer2_controller.go (ShouldAnnounce), speaker/bgp_controller.go,
internal/k8s/epslices (EndpointCanServe).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.service import Service, ServicePort, ServiceType, TrafficPolicy


@dataclass(frozen=True, slots=True)
class Announcement:
    """An address, and the nodes that may take its packets, in the cluster's order.

    `service` has it, the first where several share it.
    """

    address: IPAddress
    service: Service
    eligible: tuple[str, ...]


def announcements(cluster: Cluster) -> tuple[Announcement, ...]:
    """Every VIP of the cluster's LoadBalancer Services; one without an eligible node has none."""
    sharing: dict[IPAddress, list[Service]] = {}
    for service in cluster.services:
        for point in service.load_balancer_ingress:
            wanted = service.type is ServiceType.LOAD_BALANCER and point.ip_mode == "VIP"
            if point.ip is not None and wanted:
                sharing.setdefault(point.ip, []).append(service)
    return tuple(
        Announcement(address, services[0], _eligible_for_any(cluster, services))
        for address, services in sharing.items()
    )


def _eligible_for_any(cluster: Cluster, services: Sequence[Service]) -> tuple[str, ...]:
    """A node that announces a shared address for one of its Services takes the others' packets."""
    found = {name for service in services for name in eligible_nodes(cluster, service)}
    return tuple(node.name for node in cluster.nodes if node.name in found)


def eligible_nodes(cluster: Cluster, service: Service) -> tuple[str, ...]:
    """The nodes that may take packets for the service; none if none of its endpoints serves."""
    holders = {
        endpoint.node_name
        for part in cluster.endpoint_slices
        if (part.namespace, part.service) == (service.namespace, service.name)
        for endpoint in part.endpoints
        if endpoint.ready is not False or endpoint.serving
    }
    if not holders:
        return ()
    names = tuple(node.name for node in cluster.nodes)
    if service.external_traffic_policy is TrafficPolicy.LOCAL:
        return tuple(name for name in names if name in holders)
    return names


def elected(announcement: Announcement, alive: Collection[str]) -> str | None:
    """The node that answers for the address, of the eligible ones that are alive."""
    candidates = [name for name in announcement.eligible if name in alive]
    return min(candidates, key=lambda name: _rank(name, announcement.address), default=None)


def _rank(node: str, address: IPAddress) -> bytes:
    return hashlib.sha256(f"{node}#{address}".encode()).digest()


def proxied(cluster: Cluster) -> tuple[tuple[IPAddress, Service], ...]:
    """The addresses that a proxy outside serves, with their services, if it can serve any port."""
    return tuple(
        (point.ip, service)
        for service in cluster.services
        if any(proxied_ports(service))
        for point in service.load_balancer_ingress
        if point.ip is not None and point.ip_mode == "Proxy"
    )


def proxied_ports(service: Service) -> tuple[ServicePort, ...]:
    """The ports that a proxy forwards: it knows TCP alone, and nodes by their node ports."""
    return tuple(port for port in service.ports if port.protocol is Protocol.TCP and port.node_port)


def healthy_nodes(cluster: Cluster, service: Service) -> tuple[str, ...]:
    """The nodes that pass a proxy's health check: kube-proxy's own, or healthCheckNodePort."""
    if service.external_traffic_policy is not TrafficPolicy.LOCAL:
        return tuple(node.name for node in cluster.nodes)
    holders = {
        endpoint.node_name
        for part in cluster.endpoint_slices
        if (part.namespace, part.service) == (service.namespace, service.name)
        for endpoint in part.endpoints
        if endpoint.ready is not False
    }
    return tuple(node.name for node in cluster.nodes if node.name in holders)


def announced_by(cluster: Cluster, node: str) -> tuple[IPAddress, ...]:
    """The addresses that a node advertises by BGP."""
    return tuple(item.address for item in announcements(cluster) if node in item.eligible)
