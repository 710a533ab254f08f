"""Where the lab's agent listens, and on whose behalf it answers, computed from the Cluster alone.

A container without a command listens on the wildcard address of each family of its pod, because a
container that listens on 0.0.0.0 is what Kubernetes' users write, and because loopback must work:
containers of a pod reach each other there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kns.cluster.model import APIEndpoint, Cluster
from kns.cluster.podfiles import pod_hostname
from kns.compile import names
from kns.compile.name_servers import (
    NameServerKind,
    internet_name_servers,
    is_name_server,
    runs_coredns,
)
from kns.compile.programs.program import is_program, own_variables
from kns.compile.proxy.by_mode import proxy
from kns.compile.proxy.on_node import wildcards
from kns.kinds.common import DNS_PORT, Protocol
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Container, Pod
from kns.kinds.service import Service, ServiceType, TrafficPolicy

#: kube-proxy's --healthz-bind-address is 0.0.0.0:10256
PROXY_HEALTH_PORT = 10256


@dataclass(frozen=True, slots=True)
class ListenSocket:
    """Where a socket is bound: at most one server can have it."""

    netns: str
    address: str
    port: int
    protocol: Protocol = Protocol.TCP

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.netns} {self.protocol.lower()} {host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers: a container, or an internet host (then only `hostname` is set)."""

    hostname: str
    namespace: str = ""
    pod: str = ""
    node: str = ""
    container: str = ""
    ready: bool = True
    #: the container's own variables; the services' come from the pod's env file
    env: tuple[tuple[str, str], ...] = ()
    #: the folder of its pod's files, where it isn't called as the netns
    etc: str = ""

    def __str__(self) -> str:
        if not self.pod:
            return self.hostname
        return f"{self.namespace}/{self.pod}/{self.container}"


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """kube-proxy's answer on a service's healthCheckNodePort on one node."""

    namespace: str
    name: str
    local_endpoints: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name} health check"


@dataclass(frozen=True, slots=True)
class ProxyHealth:
    """kube-proxy's own /healthz and /livez on one node."""

    node: str

    def __str__(self) -> str:
        return f"{self.node} kube-proxy"


@dataclass(frozen=True, slots=True)
class NameServer:
    """A DNS server on behalf of a DNS pod, or of an internet host."""

    kind: NameServerKind
    owner: str

    def __str__(self) -> str:
        return f"{self.owner} DNS"


@dataclass(frozen=True, slots=True)
class KubeAPIServer:
    """The lab's API on one node, for those in the cluster."""

    node: str

    def __str__(self) -> str:
        return f"{self.node} kube-apiserver"


Subject = Identity | ServiceHealth | ProxyHealth | NameServer | KubeAPIServer


@dataclass(frozen=True, slots=True)
class Listener:
    """A built-in server: its socket, and on whose behalf it answers."""

    socket: ListenSocket
    subject: Subject

    @property
    def digest(self) -> str:
        """Changes with what it answers."""
        return hashlib.sha256(repr(self.subject).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.subject} ({self.socket})"


def listeners(cluster: Cluster) -> tuple[Listener, ...]:
    """The built-in servers of a lab, in the cluster's own order."""
    return ListenerCompiler().of(cluster)


class ListenerCompiler:
    """The built-in servers of a lab as it changes: those of a pod that is the same are the same."""

    def __init__(self) -> None:
        self._lab = ("", False)
        #: by id, which is a pod's own as long as it is held here
        self._pods: dict[int, tuple[Pod, tuple[Listener, ...]]] = {}

    def of(self, cluster: Cluster) -> tuple[Listener, ...]:
        """The built-in servers, in the cluster's own order."""
        lab = (cluster.name, runs_coredns(cluster))
        known = self._pods if lab == self._lab else {}
        self._pods = {
            id(pod): known.get(id(pod)) or (pod, tuple(_pod_servers(cluster, pod)))
            for pod in cluster.pods
        }
        self._lab = lab
        return (
            *(listener for _pod, own in self._pods.values() for listener in own),
            *_others(cluster),
        )


def _others(cluster: Cluster) -> Iterator[Listener]:
    """What listens outside of pods."""
    for host in cluster.internet:
        yield from _host_servers(names.netns_of_internet(cluster.name, host.name), host)
    yield from _internet_name_servers(cluster)
    for node in cluster.nodes:
        yield from _node_servers(cluster, node)
    if cluster.api_server is not None:
        yield from _api_server(cluster.name, cluster.api_server)


