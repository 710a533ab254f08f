"""What the agent should serve and run, computed from the Cluster alone.

    Cluster ──desired()──▶ Desired ── servers     ServerSpec: where it listens, what it answers
                                   └─ containers  ContainerSpec: a real process in a pod's netns

A server listens on the wildcard address of each family of its pod, because a container that
listens on 0.0.0.0 is what Kubernetes' users write, and because loopback must work: containers of
a pod reach each other there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kns.cluster.model import Cluster, InternetHost
from kns.cluster.podfiles import pod_hostname
from kns.compile import names
from kns.compile.name_servers import (
    DNS_PORT,
    NameServerKind,
    internet_name_servers,
    is_name_server,
    runs_coredns,
)
from kns.compile.programs.program import ContainerSpec
from kns.compile.programs.programs import components
from kns.compile.proxy.by_mode import proxy
from kns.compile.proxy.on_node import wildcards
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.node import Node
from kns.kinds.pod import Container, Pod
from kns.kinds.service import Service, ServiceType, TrafficPolicy

#: kube-proxy's --healthz-bind-address is 0.0.0.0:10256
PROXY_HEALTH_PORT = 10256


@dataclass(frozen=True, slots=True)
class Place:
    """Where a socket is: at most one server can be at a place."""

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


Subject = Identity | ServiceHealth | ProxyHealth | NameServer


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server: the socket's place, and on whose behalf it answers."""

    place: Place
    subject: Subject


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that one lab's agent serves and runs."""

    servers: tuple[ServerSpec, ...]
    containers: tuple[ContainerSpec, ...]


def desired(cluster: Cluster) -> Desired:
    """The servers and processes of a lab, in the cluster's own order."""
    servers: list[ServerSpec] = []
    containers: list[ContainerSpec] = []
    for pod in cluster.pods:
        netns = names.netns_of_pod(cluster.name, pod.namespace, pod.name)
        for container in pod.containers:
            if container.component or (runs_coredns(cluster) and is_name_server(pod, container)):
                continue  # it is among the components
            if container.command:
                containers.append(_process(cluster.name, netns, pod, container))
            else:
                servers.extend(_container_servers(netns, pod, container))
    for host in cluster.internet:
        servers.extend(_host_servers(names.netns_of_internet(cluster.name, host.name), host))
    servers.extend(_internet_name_servers(cluster))
    for node in cluster.nodes:
        servers.extend(_node_servers(cluster, node))
    containers.extend(components(cluster))
    return Desired(tuple(servers), tuple(containers))


# -- pods and hosts --------------------------------------------------------------------------------


def _process(lab: str, netns: str, pod: Pod, container: Container) -> ContainerSpec:
    return ContainerSpec(
        key=f"{lab}/{pod.namespace}/{pod.name}/{container.name}",
        netns=netns,
        name=container.name,
        command=container.command,
        hostname=pod_hostname(pod),
        env=_own_env(container),
    )


def _own_env(container: Container) -> tuple[tuple[str, str], ...]:
    return tuple((variable.name, variable.value) for variable in container.env)


def _container_servers(netns: str, pod: Pod, container: Container) -> Iterator[ServerSpec]:
    who = Identity(
        hostname=pod_hostname(pod),
        namespace=pod.namespace,
        pod=pod.name,
        node=pod.node,
        container=container.name,
        ready=pod.ready,
        env=_own_env(container),
    )
    dns = NameServer(NameServerKind.CLUSTER, pod.full_name)
    answers_dns = is_name_server(pod, container)
    for port in container.ports:
        subject = dns if answers_dns and port.port == DNS_PORT else who
        for address in wildcards(pod.addresses):
            yield ServerSpec(Place(netns, address, port.port, port.protocol), subject)


def _host_servers(netns: str, host: InternetHost) -> Iterator[ServerSpec]:
    who = Identity(hostname=host.name)
    for address in wildcards(host.addresses):
        for protocol in (Protocol.TCP, Protocol.UDP):
            yield ServerSpec(Place(netns, address, host.port, protocol), who)


def _internet_name_servers(cluster: Cluster) -> Iterator[ServerSpec]:
    for name, addresses in internet_name_servers(cluster):
        netns = names.netns_of_internet(cluster.name, name)
        subject = NameServer(NameServerKind.INTERNET, name)
        for address in wildcards(addresses):
            for protocol in (Protocol.TCP, Protocol.UDP):
                yield ServerSpec(Place(netns, address, DNS_PORT, protocol), subject)


# -- kube-proxy's health servers -------------------------------------------------------------------


def _node_servers(cluster: Cluster, node: Node) -> Iterator[ServerSpec]:
    netns = names.netns_of_node(cluster.name, node.name)
    for address in wildcards(node.addresses):
        yield ServerSpec(Place(netns, address, PROXY_HEALTH_PORT), ProxyHealth(node.name))
    options = cluster.network.kube_proxy
    addresses = proxy(options.mode).health_check_addresses(node, options)
    for service in cluster.services:
        if not needs_health_check(service):
            continue
        count = local_endpoints(service, cluster.endpoint_slices, node.name)
        subject = ServiceHealth(service.namespace, service.name, count)
        for address in addresses:
            yield ServerSpec(Place(netns, address, service.health_check_node_port), subject)


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
