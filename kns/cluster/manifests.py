"""The cluster model of Kubernetes objects that an API server has already defaulted and allocated.

    files ──load_objects()──▶ ClusterObjects(nodes, services, endpoint_slices)

That is what `kubectl get svc,endpointslices,nodes -o yaml` prints: cluster IPs, node ports and
endpoints are in it, so nothing is allocated or selected here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kns.addresses import IPAddress, IPFamily
from kns.errors import Problem, SpecError
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.node import Node
from kns.kinds.service import (
    LoadBalancerIngress,
    Service,
    ServicePort,
    ServiceType,
    SessionAffinity,
    TrafficPolicy,
)
from kns.labfile.document import Document
from kns.labfile.manifests import (
    KubeEndpoint,
    KubeEndpointSlice,
    KubeNode,
    KubeService,
    parse_object_stream,
    read_objects,
)

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class ClusterObjects:
    """The objects that a node's proxy watches."""

    nodes: tuple[Node, ...] = ()
    services: tuple[Service, ...] = ()
    endpoint_slices: tuple[EndpointSlice, ...] = ()


def load_objects(files: Iterable[tuple[str, str | bytes]]) -> ClusterObjects:
    """The objects in `files`, pairs of a name and the content. SpecError with every problem."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for file, content in files:
        stream = parse_object_stream(content, file)
        documents += stream.documents
        problems += stream.problems
    objects, found = read_objects(documents)
    problems += found
    if problems:
        raise SpecError(tuple(problems))
    return ClusterObjects(
        nodes=tuple(node_of(item) for item in objects.nodes),
        services=tuple(service_of(item) for item in objects.services),
        endpoint_slices=tuple(endpoint_slice_of(item) for item in objects.endpoint_slices),
    )


def node_of(item: KubeNode) -> Node:
    """The node of a Node object: its addresses as component-helpers' GetNodeHostIPs picks them.

    Internal ones before external ones, the first of each family; the rest of the internal ones are
    addresses of the host, too.
    """
    listed = item.status.addresses
    internal = [entry.ip for entry in listed if entry.type == "InternalIP"]
    external = [entry.ip for entry in listed if entry.type == "ExternalIP"]
    first: dict[int, IPAddress] = {}
    for address in (*internal, *external):
        first.setdefault(address.version, address)
    cidrs = item.spec.pod_cidrs
    if not cidrs and item.spec.pod_cidr is not None:
        cidrs = (item.spec.pod_cidr,)
    return Node(
        name=item.metadata.name,
        addresses=tuple(first.values()),
        pod_cidrs=cidrs,
        labels=item.metadata.labels,
        host_addresses=tuple(a for a in internal if a not in first.values()),
    )


def service_of(item: KubeService) -> Service:
    """The service of a Service object."""
    spec, meta = item.spec, item.metadata
    families = tuple(IPFamily(name) for name in spec.ip_families)
    cluster_ips = tuple(ip for ip in spec.cluster_ips or (spec.cluster_ip,) if ip is not None)
    return Service(
        namespace=meta.namespace,
        name=meta.name,
        type=ServiceType(spec.type),
        cluster_ips=cluster_ips,
        ip_families=families or tuple(IPFamily.of(ip) for ip in cluster_ips),
        selector=spec.selector,
        ports=tuple(
            ServicePort(p.port, p.name, Protocol(p.protocol), p.target_port or p.port, p.node_port)
            for p in spec.ports
        ),
        labels=meta.labels,
        annotations=meta.annotations,
        session_affinity=SessionAffinity(spec.session_affinity),
        session_affinity_timeout=spec.session_affinity_config.client_ip.timeout_seconds,
        external_traffic_policy=TrafficPolicy(spec.external_traffic_policy),
        internal_traffic_policy=TrafficPolicy(spec.internal_traffic_policy),
        external_ips=spec.external_ips,
        load_balancer_source_ranges=spec.load_balancer_source_ranges,
        load_balancer_ingress=tuple(
            LoadBalancerIngress(entry.ip, entry.hostname, entry.ip_mode)
            for entry in item.status.load_balancer.ingress
        ),
        load_balancer_class=spec.load_balancer_class,
        health_check_node_port=spec.health_check_node_port,
        publish_not_ready_addresses=spec.publish_not_ready_addresses,
        allocate_load_balancer_node_ports=spec.allocate_load_balancer_node_ports,
        traffic_distribution=spec.traffic_distribution,
        external_name=spec.external_name,
    )


def endpoint_slice_of(item: KubeEndpointSlice) -> EndpointSlice:
    """The slice of an EndpointSlice object."""
    meta = item.metadata
    return EndpointSlice(
        namespace=meta.namespace,
        name=meta.name,
        service=meta.labels.get(SERVICE_NAME_LABEL, ""),
        address_type=IPFamily(item.address_type),
        ports=tuple(EndpointPort(p.port, p.name, Protocol(p.protocol)) for p in item.ports),
        endpoints=tuple(_endpoint(entry) for entry in item.endpoints),
        labels=meta.labels,
    )


def _endpoint(item: KubeEndpoint) -> Endpoint:
    target = item.target_ref
    return Endpoint(
        addresses=item.addresses,
        ready=item.conditions.ready,
        serving=item.conditions.serving,
        terminating=item.conditions.terminating,
        node_name=item.node_name,
        zone=item.zone,
        hostname=item.hostname,
        hint_zones=tuple(hint.name for hint in item.hints.for_zones),
        hint_nodes=tuple(hint.name for hint in item.hints.for_nodes),
        pod=f"{target.namespace}/{target.name}" if target.kind == "Pod" else "",
    )
