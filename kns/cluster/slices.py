"""EndpointSlices of Services with a selector, as the EndpointSlice controller makes them.

    Service + pods ─▶ endpoints grouped by their ports ─▶ slices of at most 100 ─▶ hints

Source of the rules: staging/src/k8s.io/endpointslice reconciler.go and utils.go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from kns.addresses import IPFamily
from kns.cluster.hints import with_hints
from kns.cluster.selectors import PodIndex
from kns.kinds.common import SAFE_LETTERS
from kns.kinds.endpointslice import CONTROLLER, MANAGED_BY, Endpoint, EndpointPort, EndpointSlice
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort, ServiceType

#: kube-controller-manager's --max-endpoints-per-slice
MAX_ENDPOINTS = 100
SERVICE_NAME = "kubernetes.io/service-name"

Ports = tuple[EndpointPort, ...]


def derive_slices(
    services: Sequence[Service], pods: Sequence[Pod], nodes: Sequence[Node]
) -> Iterator[EndpointSlice]:
    """The slices of every Service that has a selector, in the services' order."""
    index = PodIndex(pods)
    zones = {node.name: node.zone for node in nodes}
    for service in services:
        if not service.selector or service.type is ServiceType.EXTERNAL_NAME:
            continue
        selected = index.select(service.namespace, service.selector)
        for family in service.ip_families:
            slices = tuple(_slices(service, selected, zones, family))
            yield from with_hints(service, slices, nodes)


def _slices(
    service: Service, pods: Sequence[Pod], zones: Mapping[str, str], family: IPFamily
) -> Iterator[EndpointSlice]:
    """One family's slices; without any endpoint an empty one, as a sign that none is missing."""
    groups: dict[Ports, list[Endpoint]] = {}
    ports_of: dict[int, Ports] = {}
    for pod in pods:
        endpoint = _endpoint(service, pod, zones, family)
        if endpoint is None:
            continue
        # replicas of a template share one containers tuple
        ports = ports_of.get(id(pod.containers))
        if ports is None:
            ports = ports_of[id(pod.containers)] = endpoint_ports(service, pod)
        groups.setdefault(ports, []).append(endpoint)
    if not groups:
        yield _slice(service, family, (), (), 0)
    for ports in sorted(groups, key=_ports_key):
        endpoints = groups[ports]
        for start in range(0, len(endpoints), MAX_ENDPOINTS):
            chunk = tuple(endpoints[start : start + MAX_ENDPOINTS])
            yield _slice(service, family, ports, chunk, start // MAX_ENDPOINTS)


def endpoint_ports(service: Service, pod: Pod) -> Ports:
    """The service's ports on that pod; one whose named target the pod lacks is left out."""
    found: list[EndpointPort] = []
    for port in service.ports:
        number = target_port(port, pod)
        if number:
            found.append(EndpointPort(number, port.name, port.protocol))
    return tuple(found)


def target_port(port: ServicePort, pod: Pod) -> int:
    """The number of a service port's target on the pod, 0 if it has no port of that name."""
    if isinstance(port.target_port, int):
        return port.target_port or port.port
    for container in pod.containers:
        for candidate in container.ports:
            if (candidate.name, candidate.protocol) == (port.target_port, port.protocol):
                return candidate.port
    return 0


def _endpoint(
    service: Service, pod: Pod, zones: Mapping[str, str], family: IPFamily
) -> Endpoint | None:
    address = pod.address(family)
    if address is None:
        return None
    ready = pod.ready and not pod.terminating
    return Endpoint(
        addresses=(address,),
        ready=ready or service.publish_not_ready_addresses,
        serving=pod.serving,
        terminating=pod.terminating,
        node_name=pod.node,
        zone=zones.get(pod.node, ""),
        hostname=pod.hostname if _has_record(service, pod) else "",
        pod=pod.full_name,
    )


def _has_record(service: Service, pod: Pod) -> bool:
    """Whether the pod has a name of its own below the Service (ShouldSetHostname)."""
    return bool(pod.hostname) and pod.subdomain == service.name


def _slice(
    service: Service, family: IPFamily, ports: Ports, endpoints: tuple[Endpoint, ...], number: int
) -> EndpointSlice:
    labels = {**service.labels, SERVICE_NAME: service.name, MANAGED_BY: CONTROLLER}
    if service.headless:
        labels["service.kubernetes.io/headless"] = ""
    return EndpointSlice(
        namespace=service.namespace,
        name=slice_name(service.namespace, service.name, family, ports, number),
        service=service.name,
        address_type=family,
        ports=ports,
        endpoints=endpoints,
        labels=labels,
    )


@lru_cache(1 << 13)
def slice_name(namespace: str, service: str, family: IPFamily, ports: Ports, number: int) -> str:
    """The Service's name and five letters as generateName appends them, but always the same."""
    key = f"{namespace}/{service}|{family}|{_ports_key(ports)}|{number}"
    value = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
    letters = ""
    for _ in range(5):
        value, digit = divmod(value, len(SAFE_LETTERS))
        letters += SAFE_LETTERS[digit]
    return f"{service[:57]}-{letters}"


def _ports_key(ports: Ports) -> tuple[tuple[str, int, str], ...]:
    return tuple((port.name, port.port or 0, port.protocol.value) for port in ports)
