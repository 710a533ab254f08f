"""Clusters and places that several tests of probes look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.networking import ProxyMode
from kns.kinds.pod import Container, ContainerPort, Pod
from kns.kinds.service import Service, ServicePort
from kns.promise.location import Location
from tests.clusters import make_cluster, make_network


def four_paths(mode: ProxyMode = ProxyMode.IPTABLES) -> Cluster:
    """Two nodes; pod1, pod3 on node1, pod2, pod4 on node2; svc-a: pod2 to pod4; svc-empty."""
    cluster = make_cluster(pods=4, network=make_network(mode=mode))
    first = replace(
        cluster.pods[0],
        labels={"app": "client"},
        containers=(
            Container("web", (ContainerPort(8080, name="http"),)),
            Container("sidecar", (ContainerPort(9090, name="sidecar-port"),)),
        ),
    )
    cluster = replace(cluster, pods=(first, *cluster.pods[1:]))
    cluster = with_service(cluster, cluster.services[0], cluster.pods[1:])
    web = Service(
        "default",
        "svc-web",
        cluster_ips=(ip_address("10.96.3.1"),),
        selector={"app": "a"},
        ports=(ServicePort(80, target_port=8080, node_port=30080),),
    )
    cluster = with_service(cluster, web, cluster.pods[1:])
    empty = Service(
        "default",
        "svc-empty",
        cluster_ips=(ip_address("10.96.3.2"),),
        selector={"app": "nobody"},
        ports=(ServicePort(80, target_port=8080),),
    )
    return with_service(cluster, empty, ())


def with_service(
    cluster: Cluster,
    service: Service,
    pods: tuple[Pod, ...],
    *,
    conditions: Mapping[str, Mapping[str, Any]] | None = None,
    target: int = 8080,
) -> Cluster:
    """The cluster with that service (in place of one of the same name) leading to the pods."""
    plain = tuple(
        Endpoint((pod.addresses[0],), ready=True, node_name=pod.node, pod=pod.full_name)
        for pod in pods
    )
    changes = conditions or {}
    endpoints = tuple(
        replace(endpoint, **changes.get(endpoint.pod.removeprefix("default/"), {}))
        for endpoint in plain
    )
    item = EndpointSlice(
        service.namespace,
        f"{service.name}-x",
        service.name,
        IPFamily.IPV4,
        tuple(EndpointPort(target, port.name, port.protocol) for port in service.ports),
        endpoints,
    )
    others = tuple(s for s in cluster.services if s.full_name != service.full_name)
    slices = tuple(s for s in cluster.endpoint_slices if s.service != service.name)
    services = sorted((*others, service), key=lambda s: s.full_name)
    return replace(cluster, services=tuple(services), endpoint_slices=(*slices, item))


def service(cluster: Cluster, name: str) -> Service:
    return next(item for item in cluster.services if item.name == name)


def pod(cluster: Cluster, name: str) -> Pod:
    return next(item for item in cluster.pods if item.name == name)


def at_pod(cluster: Cluster, name: str) -> Location:
    return Location(pod(cluster, name))


def at_node(cluster: Cluster, name: str) -> Location:
    return Location(next(node for node in cluster.nodes if node.name == name))


def at_internet(cluster: Cluster) -> Location:
    return Location(cluster.internet[0])
