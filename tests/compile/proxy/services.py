"""Builders of Services and EndpointSlices for tests: only what a test is about is written out."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from kns.addresses import IPFamily
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.networking import KubeProxyOptions
from kns.kinds.node import Node
from kns.kinds.service import LoadBalancerIngress, Service, ServicePort, ServiceType

NODE = Node(
    "node1",
    (ip_address("192.168.50.11"), ip_address("fd00:50::11")),
    (ip_network("10.244.1.0/24"), ip_network("fd00:10:244:1::/64")),
    labels={"topology.kubernetes.io/zone": "zone-a"},
    host_addresses=(ip_address("10.244.1.1"),),
)
OPTIONS = KubeProxyOptions(
    cluster_cidrs=(ip_network("10.244.0.0/16"), ip_network("fd00:10:244::/56"))
)
HTTP = ServicePort(80, "http", target_port=8080)


def cluster_ip(**changes: Any) -> Service:
    """default/web with a cluster IP of each family and port http, 80/TCP."""
    service = Service(
        "default",
        "web",
        cluster_ips=(ip_address("10.96.10.1"), ip_address("fd00:10:96::a01")),
        ip_families=(IPFamily.IPV4, IPFamily.IPV6),
        ports=(HTTP,),
    )
    return replace(service, **changes)


def node_port(**changes: Any) -> Service:
    """The same as a NodePort at 30080."""
    ports = (replace(HTTP, node_port=30080),)
    return replace(cluster_ip(type=ServiceType.NODE_PORT, ports=ports), **changes)


def load_balancer(*ips: str, **changes: Any) -> Service:
    """The same as a LoadBalancer at `ips` (default 203.0.113.10)."""
    ingress = tuple(LoadBalancerIngress(ip_address(ip)) for ip in ips or ("203.0.113.10",))
    service = node_port(type=ServiceType.LOAD_BALANCER, load_balancer_ingress=ingress)
    return replace(service, **changes)


def endpoint(address: str, node: str = "node1", **changes: Any) -> Endpoint:
    """A ready endpoint on `node`."""
    ready = Endpoint((ip_address(address),), True, True, False, node_name=node)
    return replace(ready, **changes)


def endpoint_slice(
    *endpoints: Endpoint, name: str = "web-a", port: int = 8080, **changes: Any
) -> EndpointSlice:
    """A slice of default/web, port http."""
    family = IPFamily.of(endpoints[0].addresses[0]) if endpoints else IPFamily.IPV4
    item = EndpointSlice(
        "default",
        name,
        "web",
        family,
        (EndpointPort(port, "http", Protocol.TCP),),
        endpoints,
    )
    return replace(item, **changes)