# -- pods and hosts --------------------------------------------------------------------------------


def _pod_servers(cluster: Cluster, pod: Pod) -> Iterator[Listener]:
    for container in pod.containers:
        if not is_program(cluster, pod, container):
            # two names for one port are one socket; of two containers the second can't bind it
            own = _container_servers(cluster.name, pod, container)
            yield from {listener.socket: listener for listener in own}.values()


def _container_servers(lab: str, pod: Pod, container: Container) -> Iterator[Listener]:
    netns = names.netns_with(lab, pod)
    who = Identity(
        hostname=pod_hostname(pod),
        namespace=pod.namespace,
        pod=pod.name,
        node=pod.node,
        container=container.name,
        # what a probe asks here decides what the pod is, and not the other way round
        ready=pod.ready or container.readiness_probe is not None,
        env=own_variables(container),
        etc=names.etc_with(lab, pod),
    )
    dns = NameServer(NameServerKind.CLUSTER, pod.full_name)
    answers_dns = is_name_server(pod, container)
    for port in container.ports:
        subject = dns if answers_dns and port.port == DNS_PORT else who
        for address in wildcards(pod.addresses):
            yield Listener(ListenSocket(netns, address, port.port, port.protocol), subject)


def _host_servers(netns: str, host: InternetHost) -> Iterator[Listener]:
    who = Identity(hostname=host.name)
    for address in wildcards(host.addresses):
        for protocol in (Protocol.TCP, Protocol.UDP):
            yield Listener(ListenSocket(netns, address, host.port, protocol), who)


def _internet_name_servers(cluster: Cluster) -> Iterator[Listener]:
    for name, addresses in internet_name_servers(cluster):
        netns = names.netns_of_internet(cluster.name, name)
        subject = NameServer(NameServerKind.INTERNET, name)
        for address in wildcards(addresses):
            for protocol in (Protocol.TCP, Protocol.UDP):
                yield Listener(ListenSocket(netns, address, DNS_PORT, protocol), subject)


# -- what runs on nodes ----------------------------------------------------------------------------


def _node_servers(cluster: Cluster, node: Node) -> Iterator[Listener]:
    netns = names.netns_of_node(cluster.name, node.name)
    for address in wildcards(node.addresses):
        yield Listener(ListenSocket(netns, address, PROXY_HEALTH_PORT), ProxyHealth(node.name))
    options = cluster.network.kube_proxy
    addresses = proxy(options.mode).health_check_addresses(node, options)
    for service in cluster.services:
        if not needs_health_check(service):
            continue
        count = local_endpoints(service, cluster.endpoint_slices, node.name)
        subject = ServiceHealth(service.namespace, service.name, count)
        for address in addresses:
            yield Listener(ListenSocket(netns, address, service.health_check_node_port), subject)


def _api_server(lab: str, server: APIEndpoint) -> Iterator[Listener]:
    netns = names.netns_of_node(lab, server.node)
    for address in wildcards(server.addresses):
        yield Listener(ListenSocket(netns, address, server.port), KubeAPIServer(server.node))


def needs_health_check(service: Service) -> bool:
    """Kubernetes' apiservice.NeedsHealthCheck, for a service that kube-proxy doesn't skip."""
    return (
        service.type is ServiceType.LOAD_BALANCER
        and service.external_traffic_policy is TrafficPolicy.LOCAL
        and service.health_check_node_port > 0
        and not service.headless
        and "service.kubernetes.io/service-proxy-name" not in service.labels
    )


def local_endpoints(service: Service, slices: Iterable[EndpointSlice], node: str) -> int:
    """How many addresses of the service on the node are *ready*: what the health check counts.

    An endpoint that is terminating still gets traffic when it is the last one, but is not ready:
    the load balancer is told to go elsewhere (pkg/proxy/endpointschangetracker.go,
    LocalReadyEndpoints). A dual-stack service counts in its first family.
    """
    family = service.ip_families[0] if service.ip_families else None
    found = {
        address
        for part in slices
        if part.namespace == service.namespace and part.service == service.name
        if part.address_type is family and part.ports
        for endpoint in part.endpoints
        if endpoint.node_name == node and endpoint.ready is not False
        for address in endpoint.addresses[:1]
    }
    return len(found)
