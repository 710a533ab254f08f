"""The resolved cluster: Kubernetes' objects after defaulting, allocation and name resolution.

Everything downstream (compile, runtime, probe) reads these and nothing of the YAML. Objects carry
Kubernetes' field names in Python's spelling. Collections are tuples in a deterministic order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.cluster.faults import ClusterFaults
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.ingress import Ingress, IngressClass, IngressController
from kns.kinds.internet import InternetHost
from kns.kinds.namespace import NAME_LABEL, Namespace
from kns.kinds.networking import (
    DNSOptions,
    EgressOptions,
    KubeProxyOptions,
    LoadBalancerOptions,
    PodNetworkMode,
)
from kns.kinds.networkpolicy import NetworkPolicy
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.secret import TLSSecret
from kns.kinds.service import Service, ServicePort


@dataclass(frozen=True, slots=True)
class Network:
    """The cluster-wide networking options after defaulting. One CIDR per family, primary first."""

    families: tuple[IPFamily, ...]
    pod_cidrs: tuple[IPNetwork, ...]
    service_cidrs: tuple[IPNetwork, ...]
    node_cidrs: tuple[IPNetwork, ...]
    internet_cidrs: tuple[IPNetwork, ...]
    pod_network: PodNetworkMode = PodNetworkMode.HOST_GW
    mtu: int = 1500
    node_port_range: tuple[int, int] = (30000, 32767)
    kube_proxy: KubeProxyOptions = field(default_factory=KubeProxyOptions)
    dns: DNSOptions = field(default_factory=DNSOptions)
    egress: EgressOptions = field(default_factory=EgressOptions)
    load_balancer: LoadBalancerOptions | None = None


@dataclass(frozen=True, slots=True)
class APIEndpoint:
    """The cluster's own API server, which listens on a node as a control plane's does."""

    node: str
    addresses: tuple[IPAddress, ...]
    port: int

    def is_at(self, address: IPAddress, port: int | None) -> bool:
        """Whether the address and port are its own."""
        return port == self.port and address in self.addresses


@dataclass(frozen=True)
class Cluster:
    """A whole lab. Nodes, pods and internet hosts are in file order, services by full name.

    It answers look-ups by indexes that are made at the first question, so it has no slots.
    """

    name: str
    network: Network
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...] = ()
    services: tuple[Service, ...] = ()
    endpoint_slices: tuple[EndpointSlice, ...] = ()
    internet: tuple[InternetHost, ...] = ()
    namespaces: tuple[Namespace, ...] = (Namespace("default", {NAME_LABEL: "default"}),)
    ingresses: tuple[Ingress, ...] = ()
    ingress_classes: tuple[IngressClass, ...] = ()
    ingress_controller: IngressController | None = None
    tls_secrets: tuple[TLSSecret, ...] = ()
    network_policies: tuple[NetworkPolicy, ...] = ()
    #: pods for which no node will do: they have neither node nor address
    pending: tuple[Pod, ...] = ()
    faults: ClusterFaults = field(default_factory=ClusterFaults)
    api_server: APIEndpoint | None = None
    #: `namespace/name` of service accounts whose token pods get only by a word of their own
    tokenless_accounts: frozenset[str] = frozenset()

    @property
    def service_cidrs(self) -> tuple[IPNetwork, ...]:
        """What the ServiceCIDR `kubernetes` holds, which every API server makes since 1.33."""
        return self.network.service_cidrs

    def node(self, name: str) -> Node | None:
        """The node of that name."""
        return self._nodes.get(name)

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod of that namespace and name."""
        return self._pods.get((namespace, name))

    def service(self, namespace: str, name: str) -> Service | None:
        """The Service of that namespace and name."""
        return self._services.get((namespace, name))

    def pods_on(self, node: str) -> tuple[Pod, ...]:
        """A node's pods, in file order."""
        return self._pods_on.get(node, ())

    def slices_of(self, service: Service) -> tuple[EndpointSlice, ...]:
        """The EndpointSlices of a Service, by name."""
        return self._slices_of.get((service.namespace, service.name), ())

    def endpoints(
        self, service: Service, port: ServicePort, family: IPFamily
    ) -> Iterator[tuple[Endpoint, EndpointPort]]:
        """The endpoints of one port of a Service, ready or not: kube-proxy joins them by name."""
        for item in self.slices_of(service):
            for own in item.ports if item.address_type is family else ():
                if (own.name, own.protocol) == (port.name, port.protocol):
                    yield from ((endpoint, own) for endpoint in item.endpoints)

    def owner(self, address: IPAddress) -> Node | Pod | InternetHost | None:
        """Who has the address: a pod, a node or a host outside the cluster."""
        return self._owners.get(address)

    def __getstate__(self) -> dict[str, object]:
        """Its fields: an index is made again where it is asked for."""
        return {known.name: getattr(self, known.name) for known in fields(self)}

    @cached_property
    def _nodes(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _pods(self) -> Mapping[tuple[str, str], Pod]:
        return {(pod.namespace, pod.name): pod for pod in self.pods}

    @cached_property
    def _services(self) -> Mapping[tuple[str, str], Service]:
        return {(service.namespace, service.name): service for service in self.services}

    @cached_property
    def _pods_on(self) -> Mapping[str, tuple[Pod, ...]]:
        found: dict[str, list[Pod]] = {}
        for pod in self.pods:
            found.setdefault(pod.node, []).append(pod)
        return {node: tuple(pods) for node, pods in found.items()}

    @cached_property
    def _slices_of(self) -> Mapping[tuple[str, str], tuple[EndpointSlice, ...]]:
        found: dict[tuple[str, str], list[EndpointSlice]] = {}
        for item in self.endpoint_slices:
            found.setdefault((item.namespace, item.service), []).append(item)
        return {name: tuple(slices) for name, slices in found.items()}

    @cached_property
    def _owners(self) -> Mapping[IPAddress, Node | Pod | InternetHost]:
        holders: tuple[Node | Pod | InternetHost, ...] = (
            *self.internet,
            *self.nodes,
            *(pod for pod in self.pods if not pod.host_network),
        )
        return {address: holder for holder in holders for address in holder.addresses}
