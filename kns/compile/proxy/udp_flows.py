"""Where UDP packets to a service may go: what the connection table of a node may still say."""

from __future__ import annotations

from collections.abc import Iterator

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.compile.proxy.endpoints import ServicePortView, service_ports
from kns.compile.proxy.release import deletes_stale_udp
from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.state.model import UdpFlow


def udp_flows(cluster: Cluster, node: Node) -> Iterator[UdpFlow]:
    """The flows of every UDP service port, and which endpoints they may still go to.

    Of a service without endpoints none may, and new packets are refused; whether old entries go
    too is a question of the release.
    """
    services = [
        service
        for service in cluster.services
        if any(port.protocol is Protocol.UDP for port in service.ports)
    ]
    if not services:
        return
    options = cluster.network.kube_proxy
    empty_too = deletes_stale_udp(options.version)
    for family in IPFamily:
        for view in service_ports(services, cluster.endpoint_slices, node, options, family):
            if view.port.protocol is Protocol.UDP and (view.reachable or empty_too):
                yield from _flows(view)


def _flows(view: ServicePortView) -> Iterator[UdpFlow]:
    backends = frozenset((endpoint.address, endpoint.port) for endpoint in view.reachable)
    for address in (view.cluster_ip, *view.external_ips, *view.load_balancer_ips):
        yield UdpFlow(address, view.port.port, backends)
    if view.port.node_port:
        yield UdpFlow(None, view.port.node_port, backends)
