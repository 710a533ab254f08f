"""Look-ups in a cluster, each made once: whose address, which node, which service's frontend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from kns.addresses import IPAddress, IPFamily
from kns.cluster.ingress import controller_service
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.internet import InternetHost
from kns.kinds.nft_refusals import is_refused, port_comment
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import LoadBalancerIngress, Service, ServicePort
from kns.promise.endpoints import PortEndpoints, port_endpoints
from kns.promise.facts import hint_use, prefers_living, serves_external_ips
from kns.promise.flow import Backend, Frontend, FrontendKind
from kns.promise.location import Location, label
from kns.promise.networkpolicy import PolicyIndex

_Key = tuple[IPAddress, int, Protocol]


@dataclass(frozen=True)
class Lookup:
    """A cluster with its indices."""

    cluster: Cluster
    _endpoints: dict[tuple[str, str, str, Protocol, int, IPFamily], PortEndpoints] = field(
        default_factory=dict, repr=False, compare=False
    )

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.cluster.nodes}

    @cached_property
    def pods(self) -> dict[IPAddress, Pod]:
        """Pods by address; one in the host network has none of its own."""
        own = (pod for pod in self.cluster.pods if not pod.host_network)
        return {address: pod for pod in own for address in pod.addresses}

    @cached_property
    def _host_ports(self) -> dict[tuple[str, int, Protocol], Pod]:
        """Pods in the host network by their node and each port on which they listen there."""
        return {
            (pod.node, port.port, port.protocol): pod
            for pod in reversed(self.cluster.pods)
            if pod.host_network
            for container in pod.containers
            for port in container.ports
        }

    def host_pod(self, node: Node, port: int | None, protocol: Protocol) -> Pod | None:
        """The pod in the host network that listens on a port of the node."""
        return None if port is None else self._host_ports.get((node.name, port, protocol))

    def sender(self, source: Location) -> Pod | Node | Service | InternetHost:
        """Whose netns sends what the source sends: of a pod in the host network, its node's."""
        item = source.item
        if isinstance(item, Pod) and item.host_network:
            return self.nodes[item.node]
        return item

    @cached_property
    def node_addresses(self) -> dict[IPAddress, Node]:
        """Nodes by address, those of further links too."""
        return {
            address: node
            for node in self.cluster.nodes
            for address in (*node.host_addresses, *node.addresses)
        }

    @cached_property
    def hosts(self) -> dict[IPAddress, InternetHost]:
        """Internet hosts by address."""
        return {address: host for host in self.cluster.internet for address in host.addresses}

    @cached_property
    def policies(self) -> PolicyIndex:
        """The network policies over the pods."""
        cluster = self.cluster
        return PolicyIndex(cluster.pods, cluster.namespaces, cluster.network_policies)

    @cached_property
    def controller(self) -> Service | None:
        """The Ingress controller's Service."""
        return controller_service(self.cluster)

    def node_of(self, pod: Pod) -> Node:
        """The node on which the pod runs."""
        return self.nodes[pod.node]

    # -- services ----------------------------------------------------------------------------------

    def frontend(self, address: IPAddress, port: int, protocol: Protocol) -> Frontend | None:
        """The service port that is entered there; of several the first in the services' order."""
        found = self._frontends.get((address, port, protocol))
        if found is None and (address in self.node_addresses or address.is_loopback):
            return self._node_ports.get((port, protocol))
        return found

    def has_service(self, address: IPAddress) -> Service | None:
        """The service that has the cluster IP, whatever the port."""
        return self._cluster_ips.get(address)

    @cached_property
    def ports_with_refused_names(self) -> tuple[tuple[Service, ServicePort], ...]:
        """The service ports whose name nft refuses as a comment, and all rules with it."""
        options = self.cluster.network.kube_proxy
        return tuple(
            (service, port)
            for service in self.cluster.services
            for port in service.ports
            if is_refused(port_comment(service, port), options)
        )

    @cached_property
    def _cluster_ips(self) -> dict[IPAddress, Service]:
        return {a: service for service in self.cluster.services for a in service.cluster_ips}

    @cached_property
    def _frontends(self) -> dict[_Key, Frontend]:
        found: dict[_Key, Frontend] = {}
        for service in self.cluster.services:
            for port in service.ports:
                for kind, address in _addresses(self.cluster, service):
                    key = (address, port.port, port.protocol)
                    found.setdefault(key, Frontend(kind, service, port, address, port.port))
        return found

    @cached_property
    def _node_ports(self) -> dict[tuple[int, Protocol], Frontend]:
        found: dict[tuple[int, Protocol], Frontend] = {}
        for service in self.cluster.services:
            for port in service.ports:
                if port.node_port:
                    frontend = Frontend(FrontendKind.NODE_PORT, service, port, None, port.node_port)
                    found.setdefault((port.node_port, port.protocol), frontend)
        return found

    def endpoints(self, service: Service, port: ServicePort, family: IPFamily) -> PortEndpoints:
        """The endpoints of a service port."""
        key = (service.namespace, service.name, port.name, port.protocol, port.port, family)
        found = self._endpoints.get(key)
        if found is None:
            slices = self.cluster.slices_of(service)
            hints = hint_use(self.cluster, service)
            living = prefers_living(self.cluster)
            found = port_endpoints(slices, port, family, hints, self.backend, prefers_living=living)
            self._endpoints[key] = found
        return found

    def is_own(self, node: Node, address: IPAddress) -> bool:
        """Whether the address is one of the node's own."""
        return self.node_addresses.get(address) is node

    def backend(self, address: IPAddress, port: int | None, protocol: Protocol) -> Backend:
        """Who is reached at the address and port, by the name under which it answers."""
        pod, host = self.pods.get(address), self.hosts.get(address)
        if pod is not None:
            return Backend(label(pod), address, port, pod.node, pod)
        node = self.node_addresses.get(address)
        if node is not None:
            pod = self.host_pod(node, port, protocol)
            return Backend(label(pod or node), address, port, node.name, pod)
        return Backend(host.name if host is not None else str(address), address, port)


def _addresses(cluster: Cluster, service: Service) -> Iterator[tuple[FrontendKind, IPAddress]]:
    for address in service.cluster_ips:
        yield FrontendKind.CLUSTER_IP, address
    for address in service.external_ips if serves_external_ips(cluster) else ():
        yield FrontendKind.EXTERNAL_IP, address
    for point in service.load_balancer_ingress:
        if point.ip is not None:
            yield FrontendKind.LOAD_BALANCER_IP, point.ip


def balancer_point(service: Service, address: IPAddress) -> LoadBalancerIngress | None:
    """The entry of the service's load balancer status that has the address."""
    return next((p for p in service.load_balancer_ingress if p.ip == address), None)
