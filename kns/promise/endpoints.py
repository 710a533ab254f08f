"""Which endpoints Kubernetes promises behind a service port, seen from one node.

Written from the API's documentation and apart from the compilers, so that the two can disagree:
kns/compile decides what is programmed, this module what must come of it.

    ready endpoints; none ready: those that are terminating and still serve
    hints count, as far as the release looks at them, only if every ready endpoint has one and one
    of them fits this node (or its zone)
    policy Local: the same choice among this node's endpoints alone, without hints
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointSlice
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort
from kns.promise.facts import HintUse
from kns.promise.flow import Backend

_Entry = tuple[Endpoint, Backend]


@dataclass(frozen=True, slots=True)
class UsableEndpoints:
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


@dataclass(frozen=True, slots=True)
class PortEndpoints:
    """Every endpoint of one service port in one family."""

    entries: tuple[_Entry, ...]
    hints: HintUse
    #: an address stands in two slices that don't say the same of it, and either may count
    is_contested: bool = False

    def at(self, node: Node) -> UsableEndpoints:
        """What the service port leads to for clients that enter at `node`."""
        ready = tuple(entry for entry in self.entries if _is_ready(entry[0]))
        here = tuple(entry for entry in self.entries if entry[0].node_name == node.name)
        return UsableEndpoints(
            cluster=_backends(_hinted(ready, node, self.hints) or _usable(self.entries)),
            local=_backends(_usable(here)),
            local_ready=sum(_is_ready(entry[0]) for entry in here),
        )

    @property
    def ready(self) -> tuple[Backend, ...]:
        """Every ready one, as somebody sees them who goes to endpoints and not to the service."""
        return _backends(entry for entry in self.entries if _is_ready(entry[0]))


def port_endpoints(
    slices: Iterable[EndpointSlice],
    port: ServicePort,
    family: IPFamily,
    hints: HintUse,
    backend: Callable[[IPAddress, int, Protocol], Backend],
    *,
    prefers_living: bool,
) -> PortEndpoints:
    """The endpoints of a service port in the service's slices, each once.

    `backend` tells who is at an address and port. An endpoint that moves from one slice to another
    is in both for a while, and so is a pod that got the address of one that is not yet gone.
    """
    found: dict[tuple[IPAddress, int], _Entry] = {}
    is_contested = False
    for item in slices:
        number = _number(item, port)
        if item.address_type is not family or number is None:
            continue
        for endpoint in item.endpoints:
            address = endpoint.addresses[0]
            known = found.get((address, number))
            if known is not None:
                goes = known[0].terminating is True, endpoint.terminating is True
                is_settled = prefers_living and goes[0] is not goes[1]
                is_contested |= not is_settled and _conditions(known[0]) != _conditions(endpoint)
                if not is_settled or goes[1]:
                    continue
            who = backend(address, number, port.protocol)
            found[address, number] = (endpoint, replace(who, node=endpoint.node_name))
    return PortEndpoints(tuple(found.values()), hints, is_contested)


def _conditions(endpoint: Endpoint) -> tuple[object, ...]:
    """What decides whether and where an endpoint is used."""
    return (
        _is_ready(endpoint),
        _is_serving(endpoint),
        endpoint.terminating is True,
        endpoint.node_name,
        endpoint.hint_nodes,
        endpoint.hint_zones,
    )


def _number(item: EndpointSlice, port: ServicePort) -> int | None:
    for candidate in item.ports:
        if (candidate.name, candidate.protocol) == (port.name, port.protocol):
            return candidate.port
    return None


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.ready is not False


def _is_serving(endpoint: Endpoint) -> bool:
    """Absent means true: pkg/proxy/endpointslicecache.go."""
    return endpoint.serving is not False


def _usable(entries: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
    ready = tuple(entry for entry in entries if _is_ready(entry[0]))
    return ready or tuple(
        entry for entry in entries if entry[0].terminating and _is_serving(entry[0])
    )


def _hinted(ready: tuple[_Entry, ...], node: Node, use: HintUse) -> tuple[_Entry, ...]:
    """The ready endpoints hinted at this node, else at its zone; nothing: hints don't count."""
    if use.nodes and ready and all(endpoint.hint_nodes for endpoint, _ in ready):
        near = tuple(entry for entry in ready if node.name in entry[0].hint_nodes)
        if near:
            return near
    use_zones = use.zones and bool(node.zone)
    if use_zones and ready and all(endpoint.hint_zones for endpoint, _ in ready):
        return tuple(entry for entry in ready if node.zone in entry[0].hint_zones)
    return ()


def _backends(entries: Iterable[_Entry]) -> tuple[Backend, ...]:
    return tuple(backend for _, backend in entries)


# -- what is behind an address ---------------------------------------------------------------------


def is_external(service: Service) -> bool:
    """True if the service is reached from outside: node ports, external or balancer addresses."""
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


def is_system(pod: Pod) -> bool:
    """True for pods that kns made itself: of cluster DNS, or of the Ingress controller."""
    return is_dns(pod) or any(container.component for container in pod.containers)


def workloads(cluster: Cluster) -> tuple[Pod, ...]:
    """The user's pods, in file order: kns' own are no clients of anybody."""
    return tuple(pod for pod in cluster.pods if not is_system(pod))


def has_dns(cluster: Cluster) -> bool:
    """True if the lab runs cluster DNS, so that pods resolve names as pods do."""
    return cluster.network.dns.enabled and any(
        service.namespace == "kube-system" and service.name == "kube-dns"
        for service in cluster.services
    )


def is_cluster_dns(cluster: Cluster, service: Service) -> bool:
    """True for the service of the lab's DNS."""
    return any(address in cluster.network.dns.service_ips for address in service.cluster_ips) or (
        bool(service.selector) and any(map(is_dns, selected_pods(cluster, service)))
    )


def selected_pods(cluster: Cluster, service: Service) -> Iterator[Pod]:
    """The pods that the service's selector chooses; none without a selector."""
    wanted = dict(service.selector or {}).items()
    return (
        pod
        for pod in cluster.pods
        if wanted and pod.namespace == service.namespace and wanted <= dict(pod.labels).items()
    )
