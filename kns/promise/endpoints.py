"""Which endpoints Kubernetes promises behind a service port, seen from one node.

Written from the API's documentation and apart from the compilers, so that the two can disagree:
kns/compile decides what is programmed, this module what must come of it.

    ready endpoints; none ready: those that are terminating and still serve
    hints count only if every ready endpoint has one and one of them fits this node (zone)
    policy Local: the same choice among this node's endpoints alone, without hints
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster, ProxyMode
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointSlice
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort, TrafficPolicy
from kns.promise.location import label


@dataclass(frozen=True, slots=True)
class Backend:
    """An endpoint by the name under which it answers."""

    name: str
    address: IPAddress
    port: int
    node: str
    pod: Pod | None


@dataclass(frozen=True, slots=True)
class Promise:
    """The backends of one service port for clients that enter the service at one node."""

    #: for policy Cluster
    cluster: tuple[Backend, ...]
    #: for policy Local
    local: tuple[Backend, ...]
    #: ready endpoints on this node: what a health check counts
    local_ready: int

    @property
    def is_empty(self) -> bool:
        """True if there is no endpoint anywhere: refused. Otherwise "none local" is dropped."""
        return not self.cluster and not self.local


def promise(
    cluster: Cluster, service: Service, port: ServicePort, node: Node, family: IPFamily
) -> Promise:
    """What the service port leads to for clients that enter at `node`."""
    all_backends = tuple(_of_slices(cluster, service, port, family))
    ready = tuple(entry for entry in all_backends if _is_ready(entry[0]))
    here = tuple(entry for entry in all_backends if entry[0].node_name == node.name)
    return Promise(
        cluster=_backends(_hinted(ready, node) or _usable(all_backends)),
        local=_backends(_usable(here)),
        local_ready=sum(_is_ready(entry[0]) for entry in here),
    )


def ready_anywhere(
    cluster: Cluster, service: Service, port: ServicePort, family: IPFamily
) -> tuple[Backend, ...]:
    """Every ready endpoint, as somebody sees them who goes to endpoints and not to the service."""
    entries = _of_slices(cluster, service, port, family)
    return _backends(tuple(entry for entry in entries if _is_ready(entry[0])))


def internal(
    cluster: Cluster, service: Service, port: ServicePort, node: Node, family: IPFamily
) -> tuple[tuple[Backend, ...], bool]:
    """Backends of the cluster IP for clients on `node`, and whether none means refused."""
    found = promise(cluster, service, port, node, family)
    if service.internal_traffic_policy is TrafficPolicy.CLUSTER:
        return found.cluster, True
    if found.local:
        return found.local, True
    if cluster.network.kube_proxy.mode is ProxyMode.IPVS:
        # a virtual server can't drop: the proxy programs whatever it knows of the cluster's
        # endpoints, which it does only for services that are reachable from outside too
        return (found.cluster if is_external(service) else ()), True
    return (), found.is_empty


def is_external(service: Service) -> bool:
    """True if the service has a door to the outside: node ports, external or balancer addresses."""
    return bool(
        any(port.node_port for port in service.ports)
        or service.external_ips
        or any(entry.ip is not None for entry in service.load_balancer_ingress)
    )


def serves_http(pod: Pod, port: int, protocol: Protocol) -> bool | None:
    """True: kns' built-in server listens there; False: nothing does; None: a program of its own."""
    for container in pod.containers:
        if any(p.port == port and p.protocol is protocol for p in container.ports):
            return None if container.command or is_system(pod) else True
    return None if any(container.command for container in pod.containers) else False


def is_dns(pod: Pod) -> bool:
    """True for the pods of cluster DNS: they speak DNS and nothing else."""
    return pod.labels.get("k8s-app") == "kube-dns"


def has_dns(cluster: Cluster) -> bool:
    """True if the lab runs cluster DNS, so that pods resolve names as pods do."""
    return cluster.network.dns.enabled and any(
        service.namespace == "kube-system" and service.name == "kube-dns"
        for service in cluster.services
    )


def is_system(pod: Pod) -> bool:
    """True for pods that kns made itself: of cluster DNS, or of the Ingress controller."""
    return is_dns(pod) or any(container.component for container in pod.containers)


# -- slices ----------------------------------------------------------------------------------------

_Entry = tuple[Endpoint, Backend]


def _of_slices(
    cluster: Cluster, service: Service, port: ServicePort, family: IPFamily
) -> Iterable[_Entry]:
    pods = {address: pod for pod in cluster.pods for address in pod.addresses}
    hosts = {address: host.name for host in cluster.internet for address in host.addresses}
    seen: set[tuple[IPAddress, int]] = set()
    for item in cluster.endpoint_slices:
        number = _port_of(item, port)
        if not _belongs(item, service, family) or number is None:
            continue
        for endpoint in item.endpoints:
            address = endpoint.addresses[0]
            if (address, number) not in seen:
                seen.add((address, number))
                pod = pods.get(address)
                name = label(pod) if pod else hosts.get(address, str(address))
                yield endpoint, Backend(name, address, number, endpoint.node_name, pod)


def _belongs(item: EndpointSlice, service: Service, family: IPFamily) -> bool:
    return (
        item.namespace == service.namespace
        and item.service == service.name
        and item.address_type is family
    )


def _port_of(item: EndpointSlice, port: ServicePort) -> int | None:
    """Slices and services are matched by the port's *name*, empty for a single unnamed one."""
    for candidate in item.ports:
        if candidate.name == port.name and candidate.protocol is port.protocol:
            return candidate.port
    return None


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.ready is not False


def _is_serving(endpoint: Endpoint) -> bool:
    return _is_ready(endpoint) if endpoint.serving is None else endpoint.serving


def _usable(entries: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
    ready = tuple(entry for entry in entries if _is_ready(entry[0]))
    return ready or tuple(
        entry for entry in entries if entry[0].terminating and _is_serving(entry[0])
    )


def _hinted(ready: tuple[_Entry, ...], node: Node) -> tuple[_Entry, ...]:
    """The ready endpoints hinted at this node, else at its zone; nothing: hints don't count."""
    if ready and all(endpoint.hint_nodes for endpoint, _ in ready):
        near = tuple(entry for entry in ready if node.name in entry[0].hint_nodes)
        if near:
            return near
    if ready and node.zone and all(endpoint.hint_zones for endpoint, _ in ready):
        return tuple(entry for entry in ready if node.zone in entry[0].hint_zones)
    return ()


def _backends(entries: tuple[_Entry, ...]) -> tuple[Backend, ...]:
    return tuple(backend for _, backend in entries)
